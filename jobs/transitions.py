"""Every change of a job's state, each one atomic script in `jobs/lua`. What loses a race changes nothing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import redis

from jobs.records import JobProgress, JobRecord, JobStatus

PREFIX = "maquette:"
BOUNDS = ("0.1", "0.3", "1", "3", "10", "30", "100", "300", "1000", "3000")  # of the histograms' buckets, seconds
_SCRIPTS = (
    *("claim", "renew", "finish", "release", "expire", "cancel", "preview", "keep", "forget"),
    *("webhook_next", "webhook_tried"),
)
_FOLDER = Path(__file__).parent / "lua"


def script(name: str) -> str:
    """The text of one script, ready for EVAL; its first two arguments are the key prefix and the job's id."""
    bounds = "local BOUNDS = {" + ", ".join(f"'{bound}'" for bound in BOUNDS) + "}\n"
    return bounds + (_FOLDER / "common.lua").read_text() + (_FOLDER / f"{name}.lua").read_text()


class Script:
    """A script that is called by its digest, and by its text where the server does not know it.

    A server that was restarted has forgotten it. redis-py's own Script loads it then and calls it by digest again,
    which fails when the server is restarted in between.
    """

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._text = script(name)
        self._digest = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, *args: object) -> Any:
        try:
            return self._client.evalsha(self._digest, 0, PREFIX, *args)
        except redis.exceptions.NoScriptError:
            return self._client.eval(self._text, 0, PREFIX, *args)

    def queue(self, pipeline: Any, *args: object) -> None:
        """Adds a call to somebody else's round trip."""
        pipeline.eval(self._text, 0, PREFIX, *args)


class Transitions:
    """The worker's and the reaper's side of a job's life. Redis is the clock, so hosts may disagree about the time."""

    def __init__(self, redis: Any) -> None:
        self._scripts = {name: Script(redis, name) for name in _SCRIPTS}

    def _run(self, name: str, job_id: str, *args: object) -> Any:
        return self._scripts[name](job_id, *args)

    def claim(
        self, job_id: str, attempt: str, worker: str, lease_s: float, offered: Sequence[str] = ()
    ) -> JobRecord | Literal["elsewhere"] | None:
        """Begins an attempt; None when the job no longer waits.

        Args:
            offered: the pipelines the worker can run, if not any; a job of another one is "elsewhere".
        """
        values = self._run("claim", job_id, attempt, worker, lease_s, *offered)
        if not values or values == "elsewhere":
            return "elsewhere" if values else None
        return JobRecord.from_hash(dict(zip(values[::2], values[1::2], strict=True)))

    def renew(self, job_id: str, attempt: str, lease_s: float, progress: JobProgress | None = None) -> str:
        """Prolongs the lease and records progress: "mine", "cancel" or "lost"."""
        told = json.dumps(vars(progress)) if progress else ""
        return str(self._run("renew", job_id, attempt, lease_s, told))

    def complete(
        self,
        job_id: str,
        attempt: str,
        files: list[str],
        warnings: list[str],
        timings: Mapping[str, float] | None = None,
    ) -> str:
        """Ends the job well. Returns the status it has now, "lost" when another attempt counts, or "gone".

        Args:
            timings: stage → seconds, for the counters.
        """
        extra = ("files", json.dumps(files), "warnings", json.dumps(warnings), "timings", json.dumps(timings or {}))
        return str(self._run("finish", job_id, attempt, JobStatus.COMPLETE, "", "", *extra))

    def fail(self, job_id: str, attempt: str, kind: str, message: str) -> str:
        """Ends the job with an error that trying again would not cure. Returns as `complete` does."""
        return str(self._run("finish", job_id, attempt, JobStatus.ERROR, kind, message))

    def release(
        self, job_id: str, attempt: str, *, counted: bool, max_attempts: int, kind: str = "", message: str = ""
    ) -> str:
        """Puts the job back at its place; an attempt that counts may be the last. Returns its status, or "lost"."""
        return str(self._run("release", job_id, attempt, int(counted), max_attempts, kind, message))

    def expire(self, job_id: str, max_attempts: int, kind: str, message: str, dead_worker: str = "") -> str:
        """Takes the job from a worker that is gone: its new status, "alive", or "lost"."""
        return str(self._run("expire", job_id, max_attempts, kind, message, dead_worker))

    def cancel(self, job_id: str) -> str:
        """The job's status, or "cancelling" while a worker still has to stop; empty when there is no such job."""
        return str(self._run("cancel", job_id) or "")

    def preview(self, job_id: str) -> bool:
        """Says that a preview lies in the storage; False when the job has no use for one any more."""
        return bool(self._run("preview", job_id))

    def keep(self, job_id: str, attempt: str) -> bool:
        """Notes that something is to be kept for a next attempt; False when this attempt has no say any more."""
        return bool(self._run("keep", job_id, attempt))

    def next_webhook(self, lease_s: float) -> str:
        """The id of an ended job whose webhook is due, ours for so long; empty when none is."""
        return str(self._run("webhook_next", "", lease_s) or "")

    def webhook_tried(self, job_id: str, state: str, pause_s: float, note: str) -> None:
        """Records a try: "delivered", "failed" for good, or "again" after a pause."""
        self._run("webhook_tried", job_id, state, pause_s, note)

    def forget(self, job_id: str) -> bool:
        """Removes an ended job's record."""
        return bool(self._run("forget", job_id))
