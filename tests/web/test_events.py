"""Following a job: what a stream tells, how it goes on after a broken connection, and waiting for the end."""

import io
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from jobs.queue import Input, JobQueue
from jobs.records import JobProgress, JobRequest
from jobs.transitions import PREFIX, Transitions
from storage import Storage, keys

ME = "127.0.0.1"


@pytest.fixture
def job(queue: JobQueue) -> str:
    return queue.submit(JobRequest(ME, "trellis", "probe", {}), [Input(".png", b"x")], "cpu").record.id


class Follower:
    """Reads a stream as a browser does."""

    def __init__(self, client: FlaskClient, job_id: str, last: str = "") -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.answer = client.get(f"/jobs/{job_id}/events", headers=headers, buffered=False)
        self._parts: Iterator[bytes] = iter(self.answer.response)
        self._text = ""
        self.last = last

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event's name and data; raises StopIteration at the end."""
        while True:
            while "\n\n" not in self._text:
                self._text += next(self._parts).decode()
            block, _, self._text = self._text.partition("\n\n")
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.last = fields.get("id", self.last)
            if "event" in fields:
                return fields["event"], json.loads(fields["data"])

    def rest(self) -> list[tuple[str, dict[str, Any]]]:
        told = []
        try:
            while True:
                told.append(self.next())
        except StopIteration:
            self.answer.close()
            return told


def _run(job: str, transitions: Transitions, attempt: str = "a") -> None:
    transitions.claim(job, attempt, "w1", 60)
    transitions.renew(job, attempt, 60, JobProgress("mesh", 1, 2, 0.25))
    transitions.renew(job, attempt, 60, JobProgress("mesh", 2, 2, 0.5))
    transitions.complete(job, attempt, ["output.glb"], [])


def test_a_stream_begins_with_how_things_stand_and_ends_with_the_end(
    client: FlaskClient, job: str, transitions: Transitions
) -> None:
    follower = Follower(client, job)
    name, told = follower.next()
    assert (name, told["status"], told["position"], told["attempts"]) == ("status", "queued", 1, 0)
    _run(job, transitions)
    told_all = follower.rest()
    assert [name for name, _ in told_all] == ["status", "progress", "progress", "done"]
    assert [told["progress"] for name, told in told_all if name == "progress"] == [0.25, 0.5]
    assert told_all[-1][1]["status"] == "complete" and "output.glb" in told_all[-1][1]["urls"]["files"]


def test_a_follower_that_comes_back_is_told_what_it_missed_and_nothing_twice(
    client: FlaskClient, job: str, transitions: Transitions
) -> None:
    transitions.claim(job, "a", "w1", 60)
    first = Follower(client, job)
    assert first.next()[1]["status"] == "processing"
    first.answer.close()
    transitions.renew(job, "a", 60, JobProgress("mesh", 1, 2, 0.25))
    transitions.release(job, "a", counted=True, max_attempts=3)
    _run(job, transitions, "b")
    second = Follower(client, job, first.last)
    missed = second.rest()
    assert [name for name, _ in missed] == ["progress", "status", "status", "progress", "progress", "done"]
    assert [told["status"] for name, told in missed if name == "status"] == ["queued", "processing"]
    gone = client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": second.last})
    assert gone.status_code == 204, "who has seen the end must not come back for ever"


def test_the_end_is_told_also_when_its_events_have_expired(
    client: FlaskClient, job: str, transitions: Transitions, redis: Any
) -> None:
    transitions.claim(job, "a", "w1", 60)
    first = Follower(client, job)
    first.next()
    first.answer.close()
    transitions.fail(job, "a", "input", "no object")
    redis.delete(f"{PREFIX}events:{job}")
    late = Follower(client, job, first.last)
    ((name, told),) = late.rest()
    assert (name, told["error"], told["error_kind"]) == ("error", "no object", "input")
    assert client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": late.last}).status_code == 204


def test_a_cancelled_job_ends_its_streams(client: FlaskClient, job: str, transitions: Transitions) -> None:
    transitions.claim(job, "a", "w1", 60)
    follower = Follower(client, job)
    follower.next()
    client.delete(f"/jobs/{job}")
    assert follower.next()[1]["cancelling"] is True
    transitions.release(job, "a", counted=False, max_attempts=3)
    assert [(name, told["status"]) for name, told in follower.rest()] == [("done", "cancelled")]


def test_a_preview_is_told_and_served_before_the_end(
    client: FlaskClient, job: str, transitions: Transitions, storage: Storage
) -> None:
    follower = Follower(client, job)
    follower.next()
    storage.put(keys.extras_key(ME, job, keys.PREVIEW), b"glTF")
    assert transitions.preview(job)
    name, told = follower.next()
    assert name == "preview" and client.get(told["url"]).data == b"glTF"
    follower.answer.close()
    assert client.get(f"/jobs/{job}").json["urls"]["preview"] == told["url"]
    transitions.claim(job, "a", "w1", 60)
    transitions.complete(job, "a", [], [])
    assert not transitions.preview(job), "nobody needs the preview of what is there"
    assert client.delete(f"/jobs/{job}").json["deleted"]
    assert not storage.exists(keys.extras_key(ME, job, keys.PREVIEW))


def test_a_waiting_jobs_new_place_is_told(client: FlaskClient, queue: JobQueue, transitions: Transitions) -> None:
    ids = [queue.submit(JobRequest(ME, "trellis", "probe", {}), [], "cpu").record.id for _ in range(2)]
    follower = Follower(client, ids[1])
    assert follower.next()[1]["position"] == 2
    transitions.cancel(ids[0])
    before = follower.last
    name, told = follower.next()
    assert (name, told["position"]) == ("status", 1)
    assert follower.last == before, "it is no event of this job"
    follower.answer.close()


def test_a_stream_of_a_job_that_is_removed_just_ends(client: FlaskClient, job: str, transitions: Transitions) -> None:
    follower = Follower(client, job)
    follower.next()
    transitions.cancel(job)
    transitions.forget(job)
    assert follower.rest() == []
    assert client.get(f"/jobs/{job}/events").status_code == 404


def test_the_stream_of_another_client_is_not_found(client: FlaskClient, queue: JobQueue) -> None:
    job = queue.submit(JobRequest("10.0.0.9", "trellis", "probe", {}), [], "cpu").record.id
    assert client.get(f"/jobs/{job}/events").status_code == 404


@pytest.mark.parametrize("last", ["x", "1", "1-", "1-1; drop", "9" * 30 + "-0"])
def test_an_event_id_that_is_none_is_told(client: FlaskClient, job: str, last: str) -> None:
    answer = client.get(f"/jobs/{job}/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 400 and "Last-Event-ID" in answer.json["error"]


def test_no_more_streams_than_there_is_place_for(app: Flask, client: FlaskClient, job: str) -> None:
    slots = app.extensions["maquette"].slots
    for _ in range(500):
        slots.reserve()
    answer = client.get(f"/jobs/{job}/events")
    assert answer.status_code == 503 and answer.json["code"] == "too_many_waiting" and answer.headers["Retry-After"]
    assert client.get(f"/jobs/{job}?wait=5").status_code == 503
    slots.release()
    follower = Follower(client, job)
    follower.next()
    follower.answer.close()
    again = Follower(client, job)
    again.next()
    again.answer.close()


def test_waiting_answers_at_the_end(client: FlaskClient, job: str, transitions: Transitions) -> None:
    timer = threading.Timer(0.5, _run, [job, transitions])
    timer.start()
    started = time.monotonic()
    answer = client.get(f"/jobs/{job}?wait=30")
    assert answer.json["status"] == "complete" and "Retry-After" not in answer.headers
    assert 0.3 < time.monotonic() - started < 10
    timer.join()


def test_waiting_gives_up_after_its_time(client: FlaskClient, job: str) -> None:
    for path in (f"/jobs/{job}?wait=0.2", f"/queue/status?request_id={job}&wait=0.2"):
        answer = client.get(path)
        assert answer.status_code == 200 and int(answer.headers["Retry-After"]) >= 1
    assert client.get(f"/jobs/{job}?wait=0.2").json["status"] == "queued"


@pytest.mark.parametrize("wait", ["soon", "-1", "61", "nan", "inf"])
def test_a_wait_that_is_no_time_is_told(client: FlaskClient, job: str, wait: str) -> None:
    answer = client.get(f"/jobs/{job}?wait={wait}")
    assert answer.status_code == 400 and wait in answer.json["error"] and "60" in answer.json["error"]


def test_waiting_takes_no_working_slot(app: Flask, job: str, transitions: Transitions) -> None:
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(app.test_client().get(f"/jobs/{job}?wait=20").json["status"]))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    assert app.test_client().get("/health/live").status_code == 200, "20 wait, 8 may work"
    _run(job, transitions)
    for thread in threads:
        thread.join()
    assert answers == ["complete"] * 20


def test_the_pictures_as_sent_are_there_for_their_owner(client: FlaskClient, png: bytes, queue: JobQueue) -> None:
    sent = client.post("/image_to_3d", data={"pipeline": "probe", "image": (io.BytesIO(png), "a.png")})
    (url,) = sent.json["urls"]["inputs"]
    answer = client.get(url)
    assert answer.data == png and answer.mimetype == "image/png"
    assert client.get(url[:-1] + "1").status_code == 404
    other = queue.submit(JobRequest("10.0.0.9", "trellis", "probe", {}), [Input(".png", b"x")], "cpu").record.id
    assert client.get(f"/jobs/{other}/inputs/0").status_code == 404


def test_what_ended_while_redis_was_away_is_told_once_it_is_back(
    app: Flask, client: FlaskClient, job: str, transitions: Transitions
) -> None:
    queue = app.extensions["maquette"].queue
    answers: list[float] = []

    def wait() -> None:
        assert app.test_client().get(f"/jobs/{job}?wait=30").json["status"] == "complete"
        answers.append(time.monotonic())

    transitions.claim(job, "a", "w1", 60)
    waiting = threading.Thread(target=wait)
    waiting.start()
    follower = Follower(client, job)
    follower.next()
    time.sleep(0.5)
    queue._away_until = time.monotonic() + 1  # as after a lost connection: whoever is woken now can read nothing
    transitions.complete(job, "a", [], [])
    began = time.monotonic()
    assert follower.rest()[-1][0] == "done"
    waiting.join()
    assert max(time.monotonic() - began, answers[0] - began) < 8, "not only when they would have looked again anyway"
