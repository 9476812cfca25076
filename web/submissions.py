"""What every dialect's submit needs: fields and pictures out of a request, and the pipeline that will answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask import Request
from werkzeug.datastructures import FileStorage

import pipelines
from configs import logs
from configs.settings import Settings
from jobs.errors import JobGone, NoWorker, RedisUnavailable, TooManyJobs
from jobs.queue import Input, JobQueue, JobView
from jobs.records import JobRequest
from jobs.remote import FetchFailed, RemoteTooLarge, UrlNotAllowed, check_url, fetch_image
from pipelines.base import Params
from pipelines.errors import PipelineUnavailable
from storage.errors import StorageFull
from web.context import client, context
from web.errors import BadRequest
from web.images import BadImage, BadImageField, ImageTooLarge, NotAnImage, check_image, decode_base64_image
from web.validation import check

P = TypeVar("P", bound=Params)

FALLBACK = "relief"
_LONGEST_NAME = 255
_FETCH_S = 15.0  # for all addresses of one request together

# Everything that can keep a submit from being accepted.
REFUSALS = (
    *(BadRequest, BadImage, BadImageField, ImageTooLarge, NotAnImage),
    *(UrlNotAllowed, FetchFailed, RemoteTooLarge),
    *(JobGone, NoWorker, PipelineUnavailable, RedisUnavailable, StorageFull, TooManyJobs),
)


@dataclass(frozen=True)
class Submission:
    """The plain fields of a request, and the files beside them."""

    fields: dict[str, Any]
    files: dict[str, list[FileStorage]]


@dataclass(frozen=True)
class Choice:
    """The pipeline that will answer, and what the client should know about that."""

    pipeline: str
    warnings: list[str]


def read(request: Request) -> Submission:
    """The fields of a multipart, URL-encoded or JSON request.

    Raises:
        BadRequest: the JSON is broken or is no object, or a part of the form has no name.
    """
    if request.is_json:
        try:
            values = request.get_json(silent=True)
        except RecursionError:
            values = None
        if not isinstance(values, dict):
            raise BadRequest('the body is not a JSON object; send something like {"image": "<base64>"}')
        return Submission(values, {})
    if None in request.form or None in request.files:
        raise BadRequest('a part of the form has no name; send Content-Disposition: form-data; name="image"')
    return Submission(request.form.to_dict(), {name: request.files.getlist(name) for name in request.files})


def pictures(
    submission: Submission, settings: Settings, names: Sequence[str] = ("image", "image_data")
) -> tuple[list[Input], str]:
    """The checked pictures of a submission, in the order sent, and what the client called the first.

    Args:
        names: fields and file parts that may hold a picture; `image_url` is looked at last.
    Raises:
        BadRequest and the errors of web.images and jobs.remote.
    """
    sources: list[tuple[str, Callable[[], bytes]]] = []
    deadline = time.monotonic() + _FETCH_S
    for name in names:
        for part in submission.files.get(name, []):
            sources.append((part.filename or name, partial(_read_part, part, settings)))
        for text in _texts(submission.fields.get(name), name):
            sources.append((name, partial(decode_base64_image, text, name=name, max_bytes=settings.max_image_bytes)))
    for url in _texts(submission.fields.get("image_url"), "image_url"):
        sources.append((url.rsplit("/", 1)[-1], partial(_fetch, url, settings, deadline)))
    if not sources:
        raise BadRequest("image is missing; send a PNG, JPEG or WebP file as image, or its address as image_url")
    if len(sources) > settings.max_images:  # counted before anything is decoded or fetched
        raise BadRequest(f"image is given {len(sources)} times; at most {settings.max_images} pictures fit one request")
    return [_checked(read_source(), settings) for _, read_source in sources], _clean(sources[0][0])


def webhook_url(fields: Mapping[str, Any], settings: Settings) -> str:
    """The address that is to be called at the end of the job; empty for none.

    Raises:
        BadRequest, UrlNotAllowed: it cannot be called.
    """
    texts = _texts(fields.get("webhook_url"), "webhook_url")
    if len(texts) > 1:
        raise BadRequest(f"webhook_url is given {len(texts)} times; one address is called at the end")
    for url in texts:
        check_url(url, settings.allow_private_urls, name="webhook_url")
    return texts[0] if texts else ""


def _read_part(part: FileStorage, settings: Settings) -> bytes:
    # One byte more than allowed is enough to know that it is too many.
    return part.stream.read(settings.max_image_bytes + 1)


def _texts(value: Any, name: str) -> list[str]:
    if value is None or value == "":
        return []
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise BadRequest(f"{name} is not a text; send base64 in {name}, or the address in image_url")
    return values


def _fetch(url: str, settings: Settings, deadline: float) -> bytes:
    left = max(deadline - time.monotonic(), 0.1)
    return fetch_image(
        url, max_bytes=settings.max_image_bytes, allow_private=settings.allow_private_urls, timeout_s=left
    )


def _checked(data: bytes, settings: Settings) -> Input:
    image = check_image(data, name="image", max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)
    return Input(image.suffix, image.data)


def _clean(name: str) -> str:
    """A client's file name, fit to be shown: no folders, nothing unprintable."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in base if letter.isprintable())[:_LONGEST_NAME]


def choose(wanted: str, own: str, queue: JobQueue, settings: Settings) -> Choice:
    """The pipeline that answers a request.

    Args:
        wanted: a pipeline's name, or "auto" for the dialect's own model, else the geometric fallback.
        own: the dialect's own model.
    Raises:
        BadRequest: there is no pipeline of this name.
        PipelineUnavailable: it exists but cannot run here; the message names the remedy.
    """
    if wanted != "auto":
        if wanted not in pipelines.PIPELINES and wanted != own:
            names = ", ".join(["auto", *sorted(pipelines.PIPELINES)])
            raise BadRequest(f"pipeline is {wanted[:80]!r}; use one of {names}")
        if wanted not in pipelines.PIPELINES or (not queue.offers(wanted) and queue.hindrance(wanted)):
            raise PipelineUnavailable(_no_model(wanted, queue) + f"; or ask for pipeline={FALLBACK}")
        return Choice(wanted, [])
    if own in pipelines.PIPELINES and queue.offers(own):
        return Choice(own, [])
    if not settings.fallback:
        raise PipelineUnavailable(_no_model(own, queue) + f"; MAQUETTE_FALLBACK is off, so ask for pipeline={FALLBACK}")
    note = f"{_no_model(own, queue)}; the geometric pipeline {FALLBACK!r} answers instead: no learned model was used"
    return Choice(FALLBACK, [note])


def _no_model(name: str, queue: JobQueue) -> str:
    """That a model cannot run, and, as far as a worker has told it, why and what to do."""
    reason = queue.hindrance(name)
    return f"the {name!r} model cannot run on this service's workers" + (f" ({reason})" if reason else "")


def check_params(params_class: type[P], fields: Mapping[str, Any], seed: int) -> P:
    """The pipeline's parameters as sent. Whichever answers, it has the API's own default of the seed, if it can use it.

    Args:
        seed: the one sent, or that default.
    Raises:
        BadRequest: a value that was sent cannot work.
    """
    if "seed" not in fields:
        with suppress(BadRequest):
            return check(params_class, {**fields, "seed": seed})
    return check(params_class, fields)


def hand_in(
    dialect: str,
    choice: Choice,
    params: Params,
    inputs: list[Input],
    image_name: str,
    *,
    fields: Mapping[str, Any],
    remarks: list[str],
    key: str,
    made_from: str = "",
) -> JobView:
    """The job that a checked submit brings.

    Args:
        fields: as sent.
        remarks: what the client should know about them.
        key: the Idempotency-Key; empty for none.
        made_from: the id of the earlier job whose structure is the input; empty where pictures are.
    Raises:
        as JobQueue.submit, BadRequest, UrlNotAllowed.
    """
    parts, entry = context(), pipelines.entry(choice.pipeline)
    job = JobRequest(
        client(),
        dialect,
        choice.pipeline,
        params.model_dump(mode="json"),
        image_name,
        choice.warnings + remarks,
        key,
        webhook_url=webhook_url(fields, parts.settings),
        wants_preview=entry.preview and parts.settings.previews and not made_from,  # which is made of pictures
        submitted_by=logs.request_id(),
        made_from=made_from,
    )
    return parts.queue.submit(job, inputs, entry.lane)


def check_count(params: Params, count: int) -> None:
    """Raises BadRequest when the pipeline cannot use this many pictures with these parameters."""
    try:
        params.check_images(count)
    except ValueError as error:
        raise BadRequest(str(error)) from None
