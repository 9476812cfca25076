"""Jobs and events as the service tells them."""

from dataclasses import dataclass, field, replace
from typing import Any

from maquette_client.errors import MaquetteError

FINAL = ("complete", "error", "cancelled")


@dataclass(frozen=True)
class Job:
    """One job as the service last told it; `told` is the whole answer.

    Attributes:
        position: place in the queue, 1 for the next to run; 0 when it no longer waits.
        progress: from 0 to 1; `step` of `of` counts within the stage.
        eta_s: seconds until it ends, None while nothing is known.
        files: name → address, once it is complete.
    """

    id: str
    status: str
    pipeline: str
    position: int = 0
    progress: float = 0.0
    stage: str = ""
    step: int = 0
    of: int = 0
    eta_s: float | None = None
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    error_kind: str = ""
    image_name: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    told: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True)
class Event:
    """One server-sent event.

    Attributes:
        name: status, progress, preview, done or error; the last two end the stream and carry the whole job.
        id: where to go on after a broken connection; empty for what need not be told again.
    """

    name: str
    data: dict[str, Any]
    id: str = ""


_PLAIN = (
    "position progress stage step of eta_s warnings error error_kind image_name created_at started_at ended_at".split()
)


def job_from(told: Any) -> Job:
    """The job in a service's answer.

    Raises:
        MaquetteError: there is none in it.
    """
    try:
        plain = {name: told[name] for name in _PLAIN if name in told}
        files = dict(told["urls"].get("files", {}))
        return Job(told["request_id"], told["status"], told["pipeline"], files=files, told=told, **plain)
    except (KeyError, TypeError, AttributeError) as error:
        raise MaquetteError(
            f"the answer is not a job as Maquette tells one ({type(error).__name__}: {error})", code="not_maquette"
        ) from error


def after(job: Job, event: Event) -> Job:
    """The job as it is once `event` has happened."""
    told = event.data
    if event.name in ("done", "error"):
        return job_from(told)
    if event.name == "status":
        now = replace(job, status=told["status"], position=told.get("position") or 0, eta_s=told.get("eta_s"))
        # Queued again after a crash: what had been done is lost.
        return replace(now, stage="", step=0, of=0, progress=0.0) if now.status == "queued" else now
    if event.name == "progress":
        changed = {name: told[name] for name in ("stage", "step", "of", "progress", "eta_s") if name in told}
        return replace(job, status="processing", position=0, **changed)
    return job
