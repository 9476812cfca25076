"""Submit pictures, follow jobs, fetch files: the house API as Python calls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests

_IMPATIENT_S = 10.0  # a job that has taken this long can be asked about less often
FINAL = ("complete", "error", "cancelled")


class MaquetteError(Exception):
    """The service refused, or a job ended in an error.

    Attributes:
        status: the HTTP status, 0 when a job itself failed.
        code: the service's stable word for what happened.
        retry_after_s: seconds after which trying again may help; None when it will not.
    """

    def __init__(self, message: str, status: int = 0, code: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Job:
    """One job as the service last told it; `told` is the whole answer."""

    id: str
    status: str
    pipeline: str
    progress: float = 0.0
    stage: str = ""
    eta_s: float | None = None
    files: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    told: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ended(self) -> bool:
        return self.status in FINAL


class MaquetteClient:
    """A connection to one service.

    Args:
        url: such as http://127.0.0.1:6006.
        api_key: where the service wants one.
        timeout_s: for each request.
    """

    def __init__(self, url: str, api_key: str = "", timeout_s: float = 60) -> None:
        self._url = url.rstrip("/") + "/"
        self._timeout_s = timeout_s
        self._session = requests.Session()
        if api_key:
            self._session.headers["X-API-Key"] = api_key

    def submit(self, images: Path | Sequence[Path], idempotency_key: str = "", **params: Any) -> Job:
        """Hands in a job and returns at once.

        Args:
            images: a picture, or several of the same object.
            idempotency_key: a repeated submit with the same key gives the same job.
            params: the pipeline's parameters, such as seed=1 or texture_size=2048.
        Raises:
            MaquetteError: the service refused.
        """
        paths = [images] if isinstance(images, Path) else list(images)
        parts = [("image", (path.name, path.read_bytes())) for path in paths]
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return _job(self._call("POST", "image_to_3d", files=parts, data=params, headers=headers).json())

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return _job(self._call("GET", f"jobs/{job_id}").json())

    def wait(self, job_id: str, on_progress: Callable[[Job], None] = lambda job: None, timeout_s: float = 3600) -> Job:
        """Follows a job to its end.

        Raises:
            MaquetteError: it ended in an error or was cancelled.
            TimeoutError: it did not end in time; it goes on all the same.
        """
        started = time.monotonic()
        deadline = started + timeout_s
        while time.monotonic() < deadline:
            job = self.job(job_id)
            on_progress(job)
            if job.ended and job.status != "complete":
                raise MaquetteError(
                    job.error or f"request {job_id} was {job.status}", code=job.told.get("error_kind", job.status)
                )
            if job.ended:
                return job
            time.sleep(0.1 if time.monotonic() - started < _IMPATIENT_S else 1.0)
        raise TimeoutError(f"request {job_id} has not ended after {timeout_s:g} s")

    def read(self, job: Job, name: str) -> bytes:
        """One file of a complete job.

        Raises:
            KeyError: it has no such file.
        """
        return bytes(self._call("GET", job.files[name].lstrip("/")).content)

    def download(self, job: Job, folder: Path) -> list[Path]:
        """All files of a complete job, below `folder`."""
        paths = []
        for name in job.files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(job, name))
            paths.append(path)
        return paths

    def history(self) -> list[dict[str, Any]]:
        """One's latest requests, newest first."""
        listed: list[dict[str, Any]] = self._call("GET", "my_requests").json()["requests"]
        return listed

    def cancel(self, job_id: str) -> str:
        """Cancels a waiting or running job, deletes an ended one; its status afterwards."""
        return str(self._call("DELETE", f"jobs/{job_id}").json()["status"])

    def ready(self) -> bool:
        """Whether a submit would be accepted just now.

        Raises:
            MaquetteError: the service does not let us ask.
        """
        try:
            self._call("GET", "health/ready")
        except MaquetteError as error:
            if error.status in (0, 503):
                return False
            raise
        return True

    def workers(self) -> list[dict[str, Any]]:
        """The devices and what their workers do."""
        listed: list[dict[str, Any]] = self._call("GET", "workers").json()["workers"]
        return listed

    def _call(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            answer = self._session.request(method, urljoin(self._url, path), timeout=self._timeout_s, **more)
        except requests.RequestException as error:
            raise MaquetteError(f"{self._url} does not answer: {error}", code="unreachable", retry_after_s=1) from error
        if answer.ok:
            return answer
        told = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        wait = answer.headers.get("Retry-After")
        message = told.get("error") or f"{method} /{path}: HTTP {answer.status_code}"
        raise MaquetteError(message, answer.status_code, told.get("code", ""), float(wait) if wait else None)


def _job(told: dict[str, Any]) -> Job:
    return Job(
        id=told["request_id"],
        status=told["status"],
        pipeline=told["pipeline"],
        progress=told.get("progress", 0.0),
        stage=told.get("stage", ""),
        eta_s=told.get("eta_s"),
        files=told["urls"].get("files", {}),
        warnings=told.get("warnings", []),
        error=told.get("error", ""),
        told=told,
    )
