"""Submit, look, cancel, delete, count: what the web tier does with jobs."""

import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, NamedTuple, ParamSpec, TypeVar

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from configs.settings import Settings
from jobs.errors import JobNotFound, NoWorker, RedisUnavailable, TooManyJobs
from jobs.fleet import Fleet, WorkerInfo
from jobs.records import JobRecord, JobRequest, JobStatus
from jobs.server import connect
from jobs.transitions import PREFIX, Transitions, script
from storage import Storage, keys

P = ParamSpec("P")
R = TypeVar("R")

TASK = "workers.tasks.run"
LANES = ("cpu", "cuda")  # one queue for each kind of device
_FLEET_CACHE_S = 1.0


class Input(NamedTuple):
    """One checked picture: the suffix its format has, and its bytes."""

    suffix: str
    data: bytes


@dataclass(frozen=True)
class Counts:
    """How many jobs wait and run, in all and of one client."""

    waiting: int
    processing: int
    client_waiting: int
    client_processing: int


@dataclass(frozen=True)
class Accepted:
    """A submit's answer. `repeated`: an Idempotency-Key had brought this job before."""

    record: JobRecord
    position: int
    repeated: bool = False


def rq_queue(name: str, connection: redis.Redis) -> Queue:
    """The RQ queue of one lane. JSON, because whoever can write a pickle to Redis runs code in the worker."""
    return Queue(f"maquette-{name}", connection=connection, serializer=JSONSerializer, default_timeout=-1)


def rq_push(queue: Queue, job_id: str, pipeline: Any = None, at_front: bool = False) -> None:
    """Hands a job's id to RQ."""
    data = Queue.prepare_data(
        TASK, args=(job_id,), job_id=job_id, timeout=-1, result_ttl=0, description=job_id, at_front=at_front
    )
    queue.enqueue_many([data], pipeline=pipeline)  # the one public call that joins somebody else's transaction


def _translated(method: Callable[P, R]) -> Callable[P, R]:
    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise RedisUnavailable("the job queue cannot be reached just now; try again in a few seconds") from error

    return call


class JobQueue:
    """The face of all jobs.

    Args:
        url: where Redis is.
        storage: where inputs and outputs rest.
    """

    def __init__(self, url: str, storage: Storage, settings: Settings) -> None:
        self._redis = connect(url)
        self._raw = connect(url, decode=False)
        self._storage = storage
        self._settings = settings
        self._transitions = Transitions(self._redis)
        self._accept = script("accept")
        self._fleet = Fleet(self._redis)
        self._fleet_seen: tuple[float, list[WorkerInfo]] = (0.0, [])
        self._queues: dict[str, Queue] = {}

    @_translated
    def ping(self) -> bool:
        return bool(self._redis.ping())

    @_translated
    def workers(self) -> list[WorkerInfo]:
        """The living workers."""
        return self._fleet.workers()

    def lane_for(self, pipeline: str, lane: str) -> str:
        """The queue whose workers should run the pipeline: the wanted lane if it lives, else any that offers it.

        Raises:
            NoWorker: nobody offers it just now.
        """
        offering = [worker.queue for worker in self._recent_workers() if pipeline in worker.pipelines]
        if not offering:
            raise NoWorker(f"no worker that offers {pipeline!r} is running; start one with: python ai_worker.py")
        return lane if lane in offering else offering[0]

    def _recent_workers(self) -> list[WorkerInfo]:
        seen, workers = self._fleet_seen
        if not workers or time.monotonic() - seen > _FLEET_CACHE_S:
            workers = self.workers()
            self._fleet_seen = (time.monotonic(), workers)
        return workers

    @_translated
    def first_with_key(self, client: str, idempotency_key: str) -> Accepted | None:
        """The job an Idempotency-Key has brought before, if it is still known."""
        job_id = self._redis.get(f"{PREFIX}client:{client}:idempotency:{idempotency_key}") if idempotency_key else None
        values = self._redis.hgetall(f"{PREFIX}job:{job_id}") if job_id else {}
        if not values:
            return None
        record = JobRecord.from_hash(values)
        return Accepted(record, self.position(record), repeated=True)

    @_translated
    def submit(self, request: JobRequest, inputs: Sequence[Input], lane: str) -> Accepted:
        """Stores the inputs and accepts the job. Once this returns, the job reaches exactly one end.

        Raises:
            NoWorker, TooManyJobs, RedisUnavailable, storage.errors.StorageFull.
        """
        queue_name = self.lane_for(request.pipeline, lane)
        job_id = uuid.uuid4().hex
        stored = [keys.input_key(job_id, index, item.suffix) for index, item in enumerate(inputs)]
        try:
            for key, item in zip(stored, inputs, strict=True):
                self._storage.put(key, item.data)
            word, number, values = self._enqueue(job_id, request, queue_name, stored)
        except redis.RedisError:
            raise  # the accept may have been carried out: the reaper removes the inputs if it was not
        except BaseException:
            self._storage.delete(keys.input_folder(job_id))
            raise
        if word != "accepted":
            self._storage.delete(keys.input_folder(job_id))
        if word == "busy":
            raise TooManyJobs(
                f"you have {number} jobs waiting or running, and {self._settings.max_active} is the most; "
                "wait for one to end or cancel one"
            )
        return Accepted(JobRecord.from_hash(values), number + 1, repeated=word == "exists")

    def _enqueue(
        self, job_id: str, request: JobRequest, queue_name: str, stored: list[str]
    ) -> tuple[str, int, dict[str, str]]:
        """The accept script and RQ's push in one transaction; a refused job's id is dropped by the worker."""
        flat = [part for pair in request.fields(stored).items() for part in pair]
        ttl = int(self._settings.retention_hours * 3600) + 1
        limits = (self._settings.max_active, request.idempotency_key, ttl)
        with self._raw.pipeline(transaction=True) as pipe:
            pipe.eval(self._accept, 0, PREFIX, job_id, request.client, queue_name, *limits, *flat)
            rq_push(self._queue(queue_name), job_id, pipe)
            word, number, flat_values = pipe.execute()[0]
        values = [value.decode() for value in flat_values]
        return word.decode(), int(number), dict(zip(values[::2], values[1::2], strict=True))

    def _queue(self, name: str) -> Queue:
        if name not in self._queues:
            self._queues[name] = rq_queue(name, self._raw)
        return self._queues[name]

    @_translated
    def get(self, job_id: str, client: str | None = None) -> JobRecord:
        """A job's record.

        Args:
            client: when given, the job must be this client's.
        Raises:
            JobNotFound: no such job, or not theirs; which of the two is not told.
        """
        values = self._redis.hgetall(f"{PREFIX}job:{job_id}")
        if not values or (client is not None and values["client"] != client):
            raise JobNotFound(f"there is no request {job_id[:64]!r} of yours; finished ones are kept for a limited time")
        return JobRecord.from_hash(values)

    @_translated
    def position(self, record: JobRecord) -> int:
        """Place in the queue, 1 for the next to run; 0 when the job no longer waits."""
        if record.status is not JobStatus.QUEUED:
            return 0
        rank = self._redis.zrank(f"{PREFIX}waiting:{record.queue}", record.id)
        return 0 if rank is None else int(rank) + 1

    @_translated
    def eta_s(self, record: JobRecord, position: int) -> float | None:
        """Seconds until the job ends, from how long such jobs took lately; None while nothing is known."""
        if record.status.final:
            return 0.0
        usual = self._usual_s(record.pipeline)
        if record.status is JobStatus.QUEUED:
            hands = sum(worker.queue == record.queue for worker in self._recent_workers()) or 1
            return None if usual is None else round(usual * (1 + (position - 1) // hands + 0.5), 1)
        elapsed = max(self._now() - record.claimed_at, 0.0)
        fraction = record.progress.fraction
        if fraction > 0.05:
            return round(elapsed * (1 - fraction) / fraction, 1)
        return None if usual is None else round(max(usual - elapsed, 0.0), 1)

    def _usual_s(self, pipeline: str) -> float | None:
        durations = self._redis.lrange(f"{PREFIX}durations:{pipeline}", 0, -1)
        return statistics.median(map(float, durations)) if durations else None

    def _now(self) -> float:
        seconds, micros = self._redis.time()
        return float(seconds + micros / 1e6)

    @_translated
    def history(self, client: str) -> list[JobRecord]:
        """The client's latest jobs, newest first."""
        names = self._redis.zrevrange(f"{PREFIX}client:{client}:history", 0, self._settings.history_limit - 1)
        with self._redis.pipeline(transaction=False) as pipe:
            for job_id in names:
                pipe.hgetall(f"{PREFIX}job:{job_id}")
            return [JobRecord.from_hash(values) for values in pipe.execute() if values]

    @_translated
    def counts(self, client: str) -> Counts:
        """Jobs waiting and running, in all and of this client."""
        with self._redis.pipeline(transaction=False) as pipe:
            for lane in LANES:
                pipe.zcard(f"{PREFIX}waiting:{lane}")
            pipe.zcard(f"{PREFIX}processing")
            pipe.scard(f"{PREFIX}client:{client}:waiting")
            pipe.scard(f"{PREFIX}client:{client}:processing")
            *waiting, processing, client_waiting, client_processing = pipe.execute()
        return Counts(sum(waiting), processing, client_waiting, client_processing)

    @_translated
    def cancel(self, job_id: str, client: str) -> JobRecord:
        """Ends a waiting job, or asks the worker to stop a running one. An ended job stays as it is."""
        record = self.get(job_id, client)
        word = self._transitions.cancel(job_id)
        if word == "cancelling":
            return replace(record, cancel=True)
        return self.get(job_id, client)

    @_translated
    def delete(self, record: JobRecord) -> None:
        """Removes an ended job: first its files, then its record, so that what is left can be removed again."""
        self._storage.delete(keys.output_folder(record.client, record.id))
        self._storage.delete(keys.input_folder(record.id))
        self._transitions.forget(record.id)

    @_translated
    def totals(self) -> dict[str, int]:
        """How many jobs have ended in each way since this Redis was new."""
        return {name: int(count) for name, count in self._redis.hgetall(PREFIX + "totals").items()}
