"""Webhooks: told at the end, signed as the standard says, repeated until taken, never into a private network."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from configs.settings import Settings, load_settings
from jobs.queue import JobQueue
from jobs.reaper import Reaper
from jobs.records import JobRequest
from jobs.remote import Network
from jobs.transitions import PREFIX, Transitions
from jobs.webhooks import PAUSES_S, Courier, signed_headers, signing_secret
from storage import Storage


class Receiver(ThreadingHTTPServer):
    """Somebody's server that wants to know."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/hook?from=maquette"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(self.server.status)
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"MAQUETTE_ALLOW_PRIVATE_URLS": "1"}


@pytest.fixture
def courier(redis_url: str, storage: Storage, settings: Settings) -> Courier:
    return Courier(redis_url, storage, settings)


def ended(queue: JobQueue, transitions: Transitions, url: str, status: str = "complete") -> str:
    job = queue.submit(JobRequest("c", "trellis", "probe", {}, "mug.png", webhook_url=url), [], "cpu").record.id
    if status == "cancelled":
        transitions.cancel(job)
    else:
        transitions.claim(job, "a", "w1", 60)
        transitions.complete(job, "a", ["output.glb"], []) if status == "complete" else transitions.fail(
            job, "a", "input", "no object"
        )
    return job


@pytest.mark.parametrize("status", ["complete", "error", "cancelled"])
def test_every_end_is_told_once_and_signed(
    queue: JobQueue,
    transitions: Transitions,
    courier: Courier,
    receiver: Receiver,
    redis: Any,
    settings: Settings,
    status: str,
) -> None:
    job = ended(queue, transitions, receiver.url, status)
    assert transitions.next_webhook(60) == job and transitions.next_webhook(60) == "", "one courier alone has it"
    assert courier.deliver(job) == "delivered"
    ((headers, body),) = receiver.got
    told: Any = Webhook(signing_secret(redis, settings)).verify(body, headers)  # the standard's own library
    assert told["type"] == f"job.{status}" and told["data"]["job_id"] == job and told["data"]["status"] == status
    if status == "complete":
        assert told["data"]["urls"]["files"] == {"output.glb": f"/outputs/c/{job}/output.glb"}
    if status == "error":
        assert told["data"]["error"] == "no object"
    record = queue.get(job)
    assert (record.webhook_state, record.webhook_tries) == ("delivered", 1)
    assert redis.zcard(PREFIX + "webhooks") == 0


def test_a_forged_body_does_not_verify(redis: Any, settings: Settings) -> None:
    secret = signing_secret(redis, settings)
    headers = signed_headers(secret, "msg_1", int(time.time()), b'{"a": 1}')
    Webhook(secret).verify(b'{"a": 1}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b'{"a": 2}', headers)


def test_a_receiver_that_fails_is_asked_again_until_it_takes_it(
    queue: JobQueue, transitions: Transitions, courier: Courier, receiver: Receiver, redis: Any
) -> None:
    job = ended(queue, transitions, receiver.url)
    receiver.status = 500
    for tries, pause in enumerate(PAUSES_S[:3], 1):
        assert courier.deliver(job) == "again"
        due = float(redis.zscore(PREFIX + "webhooks", job)) - redis.time()[0]
        assert pause - 3 < due <= pause + 1 and queue.get(job).webhook_tries == tries
        assert "500" in queue.get(job).webhook_note
    receiver.status = 204
    assert courier.deliver(job) == "delivered"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1, "so that a receiver can tell repetitions"


@pytest.mark.parametrize("status", [301, 400, 404, 503])
def test_only_a_2xx_counts_and_no_redirect_is_followed(
    queue: JobQueue, transitions: Transitions, courier: Courier, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    assert courier.deliver(ended(queue, transitions, receiver.url)) == "again"
    assert len(receiver.got) == 1


def test_it_gives_up_in_the_end(queue: JobQueue, transitions: Transitions, courier: Courier, redis: Any) -> None:
    job = ended(queue, transitions, "http://127.0.0.1:9/closed")
    words = [courier.deliver(job) for _ in range(len(PAUSES_S) + 1)]
    assert words == ["again"] * len(PAUSES_S) + ["failed"]
    assert redis.zscore(PREFIX + "webhooks", job) is None and queue.get(job).webhook_state == "failed"


def test_a_receiver_that_is_gone_is_left_in_peace(
    queue: JobQueue, transitions: Transitions, courier: Courier, receiver: Receiver
) -> None:
    receiver.status = 410
    assert courier.deliver(ended(queue, transitions, receiver.url)) == "failed"


def test_a_name_that_leads_into_a_private_network_is_not_called(
    queue: JobQueue, transitions: Transitions, redis_url: str, storage: Storage, receiver: Receiver, tmp_path: Path
) -> None:
    settings = load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "data")})
    courier = Courier(redis_url, storage, settings, Network(resolve=lambda host, port: ["127.0.0.1"]))
    job = ended(queue, transitions, "http://hooks.example.com/")
    assert courier.deliver(job) == "failed" and receiver.got == []
    assert "public" in queue.get(job).webhook_note


def test_a_job_is_kept_until_its_webhook_is_settled(
    queue: JobQueue,
    transitions: Transitions,
    courier: Courier,
    receiver: Receiver,
    redis_url: str,
    storage: Storage,
    tmp_path: Path,
    redis: Any,
) -> None:
    settings = load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_HISTORY_LIMIT": "1"})
    reaper = Reaper(redis_url, storage, settings)
    receiver.status = 500
    job = ended(queue, transitions, receiver.url)
    ended(queue, transitions, "")
    courier.deliver(job)
    reaper.trim()
    assert queue.get(job).webhook_state == "again", "who asked to be told still has to be told"
    receiver.status = 200
    courier.deliver(job)
    reaper.trim()
    assert not redis.exists(f"{PREFIX}job:{job}")


def test_a_removed_job_is_told_to_nobody(
    queue: JobQueue, transitions: Transitions, courier: Courier, receiver: Receiver, redis: Any
) -> None:
    job = ended(queue, transitions, receiver.url)
    queue.delete(queue.get(job))
    assert transitions.next_webhook(60) == "" and courier.deliver(job) == "" and receiver.got == []


def test_the_courier_delivers_by_itself_and_one_that_hangs_holds_up_nobody(
    queue: JobQueue, transitions: Transitions, courier: Courier, receiver: Receiver
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # takes the connection and never answers
        slow = ended(queue, transitions, f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        jobs = [ended(queue, transitions, receiver.url) for _ in range(12)]
        courier.start()
        until = time.monotonic() + 8
        while len(receiver.got) < len(jobs) and time.monotonic() < until:
            time.sleep(0.05)
        courier.close()
        told = sorted(json.loads(body)["data"]["job_id"] for _, body in receiver.got)
        assert told == sorted(jobs) and queue.get(slow).webhook_state == ""


def test_the_secret_is_made_once_or_given(redis: Any, settings: Settings) -> None:
    first = signing_secret(redis, settings)
    assert first == signing_secret(redis, settings) and first.startswith("whsec_")
    given = load_settings({"MAQUETTE_WEBHOOK_SECRET": "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
    assert signing_secret(redis, given) == given.webhook_secret
