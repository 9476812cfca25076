"""Is this call from our service? Standard Webhooks signatures (standardwebhooks.com), symmetric v1."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from maquette_client.errors import WebhookRefused

_PREFIX = "whsec_"


def verify_webhook(
    headers: Mapping[str, str], body: bytes | str, secret: str, tolerance_s: float = 300, now: float | None = None
) -> dict[str, Any]:
    """What the service tells in a webhook call, once it is sure that it comes from there and is fresh.

    Args:
        headers: of the request, in any case.
        body: as it came, before anything has read it as JSON.
        secret: `whsec_` and base64, as set at the service.
        tolerance_s: how far the call's time may be from ours, either way: an old call sent again is refused.
        now: Unix time, for tests.
    Raises:
        WebhookRefused: it is not signed with this secret, not fresh, or not complete.
        ValueError: `secret` is not one.
    """
    known = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if not known.get(name)]
    if missing:
        raise WebhookRefused(f"the call has no {', '.join(missing)}")
    sent = known["webhook-timestamp"]
    if not (sent.isascii() and sent.isdigit()):
        raise WebhookRefused(f"webhook-timestamp is {sent[:40]!r}, not a Unix time")
    if abs((time.time() if now is None else now) - int(sent)) > tolerance_s:
        raise WebhookRefused(f"the call's time is more than {tolerance_s:g} s from ours; it may be an old one")
    body = body.encode() if isinstance(body, str) else body
    wanted = sign(known["webhook-id"], int(sent), body, secret).encode()
    given = known["webhook-signature"].split()
    # Several signatures stand there while the operator changes the secret.
    if not any(hmac.compare_digest(one.encode(), wanted) for one in given):
        raise WebhookRefused("the call is not signed with this secret")
    told = json.loads(body)
    if not isinstance(told, dict):
        raise WebhookRefused("the call's body is not a JSON object")
    return told


def sign(message_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """The signature a call with this id, time and body carries: `v1,` and base64."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError(f"a webhook secret is {_PREFIX} and base64; this one is not: {error}") from None
    if not key:
        raise ValueError("the webhook secret is empty")
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()
