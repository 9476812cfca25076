"""A job's life as it is promised, in plain Python: what Redis is compared with."""

from dataclasses import dataclass, field

from jobs.records import JobProgress, JobRecord, JobStatus

MAX_ATTEMPTS = 2


@dataclass
class Model:
    """One job as it should be. `past` are all attempts it ever had; the current one is the last."""

    id: str
    client: str
    queue: str
    status: JobStatus = JobStatus.QUEUED
    attempts: int = 0
    attempt: str = ""
    worker: str = ""
    progress: JobProgress = JobProgress()
    files: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    error_kind: str = ""
    cancel: bool = False
    past: list[str] = field(default_factory=list)
    lapsed: bool = False

    def claim(self, attempt: str, worker: str) -> None:
        self.status, self.attempt, self.worker, self.lapsed = JobStatus.PROCESSING, attempt, worker, False
        self.attempts += 1
        self.past.append(attempt)

    def end(self, status: JobStatus) -> str:
        self.status = status
        return status

    def finish(self, attempt: str, status: JobStatus) -> str:
        """The word the worker should hear."""
        if self.status.final:
            return self.status
        if not self.runs(attempt):
            return "lost"
        return self.end(JobStatus.CANCELLED if self.cancel else status)

    def put_back(self, counted: bool, kind: str, message: str) -> str:
        if self.cancel:
            return self.end(JobStatus.CANCELLED)
        if counted and self.attempts >= MAX_ATTEMPTS:
            self.error, self.error_kind = f"{message} (attempt {self.attempts} of {MAX_ATTEMPTS})", kind
            return self.end(JobStatus.ERROR)
        self.attempts -= not counted
        self.status, self.attempt, self.worker, self.progress = JobStatus.QUEUED, "", "", JobProgress()
        return self.status

    def runs(self, attempt: str) -> bool:
        return self.status is JobStatus.PROCESSING and self.attempt == attempt

    def agrees(self, record: JobRecord) -> None:
        for name in self.__dataclass_fields__.keys() - {"past", "lapsed"}:
            assert getattr(record, name) == getattr(self, name), f"{name} of {record}"
