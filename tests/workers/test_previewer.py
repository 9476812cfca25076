"""The previewer: a rough shape for those who wait, and nothing lost when it cannot make one."""

import time
from pathlib import Path
from typing import Any

import pytest

from configs.settings import Settings
from geometry.inspect import inspect_glb
from jobs.queue import Input, JobQueue
from jobs.records import JobRequest
from jobs.transitions import Transitions
from storage import Storage, keys
from workers.previewer import Previewer

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def previewer(redis_url: str, storage: Storage, settings: Settings) -> Previewer:
    return Previewer(redis_url, storage, settings)


def submit(queue: JobQueue, data: bytes, pipeline: str = "relief", wanted: bool = True, **params: Any) -> str:
    request = JobRequest("c", "trellis", pipeline, params, wants_preview=wanted)
    return queue.submit(request, [Input(".png", data)], "cpu").record.id


def has_preview(queue: JobQueue, storage: Storage, job: str) -> bool:
    there = storage.exists(keys.extras_key("c", job, keys.PREVIEW))
    assert queue.get(job).preview == there
    return there


@pytest.mark.parametrize("pipeline", ["relief", "probe"])
def test_a_waiting_job_gets_a_sound_preview(
    queue: JobQueue, storage: Storage, previewer: Previewer, pipeline: str
) -> None:
    job = submit(queue, (EXAMPLES / "mug.png").read_bytes(), pipeline, seed=3)
    assert queue.next_to_preview(1) == job
    previewer.serve_one(job)
    assert has_preview(queue, storage, job)
    with storage.open(keys.extras_key("c", job, keys.PREVIEW)).stream as stream:
        report = inspect_glb(stream.read())
    assert report.sound and report.triangles <= 2500
    assert not storage.folders("scratch")


def test_only_those_who_want_one_are_listed(queue: JobQueue) -> None:
    submit(queue, b"x", wanted=False)
    assert queue.next_to_preview(0.1) == ""


def test_a_job_that_shows_its_own_is_left_alone(
    queue: JobQueue, storage: Storage, previewer: Previewer, transitions: Transitions
) -> None:
    data = (EXAMPLES / "mug.png").read_bytes()
    job = submit(queue, data)
    transitions.claim(job, "a", "w1", 60)
    previewer.serve_one(job)
    assert not has_preview(queue, storage, job), "relief shows its own as soon as it runs"
    other = submit(queue, data, "probe")
    transitions.claim(other, "a", "w1", 60)
    previewer.serve_one(other)
    assert has_preview(queue, storage, other), "a learned model takes minutes to its first shape"


def test_what_has_ended_or_gone_costs_nothing(
    queue: JobQueue, storage: Storage, previewer: Previewer, transitions: Transitions
) -> None:
    job = submit(queue, (EXAMPLES / "mug.png").read_bytes())
    transitions.cancel(job)
    started = time.monotonic()
    previewer.serve_one(job)
    previewer.serve_one("0" * 32)
    assert not has_preview(queue, storage, job) and time.monotonic() - started < 1


def test_a_picture_that_cannot_be_read_leaves_the_job_as_it_is(
    queue: JobQueue, storage: Storage, previewer: Previewer
) -> None:
    job = submit(queue, b"no picture at all")
    previewer.serve_one(job)
    assert not has_preview(queue, storage, job) and queue.get(job).status == "queued"


def test_a_job_deleted_meanwhile_leaves_no_file(queue: JobQueue, storage: Storage, previewer: Previewer) -> None:
    job = submit(queue, (EXAMPLES / "mug.png").read_bytes())
    sculptor = previewer.sculptor()

    class Slow:
        def preview(self, images: Any, params: Any) -> bytes:
            glb = sculptor.preview(images, params)
            queue.cancel(job, "c")
            queue.delete(queue.get(job))
            return glb

    previewer.sculptor = Slow  # type: ignore[assignment, method-assign]
    previewer.serve_one(job)
    assert not storage.exists(keys.extras_key("c", job, keys.PREVIEW))
