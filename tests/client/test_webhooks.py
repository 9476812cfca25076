"""Standard Webhooks: the specification's own example, and everything that must not pass."""

import pytest

from jobs.webhooks import signed_headers
from maquette_client import WebhookRefused, verify_webhook
from maquette_client.webhooks import sign

SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
BODY = b'{"event_type":"ping","data":{"success":true}}'
AT = 1731705121
HEADERS = {
    "Webhook-Id": "msg_loFOjxBNrRLzqYUf",
    "Webhook-Timestamp": str(AT),
    "Webhook-Signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
}


def test_the_specifications_example_passes() -> None:
    assert verify_webhook(HEADERS, BODY, SECRET, now=AT) == {"event_type": "ping", "data": {"success": True}}
    assert verify_webhook(HEADERS, BODY.decode(), SECRET, now=AT + 299)


def test_one_good_signature_among_several_is_enough() -> None:
    both = HEADERS | {"Webhook-Signature": "v1,AAAA v1a,xyz " + HEADERS["Webhook-Signature"]}
    assert verify_webhook(both, BODY, SECRET, now=AT)


@pytest.mark.parametrize(
    ("changed", "body", "now", "why"),
    [
        ({}, BODY + b" ", AT, "not signed"),
        ({"Webhook-Id": "msg_other"}, BODY, AT, "not signed"),
        ({"Webhook-Timestamp": str(AT + 1)}, BODY, AT, "not signed"),
        ({"Webhook-Signature": "v2," + HEADERS["Webhook-Signature"][3:]}, BODY, AT, "not signed"),
        ({"Webhook-Signature": "v1,ü"}, BODY, AT, "not signed"),
        ({}, BODY, AT + 301, "more than 300 s"),
        ({}, BODY, AT - 301, "more than 300 s"),
        ({"Webhook-Timestamp": "now"}, BODY, AT, "not a Unix time"),
        ({"Webhook-Signature": ""}, BODY, AT, "has no webhook-signature"),
    ],
)
def test_anything_else_is_refused(changed: dict[str, str], body: bytes, now: int, why: str) -> None:
    with pytest.raises(WebhookRefused, match=why):
        verify_webhook(HEADERS | changed, body, SECRET, now=now)


def test_another_secret_is_refused_and_a_broken_one_is_named() -> None:
    with pytest.raises(WebhookRefused, match="not signed"):
        verify_webhook(HEADERS, BODY, "whsec_" + "A" * 32, now=AT)
    for broken in ("whsec_", "whsec_not base64!"):
        with pytest.raises(ValueError, match="secret"):
            sign("id", 1, b"", broken)


def test_what_the_service_signs_passes() -> None:
    body = b'{"status": "complete"}'
    headers = signed_headers(SECRET, "a message", AT, body)
    assert verify_webhook(headers, body, SECRET, now=AT) == {"status": "complete"}
