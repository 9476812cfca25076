"""How fast the service takes, hands on and answers, beside RQ's own workers on the same machine.

`python -m benchmarks.service [--json]`. Every timed call is checked: statuses, stored bytes, outputs, positions.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import redis
import urllib3
from PIL import Image
from rq import Queue

from benchmarks.crowd import Crowd
from benchmarks.load import Load, hammer
from configs.settings import load_settings
from jobs.queue import rq_push, rq_queue
from jobs.records import JobRequest
from jobs.server import connect, serving
from jobs.transitions import PREFIX, script
from maquette_client.service import ROOT, LocalService

PIPELINE = "benchmark_noop"
_QUIET_S = 0.02  # after a submit nobody polls for so long: the question is when the work begins, not who else is busy
_SETTINGS = {
    "MAQUETTE_PLUGINS": "benchmarks.noop",
    "MAQUETTE_PIPELINES": PIPELINE,
    "MAQUETTE_MAX_ACTIVE": "0",
    "MAQUETTE_HISTORY_LIMIT": "100000",
    "MAQUETTE_LOG_LEVEL": "WARNING",
}


def picture(size_kb: int = 300) -> bytes:
    """A valid PNG of about `size_kb` KiB: noise does not compress."""
    side = int((size_kb * 1024 / 3) ** 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def dispatch(service: LocalService, rounds: int) -> list[float]:
    """Milliseconds from a submit's answer to the pipeline's entry, one job at a time."""
    client, found = service.client(), []
    image = service.data_dir / "small.png"
    image.write_bytes(picture(4))
    for number in range(rounds):
        job = client.submit(image, pipeline=PIPELINE, seed=number)
        answered = time.time()
        time.sleep(_QUIET_S)
        manifest = json.loads(client.read(client.wait(job.id), "manifest.json"))
        assert manifest["params"]["seed"] == number, "another job's manifest"
        found.append((manifest["entered_at"] - answered) * 1000)
    return found


def rq_dispatch(worker_class: str, rounds: int) -> list[float]:
    """The same for one of RQ's own workers: from `enqueue`'s return to the function's entry."""
    with tempfile.TemporaryDirectory() as folder, serving(load_settings({"MAQUETTE_DATA_DIR": folder})) as url:
        queue = Queue("peer", connection=redis.Redis.from_url(url))
        command = [sys.executable, "-m", "rq.cli", "worker", "peer", "-u", url, "-w", worker_class, "--quiet"]
        worker = subprocess.Popen(command, cwd=ROOT)
        try:
            return [_rq_round(queue, number) for number in range(rounds + 5)][5:]  # the first wait for its start
        finally:
            worker.terminate()
            worker.wait(20)


def _rq_round(queue: Queue, number: int) -> float:
    job = queue.enqueue("benchmarks.peer.entered", number)
    answered = time.time()
    time.sleep(_QUIET_S)
    while (result := job.return_value(refresh=True)) is None:
        time.sleep(0.002)
    assert result[0] == number, "another job's result"
    return float((result[1] - answered) * 1000)


def hold(service: LocalService) -> None:
    """Keeps the one worker asleep: what is timed then is the web tier, not how it shares the cores with no-op jobs."""
    image = service.data_dir / "small.png"
    image.write_bytes(picture(4))
    service.client().submit(image, pipeline=PIPELINE, seconds=3600)


def _multipart(image: bytes) -> tuple[bytes, str]:
    parts = {"pipeline": PIPELINE, "image": ("noise.png", image, "image/png")}
    return urllib3.encode_multipart_formdata(parts)


def posts(service: LocalService, seconds: float) -> Load:
    """Submits of a 300 KB PNG by eight clients; every accepted picture must lie in the storage, whole."""
    hold(service)
    image = picture(300)
    body, kind = _multipart(image)
    load = hammer(service.url, "POST", "/image_to_3d", body, {"Content-Type": kind}, seconds, _is_queued)
    stored = service.data_dir.glob("inputs/*/*.png")
    whole = sum(path.stat().st_size == len(image) for path in stored)
    assert whole >= len(load.latencies_ms) - load.wrong, f"{whole} pictures stored of {len(load.latencies_ms)}"
    return load


def _is_queued(answer: bytes) -> bool:
    return b'"status":"queued"' in answer


def gets(service: LocalService, job_id: str, seconds: float, position: bytes) -> Load:
    """Status requests for one waiting job by eight clients; every answer must tell its place."""

    def check(answer: bytes) -> bool:
        return job_id.encode() in answer and b'"position":' + position + b"," in answer

    return hammer(service.url, "GET", f"/jobs/{job_id}", b"", {}, seconds, check)


def fill(service: LocalService, url: str, count: int) -> None:
    """Queues jobs of as many clients, through the same script and the same push as the web tier's."""
    raw = connect(url, decode=False)
    queue, accept = rq_queue("cpu", raw), script("accept")
    for start in range(0, count, 1000):
        with raw.pipeline(transaction=False) as pipe:
            for number in range(start, min(start + 1000, count)):
                job_id, client = uuid.uuid4().hex, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
                fields = JobRequest(client, "trellis", PIPELINE, {}).fields([])
                flat = [part for pair in fields.items() for part in pair]
                pipe.eval(accept, 0, PREFIX, job_id, client, "cpu", 0, "", 1, "", *flat)
                rq_push(queue, job_id, pipe)
            pipe.execute()


def status(folder: Path, seconds: float, many: int) -> dict[str, float]:
    """GET rates with ten jobs in the queue and with many. A sleeping job holds the one worker meanwhile."""
    found: dict[str, float] = {}
    with LocalService(folder, _SETTINGS) as service:
        client, image = service.client(), folder / "small.png"
        hold(service)
        waiting = [client.submit(image, pipeline=PIPELINE) for _ in range(10)]
        while client.job(waiting[-1].id).told["position"] != 10:
            time.sleep(0.05)
        few = gets(service, waiting[-1].id, seconds, b"10")
        fill(service, f"unix://{folder.resolve()}/redis/redis.sock", many)
        last = client.submit(image, pipeline=PIPELINE)
        position = str(many + 11).encode()
        lots = gets(service, last.id, seconds, position)
        again = gets(service, waiting[-1].id, seconds, b"10")  # the middle of drifting machines: few, many, few
        found["status_get_per_s"] = round(few.per_s)
        found["status_get_p99_ms"] = round(few.percentile(0.99), 2)
        middle = (few.percentile(0.5) + again.percentile(0.5)) / 2
        found["status_get_ratio_100k"] = round(lots.percentile(0.5) / middle, 3)
        found["wrong"] = few.wrong + lots.wrong + again.wrong
    return found


def crowded(folder: Path, seconds: float, streams: int, waiting: int) -> dict[str, float]:
    """An ordinary GET, polled by eight clients at a calm pace, while hundreds follow events and wait for ends.

    Afterwards the one sleeping job is cancelled, and every stream and every waiting caller must be told so.
    """
    settings = _SETTINGS | {"MAQUETTE_ALLOW_PRIVATE_URLS": "1"}
    with LocalService(folder, settings) as service:
        client, image = service.client(), folder / "small.png"
        image.write_bytes(picture(4))
        job = client.submit(image, pipeline=PIPELINE, seconds=3600)
        with Crowd(service.url, job.id, streams, waiting) as crowd:
            load = hammer(
                service.url,
                "GET",
                f"/jobs/{job.id}",
                b"",
                {},
                seconds,
                lambda answer: job.id.encode() in answer,
                pace_s=0.05,
            )
            client.cancel(job.id)
            told = crowd.told_of("cancelled", within_s=20)
        return {
            "get_p50_ms_with_500_streams": round(load.percentile(0.5), 2),
            "get_p99_ms_with_500_streams": round(load.percentile(0.99), 2),
            "streams_told_s": round(told.took_s, 2),
            "wrong": load.wrong + told.missing,
        }


def measure(rounds: int, seconds: float, many: int) -> dict[str, float]:
    """Every figure, by name."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        with LocalService(Path(folder, "dispatch"), _SETTINGS) as service:
            took = dispatch(service, rounds)
        found["dispatch_p50_ms"], found["dispatch_p95_ms"] = (
            round(percentile(took, share), 2) for share in (0.5, 0.95)
        )
        for name, worker_class in (("rq_simple", "rq.worker.SimpleWorker"), ("rq_fork", "rq.worker.Worker")):
            found[f"{name}_p50_ms"] = round(percentile(rq_dispatch(worker_class, rounds), 0.5), 2)
        with LocalService(Path(folder, "posts"), _SETTINGS) as service:
            load = posts(service, seconds)
        found |= {"post_per_s": round(load.per_s), "post_p99_ms": round(load.percentile(0.99), 1)}
        found |= status(Path(folder, "status"), seconds, many)
        found["wrong"] += load.wrong
        crowd = crowded(Path(folder, "crowd"), seconds, 500, 100)
        found |= crowd | {"wrong": found["wrong"] + crowd["wrong"]}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=200, help="jobs per dispatch figure")
    parser.add_argument("--seconds", type=float, default=5, help="length of each load")
    parser.add_argument("--many", type=int, default=100_000, help="jobs in the long queue")
    args = parser.parse_args()
    found = measure(args.rounds, args.seconds, args.many)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<24} {value:>10}")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
