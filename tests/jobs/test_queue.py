"""Submitting, looking and cancelling, on a real Redis."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from configs.settings import load_settings
from jobs.errors import JobGone, JobNotFound, NoWorker, RedisUnavailable, TooManyJobs
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import Input, JobQueue, rq_queue
from jobs.records import JobRequest, JobStatus
from jobs.server import connect, serving
from jobs.transitions import Transitions
from storage import Storage, open_storage

PICTURES = [Input(".png", b"picture")]


def request(client: str = "10.0.0.1", **more: Any) -> JobRequest:
    return JobRequest(client, "trellis", "probe", {"seed": 1}, "cat.png", **more)


def test_a_submit_stores_the_input_the_record_and_the_id_for_rq(
    queue: JobQueue, storage: Storage, redis_url: str
) -> None:
    record = queue.submit(request(), PICTURES, "cpu").record
    assert record.status is JobStatus.QUEUED and record.params == {"seed": 1} and record.image_name == "cat.png"
    assert len(record.id) == 32
    with storage.open(record.inputs[0]).stream as stream:
        assert stream.read() == b"picture"
    with connect(redis_url, decode=False) as raw:
        assert rq_queue("cpu", raw).job_ids == [record.id]
        job = rq_queue("cpu", raw).fetch_job(record.id)
        assert job is not None and job.func_name == "workers.tasks.run" and job.args == [record.id]


def test_positions_count_from_one_in_the_order_of_acceptance(queue: JobQueue) -> None:
    views = [queue.submit(request(), PICTURES, "cpu") for _ in range(3)]
    assert [view.position for view in views] == [1, 2, 3]
    queue.cancel(views[0].record.id, "10.0.0.1")
    assert [queue.look(view.record.id).position for view in views] == [0, 1, 2]


def test_the_same_idempotency_key_gives_the_same_job(queue: JobQueue, storage: Storage) -> None:
    first = queue.submit(request(idempotency_key="k"), PICTURES, "cpu").record
    again = queue.submit(request(idempotency_key="k"), PICTURES, "cpu").record
    assert again.id == first.id
    known = queue.first_with_key("10.0.0.1", "k")
    assert known is not None and known.record.id == first.id
    assert queue.counts("10.0.0.1").waiting == 1
    assert [name for name, _ in storage.folders("inputs")] == [first.id], "the second submit's picture is gone"


def test_idempotency_keys_of_two_clients_do_not_meet(queue: JobQueue) -> None:
    mine = queue.submit(request("10.0.0.1", idempotency_key="k"), PICTURES, "cpu").record
    theirs = queue.submit(request("10.0.0.2", idempotency_key="k"), PICTURES, "cpu").record
    assert mine.id != theirs.id


def test_twenty_racing_submits_with_one_key_make_one_job(queue: JobQueue) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(queue.submit(request(idempotency_key="race"), PICTURES, "cpu").record.id)
        )
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and len(set(found)) == 1
    assert queue.counts("10.0.0.1").waiting == 1


def test_the_eleventh_active_job_is_refused_and_leaves_nothing(queue: JobQueue, storage: Storage) -> None:
    for _ in range(10):
        queue.submit(request(), PICTURES, "cpu")
    with pytest.raises(TooManyJobs, match="10 jobs waiting or running"):
        queue.submit(request(), PICTURES, "cpu")
    assert queue.counts("10.0.0.1").client_waiting == 10
    assert len(storage.folders("inputs")) == 10
    queue.submit(request("10.0.0.2"), PICTURES, "cpu")  # somebody else is not affected


def test_running_jobs_count_as_active(queue: JobQueue, transitions: Transitions) -> None:
    ids = [queue.submit(request(), PICTURES, "cpu").record.id for _ in range(10)]
    transitions.claim(ids[0], "a", "w1", 60)
    counts = queue.counts("10.0.0.1")
    assert (counts.client_waiting, counts.client_processing) == (9, 1)
    with pytest.raises(TooManyJobs):
        queue.submit(request(), PICTURES, "cpu")
    transitions.complete(ids[0], "a", [], [])
    queue.submit(request(), PICTURES, "cpu")


def test_somebody_elses_job_is_not_found(queue: JobQueue) -> None:
    record = queue.submit(request("10.0.0.1"), PICTURES, "cpu").record
    with pytest.raises(JobNotFound):
        queue.look(record.id, "10.0.0.2")
    with pytest.raises(JobNotFound):
        queue.cancel(record.id, "10.0.0.2")
    assert queue.history("10.0.0.2") == []
    assert queue.look(record.id, "10.0.0.1").record.status is JobStatus.QUEUED


def test_history_is_newest_first_and_limited(queue: JobQueue, transitions: Transitions) -> None:
    ids = []
    for number in range(12):
        ids.append(queue.submit(request(), PICTURES, "cpu").record.id)
        transitions.claim(ids[-1], f"a{number}", "w1", 60)
        transitions.complete(ids[-1], f"a{number}", [], [])
    assert [view.record.id for view in queue.history("10.0.0.1")] == ids[:1:-1]


def test_cancel_ends_a_waiting_job_and_asks_a_running_one(queue: JobQueue, transitions: Transitions) -> None:
    waiting, running = (queue.submit(request(), PICTURES, "cpu").record.id for _ in range(2))
    transitions.claim(running, "a", "w1", 60)
    assert queue.cancel(waiting, "10.0.0.1").record.status is JobStatus.CANCELLED
    view = queue.cancel(running, "10.0.0.1")
    assert view.record.status is JobStatus.PROCESSING and view.record.cancel
    assert transitions.renew(running, "a", 60) == "cancel"
    assert transitions.complete(running, "a", ["output.glb"], []) == "cancelled", "the wish came before the result"
    assert queue.cancel(running, "10.0.0.1").record.status is JobStatus.CANCELLED


def test_delete_removes_files_and_record(queue: JobQueue, storage: Storage, transitions: Transitions) -> None:
    record = queue.submit(request(), PICTURES, "cpu").record
    storage.put(f"outputs/10.0.0.1/{record.id}/output.glb", b"glb")
    transitions.claim(record.id, "a", "w1", 60)
    transitions.complete(record.id, "a", ["output.glb"], [])
    queue.delete(queue.get(record.id))
    assert storage.names(f"outputs/10.0.0.1/{record.id}") == [] and not storage.exists(record.inputs[0])
    with pytest.raises(JobNotFound):
        queue.get(record.id)
    assert queue.history("10.0.0.1") == []


def test_without_a_worker_a_submit_is_refused(queue: JobQueue, redis: Any) -> None:
    Fleet(redis).retire("w1")
    with pytest.raises(NoWorker, match="ai_worker.py"):
        queue.submit(request(), PICTURES, "cpu")


def test_a_job_waits_in_another_lane_when_its_own_has_no_worker(queue: JobQueue) -> None:
    assert queue.submit(request(), PICTURES, "cuda").record.queue == "cpu"


def test_a_job_for_a_device_waits_for_the_accelerator_and_for_the_cpu_only_without_one(
    queue: JobQueue, redis: Any, redis_url: str, storage: Storage, settings: Any
) -> None:
    assert queue.submit(request(), PICTURES, "device").record.queue == "cpu"
    Fleet(redis).publish(WorkerInfo("w2", "host", 2, "cuda:0", "cuda", "ready", ["probe"]), 600)
    fresh = JobQueue(redis_url, storage, settings)
    assert fresh.submit(request(), PICTURES, "device").record.queue == "cuda"
    assert fresh.submit(request(), PICTURES, "cpu").record.queue == "cpu"


def test_the_accelerators_worker_is_heard_first_about_what_cannot_run(
    queue: JobQueue, redis: Any, redis_url: str, storage: Storage, settings: Any
) -> None:
    assert queue.hindrance("learned") == ""
    for name, device, why in (("a", "cpu", "too slow"), ("b", "cuda", "no weights"), ("c", "cuda", "")):
        told = {"learned": why} if why else {}
        Fleet(redis).publish(WorkerInfo(name, "host", 1, device, device, "ready", ["relief"], unavailable=told), 600)
    assert JobQueue(redis_url, storage, settings).hindrance("learned") == "no weights"


def test_an_unreachable_redis_is_said_so_soon(settings: Any, storage: Storage) -> None:
    lonely = JobQueue("unix:///nowhere/redis.sock", storage, settings)
    started = time.monotonic()
    with pytest.raises(RedisUnavailable):
        lonely.ping()
    assert time.monotonic() - started < 3


def test_the_estimate_follows_what_such_jobs_took(queue: JobQueue, transitions: Transitions, redis: Any) -> None:
    first, second, third = (queue.submit(request(), PICTURES, "cpu").record.id for _ in range(3))
    assert queue.look(second).eta_s is None, "nothing is known yet"
    transitions.claim(first, "a", "w1", 60)
    redis.hset(f"maquette:job:{first}", "claimed_at", redis.time()[0] - 8)
    transitions.complete(first, "a", [], [])
    assert queue.look(second).eta_s == pytest.approx(12, abs=2), "one usual time and half of the one before"
    assert queue.look(third).eta_s == pytest.approx(20, abs=3)
    assert queue.look(first).eta_s == 0


def test_storage_that_is_not_configured_is_refused() -> None:
    with pytest.raises(Exception, match="scheme must be one of file"):
        open_storage("ftp://somewhere")


def test_a_key_whose_job_was_removed_brings_no_second_one(queue: JobQueue, redis: Any) -> None:
    record = queue.submit(request(idempotency_key="k"), PICTURES, "cpu").record
    key = "maquette:client:10.0.0.1:idempotency:k"
    assert redis.ttl(key) == -1, "as long as the job waits, so does its key"
    queue.cancel(record.id, "10.0.0.1")
    assert 0 < redis.ttl(key) <= 24 * 3600 + 1
    queue.delete(queue.get(record.id))
    with pytest.raises(JobGone, match=record.id):
        queue.submit(request(idempotency_key="k"), PICTURES, "cpu")
    assert queue.counts("10.0.0.1").waiting == 0


def test_a_redis_that_takes_no_writes_is_said_so(queue: JobQueue, redis: Any) -> None:
    redis.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(RedisUnavailable, match="takes no writes"):
            queue.submit(request(), PICTURES, "cpu")
    finally:
        redis.config_set("maxmemory", "0")
    queue.submit(request(), PICTURES, "cpu")


def test_a_redis_that_hangs_takes_no_thread_for_long(settings: Any, tmp_path: Path, storage: Storage) -> None:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "hanging")})) as url:
        pid = int(connect(url).info("server")["process_id"])
        lonely = JobQueue(url, storage, settings)
        assert lonely.ping()
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            for _ in range(20):
                with pytest.raises(RedisUnavailable):
                    lonely.ping()
            assert time.monotonic() - started < 5, "one call waits, the others are told at once"
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_submit_without_a_chance_is_told_before_costly_work(queue: JobQueue) -> None:
    queue.admit("10.0.0.1", "probe")
    for _ in range(10):
        queue.submit(request(), PICTURES, "cpu")
    with pytest.raises(TooManyJobs):
        queue.admit("10.0.0.1", "probe")
    with pytest.raises(NoWorker, match="MAQUETTE_PIPELINES=magic"):
        queue.admit("10.0.0.2", "magic")


def test_a_web_tier_whose_storage_the_workers_do_not_use_is_told_so(
    queue: JobQueue, storage: Storage, redis: Any, redis_url: str, settings: Any, tmp_path: Path
) -> None:
    redis.set("maquette:storage", storage.identity())
    queue.submit(request(), PICTURES, "cpu")
    elsewhere = open_storage(f"file://{tmp_path}/elsewhere")
    with pytest.raises(RedisUnavailable, match="another storage.*MAQUETTE_STORAGE"):
        JobQueue(redis_url, elsewhere, settings).submit(request(), PICTURES, "cpu")
    assert elsewhere.folders("inputs") == [] and queue.counts("10.0.0.1").waiting == 1
