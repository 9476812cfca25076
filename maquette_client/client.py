"""Submit pictures, follow jobs, fetch files: the house API as Python calls."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from maquette_client import files
from maquette_client.errors import MaquetteError
from maquette_client.events import Parser
from maquette_client.records import Event, Job, after, job_from
from maquette_client.transport import CONNECT_S, Transport

_MANIFEST = "manifest.json"
_IMPATIENT_S = 10.0  # a job that has taken this long can be asked about less often
_SILENCE_S = 20.0  # a living stream says something every 15 s
_LAST = ("done", "error")
# Where a stream is not to be had, polling does: an older service, one with no stream to spare, a proxy in between.
_NO_STREAM = (404, 405, 406, 429, 501, 503)


class MaquetteClient:
    """A connection to one service. Threads may share it.

    Args:
        url: such as http://127.0.0.1:6006.
        api_key: where the service wants one.
        timeout_s: for each request.
        retry_s: how long a submit, a wait or a download tries again while the service does not answer.
    Raises:
        ValueError: `url` is not an http address.
    """

    def __init__(self, url: str, api_key: str = "", timeout_s: float = 60, retry_s: float = 30) -> None:
        self._transport = Transport(url, api_key, timeout_s)
        self._retry_s = retry_s

    def submit(self, images: Path | Sequence[Path] = (), idempotency_key: str = "", **params: Any) -> Job:
        """Hands in a job and returns at once. Lost answers are safe: a repeated submit brings the same job.

        Args:
            images: a picture, or several of the same object; none with stage="stage2" and job_id=, which goes on from
                the structure of that earlier job.
            idempotency_key: a key of one's own lets a program that was started again find its job; else a fresh one.
            params: the pipeline's parameters, such as seed=1 or texture_size=2048.
        Raises:
            MaquetteError: the service refused, or did not answer for `retry_s`.
            OSError: a picture cannot be read.
        """
        paths = [images] if isinstance(images, Path) else list(images)
        parts = [("image", (path.name, path.read_bytes())) for path in paths]
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        told = self._transport.told(
            "POST", "image_to_3d", self._retry_s, files=parts, data=_form(params), headers=headers
        )
        return job_from(told)

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return job_from(self._transport.told("GET", _of(job_id)))

    def jobs(self) -> list[Job]:
        """One's jobs with all that is known about them, newest first."""
        return [job_from(told) for told in self._list("jobs", "jobs")]

    def events(self, job_id: str, last_event_id: str = "", timeout_s: float = float("inf")) -> Iterator[Event]:
        """What happens to a job, as it happens, to its `done` or `error`. A broken connection is taken up again.

        Args:
            last_event_id: tell only what came after this one; nothing when that was the end.
        Raises:
            MaquetteError: no such job; the service has been away for `retry_s`; or (`no_events`) nothing like a
                stream comes, because the service is old or a proxy holds it back.
            TimeoutError: the job has not ended in time; it goes on all the same.
        """
        deadline, lost_at, connected = time.monotonic() + timeout_s, 0.0, False
        while (now := time.monotonic()) < deadline:
            parser = Parser()
            try:
                for event in self._stream(job_id, last_event_id, parser, min(_SILENCE_S, deadline - now)):
                    lost_at, connected, last_event_id = 0.0, True, event.id or last_event_id
                    yield event
                    if event.name in _LAST:
                        return
                    if time.monotonic() > deadline:
                        break
            except _AllTold:
                return
            except MaquetteError as error:
                lost_at = lost_at or time.monotonic()
                refused = error.status > 0 and not connected
                if refused or not error.transient or time.monotonic() - lost_at > self._retry_s:
                    raise
            time.sleep(max(0.0, min(parser.retry_s, deadline - time.monotonic())))
        raise _late(job_id, timeout_s)

    def _stream(self, job_id: str, last_event_id: str, parser: Parser, silence_s: float) -> Iterator[Event]:
        """The events of one connection."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        patience = (min(CONNECT_S, silence_s), silence_s)
        path = _of(job_id) + "/events"
        with self._transport.call("GET", path, headers=headers, stream=True, timeout=patience) as answer:
            if answer.status_code == 204:
                raise _AllTold
            if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise MaquetteError(f"{path} is not a stream of events", code="no_events")
            try:
                yield from parser.events(answer.iter_content(1))  # more would wait until so much has come
            except requests.RequestException as error:
                if not parser.heard and isinstance(error, requests.ConnectionError) and "timed out" in str(error):
                    raise MaquetteError(
                        f"nothing comes from {path}; is a proxy buffering?", code="no_events"
                    ) from error
                raise self._transport.lost(error) from error
            except ValueError as error:
                raise MaquetteError(f"{path} does not speak as Maquette does: {error}", code="no_events") from error

    def follow(self, job_id: str, timeout_s: float = 3600) -> Iterator[Job]:
        """The job now and after each change, to its end, whatever that is.

        Raises:
            MaquetteError: no such job, or the service has been away for `retry_s`.
            TimeoutError: it did not end in time; it goes on all the same.
        """
        deadline = time.monotonic() + timeout_s
        job = self._look(job_id)
        yield job
        if job.ended:
            return
        try:
            for event in self.events(job_id, timeout_s=deadline - time.monotonic()):
                job = after(job, event)
                yield job
        except TimeoutError:
            raise _late(job_id, timeout_s) from None
        except MaquetteError as error:
            if error.code != "no_events" and error.status not in _NO_STREAM:
                raise
        if not job.ended:
            yield from self._poll(job_id, timeout_s, deadline)

    def _poll(self, job_id: str, timeout_s: float, deadline: float) -> Iterator[Job]:
        """For a service without events for us. One that knows ?wait= holds the answer back, an older one does not."""
        started, query = time.monotonic(), {"wait": 1}
        while time.monotonic() < deadline:
            asked = time.monotonic()
            try:
                job = self._look(job_id, **query)
            except MaquetteError as error:
                if error.code != "too_many_waiting" or not query:
                    raise
                query = {}
                continue
            yield job
            if job.ended:
                return
            pause = 0.1 if asked - started < _IMPATIENT_S else 1.0
            time.sleep(max(0.0, pause - (time.monotonic() - asked)))
        raise _late(job_id, timeout_s)

    def _look(self, job_id: str, **query: Any) -> Job:
        return job_from(self._transport.told("GET", _of(job_id), self._retry_s, params=query))

    def wait(self, job_id: str, on_progress: Callable[[Job], None] = lambda job: None, timeout_s: float = 3600) -> Job:
        """Follows a job to its good end.

        Raises:
            MaquetteError: it ended in an error or was cancelled; or as for `follow`.
            TimeoutError: it did not end in time; it goes on all the same.
        """
        for job in self.follow(job_id, timeout_s):
            on_progress(job)
        if job.status != "complete":
            raise MaquetteError(job.error or f"request {job_id} was {job.status}", code=job.error_kind or job.status)
        return job

    def read(self, job: Job, name: str) -> bytes:
        """One file of a complete job.

        Raises:
            KeyError: it has no such file.
        """
        return bytes(self._transport.call("GET", job.files[name], self._retry_s).content)

    def download(
        self,
        job: Job,
        folder: Path,
        names: Sequence[str] = ("*",),
        on_bytes: files.OnBytes = lambda count: None,
    ) -> list[Path]:
        """Files of a complete job, below `folder`. Each appears whole, checked against the manifest, or not at all;
        those that are there already are not fetched again. The manifest comes last.

        Args:
            names: names or patterns such as "stage1_output/*".
            on_bytes: told how many more bytes have come; what it raises ends the download.
        Raises:
            MaquetteError: a file is damaged, has an unsafe name, or the job has none of that name.
            OSError: one cannot be written.
        """
        wanted = _matching(list(job.files), names)
        targets = {name: files.target(folder, name) for name in wanted}
        known = files.hashes(json.loads(self.read(job, _MANIFEST))) if _MANIFEST in job.files else {}
        for name in sorted(wanted, key=lambda name: name == _MANIFEST):
            files.fetch(self._transport, job.files[name], targets[name], known.get(name), on_bytes, self._retry_s)
        return [targets[name] for name in wanted]

    def convert(self, job: Job, path: Path, to: str, name: str = "output.glb", **options: str) -> Path:
        """One file of a complete job in another format, at `path`.

        Args:
            to: stl, ply, usdz, glb, obj (a ZIP of it, its material and its textures), or zip for the whole folder.
            options: compression="draco", texture="webp", …
        Raises:
            MaquetteError: the service cannot.
            KeyError: the job has no file called `name`.
        """
        query = {"as": to, **options}
        files.fetch(self._transport, job.files[name], path, None, retry_s=self._retry_s, params=query)
        with open(path, "rb") as file:
            unchanged = to != "glb" and file.read(4) == b"glTF"
        if unchanged:  # an older service knows no ?as=
            path.unlink()
            raise MaquetteError(f"this service does not convert to {to}", code="not_converted")
        return path

    def history(self) -> list[dict[str, Any]]:
        """One's latest requests, newest first."""
        return self._list("my_requests", "requests")

    def cancel(self, job_id: str) -> str:
        """Cancels a job, if it has not ended; its status afterwards, "processing" while it stops at its next step."""
        return str(self._transport.told("POST", f"{_of(job_id)}/cancel")["status"])

    def delete(self, job_id: str) -> str:
        """Removes an ended job with its files, cancels another; its status."""
        return str(self._transport.told("DELETE", _of(job_id))["status"])

    def ready(self) -> bool:
        """Whether a submit would be accepted just now.

        Raises:
            MaquetteError: the service does not let us ask.
        """
        try:
            self._transport.call("GET", "health/ready")
        except MaquetteError as error:
            if error.transient:
                return False
            raise
        return True

    def workers(self) -> list[dict[str, Any]]:
        """The devices and what their workers do."""
        return self._list("workers", "workers")

    def _list(self, path: str, key: str) -> list[dict[str, Any]]:
        told = self._transport.told("GET", path)
        found = told.get(key) if isinstance(told, dict) else None
        if not isinstance(found, list):
            raise MaquetteError(f"/{path} does not answer as Maquette does", code="not_maquette")
        return found


class _AllTold(Exception):
    """The stream has nothing that was not told before."""


def _late(job_id: str, timeout_s: float) -> TimeoutError:
    return TimeoutError(f"request {job_id} has not ended after {timeout_s:g} s")


def _of(job_id: str) -> str:
    return f"jobs/{quote(job_id, safe='')}"


def _form(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as form fields; a list is written with commas, a truth value in the API's spelling."""
    return {name: _field(value) for name, value in params.items() if value is not None}


def _field(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_field, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matching(known: Sequence[str], wanted: Sequence[str]) -> list[str]:
    for pattern in wanted:
        if known and not any(fnmatch(name, pattern) for name in known):
            raise MaquetteError(f"the job has no file {pattern!r}; it has {', '.join(sorted(known))}", code="not_found")
    return [name for name in known if any(fnmatch(name, pattern) for pattern in wanted)]
