"""Puts right what the dead left behind: their jobs, ids RQ lost, and files past their time.

Every step is an atomic transition or can be repeated, so any number of hosts may run a reaper at once.
"""

import logging
import queue
import threading
import time

import redis
from rq import Queue
from rq.job import Job

from configs.settings import Settings
from jobs.errors import JobNotFound, JobsError
from jobs.fleet import LANES, Fleet
from jobs.queue import JobQueue, rq_push, rq_queue
from jobs.records import JobRecord, JobStatus
from jobs.server import connect
from jobs.transitions import PREFIX, Transitions
from storage import Storage, keys

log = logging.getLogger(__name__)

_PASS_S = 1.0
_SWEEP_S = 600.0
_ADRIFT_AFTER_S = 3.0  # a healthy worker needs milliseconds between taking an id from RQ and claiming the job
_ORPHAN_S = 3600.0


class Reaper:
    """One host's reaper, a thread of the process that starts the workers."""

    def __init__(self, url: str, storage: Storage, settings: Settings) -> None:
        self._redis = connect(url)
        self._raw = connect(url, decode=False)
        self._storage = storage
        self._settings = settings
        self._transitions = Transitions(self._redis)
        self._fleet = Fleet(self._redis)
        self._jobs = JobQueue(url, storage, settings)
        self._adrift: dict[str, dict[str, float]] = {lane: {} for lane in LANES}
        self._dead: queue.Queue[tuple[str, int]] = queue.Queue()
        self._closing = False
        self._wake = threading.Event()
        self._last_pass = time.monotonic()
        self._last_sweep = -_SWEEP_S
        self._thread = threading.Thread(target=self._work, name="reaper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(5)

    def died(self, host: str, pid: int) -> None:
        """A worker of this host was seen to die: no need to wait for its lease to run out."""
        self._dead.put((host, pid))
        self._wake.set()

    def _work(self) -> None:
        while not self._closing:
            self._wake.wait(_PASS_S)
            self._wake.clear()
            self.once()

    def once(self) -> None:
        """One pass over everything. A step that fails is told to the log and keeps no other from its work: were the
        reaper to die of one bad record, the jobs of the dead would wait for ever."""
        for step in (self.bury, self.expire, self.recover, self.trim, self.retire, self.sweep):
            try:
                step()
            except (redis.RedisError, JobsError) as error:
                log.warning("the reaper cannot %s just now: %s", step.__name__, error)
            except Exception:
                log.exception("the reaper could not %s", step.__name__)

    def _leases_can_be_trusted(self) -> bool:
        """False just after Redis was away: nobody could renew then, and the living need a moment to do it."""
        if time.monotonic() - self._last_pass > self._settings.lease_s / 2:
            return False
        uptime = int(self._redis.info("server")["uptime_in_seconds"])
        return uptime > self._settings.lease_s

    def bury(self) -> None:
        """Takes the jobs of workers that were seen to die."""
        dead = set()
        while not self._dead.empty():
            dead.add(self._dead.get())
        gone = [worker.name for worker in self._fleet.workers() if (worker.host, worker.pid) in dead] if dead else []
        self._take(self._redis.zrange(PREFIX + "processing", 0, -1) if gone else [], gone)
        for name in gone:
            self._fleet.retire(name)

    def expire(self) -> None:
        """Takes jobs whose worker has not renewed its lease."""
        trusted = self._leases_can_be_trusted()
        self._last_pass = time.monotonic()
        if not trusted:
            return
        seconds, micros = self._redis.time()
        lapsed = self._redis.zrangebyscore(PREFIX + "processing", "-inf", seconds + micros / 1e6, 0, 1000)
        self._take(lapsed, [""])

    def _take(self, job_ids: list[str], dead_workers: list[str]) -> None:
        """Takes jobs from the dead; "" for a worker goes by the lease. What goes back is pushed to the front, and the
        oldest last: it is the next to run."""
        back = [self._taken(job_id, worker) for job_id in job_ids for worker in dead_workers]
        for record in sorted(filter(None, back), key=lambda one: -one.seq):
            self._push_front(record.queue, record.id)

    def _taken(self, job_id: str, dead_worker: str) -> JobRecord | None:
        """The job, if it waits again."""
        word = self._transitions.expire(
            job_id, self._settings.max_attempts, "crashed", "the worker died while it ran the job", dead_worker
        )
        if word in ("alive", "lost"):
            return None
        log.warning("job %s: its worker is gone; %s", job_id, word)
        record = self._jobs.get(job_id)
        if record.status.final:  # an attempt may have published without living to say so
            self._storage.delete(keys.output_folder(record.client, job_id))
            if record.kept:
                self._storage.delete(keys.kept_folder(record.client, job_id))
            self._storage.clear_scratch(job_id)
        return record if word == JobStatus.QUEUED else None

    def _push_front(self, lane: str, job_id: str) -> None:
        rq_push(rq_queue(lane, self._raw), job_id, at_front=True)

    def recover(self) -> None:
        """Hands waiting jobs over again that RQ no longer knows."""
        for lane in LANES:
            self._recover(lane)

    def _recover(self, lane: str) -> None:
        """Only the oldest are looked at: RQ runs in order, so
        an id that is missing becomes the oldest soon."""
        rq = rq_queue(lane, self._raw)
        oldest = self._redis.zrange(f"{PREFIX}waiting:{lane}", 0, 15)
        self._tidy(rq)
        known = set(self._redis.lrange(rq.key, 0, 63))
        missing = [job_id for job_id in oldest if job_id not in known and self._redis.lpos(rq.key, job_id) is None]
        now = time.monotonic()
        since = {job_id: self._adrift[lane].get(job_id, now) for job_id in missing}
        self._adrift[lane] = since
        lost = [job_id for job_id in missing if now - since[job_id] >= _ADRIFT_AFTER_S]
        for job_id in lost:
            log.warning("job %s: RQ had lost it; handing it over again", job_id)
            del since[job_id]
            self._redis.lrem(rq.intermediate_queue_key, 0, job_id)
        # Those before it that RQ does know are moved along with it, or it would overtake them.
        moved = oldest[: oldest.index(lost[-1]) + 1] if lost else []
        for job_id in [job_id for job_id in reversed(moved) if job_id not in since]:
            self._redis.lrem(rq.key, 0, job_id)
            rq_push(rq, job_id, at_front=True)

    def _tidy(self, rq: Queue) -> None:
        """Drops ids that a worker took from RQ and died with, or that RQ delivered twice, once no job waits by them."""
        for job_id in self._redis.lrange(rq.intermediate_queue_key, 0, 63):
            if self._redis.hget(f"{PREFIX}job:{job_id}", "status") != JobStatus.QUEUED:
                self._redis.lrem(rq.intermediate_queue_key, 0, job_id)
                self._redis.delete(Job.key_for(job_id))

    def trim(self) -> None:
        """Removes ended jobs that fell off their client's history."""
        for client in self._redis.spop(PREFIX + "trim", 100) or []:
            history = f"{PREFIX}client:{client}:history"
            for job_id in self._redis.zrange(history, 0, -self._settings.history_limit - 1):
                if not self._remove(job_id):
                    self._redis.zrem(history, job_id)

    def retire(self) -> None:
        """Removes jobs that ended longer ago than the retention."""
        seconds, _ = self._redis.time()
        limit = seconds - self._settings.retention_hours * 3600
        for job_id in self._redis.zrangebyscore(PREFIX + "ended", "-inf", limit, 0, 200):
            if not self._remove(job_id):
                self._redis.zrem(PREFIX + "ended", job_id)

    def _remove(self, job_id: str) -> bool:
        """Removes a job if it has ended and who wanted to know was told. Returns False when there is no such job."""
        try:
            record = self._jobs.get(job_id)
        except JobNotFound:
            return False
        except (KeyError, ValueError):
            log.error("job %s: its record cannot be read; taking it off the books", job_id)
            return False
        if record.status.final and self._redis.zscore(PREFIX + "webhooks", job_id) is None:
            self._jobs.delete(record)
        return True

    def sweep(self) -> None:
        """Removes files that no record speaks of: their writers were killed between file and record."""
        if time.monotonic() - self._last_sweep < _SWEEP_S:
            return
        self._last_sweep = time.monotonic()
        self._storage.sweep_scratch(self._settings.job_timeout_s + _ORPHAN_S)
        for job_id, changed in self._storage.folders("inputs"):
            if self._is_orphan(job_id, changed):
                self._storage.delete(keys.input_folder(job_id))
        for kind in ("outputs", "extras"):
            for client, _ in self._storage.folders(kind):
                for job_id, changed in self._storage.folders(f"{kind}/{client}"):
                    if self._is_orphan(job_id, changed) or self._ended_without_files(job_id):
                        self._storage.delete(f"{kind}/{client}/{job_id}")
                    elif kind == "extras" and self._status(job_id) == JobStatus.COMPLETE:
                        self._drop_kept(client, job_id)

    def _status(self, job_id: str) -> str | None:
        status: str | None = self._redis.hget(f"{PREFIX}job:{job_id}", "status")
        return status

    def _ended_without_files(self, job_id: str) -> bool:
        """Whether a worker died between hearing that the job it had published was cancelled, and removing its files."""
        return self._status(job_id) in (JobStatus.CANCELLED, JobStatus.ERROR)

    def _drop_kept(self, client: str, job_id: str) -> None:
        """Removes what a complete job's attempts had kept for each other, if its worker died before it could."""
        if self._storage.names(keys.kept_folder(client, job_id)):
            self._storage.delete(keys.kept_folder(client, job_id))

    def _is_orphan(self, job_id: str, changed: float) -> bool:
        return changed < time.time() - _ORPHAN_S and not self._redis.exists(f"{PREFIX}job:{job_id}")
