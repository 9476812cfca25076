"""Clients that wait for their jobs in `POST /generate`, and what others notice of them: how soon `/health` answers.

`python -m benchmarks.waiting [--clients 100] [--json]`. A real service with its usual settings; each client has an
address, a picture and a seed of its own, and must get the answer of its own job. Exit status 1 when one does not, or
when a `/health` was wrong.
"""

import argparse
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from PIL import Image

from benchmarks.crowd import Wires, until
from benchmarks.load import Load, hammer
from maquette_client.service import LocalService

PIPELINE = "benchmark_noop"
_SETTINGS = {
    "MAQUETTE_PLUGINS": "benchmarks.noop",
    "MAQUETTE_PIPELINES": PIPELINE,
    "MAQUETTE_DEVICES": "cpu",
    "MAQUETTE_TRUSTED_PROXIES": "1",  # so that each client can have an address of its own
}
_PACE_S = 0.05
_ENDS_S = 120.0


def picture(number: int) -> bytes:
    """A PNG with transparency that no other client has."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((number % 256, number // 256 % 256, 99, 255), (16, 16, 48, 48))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def address(number: int) -> dict[str, str]:
    """What makes a request one of this client."""
    return {"X-Forwarded-For": f"10.1.{number // 250}.{number % 250 + 1}"}


def _request(host: str, number: int) -> bytes:
    fields = {"pipeline": PIPELINE, "seed": str(number), "image": ("a.png", picture(number), "image/png")}
    body, kind = urllib3.encode_multipart_formdata(fields)
    headers = {"Host": host, "Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}
    told = "".join(f"{name}: {value}\r\n" for name, value in (headers | address(number)).items())
    return f"POST /generate HTTP/1.1\r\n{told}\r\n".encode() + body


def own(url: str, number: int, heard: bytes) -> bool:
    """Whether a client has got the whole answer of its own job: its seed, and the picture it sent."""
    head, _, body = heard.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        return False
    told: dict[str, Any] = json.loads(body)
    sent = requests.get(url + told["urls"]["inputs"][0], headers=address(number), timeout=30)
    seed = told["stage1"]["parameters"]["seed"]
    return told["status"] == "completed" and seed == number and sent.content == picture(number)


def health(url: str, seconds: float) -> Load:
    """How soon `/health` answers eight clients who ask at a calm pace."""
    return hammer(url, "GET", "/health", b"", {}, seconds, lambda answer: b'"status":"ok"' in answer, pace_s=_PACE_S)


def hold(url: str) -> str:
    """The id of a job that keeps the one worker asleep."""
    files = {"image": ("a.png", picture(0), "image/png")}
    data = {"pipeline": PIPELINE, "seconds": "3600", "async": "true"}
    answer = requests.post(f"{url}/generate", files=files, data=data, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def measure(folder: Path, clients: int, seconds: float) -> dict[str, float]:
    """Every figure, by name."""
    with LocalService(folder, _SETTINGS) as service:
        alone = health(service.url, seconds)
        job = hold(service.url)
        asked = [_request(urlsplit(service.url).netloc, number) for number in range(clients)]
        with Wires(service.url, asked) as waiters:
            until(lambda: _waiting(service.url) == clients, _ENDS_S)
            load = health(service.url, seconds)
            waited = sum(not heard for heard in waiters.heard)
            began = time.monotonic()
            requests.delete(f"{service.url}/jobs/{job}", timeout=30).raise_for_status()
            until(lambda: all(waiters.ended), _ENDS_S)
            heard = waiters.heard
            took = time.monotonic() - began
        right = sum(own(service.url, number, one) for number, one in enumerate(heard))
        ids = {json.loads(one.partition(b"\r\n\r\n")[2] or b"{}").get("job_id") for one in heard}
    found = {f"health_{name}_ms": round(alone.percentile(share), 2) for name, share in (("p50", 0.5), ("p99", 0.99))}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        found[f"health_{name}_ms_while_waiting"] = round(load.percentile(share), 2)
    found |= {"waiting": waited, "answered_right": right, "jobs": len(ids), "all_answered_s": round(took, 2)}
    wrong = alone.wrong + load.wrong + (clients - right) + (clients - len(ids)) + (clients - waited)
    return found | {"wrong": wrong}


def _waiting(url: str) -> int:
    return int(requests.get(f"{url}/queue/status", timeout=30).json()["queue_length"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10, help="length of each measurement")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        found = measure(Path(folder, "waiting"), args.clients, args.seconds)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<28} {value:>10}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
