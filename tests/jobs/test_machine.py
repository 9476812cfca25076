"""The whole state machine: clients, workers, reapers and time in any order, each step compared with a plain model.

The model is the specification in Python. After every step Redis must agree with it about every field of every job,
hold no key that the model does not explain, and RQ must know every waiting job or the reaper find it missing.
"""

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine
from rq.queue import Queue

from configs.settings import load_settings
from jobs import reaper as reaper_module
from jobs.errors import JobGone, JobNotFound, TooManyJobs
from jobs.fleet import LANES, Fleet, WorkerInfo
from jobs.queue import Input, JobQueue, rq_push, rq_queue
from jobs.reaper import Reaper
from jobs.records import JobProgress, JobRecord, JobRequest, JobStatus
from jobs.server import connect
from jobs.transitions import PREFIX, Transitions, script
from storage import Storage, open_storage
from tests.jobs.model import MAX_ATTEMPTS, Model

# What keys there may be besides those the model names. A name that ends at a colon stands for all that begin with it.
LASTING = ("seq", "usual", "trim", "workers", "worker:", "storage", "counted", "minute:")  # stay when every job is gone
OF_A_JOB = ("job:", "events:")  # end with a job's id, and go with the job
PLACES = ("processing", "ended", "webhooks")  # sorted sets of ids, none of a job that has gone

MAX_ACTIVE, HISTORY = 3, 2
CLIENTS = ("ada", "ben")
WORKERS = ("w1", "w2", "w3")
CRASHED = ("crashed", "the worker died while it ran the job")
DEEDS = ("renew", "complete", "fail", "release")
DAY_S = 24 * 3600

clients = st.sampled_from(CLIENTS)
lanes = st.sampled_from(LANES)
workers = st.sampled_from(WORKERS)
picks = st.integers(0, 7)
lost_reply = st.booleans()


class Machine(RuleBasedStateMachine):
    """Two clients, three workers on two lanes, a reaper, and replies that get lost."""

    queue: JobQueue
    reaper: Reaper
    transitions: Transitions
    storage: Storage
    redis: Any
    raw: Any

    @initialize(lanes=st.lists(lanes, max_size=4))
    def begin(self, lanes: list[str]) -> None:
        self.redis.flushall()
        for folder, _ in self.storage.folders("inputs"):
            self.storage.delete(f"inputs/{folder}")
        for number, name in enumerate(WORKERS):
            self._born(name, number)
        self.known: dict[str, Model] = {}  # in the order of acceptance
        self.gone: dict[str, Model] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.adrift: set[str] = set()  # taken from RQ or never handed to it, by somebody who may be dead
        self.ends: dict[str, float] = {}
        self.lapses = 0
        for lane in lanes:
            self._submit(CLIENTS[len(self.known) % 2], lane, "", False)

    def _born(self, name: str, number: int) -> None:
        lane = LANES[number % 2]
        info = WorkerInfo(name, "host", number, lane, lane, "ready", ["probe"])
        Fleet(self.redis).publish(info, 600)

    def _pick(self, pick: int, *, also_gone: bool = True) -> Model:
        all_jobs = list(self.known.values()) + (list(self.gone.values())[-2:] if also_gone else [])
        return all_jobs[pick % len(all_jobs)]

    def _jobs(self) -> bool:
        return bool(self.known)

    def _of(self, client: str, *statuses: JobStatus) -> list[Model]:
        return [job for job in self.known.values() if job.client == client and job.status in statuses]

    def _processing(self) -> list[Model]:
        return [job for job in self.known.values() if job.status is JobStatus.PROCESSING]

    def _waiting(self, lane: str) -> list[str]:
        jobs = self.known.values()
        return [job.id for job in jobs if job.queue == lane and job.status is JobStatus.QUEUED]

    def _dump(self) -> dict[str, Any]:
        """Everything about jobs, byte for byte."""
        names = [name for name in sorted(self.redis.scan_iter(PREFIX + "*", 1000)) if "worker" not in name]
        with self.raw.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.dump(name)
            return dict(zip(names, pipe.execute(), strict=True))

    @contextlib.contextmanager
    def _unchanged(self, really: bool = True) -> Iterator[None]:
        """What happens inside changes not one byte."""
        before = self._dump() if really else {}
        yield
        if really:
            assert self._dump() == before

    def _say(self, call: Callable[[], Any], expected: Any, lost: bool, again: Any = None, noop: bool = False) -> None:
        """One transition, whose reply may get lost: then the connection sends the same script again."""
        with self._unchanged(noop):
            assert call() == expected
        if lost:
            with self._unchanged():
                assert call() == (expected if again is None else again)

    # Clients

    @rule(client=clients, lane=lanes, how_many=st.integers(1, 3))
    def submit(self, client: str, lane: str, how_many: int) -> None:
        for _ in range(how_many):
            self._submit(client, lane, "", False)

    @rule(client=clients, lane=lanes, key=st.sampled_from(["k1", "k2"]), lost=lost_reply)
    def submit_with_key(self, client: str, lane: str, key: str, lost: bool) -> None:
        self._submit(client, lane, key, lost)

    def _submit(self, client: str, lane: str, key: str, lost: bool) -> None:
        request = JobRequest(client, "trellis", "probe", {"seed": 1}, idempotency_key=key)
        first = self.keys.get((client, key)) if key else None
        active = self._of(client, JobStatus.QUEUED, JobStatus.PROCESSING)
        found = self.queue.first_with_key(client, key)
        assert (found.record.id if found else None) == (first if first in self.known else None)
        refused = first is not None or len(active) >= MAX_ACTIVE
        with self._unchanged(refused), self._replies_lost() if lost else contextlib.nullcontext():
            if first in self.gone:
                with pytest.raises(JobGone, match=first):
                    self.queue.submit(request, [Input(".png", b"x")], lane)
            elif first is None and refused:
                with pytest.raises(TooManyJobs, match=f"{MAX_ACTIVE} jobs"):
                    self.queue.submit(request, [Input(".png", b"x")], lane)
            else:
                view = self.queue.submit(request, [Input(".png", b"x")], lane)
                assert first in (None, view.record.id), "one key, one job"
                if first is None:
                    self._accepted(Model(view.record.id, client, lane), key)

    def _accepted(self, job: Model, key: str) -> None:
        assert job.id not in self.known and job.id not in self.gone
        self.known[job.id] = job
        if key:
            self.keys[job.client, key] = job.id

    @contextlib.contextmanager
    def _replies_lost(self) -> Iterator[None]:
        """What the web tier sends in one round trip arrives twice: the connection broke before the answer."""
        enqueue = self.queue._enqueue

        def twice(*args: Any) -> Any:
            word, answer = enqueue(*args)
            if word == "accepted":
                again, same = enqueue(*args)
                assert (again, same[0]) == (word, answer[0])
            else:
                assert enqueue(*args)[0] == word
            return word, answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.queue, "_enqueue", twice)
            yield

    @precondition(_jobs)
    @rule(pick=picks, lost=lost_reply)
    def cancel(self, pick: int, lost: bool) -> None:
        job = self._pick(pick)
        word = "" if job.id in self.gone else str(job.status)
        if job.status is JobStatus.QUEUED:
            word = job.end(JobStatus.CANCELLED)
        elif job.status is JobStatus.PROCESSING:
            word, job.cancel = "cancelling", True
        self._say(lambda: self.transitions.cancel(job.id), word, lost)

    @precondition(_jobs)
    @rule(pick=picks, lost=lost_reply)
    def delete(self, pick: int, lost: bool) -> None:
        job = self._pick(pick)
        if job.id in self.known and job.status.final:
            self.storage.delete(f"inputs/{job.id}")
            self._say(lambda: self.transitions.forget(job.id), True, lost, again=False)
            self._forgotten(job)
        else:
            self._say(lambda: self.transitions.forget(job.id), False, lost, noop=True)

    def _forgotten(self, job: Model) -> None:
        self.gone[job.id] = self.known.pop(job.id)

    # Workers

    @precondition(lambda self: any(job.status is JobStatus.QUEUED for job in self.known.values()))
    @rule(lane=lanes, chosen=st.lists(workers, min_size=1, max_size=3))
    def work(self, lane: str, chosen: list[str]) -> None:
        for worker in chosen:
            self._take(lane, worker, "works")

    @precondition(_jobs)
    @rule(lane=lanes, fate=st.sampled_from(["dies before", "dies between"]))
    def die_between_rq_and_claim(self, lane: str, fate: str) -> None:
        self._take(lane, "w1", fate)

    def _take(self, lane: str, worker: str, fate: str) -> None:
        """As RQ and then `DeviceWorker.execute_job` do it. A worker may die before or after RQ's copy is removed."""
        rq = rq_queue(lane, self.raw)
        got = Queue.dequeue_any([rq], None, connection=self.raw, serializer=rq.serializer)
        listed = {name.decode() for name in self.raw.lrange(rq.key, 0, -1)}
        self.adrift |= {job_id for job_id in self._waiting(lane) if job_id not in listed}
        if got is None or fate == "dies before":
            return
        job_id = got[0].id
        self.raw.lrem(rq.intermediate_queue_key, 1, job_id)
        self.raw.delete(got[0].key)
        if fate == "works":
            self._claim(self.known.get(job_id) or self.gone.get(job_id) or Model(job_id, "", ""), worker, False)

    @precondition(_jobs)
    @rule(pick=picks, worker=workers, lost=lost_reply)
    def claim_late(self, pick: int, worker: str, lost: bool) -> None:
        """An id that was delivered twice, or to a worker that slept on it."""
        self._claim(self._pick(pick), worker, lost)

    def _claim(self, job: Model, worker: str, lost: bool) -> None:
        attempt = uuid.uuid4().hex
        waits = job.id in self.known and job.status is JobStatus.QUEUED
        with self._unchanged(not waits):
            got = self.transitions.claim(job.id, attempt, worker, 60, ["relief", "probe"])
        if not waits:
            assert got is None
            return
        job.claim(attempt, worker)
        assert isinstance(got, JobRecord)
        job.agrees(got)
        if lost:
            with self._unchanged():
                assert self.transitions.claim(job.id, attempt, worker, 60, ["relief", "probe"]) == got

    @precondition(_jobs)
    @rule(worker=workers)
    def ask_in_vain(self, worker: str) -> None:
        """What a worker without the pipeline and a client that does not own the job get."""
        with self._unchanged():
            for job in self.known.values():
                word = "elsewhere" if job.status is JobStatus.QUEUED else None
                assert self.transitions.claim(job.id, "x", worker, 60, ["relief"]) == word
                with pytest.raises(JobNotFound):
                    self.queue.cancel(job.id, "eve")

    @precondition(_jobs)
    @rule()
    def wake_up_late(self) -> None:
        """Workers that were paused go on with attempts that no longer count."""
        with self._unchanged():
            for job in [*self.known.values(), *list(self.gone.values())[-2:]]:
                here = job.id in self.known
                for attempt in ["never", *[one for one in job.past if not (here and job.runs(one))][-2:]]:
                    ended = "gone" if not here else str(job.status) if job.status.final else "lost"
                    for deed, word in zip(DEEDS, ("lost", ended, ended, "lost"), strict=True):
                        assert self._deed(job, attempt, deed) == word

    def _deed(self, job: Model, attempt: str, deed: str, counted: bool = True) -> str:
        if deed == "renew":
            return self.transitions.renew(job.id, attempt, 60, JobProgress("late", 1, 1, 1.0))
        if deed == "complete":
            return self.transitions.complete(job.id, attempt, [f"{attempt}.glb"], ["careful"])
        if deed == "fail":
            return self.transitions.fail(job.id, attempt, "bad_input", attempt)
        return self.transitions.release(
            job.id, attempt, counted=counted, max_attempts=MAX_ATTEMPTS, kind="storage", message="full"
        )

    @precondition(lambda self: self._processing())
    @rule(pick=picks, step=st.integers(0, 3))
    def renew(self, pick: int, step: int) -> None:
        job = self._running(pick)
        told = JobProgress("work", step, 3, step / 3) if step else None
        job.progress, job.lapsed = told or job.progress, False
        assert self.transitions.renew(job.id, job.attempt, 60, told) == ("cancel" if job.cancel else "mine")

    @precondition(lambda self: self._processing())
    @rule(pick=picks, deed=st.sampled_from(["complete", "fail"]), lost=lost_reply)
    def finish(self, pick: int, deed: str, lost: bool) -> None:
        job = self._running(pick)
        word = job.finish(job.attempt, JobStatus.COMPLETE if deed == "complete" else JobStatus.ERROR)
        if word == JobStatus.COMPLETE:
            job.files, job.warnings = [f"{job.attempt}.glb"], ["careful"]
        elif word == JobStatus.ERROR:
            job.error, job.error_kind = job.attempt, "bad_input"
        self._say(lambda: self._deed(job, job.attempt, deed), word, lost)

    @precondition(lambda self: self._processing())
    @rule(pick=picks, counted=st.booleans(), lost=lost_reply, dies=st.booleans())
    def release(self, pick: int, counted: bool, lost: bool, dies: bool) -> None:
        """A worker whose reply got lost, or that died right after, does not hand the id to RQ."""
        job = self._running(pick)
        attempt, word = job.attempt, job.put_back(counted, "storage", "full")
        self._say(lambda: self._deed(job, attempt, "release", counted), word, lost, again="lost")
        if word == JobStatus.QUEUED and not lost and not dies:
            rq_push(rq_queue(job.queue, self.raw), job.id, at_front=True)
        elif word == JobStatus.QUEUED:
            self.adrift.add(job.id)

    def _running(self, pick: int) -> Model:
        running = self._processing()
        return running[pick % len(running)]

    # Time and the reaper

    @precondition(lambda self: self._processing())
    @rule(order=st.permutations(range(3)), how_many=st.integers(1, 3))
    def leases_run_out(self, order: list[int], how_many: int) -> None:
        for index in order[:how_many]:
            self._lapse(self._running(index))

    def _lapse(self, job: Model) -> None:
        job.lapsed = True
        self.lapses += 1
        self.redis.zadd(PREFIX + "processing", {job.id: self.lapses})

    @precondition(_jobs)
    @rule(pick=picks, lost=lost_reply)
    def expire_one(self, pick: int, lost: bool) -> None:
        job = self._pick(pick)
        runs = job.id in self.known and job.status is JobStatus.PROCESSING
        taken = runs and job.lapsed
        word = job.put_back(True, *CRASHED) if taken else ("alive" if runs else "lost")
        call = lambda: self.transitions.expire(job.id, MAX_ATTEMPTS, *CRASHED)  # noqa: E731
        self._say(call, word, lost, again="lost" if taken else word, noop=not taken)
        if word == JobStatus.QUEUED:
            self.adrift.add(job.id)

    @precondition(lambda self: any(job.lapsed for job in self._processing()))
    @rule()
    def reap(self) -> None:
        taken = [job for job in self._processing() if job.lapsed]
        self._taken(taken, self.reaper.expire)

    @precondition(lambda self: self._processing())
    @rule(worker=workers)
    def bury(self, worker: str) -> None:
        self.reaper.died("host", WORKERS.index(worker))
        self._taken([job for job in self._processing() if job.worker == worker], self.reaper.bury)
        assert worker not in {info.name for info in Fleet(self.redis).workers()}
        self._born(worker, WORKERS.index(worker))

    def _taken(self, jobs: list[Model], step: Callable[[], None]) -> None:
        """The reaper takes these jobs and no other; those that wait again are RQ's next, the oldest first."""
        back = {job.id for job in jobs if job.put_back(True, *CRASHED) == JobStatus.QUEUED}
        with self._unchanged(not jobs):
            step()
        for lane in LANES:
            ids = [job_id for job_id in self._waiting(lane) if job_id in back]
            assert rq_queue(lane, self.raw).job_ids[: len(ids)] == ids, "given back in the order of acceptance"

    @precondition(_jobs)
    @rule()
    def recover(self) -> None:
        """What RQ had lost stands at its place again, and what nobody waits for is not kept."""
        first = {}
        for lane in LANES:
            listed, waiting = set(rq_queue(lane, self.raw).job_ids), self._waiting(lane)
            lost = [number for number, job_id in enumerate(waiting, 1) if job_id not in listed]
            first[lane] = waiting[: lost[-1]] if lost else []
        with self._unchanged():
            self.reaper.recover()
        for lane, ids in first.items():
            rq = rq_queue(lane, self.raw)
            assert rq.job_ids[: len(ids)] == ids
            assert {name.decode() for name in self.raw.lrange(rq.intermediate_queue_key, 0, -1)} <= set(rq.job_ids)
        self.adrift.clear()

    @precondition(lambda self: self.gone or any(job.status.final for job in self.known.values()))
    @rule(what=st.sampled_from(["trim", "retire", "forget keys"]), pick=picks)
    def time_goes_by(self, what: str, pick: int) -> None:
        """Jobs fall off their history, a job has been ended for a day, or idempotency keys run out."""
        if what == "trim":
            self.reaper.trim()
            for client in CLIENTS:
                for job in self._of(client, *JobStatus)[:-HISTORY]:
                    if job.status.final:
                        self._forgotten(job)
        elif what == "forget keys":
            self._forget_keys()
        elif self.known and (job := self._pick(pick, also_gone=False)).status.final:
            self.redis.zincrby(PREFIX + "ended", -DAY_S - 60, job.id)
            self.reaper.retire()
            self._forgotten(job)

    def _forget_keys(self) -> None:
        for (client, key), job_id in list(self.keys.items()):
            if job_id in self.gone:
                self.redis.delete(f"{PREFIX}client:{client}:idempotency:{key}")
                del self.keys[client, key]

    # What must be true at any time

    @invariant()
    def books(self) -> None:
        if not hasattr(self, "known"):
            return
        jobs, seen = self.known.values(), self._read()
        for job, answer in zip(jobs, seen["known"], strict=True):
            view = self.queue._view(answer)
            job.agrees(view.record)
            assert view.record.attempts <= MAX_ATTEMPTS
            waiting = self._waiting(job.queue)
            assert view.position == (waiting.index(job.id) + 1 if job.id in waiting else 0), "first come, first served"
            ended_at = view.record.ended_at
            assert self.ends.setdefault(job.id, ended_at) == ended_at if job.status.final else ended_at == 0
        assert not any(seen["gone"])
        for lane in LANES:
            assert seen["waiting:" + lane] == self._waiting(lane)
            assert set(self._waiting(lane)) <= set(seen["rq:" + lane]) | self.adrift, "RQ knows it, or somebody took it"
        assert sorted(seen["processing"]) == sorted(job.id for job in self._processing())
        assert sorted(seen["ended"]) == sorted(job.id for job in jobs if job.status.final)
        for client in CLIENTS:
            self._a_client_has_its_own(client, seen)
        self._nothing_is_left_behind(seen)

    def _read(self) -> dict[str, Any]:
        """All that the books are compared with, in one round trip."""
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in [*self.known, *self.gone]:
                pipe.eval(script("look"), 0, PREFIX, job_id)
            for lane in LANES:
                pipe.zrange(f"{PREFIX}waiting:{lane}", 0, -1)
                pipe.lrange(rq_queue(lane, self.raw).key, 0, -1)
            for name in PLACES:
                pipe.zrange(PREFIX + name, 0, -1)
            for client in CLIENTS:
                pipe.smembers(f"{PREFIX}client:{client}:waiting")
                pipe.smembers(f"{PREFIX}client:{client}:processing")
                pipe.zrevrange(f"{PREFIX}client:{client}:history", 0, -1)
            for client, key in self.keys:
                pipe.get(f"{PREFIX}client:{client}:idempotency:{key}")
                pipe.ttl(f"{PREFIX}client:{client}:idempotency:{key}")
            pipe.keys(PREFIX + "*")
            answers = iter(pipe.execute())
        seen: dict[str, Any] = {name: [next(answers) for _ in getattr(self, name)] for name in ("known", "gone")}
        seen |= {name + lane: next(answers) for lane in LANES for name in ("waiting:", "rq:")}
        seen |= {name: next(answers) for name in PLACES}
        seen |= {client: [next(answers) for _ in range(3)] for client in CLIENTS}
        seen["idempotency"] = [(next(answers), next(answers)) for _ in self.keys]
        return seen | {"keys": {name.removeprefix(PREFIX) for name in next(answers)}}

    def _a_client_has_its_own(self, client: str, seen: dict[str, Any]) -> None:
        waiting, processing, history = seen[client]
        mine = {status: {job.id for job in self._of(client, status)} for status in JobStatus}
        assert waiting == mine[JobStatus.QUEUED] and processing == mine[JobStatus.PROCESSING]
        assert history == [job.id for job in self._of(client, *JobStatus)][::-1]
        counts = self.queue.counts(client)
        assert (counts.client_waiting, counts.client_processing) == (len(waiting), len(processing))
        assert counts.waiting == sum(len(self._waiting(lane)) for lane in LANES)
        assert counts.processing == len(self._processing())

    def _nothing_is_left_behind(self, seen: dict[str, Any]) -> None:
        assert {name for name, _ in self.storage.folders("inputs")} == set(self.known)
        assert self.storage.folders("scratch") == []
        names = {name for name in seen["keys"] if not any(_covers(one, name) for one in LASTING)}
        assert {"job:" + job_id for job_id in self.known} <= names
        names -= {prefix + job_id for prefix in OF_A_JOB for job_id in self.known}
        names -= {f"waiting:{lane}" for lane in LANES} | set(PLACES)
        names -= {f"client:{client}:{name}" for client in CLIENTS for name in ("waiting", "processing", "history")}
        assert names == {f"client:{client}:idempotency:{key}" for client, key in self.keys}, "keys nobody needs"
        for name in PLACES:
            assert set(seen[name]) <= set(self.known), name
        for job_id, (found, ttl) in zip(self.keys.values(), seen["idempotency"], strict=True):
            active = job_id in self.known and not self.known[job_id].status.final
            assert found == job_id and (ttl == -1 if active else 0 < ttl <= DAY_S + 1)

    def teardown(self) -> None:
        """Whatever has happened: the living end every job, and after the last is deleted nothing is left."""
        if sys.exc_info()[0] is not None or not hasattr(self, "known"):
            return  # the failure on its way out is the one to see
        for job in self._processing():
            self._lapse(job)
        self.reap()
        for _ in range(2):  # RQ may list an id a second time without its copy, and notices only when it comes to it
            self.recover()
            for lane in LANES:
                self._work_off(lane)
        assert all(job.status.final for job in self.known.values()), "no job waits for ever"
        self.recover()
        assert list(self.redis.scan_iter("rq:job:*", 1000)) == []
        assert not any(self.redis.exists(rq_queue(lane, self.raw).intermediate_queue_key) for lane in LANES)
        for job in list(self.known.values()):
            self.queue.delete(self.queue.get(job.id))
            self._forgotten(job)
        self._forget_keys()
        left = {name.removeprefix(PREFIX) for name in self.redis.scan_iter(PREFIX + "*", 1000)}
        assert [name for name in left if not any(_covers(one, name) for one in LASTING)] == []
        assert self.storage.folders("inputs") == [] == self.storage.folders("scratch")

    def _work_off(self, lane: str) -> None:
        while rq_queue(lane, self.raw).job_ids:
            self._take(lane, "w1", "works")
            for job in self._processing():
                self.transitions.complete(job.id, job.attempt, [], [])
                job.end(JobStatus.COMPLETE)


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern) if pattern.endswith(":") else name == pattern


def test_whatever_happens_in_whatever_order_the_books_are_straight(
    redis: Any, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"MAX_ACTIVE": MAX_ACTIVE, "HISTORY_LIMIT": HISTORY, "MAX_ATTEMPTS": MAX_ATTEMPTS, "LEASE_S": 3}
    environ |= {"DATA_DIR": tmp_path / "data"}
    chosen = load_settings({f"MAQUETTE_{name}": str(value) for name, value in environ.items()}, tmp_path)
    monkeypatch.setattr(reaper_module, "_ADRIFT_AFTER_S", 0.0)
    monkeypatch.setattr(Reaper, "_leases_can_be_trusted", lambda self: True)
    Machine.redis, Machine.raw = redis, connect(redis_url, decode=False)
    Machine.storage = open_storage(chosen.storage)
    Machine.queue = JobQueue(redis_url, Machine.storage, chosen)
    Machine.reaper = Reaper(redis_url, Machine.storage, chosen)
    Machine.transitions = Transitions(redis)
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    with Machine.raw:
        run_machine(
            Machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
                report_multiple_bugs=False,
                suppress_health_check=checks,
            ),
        )
