"""The SyncHuman API, of both its servers: the complete one, and the official one with its parameters as defaults."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field
from werkzeug.http import parse_options_header
from werkzeug.wrappers import Response

import pipelines
from jobs.errors import JobNotFound, RedisUnavailable
from jobs.queue import Input, JobView
from jobs.records import JobRecord, JobStatus
from pipelines.synchuman.params import SyncHumanParams
from storage import StoredObject
from storage.errors import ObjectNotFound
from web import conversions, stages
from web.answers import GenerateAccepted, Generated, Info
from web.context import client, context
from web.errors import ConversionBusy, JobCancelled, JobFailed, JobRefused, NotComplete
from web.files import send
from web.forms import picture_form
from web.operations import Answer, operation
from web.resources.jobs import idempotency_key, retry_after, urls
from web.submissions import (
    REFUSALS,
    Choice,
    Submission,
    check_count,
    check_params,
    choose,
    hand_in,
    pictures,
    read,
)
from web.synchuman import (
    API_VERSION,
    LINKS,
    OWN,
    answering,
    approach,
    approach_now,
    described,
    gpu_info,
    in_archive,
    official,
    stage_infos,
)
from web.transparency import check_transparency, transparency
from web.validation import check, unknown
from web.waiting import TooManyWaiting, hung_up

blueprint = Blueprint("synchuman", __name__)

COMPLETED = "completed"
_PICTURES = ("image", "image_data", "image_url", "webhook_url")
_ASYNC = "respond-async"
_LOOK_S = 10.0  # how soon it is noticed that a client has gone
_PACK_S = 120.0  # a finished job is not given up because others are being packed


class SyncHumanForm(SyncHumanParams):
    """The fields of both documents: the model's own parameters, and what the service is to do with them."""

    pipeline: str = Field("auto", description="auto, or a pipeline's name")
    job_id: str = Field("", description="for stage2: the earlier job, one of one's own")
    download: bool = Field(False, description="answer with a ZIP of the files")
    respond_async: bool = Field(False, alias="async", description="answer at once with the job's id")


_JOB_ENDS = (JobRefused, JobFailed, JobCancelled, ConversionBusy, TooManyWaiting)


@blueprint.post("/generate")
@operation(
    OWN,
    {
        200: Answer(
            "the complete job; with download=true its files",
            Generated,
            media=("application/zip",),
            headers=("Content-Disposition",),
        ),
        202: Answer(
            "with async=true, the job as it is now",
            GenerateAccepted,
            headers=("Location", "Retry-After", "Preference-Applied"),
        ),
    },
    raises=[*REFUSALS, *_JOB_ENDS, JobNotFound, ObjectNotFound, NotComplete],
    body=picture_form(SyncHumanForm, OWN, {}),
    headers=("Idempotency-Key", "Prefer"),
)
def generate() -> ResponseReturnValue:
    """Makes an asset of a picture, or of an earlier job's structure, and answers once it is complete.

    With `async=true`, or `Prefer: respond-async`, the answer is the job's id at once. A job goes on when its client
    hangs up.
    """
    submission = _without_empty(read(request))
    form = check(SyncHumanForm, submission.fields)
    preferred = _ASYNC in {parse_options_header(one)[0].lower() for one in request.headers.get("Prefer", "").split(",")}
    patient = not (form.respond_async or preferred)
    # Who finds no place to wait in must not have submitted a job by then: they will come again.
    with context().slots.place() if patient else nullcontext():
        view = _submitted(form, submission)
        view = _ended(view) if patient else view
        answer = _answer(view, form)
    if preferred:
        answer.headers["Preference-Applied"] = _ASYNC
    return answer


def _without_empty(submission: Submission) -> Submission:
    """The submission without fields that say nothing, which the pages and clients of the two servers send."""
    return replace(submission, fields={name: value for name, value in submission.fields.items() if value != ""})


@dataclass(frozen=True)
class _Source:
    """What a job is to be made from, and the pipeline that will make it.

    Attributes:
        made_from: the id of the earlier job whose structure is the input; empty where pictures are.
    """

    choice: Choice
    inputs: list[Input]
    image_name: str
    made_from: str = ""


def _submitted(form: SyncHumanForm, submission: Submission) -> JobView:
    """The job that this request brings, or has brought before."""
    parts, who, fields = context(), client(), submission.fields
    key = idempotency_key(request)
    if key and (known := parts.queue.first_with_key(who, key)):
        return known
    source = _earlier(form, submission) if form.stage == stages.LAST else _pictures(form, submission)
    name = source.choice.pipeline
    params = check_params(pipelines.params_class(name), fields, form.seed)
    check_count(params, len(source.inputs))
    return hand_in(
        OWN,
        source.choice,
        params,
        source.inputs,
        source.image_name,
        fields=fields,
        remarks=_remarks(form, fields, name),
        key=key,
        made_from=source.made_from,
    )


def _pictures(form: SyncHumanForm, submission: Submission) -> _Source:
    """The pictures sent, each with something on it and something around that."""
    parts = context()
    choice = choose(form.pipeline, OWN, parts.queue, parts.settings)
    if form.job_id:
        stages.check_stage(form.stage, choice.pipeline, form.job_id)
    if "image_url" in submission.fields:
        parts.queue.admit(client(), choice.pipeline)
    inputs, image_name = pictures(submission, parts.settings)
    for item in inputs:
        check_transparency(item.data, or_else="" if form.remove_background else "remove_background=true")
    return _Source(choice, inputs, image_name)


def _earlier(form: SyncHumanForm, submission: Submission) -> _Source:
    """The structure of an earlier job. Of a pipeline without stages its pictures, to make all of it anew."""
    parts, who = context(), client()
    record = stages.earlier(submission, form.job_id, who, parts.queue)
    if pipelines.params_class(record.pipeline).stages or form.pipeline not in ("auto", record.pipeline):
        found = stages.structure(submission, form.pipeline, form.job_id, who, parts.queue, parts.storage)
        inputs, made_from = [found.input], record.id
    else:
        stages.check_complete(record)
        inputs, made_from = [_stored(key) for key in record.inputs], ""
    choice = choose(record.pipeline, OWN, parts.queue, parts.settings)
    return _Source(choice, inputs, record.image_name, made_from)


def _stored(key: str) -> Input:
    with context().storage.open(key).stream as stream:
        return Input(key[key.rindex(".") :], stream.read())


def _remarks(form: SyncHumanForm, fields: dict[str, Any], pipeline: str) -> list[str]:
    """What the client should know about fields that are passed over."""
    params_class = pipelines.params_class(pipeline)
    remarks = unknown(fields, SyncHumanForm, params_class, extra=_PICTURES)
    if form.stage != stages.WHOLE and not params_class.stages:
        remarks.append(f"{pipeline!r} has no stages: it makes all of the asset, and the answer tells of {form.stage}")
    served = {"stage", "remove_background"} | params_class.model_fields.keys()
    if useless := [name for name in SyncHumanParams.model_fields if name in fields and name not in served]:
        remarks.append(f"{pipeline!r} has no use for {', '.join(useless)}")
    return remarks


def _ended(view: JobView) -> JobView:
    """The job at its end; or as it is when the client has gone or this process is about to leave."""
    parts, record = context(), view.record
    with parts.slots.resting():
        while not (view.record.status.final or parts.queue.changes.closing or hung_up(request.environ)):
            try:
                view = parts.queue.wait(record.id, record.client, _LOOK_S)
            except RedisUnavailable:
                continue  # the job will still be there when Redis is back
    return view


def _answer(view: JobView, form: SyncHumanForm) -> Response:
    """The job as its client shall see it.

    Raises:
        JobRefused, JobFailed, JobCancelled: it did not end well.
    """
    record = view.record
    stage = record.params.get("stage") or form.stage
    if record.status is JobStatus.ERROR:
        raise (JobRefused if record.error_kind == "bad_input" else JobFailed)(record.error, record.id)
    if record.status is JobStatus.CANCELLED:
        raise JobCancelled(f"request {record.id!r} was cancelled before it was complete", record.id)
    if not record.status.final:
        return _accepted(view)
    return _packed(record, stage) if form.download else jsonify(_generated(record, stage))


def _accepted(view: JobView) -> Response:
    record = view.record
    told: dict[str, Any] = {
        "job_id": record.id,
        "request_id": record.id,
        "status": record.status,
        "pipeline": record.pipeline,
    }
    told |= {"position": view.position, "urls": urls(record)} | (
        {"warnings": record.warnings} if record.warnings else {}
    )
    answer = jsonify(told)
    answer.status_code = 202
    answer.headers["Location"] = urls(record)["job"]
    answer.headers.update(retry_after(view))
    return answer


def _generated(record: JobRecord, stage: str) -> dict[str, Any]:
    coverage = _coverage(record)
    return {
        "job_id": record.id,
        "request_id": record.id,
        "approach": approach(record, stage),
        "status": COMPLETED,
        **({} if coverage is None else {"alpha_coverage": coverage}),
        "pipeline": record.pipeline,
        "warnings": record.warnings,
        **described(record, stage),
        "urls": urls(record),
    }


def _coverage(record: JobRecord) -> float | None:
    """The alpha coverage of the picture that a job was made from, if it was made from one."""
    if record.made_from or not record.inputs:
        return None
    try:
        return round(transparency(_stored(record.inputs[0]).data).coverage, 4)
    except ObjectNotFound:
        return None


def _packed(record: JobRecord, stage: str) -> Response:
    """The files of the stages asked for in a ZIP."""
    found = _patiently(record, in_archive(record, stage))
    answer = send(found, "results.zip")
    answer.headers["Content-Disposition"] = conversions.attachment("results", ".zip")
    return answer


def _patiently(record: JobRecord, wanted: Callable[[str], bool]) -> StoredObject:
    """The archive, once it is this one's turn."""
    parts, deadline = context(), time.monotonic() + _PACK_S
    while True:
        try:
            return conversions.archive(parts.storage, record.client, record.id, wanted)
        except ConversionBusy:
            if time.monotonic() > deadline:
                raise
            with parts.slots.resting():
                time.sleep(0.5)


@blueprint.get("/info")
@operation(OWN, Info, raises=[RedisUnavailable])
def info() -> ResponseReturnValue:
    """Which stages can run here, what is missing where they cannot, and the official parameters."""
    queue, settings = context().queue, context().settings
    return jsonify(
        {
            "api_version": API_VERSION,
            "approach": approach_now(queue, settings),
            "pipeline": answering(queue, settings),
            "stages": stage_infos(queue),
            "gpu_info": gpu_info(queue.workers()),
            "configuration": official(SyncHumanParams()),
            "links": LINKS,
        }
    )
