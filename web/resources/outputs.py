"""`/outputs`: the files of ended jobs, with ranges, validators and media types."""

from flask import Blueprint, redirect
from flask.typing import ResponseReturnValue

from jobs.errors import JobNotFound
from storage import keys
from storage.errors import ObjectNotFound
from web.clients import canonical
from web.context import client, context
from web.files import send

blueprint = Blueprint("outputs", __name__)


@blueprint.get("/outputs/<owner>/<job_id>/<path:filename>")
@blueprint.get("/output/<owner>/<job_id>/<path:filename>")
def get_output(owner: str, job_id: str, filename: str) -> ResponseReturnValue:
    """One file of a job. The address is a capability, unless MAQUETTE_OUTPUTS_ACCESS says owner.

    Raises:
        ObjectNotFound: no such file, or not theirs; which of the two is not told.
    """
    parts, owner = context(), canonical(owner)
    if parts.settings.outputs_access == "owner" and owner != client():
        raise JobNotFound(job_id)
    key = keys.output_key(owner, job_id, filename)
    if filename == keys.PREVIEW and not parts.storage.exists(key):
        key = keys.extras_key(owner, job_id, filename)  # the rough shape of a job that has not ended
    if elsewhere := parts.storage.url(key):
        return redirect(elsewhere)
    try:
        return send(parts.storage.open(key), filename)
    except ObjectNotFound:
        raise ObjectNotFound(
            f"request {job_id[:64]!r} has no file {filename[:200]!r}; it may not have ended yet"
        ) from None
