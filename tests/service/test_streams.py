"""Event streams and waiting callers over a real service, while its parts die."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from jobs.server import connect
from maquette_client.service import LocalService
from tests.conftest import PLUGIN
from tests.waiting import until

pytestmark = pytest.mark.service
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mug.png"
SETTINGS = {
    "MAQUETTE_PLUGINS": PLUGIN,
    "MAQUETTE_PIPELINES": "probe",
    "MAQUETTE_LEASE_S": "4",
    "MAQUETTE_STOP_GRACE_S": "0",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LocalService]:
    with LocalService(tmp_path, SETTINGS) as found:
        yield found


class Follower(threading.Thread):
    """Follows a job as an EventSource does: it comes back after a broken connection, with the last id it saw."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.connections = 0
        self.last = ""
        self._leaving = False
        self.start()

    def leave(self) -> None:
        """Comes back no more. A follower of a service that is gone would try for ever, beside all later tests."""
        self._leaving = True
        self.join()

    def run(self) -> None:
        while not (self.ended() or self._leaving):
            try:
                self._follow()
            except requests.RequestException:
                time.sleep(0.2)

    def _follow(self) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        with requests.get(self.url, headers=headers, stream=True, timeout=30) as answer:
            answer.raise_for_status()
            self.connections += 1
            fields: dict[str, str] = {}
            for line in answer.iter_lines(decode_unicode=True, chunk_size=1):
                word, _, value = line.partition(": ")
                fields[word] = value
                if not line and "event" in fields:
                    self.last = fields.get("id", self.last)
                    self.told.append((fields["event"], json.loads(fields["data"])))
                    fields = {}

    def ended(self) -> bool:
        return bool(self.told) and self.told[-1][0] in ("done", "error")

    def steps(self) -> list[int]:
        return [told["step"] for name, told in self.told if name == "progress"]


def test_a_stream_goes_on_when_its_web_worker_is_killed(service: LocalService) -> None:
    job = service.client().submit(EXAMPLE, pipeline="probe", seconds=4, steps=20)
    follower = Follower(f"{service.url}/jobs/{job.id}/events")
    until(lambda: len(follower.steps()) >= 2)
    for pid in service.web_workers():
        os.kill(pid, signal.SIGKILL)
    until(follower.ended)
    assert follower.connections >= 2 and follower.told[-1][1]["status"] == "complete"
    steps = follower.steps()
    assert steps == sorted(set(steps)) and len(steps) >= 6, "no step is told twice, and the stream went on"


def test_a_stream_and_a_waiting_caller_live_through_a_restart_of_redis(service: LocalService) -> None:
    job = service.client().submit(EXAMPLE, pipeline="probe", seconds=3, steps=10)
    follower = Follower(f"{service.url}/jobs/{job.id}/events")
    answers: list[dict[str, Any]] = []
    waiting = threading.Thread(
        target=lambda: answers.append(requests.get(f"{service.url}/jobs/{job.id}?wait=60", timeout=70).json())
    )
    waiting.start()
    until(lambda: follower.steps())
    with connect(f"unix://{service.data_dir}/redis/redis.sock") as redis:
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)
    until(follower.ended, 30)
    waiting.join(30)
    assert follower.told[-1][1]["status"] == "complete" and answers[0]["status"] == "complete"


def test_open_streams_do_not_keep_the_service_from_stopping(service: LocalService) -> None:
    job = service.client().submit(EXAMPLE, pipeline="probe", seconds=60)
    followers = [Follower(f"{service.url}/jobs/{job.id}/events") for _ in range(20)]
    until(lambda: all(follower.told for follower in followers))
    started = time.monotonic()
    service.stop()
    took = time.monotonic() - started
    for follower in followers:
        follower.leave()
    assert took < 9, "gunicorn waits ten seconds for requests that do not end"
