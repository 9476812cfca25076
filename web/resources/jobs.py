"""`/jobs`: the house's own resource, for every kind of job of every dialect."""

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Request, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from jobs.errors import JobNotFound, RedisUnavailable
from jobs.queue import JobView
from jobs.records import JobRecord, JobStatus
from storage import keys
from storage.errors import ObjectNotFound
from web.answers import Deleted, Job, JobList
from web.context import client, context
from web.errors import BadRequest
from web.files import ANSWERS, CONDITIONS, REFUSALS, send
from web.operations import Answer, operation
from web.waiting import TooManyWaiting

blueprint = Blueprint("jobs", __name__)

_LONGEST_KEY = 255
_LONGEST_WAIT_S = 60
_LONGEST_PAUSE_S = 10


class Wait(BaseModel):
    """How patient the client is."""

    wait: float = Field(0, ge=0, le=_LONGEST_WAIT_S, description="seconds to wait for the job's end, at most")


LOOK_REFUSALS = (BadRequest, JobNotFound, RedisUnavailable, TooManyWaiting)


@blueprint.get("/jobs")
@operation("jobs", JobList, raises=[RedisUnavailable])
def list_jobs() -> ResponseReturnValue:
    """The client's jobs, newest first."""
    return jsonify({"jobs": [describe(view) for view in context().queue.history(client())]})


@blueprint.get("/jobs/<job_id>")
@operation(
    "jobs",
    {200: Answer("the job as it is now; Retry-After until it has ended", Job, headers=("Retry-After",))},
    raises=LOOK_REFUSALS,
    query=Wait,
)
def get_job(job_id: str) -> ResponseReturnValue:
    """Everything known about one job; with `?wait=30` once it has ended, or after that many seconds."""
    response = jsonify(describe(view := look(job_id)))
    response.headers.update(retry_after(view))
    return response


@blueprint.delete("/jobs/<job_id>")
@operation(
    "jobs",
    {200: Answer("cancelled or deleted", Deleted), 202: Answer("it runs, and stops at its next step", Deleted)},
    raises=[JobNotFound, RedisUnavailable],
)
def delete_job(job_id: str) -> ResponseReturnValue:
    """Cancels a waiting or running job; deletes an ended one with its files."""
    queue = context().queue
    record = queue.get(job_id, client())
    if not record.status.final:
        return _cancel(job_id)
    queue.delete(record)
    return jsonify({**_ids(record), "status": record.status, "deleted": True})


@blueprint.post("/jobs/<job_id>/cancel")
@operation(
    "jobs",
    {200: Answer("how it ended", Deleted), 202: Answer("it runs, and stops at its next step", Deleted)},
    raises=[JobNotFound, RedisUnavailable],
)
def cancel_job(job_id: str) -> ResponseReturnValue:
    """Cancels a waiting or running job; leaves one that has ended, even just now, with its files as it is."""
    return _cancel(job_id)


def _cancel(job_id: str) -> ResponseReturnValue:
    record = context().queue.cancel(job_id, client()).record
    answer = {**_ids(record), "status": record.status, "deleted": False}
    if record.status.final:
        return jsonify(answer)
    return jsonify({**answer, "cancelling": True}), 202


@blueprint.get("/jobs/<job_id>/inputs/<int:index>")
@operation("jobs", ANSWERS, raises=[JobNotFound, RedisUnavailable, *REFUSALS], headers=CONDITIONS)
def get_input(job_id: str, index: int) -> ResponseReturnValue:
    """One of the pictures a job was made from, as it was sent, or the structure; to its owner alone."""
    record = context().queue.get(job_id, client())
    if index >= len(record.inputs):
        raise ObjectNotFound(f"there is no input {index}; request {job_id!r} has {len(record.inputs)}, from 0 on")
    key = record.inputs[index]
    return send(context().storage.open(key), key)


def look(job_id: str) -> JobView:
    """The client's job as it is, or, with `wait` in the request, as it is at its end or after so many seconds.

    Raises:
        BadRequest: `wait` is no number of seconds.
        TooManyWaiting: no thread is left to wait in.
    """
    seconds = _wait_s()
    if not seconds:
        return context().queue.look(job_id, client())
    who = client()
    with context().slots.waiting():
        return context().queue.wait(job_id, who, seconds)


def _wait_s() -> float:
    given = request.args.get("wait", "")
    try:
        seconds = float(given or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_WAIT_S:
        raise BadRequest(f"wait is {given[:80]!r}; use a number of seconds from 0 to {_LONGEST_WAIT_S}")
    return seconds


def retry_after(view: JobView) -> dict[str, str]:
    """The header that says when asking again is worth it, while the job has not ended."""
    if view.record.status.final:
        return {}
    return {"Retry-After": str(max(1, min(round((view.eta_s or 0) / 2), _LONGEST_PAUSE_S)))}


def describe(view: JobView) -> dict[str, Any]:
    """A job in the house's words. Times are Unix seconds, `progress` goes from 0 to 1."""
    record = view.record
    done = record.status is JobStatus.COMPLETE
    answer: dict[str, Any] = {
        **_ids(record),
        "status": record.status,
        "dialect": record.dialect,
        "pipeline": record.pipeline,
        "params": record.params,
        "image_name": record.image_name,
        "position": view.position,
        "progress": 1.0 if done else round(record.progress.fraction, 4),
        "stage": record.progress.stage,
        "step": record.progress.step,
        "of": record.progress.of,
        "eta_s": view.eta_s,
        "attempts": record.attempts,
        "created_at": record.created_at,
        "started_at": record.started_at or None,
        "ended_at": record.ended_at or None,
        "warnings": record.warnings,
        "urls": urls(record),
    }
    if record.made_from:
        answer["made_from"] = record.made_from
    if done:
        answer["output_files"] = record.files
    if record.cancel and not record.status.final:
        answer["cancelling"] = True
    if record.webhook_url:
        told = {"state": record.webhook_state or "waiting", "tries": record.webhook_tries, "note": record.webhook_note}
        answer["webhook"] = {"url": record.webhook_url, **told}
    if record.error:
        answer |= {"error": record.error, "error_kind": record.error_kind}
    return answer


def _ids(record: JobRecord) -> dict[str, str]:
    return {"job_id": record.id, "request_id": record.id}


def urls(record: JobRecord) -> dict[str, Any]:
    """Where to look next; the files' own addresses once they are there."""
    job = f"/jobs/{record.id}"
    links: dict[str, Any] = {
        "job": job,
        "events": f"{job}/events",
        "status": f"/queue/status?request_id={record.id}",
        "inputs": [f"{job}/inputs/{index}" for index in range(len(record.inputs)) if not record.made_from],
    }
    if record.preview:
        links["preview"] = preview_url(record)
    if record.status is JobStatus.COMPLETE:
        links["files"] = {name: _output_url(record, name) for name in record.files}
    else:
        links["outputs"] = f"/outputs/{quote(record.client)}/{record.id}"
    return links


def preview_url(record: JobRecord) -> str:
    """Where a rough shape lies while the job waits and runs; each new one has an address of its own."""
    return f"{_output_url(record, keys.PREVIEW)}?v={record.preview}"


def _output_url(record: JobRecord, name: str) -> str:
    return "/" + quote(keys.output_key(record.client, record.id, name))


def idempotency_key(given: Request) -> str:
    """The request's Idempotency-Key, or nothing.

    Raises:
        BadRequest: it is too long.
    """
    key = given.headers.get("Idempotency-Key", "")
    if len(key) > _LONGEST_KEY:
        raise BadRequest(f"Idempotency-Key has {len(key)} characters; use at most {_LONGEST_KEY}")
    return key
