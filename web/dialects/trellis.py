"""The TRELLIS API: the house's own. Its document is the one clients of that service know."""

from typing import Any, Literal

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, Field

import pipelines
from jobs.errors import JobNotFound, RedisUnavailable
from jobs.queue import JobView
from jobs.records import JobStatus
from storage.errors import ObjectNotFound
from web import stages
from web.answers import Accepted, QueueStatus, RequestList
from web.context import client, context
from web.errors import NotComplete
from web.forms import picture_form
from web.operations import Answer, operation
from web.resources.jobs import LOOK_REFUSALS, Wait, describe, idempotency_key, look, retry_after, urls
from web.submissions import REFUSALS, Choice, Submission, check_count, check_params, choose, hand_in, pictures, read
from web.validation import check, unknown

OWN = "trellis"

blueprint = Blueprint("trellis", __name__)


class TrellisForm(BaseModel):
    """The document's parameters under its names and defaults. What a pipeline adds stands in its own Params."""

    model_config = ConfigDict(allow_inf_nan=False)

    pipeline: str = Field("auto", description="auto, or a pipeline's name")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="the same seed gives the same bytes")
    sparse_structure_sample_steps: int = Field(25, ge=1, le=1000, description="sampling steps for the sparse structure")
    sparse_structure_cfg_strength: float = Field(8.5, ge=0, le=100, description="guidance for the sparse structure")
    slat_sample_steps: int = Field(25, ge=1, le=1000, description="sampling steps for the structured latent")
    slat_cfg_strength: float = Field(4.0, ge=0, le=100, description="guidance for the structured latent")
    simplify_ratio: float = Field(1.0, gt=0, le=1, description="share of the mesh's triangles to keep")
    texture_size: int = Field(1024, ge=64, le=4096, multiple_of=64, description="side of the texture in pixels")
    texture_bake_mode: Literal["pbr", "fast", "opt", "best"] = Field("pbr", description="how the texture is made")
    stage: Literal["both", "stage1", "stage2"] = Field(
        "both", description="stage1: only the structure; stage2: go on from that of an earlier job, without a picture"
    )
    job_id: str = Field("", description="for stage2: the earlier job, one of one's own")


SHORT_FORMS = {"ss_sample_steps": "sparse_structure_sample_steps", "ss_cfg_strength": "sparse_structure_cfg_strength"}
_PICTURES = ("image", "image_data", "image_url", "webhook_url")


class QueueQuery(Wait):
    """What the queue is asked."""

    request_id: str = Field("", description="a job of one's own, to be told of too")


@blueprint.post("/image_to_3d")
@operation(
    OWN,
    Accepted,
    raises=[*REFUSALS, JobNotFound, ObjectNotFound, NotComplete],
    body=picture_form(TrellisForm, OWN, SHORT_FORMS),
    headers=("Idempotency-Key",),
)
def image_to_3d() -> ResponseReturnValue:
    """Accepts a picture, or an earlier job's structure, and answers with the id of the job that makes the asset."""
    parts, who = context(), client()
    key = idempotency_key(request)
    if key and (known := parts.queue.first_with_key(who, key)):
        return jsonify(_accepted(known))
    submission = read(request)
    fields = {SHORT_FORMS.get(name, name): value for name, value in submission.fields.items()}
    form = check(TrellisForm, fields)
    choice, earlier = _choice(form, submission)
    params_class = pipelines.params_class(choice.pipeline)
    params = check_params(params_class, fields, form.seed)
    if earlier:
        inputs, image_name = [earlier.input], earlier.record.image_name
    else:
        if "image_url" in fields:
            parts.queue.admit(who, choice.pipeline)
        inputs, image_name = pictures(submission, parts.settings)
        check_count(params, len(inputs))
    view = hand_in(
        OWN,
        choice,
        params,
        inputs,
        image_name,
        fields=fields,
        remarks=unknown(fields, TrellisForm, params_class, extra=_PICTURES),
        key=key,
        made_from=earlier.record.id if earlier else "",
    )
    return jsonify(_accepted(view))


def _choice(form: TrellisForm, submission: Submission) -> tuple[Choice, stages.Structure | None]:
    """The pipeline that will answer, and what it goes on from, if not from pictures."""
    parts = context()
    if form.stage == stages.LAST:
        earlier = stages.structure(submission, form.pipeline, form.job_id, client(), parts.queue, parts.storage)
        return choose(earlier.record.pipeline, OWN, parts.queue, parts.settings), earlier
    choice = choose(form.pipeline, OWN, parts.queue, parts.settings)
    stages.check_stage(form.stage, choice.pipeline, form.job_id)
    return choice, None


def _accepted(view: JobView) -> dict[str, Any]:
    record = view.record
    answer = {
        "request_id": record.id,
        "status": record.status,
        "pipeline": record.pipeline,
        "position": view.position,
        "urls": urls(record),
    }
    return answer | ({"warnings": record.warnings} if record.warnings else {})


@blueprint.get("/my_requests")
@operation(OWN, RequestList, raises=[RedisUnavailable])
def my_requests() -> ResponseReturnValue:
    """The client's latest requests, newest first."""
    return jsonify({"requests": [_listed(view) for view in context().queue.history(client())]})


def _listed(view: JobView) -> dict[str, Any]:
    record = view.record
    answer: dict[str, Any] = {
        "request_id": record.id,
        "status": record.status,
        "image_name": record.image_name,
        "pipeline": record.pipeline,
        "created_at": record.created_at,
    }
    if record.status is JobStatus.COMPLETE:
        answer |= {"output_files": record.files, "urls": urls(record)}
    if record.status is JobStatus.ERROR:
        answer |= {"error": record.error}
    return answer


@blueprint.get("/queue/status")
@blueprint.get("/queue_status")
@operation(
    OWN,
    {200: Answer("the numbers; Retry-After while the request has not ended", QueueStatus, headers=("Retry-After",))},
    raises=LOOK_REFUSALS,
    query=QueueQuery,
)
def queue_status() -> ResponseReturnValue:
    """How long the queue is, in all and of this client; with `request_id` also where that request stands."""
    counts = context().queue.counts(client())
    answer: dict[str, Any] = {
        "queue_length": counts.waiting,
        "processing": counts.processing,
        "client_queue_length": counts.client_waiting,
        "client_processing": counts.client_processing,
    }
    headers: dict[str, str] = {}
    if request_id := request.args.get("request_id"):
        told = describe(view := look(request_id))
        headers = retry_after(view)
        wanted = ("request_id", "status", "position", "progress", "stage", "step", "of", "eta_s", "error")
        answer["request"] = {name: told[name] for name in wanted if name in told}
    return jsonify(answer), headers
