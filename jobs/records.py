"""What a job is: the request it came from, and the record that is the only truth about it."""

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any


class JobStatus(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (JobStatus.QUEUED, JobStatus.PROCESSING)


@dataclass(frozen=True)
class JobRequest:
    """What a dialect hands over.

    Attributes:
        client: who asked, in the form that stands in output URLs.
        dialect: which API's words the answers use.
        params: the pipeline's parameters, as plain JSON values.
        image_name: what the client called its picture.
        idempotency_key: the same key from the same client gives the same job; empty for none.
        webhook_url: who is to be told of the end; empty for nobody.
        submitted_by: the id of the HTTP request, for the log.
        wants_preview: a rough shape is worth making while it waits.
        made_from: the id of the earlier job whose structure is the input; empty where pictures are.
    """

    client: str
    dialect: str
    pipeline: str
    params: dict[str, Any]
    image_name: str = ""
    warnings: list[str] = field(default_factory=list)
    idempotency_key: str = ""
    webhook_url: str = ""
    wants_preview: bool = False
    submitted_by: str = ""
    made_from: str = ""

    def fields(self, inputs: list[str]) -> dict[str, str]:
        """The hash fields that never change."""
        webhook = {"webhook": self.webhook_url} if self.webhook_url else {}
        made_from = {"made_from": self.made_from} if self.made_from else {}
        return (
            webhook
            | made_from
            | {
                "dialect": self.dialect,
                "pipeline": self.pipeline,
                "params": json.dumps(self.params),
                "inputs": json.dumps(inputs),
                "image_name": self.image_name,
                "warnings": json.dumps(self.warnings),
                "submitted_by": self.submitted_by,
            }
        )


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is.

    Attributes:
        fraction: of the whole job, 0 to 1.
        begun: the fraction at which this attempt began: not 0 when it goes on from what an earlier one has kept.
    """

    stage: str = ""
    step: int = 0
    of: int = 0
    fraction: float = 0.0
    begun: float = 0.0

    @classmethod
    def from_json(cls, text: str) -> "JobProgress":
        """Progress as a worker told it; what a newer version says besides is passed over."""
        told = json.loads(text)
        return cls(**{one.name: told[one.name] for one in fields(cls) if one.name in told})


@dataclass(frozen=True)
class JobRecord:
    """One job as Redis has it. Times are Unix seconds by the Redis server's clock, 0 for not yet.

    Attributes:
        seq: place in the order of acceptance; a smaller one runs earlier.
        attempt: the id of the attempt that counts; what a stale worker says is dropped by it.
        files: names below the job's output folder, once complete.
        preview: how often there was something new to look at before the end.
        kept: there may be results in the storage that a new attempt can go on from.
        last_event: the id of the event that told the end.
        webhook_state: delivered, again (it failed so far) or failed; empty before the first try.
    """

    id: str
    client: str
    queue: str
    status: JobStatus
    dialect: str
    pipeline: str
    params: dict[str, Any]
    inputs: list[str]
    seq: int
    created_at: float
    started_at: float = 0.0
    claimed_at: float = 0.0
    ended_at: float = 0.0
    attempts: int = 0
    attempt: str = ""
    worker: str = ""
    image_name: str = ""
    progress: JobProgress = JobProgress()
    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    error_kind: str = ""
    cancel: bool = False
    preview: int = 0
    kept: bool = False
    last_event: str = ""
    webhook_url: str = ""
    webhook_state: str = ""
    webhook_tries: int = 0
    webhook_note: str = ""
    submitted_by: str = ""
    made_from: str = ""

    @classmethod
    def from_hash(cls, values: dict[str, str]) -> "JobRecord":
        """The record in a Redis hash."""
        return cls(
            id=values["id"],
            client=values["client"],
            queue=values["queue"],
            status=JobStatus(values["status"]),
            dialect=values["dialect"],
            pipeline=values["pipeline"],
            params=json.loads(values["params"]),
            inputs=json.loads(values["inputs"]),
            seq=int(values["seq"]),
            created_at=float(values["created_at"]),
            started_at=float(values.get("started_at", 0)),
            claimed_at=float(values.get("claimed_at", 0)),
            ended_at=float(values.get("ended_at", 0)),
            attempts=int(values["attempts"]),
            attempt=values.get("attempt", ""),
            worker=values.get("worker", ""),
            image_name=values.get("image_name", ""),
            progress=JobProgress.from_json(values.get("progress", "{}")),
            files=json.loads(values.get("files", "[]")),
            warnings=json.loads(values.get("warnings", "[]")),
            error=values.get("error", ""),
            error_kind=values.get("error_kind", ""),
            cancel="cancel" in values,
            preview=int(values.get("preview", 0)),
            kept="kept" in values,
            last_event=values.get("last_event", ""),
            webhook_url=values.get("webhook", ""),
            webhook_state=values.get("webhook_state", ""),
            webhook_tries=int(values.get("webhook_tries", 0)),
            webhook_note=values.get("webhook_note", ""),
            submitted_by=values.get("submitted_by", ""),
            made_from=values.get("made_from", ""),
        )
