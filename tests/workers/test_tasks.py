"""One attempt at a job, from claim to end, with a real device process and a real Redis."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import OutOfMemoryError

import pipelines
from configs.settings import Settings, load_settings
from jobs.queue import Input, JobQueue
from jobs.records import JobRecord, JobRequest, JobStatus
from jobs.transitions import Transitions
from pipelines.base import Machine
from storage import Storage, keys
from storage.errors import StorageFull
from tests.conftest import PLUGIN
from web.resources.jobs import preview_url
from workers import tasks
from workers.supervisor import Supervisor
from workers.tasks import JobRunner

Run = Callable[..., JobRecord]


@pytest.fixture(scope="module")
def supervisor() -> Iterator[Supervisor]:
    found = Supervisor(Machine("cpu"), ["probe", "staged"], [PLUGIN])
    yield found
    found.kill()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    pipelines.register(PLUGIN)
    environ = {"MAQUETTE_DATA_DIR": str(tmp_path), "MAQUETTE_JOB_TIMEOUT_S": "1.5", "MAQUETTE_LEASE_S": "3"}
    return load_settings(environ, tmp_path)


@pytest.fixture
def requeued() -> list[str]:
    return []


@pytest.fixture
def runner(
    settings: Settings, transitions: Transitions, storage: Storage, supervisor: Supervisor, requeued: list[str]
) -> JobRunner:
    return JobRunner(
        "w1",
        settings,
        transitions,
        storage,
        supervisor,
        requeue=requeued.append,
        pass_on=requeued.append,
        offered=["probe", "staged"],
        stopping=lambda: False,
        beat=lambda: None,
    )


@pytest.fixture
def submit(queue: JobQueue) -> Callable[..., str]:
    def call(pipeline: str = "probe", **params: Any) -> str:
        return queue.submit(JobRequest("c", "trellis", pipeline, params), [Input(".png", b"x")], "cpu").record.id

    return call


def test_a_job_ends_complete_with_its_files_published(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage
) -> None:
    job = submit(seed=3)
    runner.run(job)
    record = queue.get(job)
    assert record.status is JobStatus.COMPLETE and record.files == ["manifest.json", "result.txt"]
    with storage.open(f"outputs/c/{job}/manifest.json").stream as stream:
        manifest = json.load(stream)
    assert manifest["request_id"] == job and manifest["seed"] == 3 and manifest["attempt"] == 1
    assert storage.folders("scratch") == []


def test_a_job_that_takes_too_long_is_stopped_and_not_tried_again(
    runner: JobRunner, submit: Any, queue: JobQueue, requeued: list[str]
) -> None:
    job = submit(seconds=30, steps=300)
    started = time.monotonic()
    runner.run(job)
    record = queue.get(job)
    assert record.status is JobStatus.ERROR and record.error_kind == "timeout" and requeued == []
    assert "1.5 s" in record.error and time.monotonic() - started < 4


def test_an_attempt_that_died_between_publishing_and_saying_so_is_adopted(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, transitions: Transitions
) -> None:
    job = submit(seed=4)
    transitions.claim(job, "dead", "w0", 60)
    storage.put(f"outputs/c/{job}/result.txt", b"from the dead")
    storage.put(f"outputs/c/{job}/manifest.json", b'{"warnings": ["told before"]}')
    transitions.release(job, "dead", counted=True, max_attempts=3)
    runner.run(job)
    record = queue.get(job)
    assert record.status is JobStatus.COMPLETE and record.warnings == ["told before"]
    with storage.open(f"outputs/c/{job}/result.txt").stream as stream:
        assert stream.read() == b"from the dead", "published at most once"


def test_a_job_cancelled_while_it_published_leaves_no_files(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    publish = storage.publish

    def publish_and_cancel(source: Path, folder: str) -> bool:
        found = publish(source, folder)
        queue.cancel(job, "c")
        return found

    monkeypatch.setattr(storage, "publish", publish_and_cancel)
    runner.run(job)
    assert queue.get(job).status is JobStatus.CANCELLED and storage.names(f"outputs/c/{job}") == []


def test_a_stale_attempt_publishes_nothing(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, transitions: Transitions
) -> None:
    job = submit(seconds=1, steps=2)
    claim = transitions.claim

    def claim_and_lose(*args: Any) -> Any:
        record = claim(*args)
        assert isinstance(record, JobRecord)
        transitions.release(job, record.attempt, counted=True, max_attempts=3)  # as the reaper would
        return record

    runner._transitions.claim = claim_and_lose  # type: ignore[method-assign,assignment]
    runner.run(job)
    assert queue.get(job).status is JobStatus.QUEUED and storage.names(f"outputs/c/{job}") == []


def test_a_picture_that_is_gone_is_said_so(runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage) -> None:
    job = submit()
    storage.delete(f"inputs/{job}")
    runner.run(job)
    assert queue.get(job).error_kind == "input_lost"


def test_a_full_disk_gives_the_job_back_and_ends_it_at_last_with_the_reason(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, requeued: list[str], monkeypatch: Any
) -> None:
    def full(*args: object) -> None:
        raise StorageFull(28, "the data folder is full")

    monkeypatch.setattr(tasks, "_PAUSE_S", 0)
    monkeypatch.setattr(storage, "publish", full)
    job = submit()
    for _ in range(3):
        runner.run(job)
    record = queue.get(job)
    assert requeued == [job, job] and record.status is JobStatus.ERROR
    assert "the data folder is full" in record.error and "attempt 3 of 3" in record.error


def test_a_full_disk_in_the_device_process_is_the_machines_failure_and_not_the_jobs(
    runner: JobRunner, submit: Any, queue: JobQueue, requeued: list[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(tasks, "_PAUSE_S", 0)
    job = submit(deed="full")
    for _ in range(3):
        runner.run(job)
    record = queue.get(job)
    assert requeued == [job, job] and record.error_kind == "storage" and "No space left on device" in record.error


def test_a_redis_that_takes_no_writes_does_not_end_the_job(
    runner: JobRunner, submit: Any, queue: JobQueue, redis: Any
) -> None:
    job = submit(deed="bad_input", seconds=1)
    runner._beat = lambda: redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            runner.run(job)
    finally:
        redis.config_set("maxmemory", 0)
    assert queue.get(job).status is JobStatus.PROCESSING, "its lease runs out, and it is tried again"


def test_a_bug_of_ours_ends_the_job_and_not_the_worker(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, monkeypatch: Any
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(storage, "fetch", broken)
    job = submit()
    runner.run(job)
    assert queue.get(job).error == "KeyError: 'a bug'"


def test_a_job_of_another_pipeline_is_passed_on(
    runner: JobRunner, submit: Any, queue: JobQueue, requeued: list[str]
) -> None:
    job = submit("relief")
    runner.run(job)
    assert queue.get(job).status is JobStatus.QUEUED and requeued == [job]


def test_an_ended_job_is_passed_over(runner: JobRunner, submit: Any, queue: JobQueue) -> None:
    job = submit()
    queue.cancel(job, "c")
    before = queue.get(job)
    runner.run(job)
    assert queue.get(job) == replace(before)


def test_a_plain_rq_worker_is_told_what_serves_this_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_runner", None)
    with pytest.raises(RuntimeError, match="ai_worker.py"):
        tasks.run("job")


def steps_of(redis: Any, job: str) -> list[list[tuple[str, float]]]:
    """Stage and fraction of each report of progress, by attempt."""
    attempts: list[list[tuple[str, float]]] = []
    for _, event in redis.xrange(f"maquette:events:{job}"):
        told = json.loads(event["data"])
        if event["event"] == "status" and told["status"] == "processing":
            attempts.append([])
        elif event["event"] == "progress":
            attempts[-1].append((told["stage"], told["fraction"]))
    return attempts


def published(storage: Storage, job: str, name: str) -> str:
    with storage.open(keys.output_key("c", job, name)).stream as stream:
        return str(stream.read().decode())


def kept(storage: Storage, job: str) -> list[str]:
    return storage.names(keys.kept_folder("c", job))


def test_a_process_that_dies_after_a_stage_does_not_cost_that_stage(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, redis: Any, tmp_path: Path
) -> None:
    job = submit("staged", deed=f"crash_once:{tmp_path}", seconds=0.3)
    runner.run(job)
    assert queue.get(job).status is JobStatus.QUEUED and kept(storage, job) == ["latent.npz"]
    with storage.open(keys.kept_key("c", job, "latent.npz")).stream as stream:
        token = stream.read().decode()
    runner.run(job)
    record = queue.get(job)
    assert record.status is JobStatus.COMPLETE and record.attempts == 2
    assert published(storage, job, "result.txt") == f"{token}, first stage run 0 times in this process\n"
    assert published(storage, job, keys.STRUCTURE) == token
    first, second = steps_of(redis, job)
    assert {stage for stage, _ in first} <= {"structure"}
    assert {stage for stage, _ in second} == {"surface"} and second[0][1] == 0.4, "it goes on where it was"
    assert record.progress.begun == 0.4
    assert storage.folders("extras/c") == [] or storage.names(f"extras/c/{job}") == [], "nothing outlives the job's end"


def test_a_job_that_dies_three_times_leaves_nothing_kept(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage
) -> None:
    job = submit("staged", deed="crash")
    for left in (["latent.npz"], ["latent.npz"], []):
        runner.run(job)
        assert kept(storage, job) == left
    assert queue.get(job).error_kind == "crashed"


def test_a_job_given_back_by_a_worker_that_leaves_goes_on_at_another(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage
) -> None:
    job = submit("staged", seconds=1.2, steps=60)
    runner._stopping = lambda: bool(kept(storage, job))
    runner.run(job)
    assert queue.get(job).status is JobStatus.QUEUED and queue.get(job).attempts == 0
    runner._stopping = lambda: False
    runner.run(job)
    assert queue.get(job).attempts == 1
    assert json.loads(published(storage, job, "manifest.json"))["params"]["stage"] == "both"
    assert queue.get(job).progress.begun == 0.4, "the second began with the second stage"
    assert kept(storage, job) == []


def test_what_was_kept_and_cannot_be_read_is_made_again(
    runner: JobRunner, submit: Any, storage: Storage, tmp_path: Path
) -> None:
    job = submit("staged", deed=f"crash_once:{tmp_path}")
    runner.run(job)
    storage.put(keys.kept_key("c", job, "latent.npz"), b"tok")
    runner.run(job)
    assert "first stage run 1 times" in published(storage, job, "result.txt")


def test_a_job_does_not_fail_because_nothing_can_be_kept(
    runner: JobRunner, submit: Any, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise StorageFull(28, "the data folder is full")

    job = submit("staged", deed=f"crash_once:{tmp_path}")
    monkeypatch.setattr(storage, "put", full)
    runner.run(job)
    assert kept(storage, job) == []
    runner.run(job)
    assert "first stage run 1 times" in published(storage, job, "result.txt")


def test_a_job_cancelled_between_two_attempts_leaves_nothing_kept(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage
) -> None:
    job = submit("staged", deed="crash")
    runner.run(job)
    assert kept(storage, job)
    assert queue.cancel(job, "c").record.status is JobStatus.CANCELLED
    assert kept(storage, job) == []


def test_a_job_cancelled_in_its_second_stage_leaves_nothing(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage
) -> None:
    job = submit("staged", seconds=1.2, steps=60)
    keep = runner.keep

    def keep_and_cancel(record: JobRecord, result: Path) -> None:
        keep(record, result)
        assert kept(storage, job)
        queue.cancel(job, "c")

    runner.keep = keep_and_cancel  # type: ignore[method-assign]
    runner.run(job)
    assert queue.get(job).status is JobStatus.CANCELLED
    assert kept(storage, job) == storage.names(keys.output_folder("c", job)) == []


def test_each_preview_is_told_and_has_an_address_of_its_own(
    runner: JobRunner, submit: Any, queue: JobQueue, storage: Storage, redis: Any, tmp_path: Path
) -> None:
    job = submit()
    addresses = set()
    for number in (1, 2):
        (tmp_path / "rough.glb").write_bytes(b"%d" % number)
        runner.show(queue.get(job), tmp_path / "rough.glb")
        addresses.add(preview_url(queue.get(job)))
        with storage.open(keys.extras_key("c", job, keys.PREVIEW)).stream as stream:
            assert stream.read() == b"%d" % number
    told = [event["event"] for _, event in redis.xrange(f"maquette:events:{job}")]
    assert told == ["preview", "preview"] and len(addresses) == 2
