"""Submit, look, cancel, delete, count: what the web tier does with jobs."""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any, NamedTuple, TypeVar

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from configs.settings import Settings
from jobs.changes import Changes
from jobs.errors import JobGone, JobNotFound, NoWorker, RedisUnavailable, TooManyJobs
from jobs.fleet import ACCELERATED, LANES, Fleet, WorkerInfo
from jobs.records import JobRecord, JobRequest, JobStatus
from jobs.server import connect
from jobs.statistics import Counters, Depth, Statistics
from jobs.transitions import PREFIX, Script, Transitions, script
from storage import Storage, keys

R = TypeVar("R")

TASK = "workers.tasks.run"
_PREVIEWS = PREFIX + "previews"
_MOST_PREVIEWS = 1000  # where nobody makes any, the list must not grow for ever
_FLEET_CACHE_S = 1.0
_LOOK_AGAIN_S = 20.0  # also without being woken, should a message be lost
_MOST_FOLLOWED = 64
_ANSWER_S = 2.0


class Input(NamedTuple):
    """One checked picture: the suffix its format has, and its bytes."""

    suffix: str
    data: bytes


@dataclass(frozen=True)
class JobView:
    """A job as its client sees it.

    Attributes:
        position: place in the queue, 1 for the next to run; 0 when it no longer waits.
        eta_s: seconds until it ends, None while nothing is known.
    """

    record: JobRecord
    position: int
    eta_s: float | None


class JobEvent(NamedTuple):
    """Something that happened to a job: status, progress, preview or end, and what the worker said of it."""

    id: str
    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Following:
    """A job as it is, the id of the last thing that happened to it, and what has happened since one looked last."""

    view: JobView
    last_id: str
    since: list[JobEvent]


@dataclass(frozen=True)
class Counts:
    """How many jobs wait and run, in all and of one client."""

    waiting: int
    processing: int
    client_waiting: int
    client_processing: int


def rq_queue(name: str, connection: Any) -> Queue:
    """The RQ queue of one lane. JSON, because whoever can write a pickle to Redis runs code in the worker."""
    return Queue(f"maquette-{name}", connection=connection, serializer=JSONSerializer, default_timeout=-1)


def rq_push(queue: Queue, job_id: str, pipeline: Any = None, at_front: bool = False) -> None:
    """Hands a job's id to RQ."""
    data = Queue.prepare_data(
        TASK, args=(job_id,), job_id=job_id, timeout=-1, result_ttl=0, description=job_id, at_front=at_front
    )
    queue.enqueue_many([data], pipeline=pipeline)  # the one public call that joins somebody else's round trip


_AWAY = "the job queue cannot be reached just now; try again in a few seconds"
_FULL = "the job queue takes no writes just now (its memory or disk is full, or it is a replica)"
_QUIET_S = 1.0  # after a failure Redis is not asked again for so long: a hanging one must not take every web thread


def _translated(method: Callable[..., R]) -> Callable[..., R]:
    @wraps(method)
    def call(self: "JobQueue", *args: Any, **kwargs: Any) -> R:
        if time.monotonic() < self._away_until:
            raise RedisUnavailable(_AWAY)
        try:
            return method(self, *args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._away_until = time.monotonic() + _QUIET_S
            raise RedisUnavailable(_AWAY) from error
        except (redis.OutOfMemoryError, redis.ReadOnlyError) as error:
            raise RedisUnavailable(_FULL) from error
        except redis.ResponseError as error:
            if str(error).startswith(("MISCONF", "OOM", "READONLY")):
                raise RedisUnavailable(_FULL) from error
            raise

    return call


class JobQueue:
    """The face of all jobs.

    Args:
        url: where Redis is.
        storage: where inputs and outputs rest.
    """

    def __init__(self, url: str, storage: Storage, settings: Settings) -> None:
        self.redis = connect(url, answer_s=_ANSWER_S)
        self._raw = connect(url, decode=False, answer_s=_ANSWER_S)
        self._away_until = 0.0
        self._storage = storage
        self._settings = settings
        self._transitions = Transitions(self.redis)
        self._look = Script(self.redis, "look")
        self._follow = Script(self.redis, "follow")
        self.changes = Changes(url)
        self._followed: dict[tuple[str, str, str, int], tuple[float, Following]] = {}
        self._accept = script("accept")
        self._fleet = Fleet(self.redis)
        self._statistics = Statistics(self.redis)
        self._fleet_seen: tuple[float, list[WorkerInfo]] = (0.0, [])
        self._queues = {lane: rq_queue(lane, self._raw) for lane in LANES}

    @cached_property
    def _identity(self) -> str:
        return self._storage.identity()

    @_translated
    def ping(self) -> bool:
        return bool(self.redis.ping())

    @_translated
    def workers(self) -> list[WorkerInfo]:
        """The living workers, as of a second ago at most."""
        seen, workers = self._fleet_seen
        if not workers or time.monotonic() - seen > _FLEET_CACHE_S:
            workers = self._fleet.workers()
            self._fleet_seen = (time.monotonic(), workers)
        return workers

    def offers(self, pipeline: str) -> bool:
        """Whether a living worker offers the pipeline."""
        return any(pipeline in worker.pipelines for worker in self.workers())

    def hindrance(self, pipeline: str) -> str:
        """Why no living worker offers the pipeline, and the remedy, as a worker tells it; empty when none does."""
        told = [(worker.queue == "cpu", worker.unavailable.get(pipeline, "")) for worker in self.workers()]
        return next((reason for _, reason in sorted(told) if reason), "")

    @_translated
    def admit(self, client: str, pipeline: str) -> None:
        """Whether a submit has a chance, to be asked before costly work is done for it.

        Raises:
            NoWorker, TooManyJobs: it has none.
        """
        self._lane_for(pipeline, "")
        counts = self.counts(client)
        active = counts.client_waiting + counts.client_processing
        if 0 < self._settings.max_active <= active:
            raise self._too_many(active)

    def _too_many(self, active: int) -> TooManyJobs:
        return TooManyJobs(
            f"you have {active} jobs waiting or running, and {self._settings.max_active} is the most; "
            "wait for one to end or cancel one"
        )

    def _lane_for(self, pipeline: str, lane: str) -> str:
        offering = [worker.queue for worker in self.workers() if pipeline in worker.pipelines]
        if not offering:
            command = f"MAQUETTE_PIPELINES={pipeline} python ai_worker.py" if self.workers() else "python ai_worker.py"
            raise NoWorker(f"no worker that offers {pipeline!r} is running; start one with: {command}")
        fitting = [one for one in offering if one == lane or (lane == ACCELERATED and one != "cpu")]
        return (fitting or offering)[0]

    @_translated
    def first_with_key(self, client: str, idempotency_key: str) -> JobView | None:
        """The job an Idempotency-Key has brought before, if it is still known."""
        job_id = self.redis.get(f"{PREFIX}client:{client}:idempotency:{idempotency_key}")
        try:
            return self.look(job_id, client) if job_id else None
        except JobNotFound:
            return None

    @_translated
    def submit(self, request: JobRequest, inputs: Sequence[Input], lane: str) -> JobView:
        """Stores the inputs and accepts the job. Once this returns, the job reaches exactly one end.

        Args:
            lane: the queue it should wait in if a worker there offers the pipeline, "device" for that of any
                accelerator; else one of any worker that does.
        Raises:
            NoWorker, TooManyJobs, JobGone, RedisUnavailable, storage.errors.StorageFull.
        """
        lane = self._lane_for(request.pipeline, lane)
        job_id = uuid.uuid4().hex
        stored = [keys.input_key(job_id, index, item.suffix) for index, item in enumerate(inputs)]
        try:
            for key, item in zip(stored, inputs, strict=True):
                self._storage.put(key, item.data)
            word, answer = self._enqueue(job_id, request, lane, stored)
        except redis.RedisError:
            raise  # the accept may have been carried out; if not, the reaper's sweep removes the inputs
        except BaseException:
            self._storage.delete(keys.input_folder(job_id))
            raise
        if word != "accepted":
            self._storage.delete(keys.input_folder(job_id))
        if word == "stranger":
            raise RedisUnavailable(
                "the workers use another storage than this web tier; give both the same MAQUETTE_STORAGE"
            )
        if word == "gone":
            raise JobGone(f"this Idempotency-Key brought request {answer}, which has been removed since; use a new key")
        if word == "busy":
            raise self._too_many(answer)
        return self._view(answer)

    @_translated
    def next_to_preview(self, seconds: float) -> str:
        """The id of a job that might like a preview, for whoever takes it; empty when none came in time."""
        taken = self.redis.blpop([_PREVIEWS], timeout=seconds)
        return str(taken[1]) if taken else ""

    def _enqueue(self, job_id: str, request: JobRequest, lane: str, stored: list[str]) -> tuple[str, Any]:
        """The accept script and RQ's push in one round trip. They need no transaction: should only the first arrive,
        the reaper makes up for the second; an id pushed for a refused job is dropped by the worker."""
        flat = [part for pair in request.fields(stored).items() for part in pair]
        ttl = int(self._settings.retention_hours * 3600) + 1
        limits = (self._settings.max_active, request.idempotency_key, ttl, self._identity)
        with self._raw.pipeline(transaction=False) as pipe:
            pipe.eval(self._accept, 0, PREFIX, job_id, request.client, lane, *limits, *flat)
            rq_push(self._queues[lane], job_id, pipe)
            if request.wants_preview:
                pipe.rpush(_PREVIEWS, job_id)
                pipe.ltrim(_PREVIEWS, -_MOST_PREVIEWS, -1)
            word, answer = _text(pipe.execute()[0])
        return word, answer

    @_translated
    def look(self, job_id: str, client: str | None = None) -> JobView:
        """A job, its place and its estimate, in one round trip.

        Args:
            client: when given, the job must be this client's.
        Raises:
            JobNotFound: no such job, or not theirs; which of the two is not told.
        """
        answer = self._look(job_id)
        view = self._view(answer) if answer else None
        if view is None or (client is not None and view.record.client != client):
            raise JobNotFound(job_id)
        return view

    def get(self, job_id: str, client: str | None = None) -> JobRecord:
        """A job's record; as `look`."""
        return self.look(job_id, client).record

    @_translated
    def follow(self, job_id: str, client: str, last_id: str = "") -> Following:
        """A job and what has happened to it since `last_id`, in one round trip.

        Args:
            last_id: of the last event seen; nothing is listed without one.
        Raises:
            JobNotFound: no such job, or not theirs.
        """
        answer = self._follow(job_id, last_id)
        if not answer:
            raise JobNotFound(job_id)
        found, newest, since = answer
        view = self._view(found)
        if view.record.client != client:
            raise JobNotFound(job_id)
        return Following(view, newest, [_event(event_id, values) for event_id, values in since])

    def follow_in_turn(self, job_id: str, client: str, last_id: str) -> Following:
        """As `follow`, for those whom `changes` has woken: who wakes together is told from one reading."""
        with self.changes.turn:
            key = (job_id, client, last_id, self.changes.moves)
            known = self._followed.get(key)
            if known and self.changes.unchanged_since(job_id, known[0]):
                return known[1]
            began = time.monotonic()
            found = self.follow(job_id, client, last_id)
            if len(self._followed) >= _MOST_FOLLOWED:
                self._followed.clear()
            self._followed[key] = (began, found)
            return found

    def wait(self, job_id: str, client: str, seconds: float) -> JobView:
        """The job once it has ended, or as it is after `seconds`. An absence of Redis in between is waited out.

        Raises:
            JobNotFound: no such job, or not theirs.
            RedisUnavailable: it was away at the end.
        """
        deadline = time.monotonic() + seconds
        with self.changes.watch(job_id) as woken:
            while True:
                left = deadline - time.monotonic()
                woken.clear()
                try:
                    with self.changes.turn:
                        view = self.look(job_id, client)
                    if view.record.status.final or left <= 0 or self.changes.closing:
                        return view
                except RedisUnavailable:
                    if left <= 0 or self.changes.closing:
                        raise
                    time.sleep(min(_QUIET_S, left))
                    woken.set()  # what woke us has not been read
                woken.wait(min(max(left, 0.0), _LOOK_AGAIN_S))

    def _view(self, answer: Any) -> JobView:
        values, position, now, usual = answer
        record = JobRecord.from_hash(dict(zip(values[::2], values[1::2], strict=True)))
        return JobView(record, int(position), self._eta_s(record, int(position), float(now), float(usual or 0)))

    def _eta_s(self, record: JobRecord, position: int, now: float, usual: float) -> float | None:
        """From how long such jobs took lately, or from how far this one has come."""
        if record.status.final:
            return 0.0
        if record.status is JobStatus.QUEUED:
            hands = sum(worker.queue == record.queue for worker in self.workers()) or 1
            return round(usual * (1.5 + (position - 1) // hands), 1) if usual else None
        elapsed, fraction = max(now - record.claimed_at, 0.0), record.progress.fraction
        begun = record.progress.begun
        if fraction - begun > 0.05:
            return round(elapsed * (1 - fraction) / (fraction - begun), 1)
        return round(max(usual * (1 - begun) - elapsed, 0.0), 1) if usual else None

    @_translated
    def history(self, client: str) -> list[JobView]:
        """The client's latest jobs, newest first."""
        names = self.redis.zrevrange(f"{PREFIX}client:{client}:history", 0, self._settings.history_limit - 1)
        with self.redis.pipeline(transaction=False) as pipe:
            for job_id in names:
                self._look.queue(pipe, job_id)
            return [self._view(answer) for answer in pipe.execute() if answer]

    @_translated
    def counts(self, client: str) -> Counts:
        """Jobs waiting and running, in all and of this client."""
        with self.redis.pipeline(transaction=False) as pipe:
            for lane in LANES:
                pipe.zcard(f"{PREFIX}waiting:{lane}")
            pipe.zcard(f"{PREFIX}processing")
            pipe.scard(f"{PREFIX}client:{client}:waiting")
            pipe.scard(f"{PREFIX}client:{client}:processing")
            *waiting, processing, client_waiting, client_processing = pipe.execute()
        return Counts(sum(waiting), processing, client_waiting, client_processing)

    @_translated
    def depth(self) -> Depth:
        """What there is to do just now, in all."""
        return self._statistics.depth()

    @_translated
    def usual_s(self) -> dict[str, float]:
        """How long a job of each pipeline takes, lately."""
        return self._statistics.usual_s()

    @_translated
    def minutes(self) -> list[dict[str, Any]]:
        """What ended in each minute of the last hour."""
        return self._statistics.minutes()

    @_translated
    def counters(self) -> Counters:
        """What the service has done since its Redis was set up."""
        return self._statistics.counters()

    @_translated
    def cancel(self, job_id: str, client: str) -> JobView:
        """Ends a waiting job, or asks the worker to stop a running one; an ended job stays as it is.

        Raises:
            JobNotFound: no such job, or not theirs.
        """
        record = self.get(job_id, client)
        if self._transitions.cancel(job_id) == JobStatus.CANCELLED and record.kept:
            self._storage.delete(keys.kept_folder(client, job_id))  # it waited for another attempt
        return self.look(job_id, client)

    @_translated
    def delete(self, record: JobRecord) -> None:
        """Removes an ended job: first its files, then its record, so that what is left can be removed again."""
        self._storage.delete(keys.output_folder(record.client, record.id))
        self._storage.delete(keys.extras_folder(record.client, record.id))
        self._storage.delete(keys.input_folder(record.id))
        self._storage.clear_scratch(record.id)  # of an attempt that was killed
        self._transitions.forget(record.id)


def _event(event_id: str, values: list[str]) -> JobEvent:
    told = dict(zip(values[::2], values[1::2], strict=True))
    return JobEvent(event_id, told["event"], json.loads(told["data"]))


def _text(answer: Any) -> Any:
    """A script's answer from the byte-wise connection, as text."""
    if isinstance(answer, list):
        return [_text(part) for part in answer]
    return answer.decode() if isinstance(answer, bytes) else answer
