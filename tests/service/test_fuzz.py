"""Requests made up from the document, and malformed ones that it cannot describe: never a 5xx, never another shape."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from benchmarks.fuzz import KEY, SETTINGS, fuzz, picture
from maquette_client.service import LocalService

pytestmark = pytest.mark.service

BOUNDARY = b"--b\r\nContent-Disposition: form-data; "
PART = BOUNDARY + b'name="image"; filename="a.png"\r\n\r\n' + picture() + b"\r\n"


@pytest.fixture(scope="module", params=[{}, {"MAQUETTE_API_KEYS": KEY}], ids=["open", "keys"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("fuzz"), SETTINGS | request.param) as found:
        yield found
        assert "Traceback" not in found.log.read_text()


@pytest.fixture
def headers(service: LocalService) -> dict[str, str]:
    return {"X-API-Key": KEY} if requests.get(f"{service.url}/jobs", timeout=30).status_code == 401 else {}


@pytest.mark.filterwarnings("default")  # of the generator's own
def test_every_answer_is_one_that_is_described(service: LocalService, headers: dict[str, str]) -> None:
    report = fuzz(service.url, 20 if headers else 45, seed=1, headers=headers)
    assert not report.failures, "\n\n".join(f"{name}\n{about}" for name, about in report.failures.items())
    document = requests.get(f"{service.url}/openapi.json", timeout=30).json()
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert described == report.operations
    assert {"200", "202", "204", "206", "304", "400", "404", "405", "416"} <= set(report.statuses)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", PART),
        ("multipart/form-data; boundary=", PART),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", PART),
        ("multipart/form-data; boundary=b", PART[:-20]),
        ("multipart/form-data; boundary=b", PART + b"--b"),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: \xff\xfe; name\r\n\r\nx\r\n--b--\r\n"),
        ("multipart/form-data; boundary=b", BOUNDARY + b'name="seed"\r\n\r\n' + b"9" * 2**21 + b"\r\n--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b"".join(BOUNDARY + b'name="f%d"\r\n\r\n\r\n' % i for i in range(5000)) + b"--b--",
        ),
        ("multipart/form-data; boundary=" + "b" * 5000, PART),
        ("multipart/mixed; boundary=b", PART + b"--b--\r\n"),
        ("application/json", b""),
        ("application/json", b"\xff\xfe"),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"image": "x", "image": ' + b"1" * 5000 + b"}"),
        ("application/json", json.dumps({"image": "\ud800"}).encode()),
        ("application/json", json.dumps({"image": "a", "pipeline": ["relief"]}).encode()),
        ("application/json", json.dumps({"image": "a", "pipeline": "\ud800"}).encode()),
        ("application/json", json.dumps({"image": "a", "\ud800": 1, "": 2}).encode()),
        ("application/json; charset=utf-7", b'{"image": "+AGE-"}'),
        ("application/x-www-form-urlencoded", b"image_data=%FF%00&seed=%zz&=&&image_url=%"),
        ("text/plain", b"hello"),
        ("nonsense", b"hello"),
        ("", b"hello"),
    ],
)
@pytest.mark.parametrize("path", ["/image_to_3d", "/trellis/image_to_3d", "/generate"])
def test_a_malformed_body_is_refused(
    service: LocalService, headers: dict[str, str], path: str, kind: str, body: bytes
) -> None:
    answer = requests.post(f"{service.url}{path}", data=body, headers=headers | {"Content-Type": kind}, timeout=30)
    assert answer.status_code in (400, 413, 415), answer.text
    told = answer.json()
    assert told["error"] == told["detail"] and told["code"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "NONSENSE"])
def test_a_method_that_is_not_answered_is_told_which_are(
    service: LocalService, headers: dict[str, str], method: str
) -> None:
    for path in ("/", "/jobs", "/jobs/x", "/image_to_3d", "/outputs/a/b/c", "/openapi.json", "/docs", "/docs/assets/x"):
        answer = requests.request(method, f"{service.url}{path}", headers=headers, timeout=30)
        assert answer.status_code in (200, 400, 404, 405), (method, path, answer.status_code)
        if answer.status_code == 405:
            assert method not in answer.headers["Allow"] and answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Range", "bytes=" + "0-0," * 500),
        ("Range", "bytes=9-1"),
        ("Range", "\xff"),
        ("If-None-Match", '"' * 100),
        ("If-Modified-Since", "Mon, 99 Foo 99999 99:99:99 GMT"),
        ("If-Modified-Since", "Thu, 01 Jan 0000 00:00:00 GMT"),
        ("If-Range", "W/"),
        ("Accept", "\xff/*;q=nan"),
        ("Accept", ";,;q="),
        ("Accept-Encoding", "\xff"),
        ("Authorization", "Bearer \xff"),
        ("X-API-Key", "\xff"),
        ("X-Forwarded-For", "\xff, ../.."),
        ("X-Forwarded-For", "1" * 5000),
        ("Idempotency-Key", "\xff\x01"),
        ("Origin", "\xff"),
        ("Host", "a b"),
        ("Cookie", "=;;=\xff"),
        ("Last-Event-ID", "\xff"),
        ("Content-Length", "0"),
    ],
)
def test_a_strange_header_changes_nothing_for_the_worse(
    service: LocalService, headers: dict[str, str], name: str, value: str
) -> None:
    files = {"image": ("a.png", picture(), "image/png")}
    job = requests.post(
        f"{service.url}/image_to_3d", data={"pipeline": "probe"}, files=files, headers=headers, timeout=30
    ).json()
    file = f"{job['urls'].get('outputs', '/outputs/x/y')}/result.txt"
    for path in ("/", "/jobs", "/my_requests", f"/jobs/{job['request_id']}", file, "/openapi.json", "/docs", "/redoc"):
        answer = raw(service.url, path, headers | {name: value})
        assert answer < 500, (path, answer)
    for method in ("GET", "DELETE"):
        assert raw(service.url, "/jobs/x", headers | {name: value}, method) in (400, 401, 404)
    requests.delete(f"{service.url}/jobs/{job['request_id']}", headers=headers, timeout=30)


def raw(url: str, path: str, headers: dict[str, str], method: str = "GET") -> int:
    """The status of a request that no HTTP library would let pass."""
    place = urlsplit(url)
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if "Host" not in headers:
        lines.append(f"Host: {place.netloc}")
    with socket.create_connection((place.hostname, place.port), timeout=30) as wire:
        wire.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
        head = b""
        while b"\r\n" not in head and (some := wire.recv(4096)):
            head += some
    return int(head.split(b" ")[1])


@pytest.mark.parametrize(
    "path",
    ["/jobs//", "/outputs//x", "/%", "/%00", "/jobs/%ff", "/jobs/..", "/jobs/%2e%2e%2f", "/docs/", "/é"],
)
def test_an_address_that_is_none_is_not_found(service: LocalService, headers: dict[str, str], path: str) -> None:
    assert raw(service.url, path, headers) in (308, 400, 404)  # 308: with one slash less it may be one
