"""`/outputs`: the files of ended jobs, with ranges, validators and media types."""

from datetime import UTC, datetime

from flask import Blueprint, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response
from werkzeug.wsgi import wrap_file

from jobs.errors import JobNotFound
from storage import StoredObject, keys
from storage.errors import ObjectNotFound
from web.clients import canonical
from web.context import client, context

blueprint = Blueprint("outputs", __name__)

MEDIA_TYPES = {
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "ply": "model/ply",
    "obj": "model/obj",
    "stl": "model/stl",
    "usdz": "model/vnd.usdz+zip",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "json": "application/json",
    "npz": "application/x-npz",
    "zip": "application/zip",
    "txt": "text/plain; charset=utf-8",
}


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
    if elsewhere := parts.storage.url(key):
        return redirect(elsewhere)
    try:
        return _send(parts.storage.open(key), filename)
    except ObjectNotFound:
        raise ObjectNotFound(
            f"request {job_id[:64]!r} has no file {filename[:200]!r}; it may not have ended yet"
        ) from None


def _send(found: StoredObject, filename: str) -> Response:
    body = wrap_file(request.environ, found.stream, 2**16)
    suffix = filename.rpartition(".")[2].lower()
    response = Response(body, mimetype=MEDIA_TYPES.get(suffix, "application/octet-stream"), direct_passthrough=True)
    response.call_on_close(found.stream.close)  # also when no body is sent
    response.content_length = found.size
    response.last_modified = datetime.fromtimestamp(found.modified, UTC)
    response.set_etag(found.etag)
    response.cache_control.private = True
    response.cache_control.max_age = 3600
    # A file is shown as what we say it is: a client's own bytes must never run as a page of ours.
    response.headers["X-Content-Type-Options"] = "nosniff"
    try:
        return response.make_conditional(request, accept_ranges=True, complete_length=found.size)
    except RequestedRangeNotSatisfiable:
        found.stream.close()
        raise
