"""`/jobs/<id>/events`: what happens to a job, as server-sent events that a lost connection can take up again."""

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from jobs.errors import JobNotFound, RedisUnavailable
from jobs.queue import Following, JobEvent, JobQueue, JobView
from jobs.records import JobStatus
from web.context import client, context
from web.errors import BadRequest
from web.operations import Answer, operation
from web.resources.jobs import LOOK_REFUSALS, describe, preview_url

blueprint = Blueprint("events", __name__)

_KEEP_ALIVE_S = 15.0
_LOOK_AGAIN_S = 20.0  # also without being woken, should a message be lost
_QUEUE_S = 2.0  # how often a waiting job's place is looked at, if others have moved
_EVENT_ID = re.compile(r"\d{1,20}-\d{1,20}")


class EventsQuery(BaseModel):
    """Where to begin."""

    last_event_id: str = Field("", description="as the header Last-Event-ID, for those who cannot set one")


@blueprint.get("/jobs/<job_id>/events")
@operation(
    "jobs",
    {
        200: Answer("status, progress, preview, done, error; the data of each is JSON", media=("text/event-stream",)),
        204: Answer("the job has ended, and this follower has seen all of it"),
    },
    raises=LOOK_REFUSALS,
    query=EventsQuery,
    headers=("Last-Event-ID",),
)
def job_events(job_id: str) -> ResponseReturnValue:
    """What happens to a job, live: status, progress, preview, done, error. Takes up again after Last-Event-ID."""
    last = request.headers.get("Last-Event-ID") or request.args.get("last_event_id", "")
    if last and not _EVENT_ID.fullmatch(last):
        raise BadRequest(f"Last-Event-ID is {last[:80]!r}; send the id of an event of this job, or nothing")
    parts = context()
    stream = Stream(parts.queue, job_id, client(), last)
    if stream.seen_all():
        return Response(status=204)  # tells an EventSource not to come back
    parts.slots.reserve()
    answer = Response(stream.lines(), mimetype="text/event-stream")
    answer.call_on_close(parts.slots.release)
    answer.headers["Cache-Control"] = "no-store"
    answer.headers["X-Accel-Buffering"] = "no"  # nginx would hold the events back
    return answer


class Stream:
    """One follower of one job.

    Args:
        last: the id of the last event it has seen; empty for none, which begins with how things stand.
    Raises:
        JobNotFound: no such job, or not theirs.
    """

    def __init__(self, queue: JobQueue, job_id: str, owner: str, last: str) -> None:
        self._queue = queue
        self._job_id = job_id
        self._owner = owner
        self._last = last
        self._now = queue.follow(job_id, owner, last)
        self._place: tuple[int, float | None] = (0, None)
        self._moves = -1

    def seen_all(self) -> bool:
        """Whether the job has ended and this follower was told so."""
        record = self._now.view.record
        return record.status.final and self._last == record.last_event

    def lines(self) -> Iterator[bytes]:
        """The stream, until the job's end."""
        yield b"retry: 2000\n\n"
        with self._queue.changes.watch(self._job_id) as woken:
            while not self._queue.changes.closing:
                woken.clear()
                said = self._news(woken)
                if said is None:
                    return
                if said:
                    yield said
                if self._now.view.record.status.final:
                    return
                yield from self._rest(woken)

    def _rest(self, woken: threading.Event) -> Iterator[bytes]:
        """Waits until there may be news, with a sign of life now and then."""
        # Streams that were opened together shall not all look up at the same moment for ever.
        until = time.monotonic() + _LOOK_AGAIN_S * random.uniform(0.8, 1.2)
        pause = _QUEUE_S if self._now.view.position else _KEEP_ALIVE_S
        spoke = time.monotonic()
        while time.monotonic() < until and not woken.wait(pause * random.uniform(0.8, 1.0)):
            if self._now.view.position and self._queue.changes.moves != self._moves:
                return
            if time.monotonic() - spoke > _KEEP_ALIVE_S * 0.75:
                yield b": keep-alive\n\n"
                spoke = time.monotonic()

    def _news(self, woken: threading.Event) -> bytes | None:
        """What is to be told now, if anything; None when the job is no more."""
        moves = self._queue.changes.moves
        try:
            self._now = self._queue.follow_in_turn(self._job_id, self._owner, self._last)
        except JobNotFound:
            return None
        except RedisUnavailable:
            time.sleep(1)  # its restart takes about so long, and the follower need not notice
            woken.set()  # what woke us has not been read
            return b""
        said = b"".join(self._told())
        self._last = self._now.last_id
        if self._moves != moves:
            said += self._moved()
            self._moves = moves
        return said

    def _told(self) -> Iterator[bytes]:
        record = self._now.view.record
        if not self._last or (record.status.final and not self._now.since and self._last != record.last_event):
            yield _snapshot(self._now)
            self._place = _place(self._now.view)
            return
        for event in self._now.since:
            yield self._event(event)

    def _event(self, event: JobEvent) -> bytes:
        view = self._now.view
        if event.name == "end":
            return _end(view, event.id)
        if event.name == "preview":
            return _sse("preview", {"url": preview_url(view.record)}, event.id)
        if event.name == "progress":
            return _progress(event.data, view, event.id)
        self._place = _place(view)
        return _sse("status", _status(view) | event.data, event.id)

    def _moved(self) -> bytes:
        """A waiting job's new place, which is no event of its own and has no id."""
        place = _place(self._now.view)
        if place == self._place or self._now.view.record.status is not JobStatus.QUEUED:
            return b""
        self._place = place
        return _sse("status", _status(self._now.view))


def _place(view: JobView) -> tuple[int, float | None]:
    return view.position, view.eta_s


def _snapshot(now: Following) -> bytes:
    """How things stand. Only its last event has the id: who loses the connection before is told all of it again."""
    view, record, parts = now.view, now.view.record, []
    if record.status.final:
        return _end(view, now.last_id)
    parts.append(_sse("status", _status(view)))
    if record.progress.stage:
        parts.append(_progress(vars(record.progress), view))
    if record.preview:
        parts.append(_sse("preview", {"url": preview_url(record)}))
    return b"".join(parts[:-1]) + f"id: {now.last_id}\n".encode() + parts[-1]


def _status(view: JobView) -> dict[str, Any]:
    told = {"status": view.record.status, "position": view.position, "eta_s": view.eta_s}
    return told | {"attempts": view.record.attempts}


def _progress(told: dict[str, Any], view: JobView, event_id: str = "") -> bytes:
    data = {name: told.get(name) for name in ("stage", "step", "of")}
    return _sse("progress", data | {"progress": round(told["fraction"], 4), "eta_s": view.eta_s}, event_id)


def _end(view: JobView, event_id: str) -> bytes:
    name = "error" if view.record.status is JobStatus.ERROR else "done"
    return _sse(name, describe(view), event_id)


def _sse(name: str, data: dict[str, Any], event_id: str = "") -> bytes:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()
