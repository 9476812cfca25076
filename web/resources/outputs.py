"""`/outputs`: the files of ended jobs, with ranges, validators and media types, and in other formats on request."""

from pathlib import PurePosixPath
from typing import Literal

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from geometry.errors import MissingLibrary, UnreadableMesh
from jobs.errors import JobNotFound, RedisUnavailable
from storage import StoredObject, keys
from storage.errors import ObjectNotFound, StorageFull
from web import conversions
from web.answers import Absent
from web.clients import canonical
from web.context import client, context
from web.errors import BadRequest, ConversionBusy
from web.files import ANSWERS, CONDITIONS, REFUSALS, send
from web.operations import Answer, operation

blueprint = Blueprint("outputs", __name__)


class FileQuery(conversions.GlbOptions, conversions.StlOptions):
    """How the file shall come."""

    as_: str | Absent = Field(
        None,
        alias="as",
        description="the format one wants; zip: all files of the job",
        json_schema_extra={"enum": list(conversions.TARGETS)},
    )


class FolderQuery(BaseModel):
    """How the files shall come."""

    as_: Literal["zip"] = Field(alias="as", description="all files of the job")


_NO_CONVERSION = (BadRequest, UnreadableMesh, MissingLibrary, ConversionBusy, StorageFull)


@blueprint.get("/outputs/<owner>/<job_id>/<path:filename>")
@blueprint.get("/output/<owner>/<job_id>/<path:filename>")
@operation(
    "outputs",
    {**ANSWERS, 302: Answer("where the storage serves it")},
    raises=[*REFUSALS, *_NO_CONVERSION],
    query=FileQuery,
    headers=CONDITIONS,
)
def get_output(owner: str, job_id: str, filename: str) -> ResponseReturnValue:
    """One file of a job, with `?as=` in another format.

    The address is a capability, unless MAQUETTE_OUTPUTS_ACCESS says owner.

    Raises:
        ObjectNotFound: no such file, or not theirs; which of the two is not told.
    """
    parts, owner = context(), _allowed(owner, job_id)
    asked = conversions.wish(request.args)
    key = keys.output_key(owner, job_id, filename)
    if filename == keys.PREVIEW and not parts.storage.exists(key):
        key = keys.extras_key(owner, job_id, filename)  # the rough shape of a job that has not ended
    if not asked and (elsewhere := parts.storage.url(key)):
        return redirect(elsewhere)
    try:
        if asked:
            found = conversions.convert(parts.storage, owner, job_id, filename, key, asked)
            return _send_converted(found, owner, job_id, filename, asked)
        return send(parts.storage.open(key), filename)
    except ObjectNotFound:
        raise ObjectNotFound(
            f"request {job_id[:64]!r} has no file {filename[:200]!r}; it may not have ended yet"
        ) from None


@blueprint.get("/outputs/<owner>/<job_id>")
@blueprint.get("/output/<owner>/<job_id>")
@operation("outputs", ANSWERS, raises=[*REFUSALS, *_NO_CONVERSION], query=FolderQuery, headers=CONDITIONS)
def get_outputs(owner: str, job_id: str) -> ResponseReturnValue:
    """All files of a job in one ZIP, with `?as=zip`."""
    owner = _allowed(owner, job_id)
    asked = conversions.wish(request.args)
    if not asked or asked.word != "zip":
        given = f"as is {request.args['as'][:80]!r}" if asked else "as is missing"
        raise BadRequest(f"{given}; use as=zip here, or the address of one file, such as this one + '/output.glb'")
    return _send_converted(conversions.archive(context().storage, owner, job_id), owner, job_id, "", asked)


def _allowed(owner: str, job_id: str) -> str:
    owner = canonical(owner)
    if context().settings.outputs_access == "owner" and owner != client():
        raise JobNotFound(job_id)
    return owner


def _send_converted(
    found: StoredObject, owner: str, job_id: str, filename: str, asked: conversions.Wish
) -> ResponseReturnValue:
    ending = asked.target.ending
    response = send(found, f"file{ending}")
    stem = "" if asked.word == "zip" else PurePosixPath(filename).stem
    response.headers["Content-Disposition"] = conversions.attachment(_name(owner, job_id, stem), ending)
    return response


def _name(owner: str, job_id: str, stem: str) -> str:
    """After the client's own picture, but only to themselves: whoever has a file's address shall not learn it."""
    image = ""
    if owner == client():
        try:
            image = PurePosixPath(context().queue.get(job_id, owner).image_name.replace("\\", "/")).stem
        except (JobNotFound, RedisUnavailable):
            pass  # files may outlive their record
    if not image:
        return stem or job_id
    return image if stem in ("", "output") else f"{image}_{stem}"
