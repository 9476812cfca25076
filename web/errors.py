"""The one table from exception to answer: `{"error", "detail", "code"}` and a status."""

import logging
from typing import Any, ClassVar

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from geometry.errors import MissingLibrary, UnreadableMesh
from jobs.errors import JobGone, JobNotFound, NoWorker, RedisUnavailable, TooManyJobs
from jobs.records import JobStatus
from jobs.remote import FetchFailed, RemoteTooLarge, UrlNotAllowed
from pipelines.errors import PipelineUnavailable
from storage.errors import BadKey, ObjectNotFound, StorageFull
from web.images import BadImage, BadImageField, ImageTooLarge, NotAnImage
from web.waiting import TooManyWaiting

log = logging.getLogger(__name__)


class BadRequest(ValueError):
    """A parameter cannot work; the message names it, what was given and what is allowed."""


class NotComplete(RuntimeError):
    """An earlier job that this request builds on has not ended well, or not yet."""


class _EndedBadly(Exception):
    """Base of what became of a job whose submit has waited for its end; `told` goes into the answer."""

    status: ClassVar[JobStatus] = JobStatus.ERROR

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message)
        self.told = {"job_id": job_id, "request_id": job_id, "status": self.status}


class JobRefused(_EndedBadly, ValueError):
    """The picture or a parameter turned out to be useless; trying again does not help."""


class JobFailed(_EndedBadly, RuntimeError):
    """The service failed to carry the job out."""


class JobCancelled(_EndedBadly, RuntimeError):
    """Somebody has cancelled the job meanwhile."""

    status = JobStatus.CANCELLED


class ConversionBusy(RuntimeError):
    """Others are being converted."""


class Unauthorized(PermissionError):
    """No API key, or one we do not know."""


# exception → status, code, seconds to wait before trying again (0: trying again does not help)
ERRORS: dict[type[Exception], tuple[int, str, int]] = {
    BadRequest: (400, "bad_parameter", 0),
    UnreadableMesh: (400, "bad_parameter", 0),
    BadImage: (400, "bad_image", 0),
    BadImageField: (400, "bad_parameter", 0),
    UrlNotAllowed: (400, "url_not_allowed", 0),
    FetchFailed: (400, "fetch_failed", 0),
    JobRefused: (400, "bad_input", 0),
    Unauthorized: (401, "api_key_required", 0),
    JobGone: (409, "gone", 0),
    NotComplete: (409, "not_complete", 0),
    JobCancelled: (409, "cancelled", 0),
    JobNotFound: (404, "not_found", 0),
    ObjectNotFound: (404, "not_found", 0),
    BadKey: (404, "not_found", 0),
    ImageTooLarge: (413, "too_large", 0),
    RemoteTooLarge: (413, "too_large", 0),
    NotAnImage: (415, "not_an_image", 0),
    TooManyJobs: (429, "too_many_jobs", 10),
    JobFailed: (500, "job_failed", 0),
    TooManyWaiting: (503, "too_many_waiting", 5),
    NoWorker: (503, "no_worker", 5),
    PipelineUnavailable: (503, "pipeline_unavailable", 60),
    MissingLibrary: (503, "conversion_unavailable", 60),
    ConversionBusy: (503, "busy", 5),
    RedisUnavailable: (503, "redis_unavailable", 2),
    StorageFull: (503, "storage_full", 60),
}
_HTTP_WORDS = {
    404: ("there is nothing at this address; GET / lists the routes", "not_found"),
    405: ("this address does not answer that method; GET / lists the routes", "method_not_allowed"),
    413: ("the request is too large; send fewer or smaller pictures", "too_large"),
    416: ("the file is shorter than the range asked for", "bad_range"),
    415: ("send multipart/form-data, or JSON with Content-Type: application/json", "unsupported_media_type"),
}


_REST = "bad_request"
_INTERNAL = "internal"
NOT_READY = "not_ready"


def word(status: int) -> str:
    """The code of an error that HTTP itself knows."""
    return _HTTP_WORDS[status][1] if status in _HTTP_WORDS else _REST


def codes() -> list[str]:
    """Every code an answer may carry."""
    ours = {code for _, code, _ in ERRORS.values()} | {code for _, code in _HTTP_WORDS.values()}
    return sorted(ours | {_REST, _INTERNAL, NOT_READY})


def body(message: str, code: str, **more: Any) -> dict[str, Any]:
    """An error in every dialect's words at once: TRELLIS reads `error`, Vision and Hunyuan3D read `detail`."""
    named = (request.view_args or {}).get("job_id") or request.args.get("request_id")
    ids = {"request_id": named[:64]} if named else {}
    return {"error": message, "detail": message, "code": code, **ids, **more}


def install(app: Flask) -> None:
    """Registers the table with the app."""
    for kind, (status, code, wait_s) in ERRORS.items():
        app.register_error_handler(kind, _handler(status, code, wait_s))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _handler(status: int, code: str, wait_s: int) -> Any:
    def answer(error: Exception) -> Response:
        message = error.args[-1] if isinstance(error, OSError) and error.args else str(error)
        response = jsonify(body(str(message), code, **getattr(error, "told", {})))
        response.status_code = status
        if wait_s:
            response.headers["Retry-After"] = str(wait_s)
        return response

    return answer


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    message, code = _HTTP_WORDS.get(status, (error.description or "the request cannot be answered", _REST))
    response = jsonify(body(message, code))
    response.status_code = status
    for name, value in error.get_headers():  # Allow, Content-Range
        if name != "Content-Type":
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Response:
    log.exception("an unforeseen error")
    response = jsonify(body("something went wrong on our side; the operator's log has the details", _INTERNAL))
    response.status_code = 500
    return response
