"""`/jobs`: the house's own resource, for every kind of job of every dialect."""

from typing import Any
from urllib.parse import quote

from flask import Blueprint, Request, jsonify
from flask.typing import ResponseReturnValue

from jobs.queue import JobView
from jobs.records import JobRecord, JobStatus
from web.context import client, context
from web.errors import BadRequest

blueprint = Blueprint("jobs", __name__)

_LONGEST_KEY = 255


@blueprint.get("/jobs")
def list_jobs() -> ResponseReturnValue:
    """The client's jobs, newest first."""
    return jsonify({"jobs": [describe(view) for view in context().queue.history(client())]})


@blueprint.get("/jobs/<job_id>")
def get_job(job_id: str) -> ResponseReturnValue:
    """Everything known about one job."""
    view = context().queue.look(job_id, client())
    response = jsonify(describe(view))
    if not view.record.status.final:
        response.headers["Retry-After"] = "1"
    return response


@blueprint.delete("/jobs/<job_id>")
def delete_job(job_id: str) -> ResponseReturnValue:
    """Cancels a waiting or running job; deletes an ended one with its files."""
    queue = context().queue
    record = queue.get(job_id, client())
    if record.status.final:
        queue.delete(record)
        return jsonify({**_ids(record), "status": record.status, "deleted": True})
    view = queue.cancel(job_id, client())
    answer = {**_ids(record), "status": view.record.status, "deleted": False}
    if view.record.status.final:
        return jsonify(answer)
    return jsonify({**answer, "cancelling": True}), 202


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
    if done:
        answer["output_files"] = record.files
    if record.cancel and not record.status.final:
        answer["cancelling"] = True
    if record.error:
        answer |= {"error": record.error, "error_kind": record.error_kind}
    return answer


def _ids(record: JobRecord) -> dict[str, str]:
    return {"job_id": record.id, "request_id": record.id}


def urls(record: JobRecord) -> dict[str, Any]:
    """Where to look next; the files' own addresses once they are there."""
    folder = f"/outputs/{quote(record.client)}/{record.id}"
    links: dict[str, Any] = {"job": f"/jobs/{record.id}", "status": f"/queue/status?request_id={record.id}"}
    if record.status is JobStatus.COMPLETE:
        links["files"] = {name: f"{folder}/{quote(name)}" for name in record.files}
    else:
        links["outputs"] = folder
    return links


def idempotency_key(given: Request) -> str:
    """The request's Idempotency-Key, or nothing.

    Raises:
        BadRequest: it is too long.
    """
    key = given.headers.get("Idempotency-Key", "")
    if len(key) > _LONGEST_KEY:
        raise BadRequest(f"Idempotency-Key has {len(key)} characters; use at most {_LONGEST_KEY}")
    return key
