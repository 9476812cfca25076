"""What the dead leave behind is put right: jobs, ids that RQ lost, files past their time."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.settings import Settings
from jobs import reaper as reaper_module
from jobs.errors import JobNotFound
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import Input, JobQueue, rq_queue
from jobs.reaper import Reaper
from jobs.records import JobRequest, JobStatus
from jobs.server import connect
from jobs.transitions import Transitions
from storage import Storage, keys


@pytest.fixture
def reaper(redis_url: str, storage: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Reaper:
    found = Reaper(redis_url, storage, settings)
    monkeypatch.setattr(found, "_leases_can_be_trusted", lambda: True)
    return found


@pytest.fixture
def rq(redis_url: str) -> Iterator[Any]:
    with connect(redis_url, decode=False) as raw:
        yield rq_queue("cpu", raw)


def submit(queue: JobQueue, client: str = "c") -> str:
    return queue.submit(JobRequest(client, "trellis", "probe", {}), [Input(".png", b"x")], "cpu").record.id


def take(rq: Any, transitions: Transitions, attempt: str, worker: str = "w1", lease_s: float = 60) -> str:
    """What a worker does: take an id from RQ, then claim the job."""
    job_id: str = rq.connection.lpop(rq.key).decode()
    transitions.claim(job_id, attempt, worker, lease_s)
    return job_id


def test_a_job_whose_lease_ran_out_goes_to_the_front(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, rq: Any
) -> None:
    first, second = submit(queue), submit(queue)
    assert take(rq, transitions, "a", lease_s=0.01) == first
    time.sleep(0.05)
    reaper.once()
    assert rq.job_ids == [first, second]
    assert queue.look(first).position == 1 and queue.get(first).attempts == 1


def test_a_job_with_a_living_lease_is_left_alone(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, rq: Any
) -> None:
    job = submit(queue)
    take(rq, transitions, "a")
    reaper.once()
    assert queue.get(job).status is JobStatus.PROCESSING and rq.job_ids == []


def test_a_worker_seen_to_die_gives_back_only_its_own_job(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, redis: Any, rq: Any
) -> None:
    Fleet(redis).publish(WorkerInfo("w2", "host", 2, "cpu", "cpu", "busy", ["probe"]), 600)
    mine, other = submit(queue), submit(queue)
    take(rq, transitions, "a", "w1")
    take(rq, transitions, "b", "w2")
    reaper.died("host", 1)
    reaper.once()
    assert queue.get(mine).status is JobStatus.QUEUED and queue.get(other).status is JobStatus.PROCESSING
    assert [worker.name for worker in Fleet(redis).workers()] == ["w2"]


def test_the_last_attempt_ends_in_an_error_with_the_reason(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, storage: Storage, rq: Any
) -> None:
    job = submit(queue)
    storage.scratch(job)
    for attempt in "abc":
        take(rq, transitions, attempt, lease_s=0.01)
        time.sleep(0.03)
        reaper.once()
    record = queue.get(job)
    assert record.status is JobStatus.ERROR and "attempt 3 of 3" in record.error and rq.job_ids == []
    assert storage.folders("scratch") == [], "nobody else would clear up after it"


@pytest.mark.parametrize("intermediate", [True, False])
def test_an_id_that_rq_lost_is_handed_over_again(
    reaper: Reaper, queue: JobQueue, rq: Any, monkeypatch: pytest.MonkeyPatch, intermediate: bool
) -> None:
    monkeypatch.setattr(reaper_module, "_ADRIFT_AFTER_S", 0.1)
    lost, other = submit(queue), submit(queue)
    assert rq.connection.lpop(rq.key).decode() == lost
    if intermediate:  # the worker died between taking the id and claiming the job
        rq.connection.lpush(rq.intermediate_queue_key, lost)
    rq.connection.delete(f"rq:job:{lost}")
    reaper.once()
    assert rq.job_ids == [other], "perhaps a worker is just about to claim it"
    time.sleep(0.15)
    reaper.once()
    assert rq.job_ids == [lost, other] and rq.fetch_job(lost) is not None
    assert rq.connection.llen(rq.intermediate_queue_key) == 0
    time.sleep(0.15)
    reaper.once()
    assert rq.job_ids == [lost, other], "once is enough"


def test_an_id_that_is_handed_over_again_overtakes_nobody(
    reaper: Reaper, queue: JobQueue, rq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper_module, "_ADRIFT_AFTER_S", 0.0)
    ids = [submit(queue) for _ in range(4)]
    rq.connection.lrem(rq.key, 0, ids[2])
    reaper.recover()
    assert rq.job_ids == ids


def test_leases_are_not_trusted_just_after_redis_was_away(redis_url: str, storage: Storage, settings: Settings) -> None:
    fresh = Reaper(redis_url, storage, settings)
    fresh._last_pass = time.monotonic() - settings.lease_s
    assert not fresh._leases_can_be_trusted()


def test_ended_jobs_beyond_the_history_lose_record_and_files(
    reaper: Reaper, queue: JobQueue, storage: Storage, transitions: Transitions, rq: Any
) -> None:
    ids = []
    for number in range(12):
        ids.append(submit(queue))
        take(rq, transitions, str(number))
        storage.put(f"outputs/c/{ids[-1]}/output.glb", b"glb")
        transitions.complete(ids[-1], str(number), ["output.glb"], [])
    reaper.once()
    kept = [name for name, _ in storage.folders("outputs/c")]
    assert sorted(kept) == sorted(ids[2:]) == sorted(name for name, _ in storage.folders("inputs"))
    with pytest.raises(JobNotFound):
        queue.get(ids[0])


@pytest.mark.parametrize("environ", [{"MAQUETTE_HISTORY_LIMIT": "1"}], indirect=True)
def test_a_job_beyond_the_history_keeps_its_files_until_it_has_ended(
    reaper: Reaper, queue: JobQueue, storage: Storage, transitions: Transitions, rq: Any
) -> None:
    old, new = submit(queue), submit(queue)
    take(rq, transitions, "a")
    reaper.once()
    assert {name for name, _ in storage.folders("inputs")} == {old, new}
    transitions.complete(old, "a", [], [])
    reaper.once()
    assert {name for name, _ in storage.folders("inputs")} == {new}


def test_jobs_past_the_retention_are_removed(
    reaper: Reaper, queue: JobQueue, storage: Storage, transitions: Transitions, redis: Any, rq: Any
) -> None:
    old, new, waiting = submit(queue), submit(queue), submit(queue)
    for job_id, attempt in ((old, "a"), (new, "b")):
        take(rq, transitions, attempt)
        transitions.complete(job_id, attempt, [], [])
    storage.scratch(old)  # of an attempt that was killed
    redis.zadd("maquette:ended", {old: time.time() - 25 * 3600})
    reaper.once()
    assert {name for name, _ in storage.folders("inputs")} == {new, waiting} and storage.folders("scratch") == []
    with pytest.raises(JobNotFound):
        queue.get(old)


def test_files_without_a_record_are_swept_after_an_hour(
    reaper: Reaper, queue: JobQueue, storage: Storage, settings: Settings
) -> None:
    known = submit(queue)
    for folder in ("inputs/lost", "outputs/c/lost", "inputs/young"):
        storage.put(f"{folder}/file.png", b"x")
    abandoned = storage.scratch()
    old = time.time() - settings.job_timeout_s - 7200
    for path in (settings.data_dir / f"inputs/{known}", settings.data_dir / "inputs/lost", abandoned):
        os.utime(path, (old, old))
    os.utime(settings.data_dir / "outputs/c/lost", (old, old))
    reaper.sweep()
    assert {name for name, _ in storage.folders("inputs")} == {known, "young"}
    assert storage.folders("outputs") == [] and not abandoned.exists()


@pytest.fixture
def environ(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    return {"MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_LEASE_S": "3", **getattr(request, "param", {})}


def test_one_bad_record_keeps_the_reaper_from_nothing(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, redis: Any, rq: Any
) -> None:
    redis.hset("maquette:job:bad", mapping={"id": "bad", "status": "complete", "client": "c", "queue": "cpu"})
    redis.zadd("maquette:ended", {"bad": 1})
    redis.sadd("maquette:trim", "c")
    job = submit(queue)
    take(rq, transitions, "a", lease_s=0.01)
    time.sleep(0.05)
    reaper.once()
    assert queue.get(job).status is JobStatus.QUEUED
    assert redis.zscore("maquette:ended", "bad") is None, "it is not met again"


def test_what_a_newer_worker_says_besides_is_passed_over(queue: JobQueue, redis: Any) -> None:
    told = json.loads(redis.get("maquette:worker:w1"))
    redis.set("maquette:worker:w1", json.dumps({**told, "temperature": 61}))
    assert [worker.name for worker in Fleet(redis).workers()] == ["w1"]


def test_jobs_that_go_back_together_keep_their_order(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, redis: Any, rq: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper_module, "_ADRIFT_AFTER_S", 0.0)
    ids = [submit(queue) for _ in range(3)]
    for attempt in "abc":
        take(rq, transitions, attempt, "w1")
    redis.zadd("maquette:processing", dict(zip(ids, (1, 3, 2), strict=True)))  # the order in which leases run out
    reaper.expire()
    assert rq.job_ids == ids
    redis.delete(rq.key)
    reaper.recover()
    assert rq.job_ids == ids
    for attempt in "def":
        take(rq, transitions, attempt, "w1")
    reaper.died("host", 1)
    reaper.bury()
    assert rq.job_ids == ids


def test_what_dead_workers_took_from_rq_is_not_kept_once_no_job_waits_by_it(
    reaper: Reaper, queue: JobQueue, rq: Any
) -> None:
    cancelled, waiting = submit(queue), submit(queue)
    for _ in range(2):
        rq.connection.lmove(rq.key, rq.intermediate_queue_key)
    queue.cancel(cancelled, "c")
    reaper.recover()
    assert rq.connection.lrange(rq.intermediate_queue_key, 0, -1) == [waiting.encode()], "its worker may yet come to it"
    assert rq.fetch_job(cancelled) is None and rq.fetch_job(waiting) is not None


def test_files_of_a_job_that_ended_without_any_are_swept(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, storage: Storage, rq: Any
) -> None:
    ended, complete, running = (submit(queue) for _ in range(3))
    for job_id, attempt in zip((ended, complete, running), "abc", strict=True):
        take(rq, transitions, attempt)
        storage.put(f"outputs/c/{job_id}/manifest.json", b"{}")
    queue.cancel(ended, "c")  # after it was published; then its worker died before it removed the files
    assert transitions.complete(ended, "a", ["manifest.json"], []) == "cancelled"
    transitions.complete(complete, "b", ["manifest.json"], [])
    reaper.sweep()
    assert {name for name, _ in storage.folders("outputs/c")} == {complete, running}


@pytest.mark.parametrize("end", ["complete", "error", "cancelled", "by its last attempt"])
def test_what_attempts_had_kept_goes_when_their_worker_died_at_the_end(
    reaper: Reaper, queue: JobQueue, transitions: Transitions, storage: Storage, settings: Settings, end: str
) -> None:
    job, running = submit(queue), submit(queue)
    for one in (job, running):
        transitions.claim(one, "a", "w1", 60)
        transitions.keep(one, "a")
        storage.put(keys.kept_key("c", one, "latent.npz"), b"x")
    storage.put(keys.extras_key("c", job, "converted/output.glb/plain.stl"), b"x")
    if end == "complete":
        transitions.complete(job, "a", [], [])
    elif end == "error":
        transitions.fail(job, "a", "internal", "a bug")
    elif end == "cancelled":
        transitions.cancel(job)
        transitions.release(job, "a", counted=False, max_attempts=3)
    else:
        reaper._settings = settings.model_copy(update={"max_attempts": 1})
        reaper._taken(job, "w1")
        assert storage.names(keys.kept_folder("c", job)) == [], "at once"
    reaper.sweep()
    assert storage.names(keys.kept_folder("c", job)) == []
    assert storage.names(keys.kept_folder("c", running)) == ["latent.npz"]
    if end == "complete":
        assert storage.names(keys.extras_folder("c", job)) == ["converted/output.glb/plain.stl"]
