"""`run(job_id)`: the one function RQ calls. It takes a job from claim to its end, or gives it back."""

import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from configs.settings import Settings
from jobs.records import JobProgress, JobRecord, JobStatus
from jobs.transitions import Transitions
from storage import Storage, keys
from storage.errors import ObjectNotFound, StorageError
from workers.messages import Advanced, Done, Failed, Run
from workers.supervisor import Died, Interrupted, Outcome, Supervisor

log = logging.getLogger(__name__)

_RENEW_EVERY_S = 0.4  # also how soon a cancel is seen


class JobRunner:
    """Carries out jobs on one device.

    Args:
        name: of the worker, as the fleet knows it.
        requeue: hands an id back to RQ, at the front.
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
        stopping: Callable[[], bool],
        beat: Callable[[], None],
    ) -> None:
        self._name = name
        self._settings = settings
        self._transitions = transitions
        self._storage = storage
        self._supervisor = supervisor
        self._requeue = requeue
        self._stopping = stopping
        self._beat = beat
        self.current_job = ""

    def run(self, job_id: str) -> None:
        """One attempt at a job, if it still waits."""
        attempt = uuid.uuid4().hex
        record = self._transitions.claim(job_id, attempt, self._name, self._settings.lease_s)
        if record is None:
            log.info("job %s no longer waits; passing it over", job_id)
            return
        log.info("job %s: attempt %d, %s", job_id, record.attempts, record.pipeline)
        self.current_job = job_id
        try:
            self._attempt(record)
        finally:
            self.current_job = ""

    def _attempt(self, record: JobRecord) -> None:
        if self._storage.exists(self._output(record, keys.MANIFEST)):
            self._complete(record)  # an earlier attempt died between publishing and saying so
            return
        scratch = self._storage.scratch()
        try:
            out = scratch / "out"
            out.mkdir()
            outcome = self._supervisor.run(self._message(record, scratch, out), Watcher(self, record))
            self._conclude(record, outcome, out)
        except ObjectNotFound as error:
            self._fail(record, "input_lost", f"the picture is gone from the storage: {error}")
        except StorageError as error:
            log.exception("job %s", record.id)
            self._give_back(record, "storage", f"the storage failed: {error}", counted=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _message(self, record: JobRecord, scratch: Path, out: Path) -> Run:
        images = [str(self._storage.fetch(key, scratch)) for key in record.inputs]
        about = {"request_id": record.id, "attempt": record.attempts, "requested_warnings": record.warnings}
        return Run(record.id, record.pipeline, record.params, images, str(out), about)

    def _conclude(self, record: JobRecord, outcome: Outcome, out: Path) -> None:
        if isinstance(outcome, Done):
            if not self._storage.publish(out, keys.output_folder(record.client, record.id)):
                log.info("job %s: another attempt has published already", record.id)
            self._complete(record, outcome.warnings)
        elif isinstance(outcome, Failed) and outcome.kind == "device_error":
            self._give_back(record, outcome.kind, outcome.message, counted=True)
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

    def _complete(self, record: JobRecord, warnings: list[str] | None = None) -> None:
        files = self._storage.names(keys.output_folder(record.client, record.id))
        told = record.warnings + (warnings if warnings is not None else self._published_warnings(record))
        word = self._transitions.complete(record.id, record.attempt, files, told)
        log.info("job %s: %s", record.id, word)
        if word in (JobStatus.CANCELLED, JobStatus.ERROR, "gone"):  # it ended another way while we published
            self._storage.delete(keys.output_folder(record.client, record.id))

    def _published_warnings(self, record: JobRecord) -> list[str]:
        with self._storage.open(self._output(record, keys.MANIFEST)).stream as stream:
            warnings: list[str] = json.load(stream)["warnings"]
        return warnings

    def _output(self, record: JobRecord, filename: str) -> str:
        return keys.output_key(record.client, record.id, filename)

    def _fail(self, record: JobRecord, kind: str, message: str) -> None:
        word = self._transitions.fail(record.id, record.attempt, kind, message)
        log.info("job %s: %s (%s: %s)", record.id, word, kind, message)

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
        self._news: JobProgress | None = None

    def __call__(self, news: Advanced | None) -> str | None:
        if news is not None:
            first = self._news is None or self._news.stage != news.stage
            self._news = JobProgress(news.stage, news.step, news.of, news.fraction)
        else:
            first = False
        if not first and time.monotonic() - self._asked < _RENEW_EVERY_S:
            return None
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
