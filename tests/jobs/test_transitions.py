"""The state machine: what each transition does, and that a stale attempt changes nothing."""

import threading
import time
from typing import Any

import pytest

from jobs.queue import Input, JobQueue
from jobs.records import JobProgress, JobRecord, JobRequest, JobStatus
from jobs.transitions import PREFIX, Transitions


@pytest.fixture
def job(queue: JobQueue) -> str:
    return queue.submit(JobRequest("c", "trellis", "probe", {}), [Input(".png", b"x")], "cpu").record.id


def test_only_one_of_two_claims_gets_the_job(job: str, transitions: Transitions) -> None:
    first = transitions.claim(job, "a", "w1", 60)
    assert first is not None and first.status is JobStatus.PROCESSING and first.attempts == 1
    assert transitions.claim(job, "b", "w2", 60) is None


def test_a_claim_may_be_repeated_after_a_lost_reply(job: str, transitions: Transitions) -> None:
    transitions.claim(job, "a", "w1", 60)
    again = transitions.claim(job, "a", "w1", 60)
    assert again is not None and again.attempts == 1


def test_a_server_that_forgets_the_scripts_at_any_moment_is_told_them_again(
    redis: Any, transitions: Transitions
) -> None:
    over = threading.Event()

    def forget() -> None:
        while not over.is_set():
            redis.script_flush()

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        assert {transitions.cancel("nothing") for _ in range(500)} == {""}
    finally:
        over.set()
        thread.join()


def test_a_stale_attempt_changes_nothing(job: str, transitions: Transitions, queue: JobQueue) -> None:
    transitions.claim(job, "old", "w1", 60)
    assert transitions.release(job, "old", counted=True, max_attempts=3) == "queued"
    transitions.claim(job, "new", "w2", 60)
    assert transitions.renew(job, "old", 60, JobProgress("late", 1, 1, 1.0)) == "lost"
    assert transitions.complete(job, "old", ["stolen.glb"], []) == "lost"
    assert transitions.fail(job, "old", "crashed", "late") == "lost"
    assert transitions.release(job, "old", counted=True, max_attempts=3) == "lost"
    assert not transitions.keep(job, "old") and not queue.get(job).kept
    record = queue.get(job)
    assert record.attempt == "new" and record.status is JobStatus.PROCESSING and record.progress == JobProgress()
    assert transitions.complete(job, "new", ["output.glb"], []) == "complete"
    assert transitions.complete(job, "old", ["stolen.glb"], []) == "complete", "an ended job says how it ended"
    assert queue.get(job).files == ["output.glb"]


def test_a_released_job_is_the_next_again(job: str, transitions: Transitions, queue: JobQueue) -> None:
    later = queue.submit(JobRequest("d", "trellis", "probe", {}), [], "cpu").record.id
    transitions.claim(job, "a", "w1", 60)
    assert queue.look(later).position == 1
    transitions.release(job, "a", counted=True, max_attempts=3)
    assert (queue.look(job).position, queue.look(later).position) == (1, 2)


def test_the_third_counted_attempt_is_the_last(job: str, transitions: Transitions, queue: JobQueue) -> None:
    for attempt, word in (("a", "queued"), ("b", "queued"), ("c", "error")):
        transitions.claim(job, attempt, "w1", 60)
        assert (
            transitions.release(job, attempt, counted=True, max_attempts=3, kind="crashed", message="it died") == word
        )
    record = queue.get(job)
    assert record.error == "it died (attempt 3 of 3)" and record.error_kind == "crashed" and record.ended_at > 0


def test_an_attempt_that_does_not_count_is_given_back_for_nothing(
    job: str, transitions: Transitions, queue: JobQueue
) -> None:
    for number in range(5):
        transitions.claim(job, str(number), "w1", 60)
        assert transitions.release(job, str(number), counted=False, max_attempts=3) == "queued"
    assert queue.get(job).attempts == 0


def test_a_lease_that_ran_out_frees_the_job_and_a_living_one_does_not(job: str, transitions: Transitions) -> None:
    transitions.claim(job, "a", "w1", 0.2)
    assert transitions.expire(job, 3, "crashed", "gone") == "alive"
    time.sleep(0.25)
    assert transitions.renew(job, "a", 0.2) == "mine", "late, but nobody had noticed"
    time.sleep(0.25)
    assert transitions.expire(job, 3, "crashed", "gone") == "queued"
    assert transitions.renew(job, "a", 60) == "lost"


def test_a_worker_seen_to_die_loses_its_job_at_once(job: str, transitions: Transitions) -> None:
    transitions.claim(job, "a", "w1", 60)
    assert transitions.expire(job, 3, "crashed", "gone", dead_worker="w2") == "alive"
    assert transitions.expire(job, 3, "crashed", "gone", dead_worker="w1") == "queued"


def test_a_cancelled_job_of_a_dead_worker_ends_cancelled(job: str, transitions: Transitions, queue: JobQueue) -> None:
    transitions.claim(job, "a", "w1", 60)
    queue.cancel(job, "c")
    assert transitions.expire(job, 3, "crashed", "gone", dead_worker="w1") == "cancelled"


def test_only_ended_jobs_are_forgotten(job: str, transitions: Transitions, redis: Any) -> None:
    assert not transitions.forget(job)
    transitions.claim(job, "a", "w1", 60)
    assert not transitions.forget(job)
    transitions.complete(job, "a", [], [])
    assert transitions.forget(job)
    left = {key for key in redis.scan_iter(PREFIX + "*")}
    left = {key for key in left if not key.startswith(PREFIX + "minute:")}  # counters, which expire by themselves
    assert left <= {PREFIX + name for name in ("seq", "trim", "usual", "counted", "workers", "worker:w1")}
    assert transitions.complete(job, "a", [], []) == "gone"


def test_a_worker_that_does_not_offer_the_pipeline_does_not_get_the_job(
    job: str, transitions: Transitions, queue: JobQueue
) -> None:
    assert transitions.claim(job, "a", "w1", 60, ["relief"]) == "elsewhere"
    assert queue.get(job).status is JobStatus.QUEUED and queue.get(job).attempts == 0
    assert transitions.claim(job, "a", "w1", 60, ["relief", "probe"]) is not None


def test_one_dead_worker_does_not_cost_the_living_their_jobs(job: str, transitions: Transitions) -> None:
    transitions.claim(job, "a", "w1", 0.01)
    time.sleep(0.05)  # Redis was away: the lease lapsed, but w1 lives
    assert transitions.expire(job, 3, "crashed", "gone", dead_worker="w2") == "alive"


def test_what_is_kept_is_known_to_the_next_attempt(job: str, transitions: Transitions, queue: JobQueue) -> None:
    assert not transitions.keep(job, "a"), "it has not begun"
    transitions.claim(job, "a", "w1", 60)
    assert transitions.keep(job, "a")
    transitions.release(job, "a", counted=True, max_attempts=3)
    again = transitions.claim(job, "b", "w2", 60)
    assert isinstance(again, JobRecord) and again.kept
    transitions.cancel(job)
    assert not transitions.keep(job, "b"), "it ends at its next step"


def test_what_is_left_to_do_is_estimated_from_where_the_attempt_began(
    job: str, transitions: Transitions, queue: JobQueue, redis: Any
) -> None:
    transitions.claim(job, "a", "w1", 60)
    redis.hincrbyfloat(f"{PREFIX}job:{job}", "claimed_at", -10)
    for begun, seconds in ((0.0, 2.5), (0.6, 10.0)):  # 0.8 done in ten seconds, or 0.2
        transitions.renew(job, "a", 60, JobProgress("late", 1, 1, 0.8, begun))
        assert queue.look(job).eta_s == pytest.approx(seconds, rel=0.1)
