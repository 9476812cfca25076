"""`run(job_id)`: the one function RQ calls. It takes a job from claim to its end, or gives it back."""

import contextlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import redis

from configs import logs
from configs.settings import Settings
from jobs.records import JobProgress, JobRecord, JobStatus
from jobs.transitions import Transitions
from storage import Storage, keys
from storage.errors import ObjectNotFound, StorageError, StorageFull
from workers.messages import Done, Failed, Previewed, Run, Saved
from workers.supervisor import Died, Interrupted, News, Outcome, Supervisor

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_ELSEWHERE_S = 0.2  # so that two workers that offer different pipelines do not throw a job to and fro in a frenzy
_RENEW_EVERY_S = 0.4  # also how soon a cancel is seen


class JobRunner:
    """Carries out jobs on one device.

    Args:
        name: of the worker, as the fleet knows it.
        requeue: hands an id back to RQ, at the front.
        pass_on: hands an id back to RQ, at the end, for a worker that offers its pipeline.
        offered: the pipelines of this one.
        stopping: whether this worker has been told to leave.
        beat: says that the worker lives; called often, it decides when it is time.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        transitions: Transitions,
        storage: Storage,
        supervisor: Supervisor,
        requeue: Callable[[str], None],
        pass_on: Callable[[str], None],
        offered: Sequence[str],
        stopping: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._transitions = transitions
        self._storage = storage
        self._supervisor = supervisor
        self._requeue = requeue
        self._pass_on = pass_on
        self._offered = offered
        self._stopping = stopping
        self._beat = beat
        self.current_job = ""

    def run(self, job_id: str) -> None:
        """One attempt at a job, if it still waits."""
        attempt = uuid.uuid4().hex
        record = self._transitions.claim(job_id, attempt, self._name, self._settings.lease_s, self._offered)
        if record == "elsewhere":
            time.sleep(_ELSEWHERE_S)
            self._pass_on(job_id)
            return
        if not isinstance(record, JobRecord):
            log.info("job %s no longer waits; passing it over", job_id)
            return
        log.info("job %s: attempt %d, %s", job_id, record.attempts, record.pipeline)
        self.current_job = job_id
        try:
            with logs.about(request_id=record.submitted_by, job_id=job_id):
                self._attempt(record)
        finally:
            self.current_job = ""

    def _attempt(self, record: JobRecord) -> None:
        try:
            if self._storage.exists(self._output(record, keys.MANIFEST)):
                self._complete(record)  # an earlier attempt died between publishing and saying so
            else:
                self._run_pipeline(record)
        except ObjectNotFound as error:
            self._fail(record, "input_lost", f"the picture is gone from the storage: {error}")
        except redis.RedisError:
            raise  # nothing can be recorded now; the lease runs out and the job goes back by itself
        except (StorageError, OSError) as error:
            log.exception("job %s", record.id)
            time.sleep(_PAUSE_S)  # a full or failing disk does not mend in a millisecond
            self._give_back(record, "storage", f"the worker's machine failed: {error}", counted=True)
        except Exception as error:
            log.exception("job %s", record.id)
            self._fail(record, "internal", f"{type(error).__name__}: {error}")

    def _run_pipeline(self, record: JobRecord) -> None:
        self._storage.clear_scratch(record.id)  # of an attempt that was killed
        scratch = self._storage.scratch(record.id)
        try:
            out = scratch / "out"
            out.mkdir()
            watcher = Watcher(self, record)
            outcome = self._supervisor.run(self._message(record, scratch, out), watcher)
            if isinstance(outcome, Done) and (reason := watcher.last_word()):
                outcome = Interrupted(reason)
            self._conclude(record, outcome, out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _message(self, record: JobRecord, scratch: Path, out: Path) -> Run:
        images = [str(self._storage.fetch(key, scratch)) for key in record.inputs]
        about = {"request_id": record.id, "attempt": record.attempts, "requested_warnings": record.warnings}
        kept = self._kept(record, scratch)
        return Run(record.id, record.pipeline, record.params, images, str(out), about, record.submitted_by, kept)

    def _kept(self, record: JobRecord, scratch: Path) -> dict[str, str]:
        """What earlier attempts have kept: name → file."""
        if not record.kept:
            return {}
        kept = {}
        for name in self._storage.names(keys.kept_folder(record.client, record.id)):
            with contextlib.suppress(ObjectNotFound):  # then the job has just ended another way
                kept[name] = str(self._storage.fetch(keys.kept_key(record.client, record.id, name), scratch))
        return kept

    def _conclude(self, record: JobRecord, outcome: Outcome, out: Path) -> None:
        if isinstance(outcome, Done):
            if not self._storage.publish(out, keys.output_folder(record.client, record.id)):
                log.info("job %s: another attempt has published already", record.id)
            self._complete(record, outcome.warnings, outcome.timings)
        elif isinstance(outcome, Failed) and outcome.kind == "device_error":
            self._give_back(record, outcome.kind, outcome.message, counted=True)
        elif isinstance(outcome, Failed) and outcome.kind == "storage":
            raise StorageFull(outcome.message)
        elif isinstance(outcome, Failed):
            self._fail(record, outcome.kind, outcome.message)
        elif isinstance(outcome, Died):
            self._give_back(record, "crashed", outcome.message, counted=True)
        else:
            self._interrupted(record, outcome)

    def _interrupted(self, record: JobRecord, outcome: Interrupted) -> None:
        if outcome.reason == "timeout":
            limit = f"{self._settings.job_timeout_s:g} s"
            self._fail(record, "timeout", f"the job ran longer than {limit} (MAQUETTE_JOB_TIMEOUT_S) and was stopped")
        elif outcome.reason == "lost":
            log.warning("job %s: this attempt lost its lease; dropping its work", record.id)
        else:  # cancel: the record holds the wish, and giving back ends it; shutdown: it is nobody's fault
            self._give_back(record, "stopped", "the worker was stopped", counted=False)

    def _complete(
        self, record: JobRecord, warnings: list[str] | None = None, timings: Mapping[str, float] | None = None
    ) -> None:
        files = self._storage.names(keys.output_folder(record.client, record.id))
        told = record.warnings + (warnings if warnings is not None else self._published_warnings(record))
        word = self._transitions.complete(record.id, record.attempt, files, told, timings)
        log.info("job %s: %s", record.id, word)
        self._clean_up(record, word)  # it may have ended another way while we published

    def _published_warnings(self, record: JobRecord) -> list[str]:
        with self._storage.open(self._output(record, keys.MANIFEST)).stream as stream:
            warnings: list[str] = json.load(stream)["warnings"]
        return warnings

    def _output(self, record: JobRecord, filename: str) -> str:
        return keys.output_key(record.client, record.id, filename)

    def _fail(self, record: JobRecord, kind: str, message: str) -> None:
        word = self._transitions.fail(record.id, record.attempt, kind, message)
        log.info("job %s: %s (%s: %s)", record.id, word, kind, message)
        self._clean_up(record, word)

    def _give_back(self, record: JobRecord, kind: str, message: str, counted: bool) -> None:
        word = self._transitions.release(
            record.id,
            record.attempt,
            counted=counted,
            max_attempts=self._settings.max_attempts,
            kind=kind,
            message=message,
        )
        log.warning("job %s: %s (%s: %s)", record.id, word, kind, message)
        if word == JobStatus.QUEUED:
            self._requeue(record.id)
        self._clean_up(record, word)

    def _clean_up(self, record: JobRecord, word: str) -> None:
        """Removes what attempts have kept of a job that has ended, and what one may have published of one that did not
        end well."""
        if word in (JobStatus.CANCELLED, JobStatus.ERROR, "gone"):
            self._storage.delete(keys.output_folder(record.client, record.id))
        if word not in (JobStatus.QUEUED, "lost") and self._storage.names(keys.kept_folder(record.client, record.id)):
            self._storage.delete(keys.kept_folder(record.client, record.id))

    def show(self, record: JobRecord, preview: Path) -> None:
        """Puts a rough shape where the client can see it. A job does not fail for want of one."""
        try:
            self._storage.put(keys.extras_key(record.client, record.id, keys.PREVIEW), preview.read_bytes())
        except (StorageError, OSError) as error:
            log.warning("job %s: no preview: %s", record.id, error)
        else:
            self._transitions.preview(record.id)

    def keep(self, record: JobRecord, result: Path) -> None:
        """Puts a result where the next attempt finds it. A job does not fail for want of one."""
        try:
            data = result.read_bytes()
            if self._transitions.keep(record.id, record.attempt):  # first, so that whoever ends the job knows of it
                self._storage.put(keys.kept_key(record.client, record.id, result.name), data)
        except (StorageError, OSError) as error:
            log.warning("job %s: %s is not kept: %s", record.id, result.name, error)

    def verdict(self, record: JobRecord, progress: JobProgress | None, started: float) -> str | None:
        """Renews the lease, and the reason to stop the job, if there is one."""
        self._beat()
        word = self._transitions.renew(record.id, record.attempt, self._settings.lease_s, progress)
        if word != "mine":
            return word
        if time.monotonic() - started > self._settings.job_timeout_s:
            return "timeout"
        return "shutdown" if self._stopping() else None


class Watcher:
    """What the supervisor asks ten times a second while a job runs; Redis is asked less often."""

    def __init__(self, runner: JobRunner, record: JobRecord) -> None:
        self._runner = runner
        self._record = record
        self._started = time.monotonic()
        self._asked = self._started
        self._begun: float | None = None
        self._news: JobProgress | None = None

    def __call__(self, news: News | None) -> str | None:
        if isinstance(news, Previewed):
            self._runner.show(self._record, Path(news.path))
            return None
        if isinstance(news, Saved):
            self._runner.keep(self._record, Path(news.path))
            return None
        if news is not None:
            first = self._news is None or self._news.stage != news.stage
            self._begun = news.fraction if self._begun is None else self._begun
            self._news = JobProgress(news.stage, news.step, news.of, news.fraction, self._begun)
        else:
            first = False
        if not first and time.monotonic() - self._asked < _RENEW_EVERY_S:
            return None
        return self.last_word()

    def last_word(self) -> str | None:
        """Asks now whether this attempt still counts."""
        self._asked = time.monotonic()
        return self._runner.verdict(self._record, self._news, self._started)


_runner: JobRunner | None = None


def serve_with(runner: JobRunner) -> None:
    """Names the runner of this process. RQ calls `run` by name and can hand over nothing but the id."""
    global _runner
    _runner = runner


def run(job_id: str) -> None:
    """Carries out one job in this worker.

    Raises:
        RuntimeError: called by an RQ worker that is not ours.
    """
    if _runner is None:
        raise RuntimeError("this queue is served by `python ai_worker.py`, not by a plain RQ worker")
    _runner.run(job_id)
