"""Stored files as answers: ranges, validators, media types."""

from datetime import UTC, datetime

from flask import request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wrappers import Response
from werkzeug.wsgi import wrap_file

from storage import StoredObject
from storage.errors import ObjectNotFound
from web.operations import Answer

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
_OTHER = "application/octet-stream"

# What `send` may answer, for the description.
_ANY = (*MEDIA_TYPES.values(), _OTHER)
_VALIDATORS = ("ETag", "Last-Modified", "Cache-Control", "Accept-Ranges", "Content-Disposition")
ANSWERS = {
    200: Answer("the file", media=_ANY, headers=_VALIDATORS),
    206: Answer("the part of it asked for", media=_ANY, headers=(*_VALIDATORS, "Content-Range")),
    304: Answer("unchanged since the ETag in If-None-Match", headers=_VALIDATORS),
}
REFUSALS = (ObjectNotFound, RequestedRangeNotSatisfiable)
CONDITIONS = ("Range", "If-None-Match", "If-Modified-Since")


def send(found: StoredObject, filename: str) -> Response:
    """The object as the answer to this request; the name's suffix tells its media type.

    Raises:
        RequestedRangeNotSatisfiable: it is shorter than the range asked for.
    """
    body = wrap_file(request.environ, found.stream, 2**16)
    suffix = filename.rpartition(".")[2].lower()
    response = Response(body, mimetype=MEDIA_TYPES.get(suffix, _OTHER), direct_passthrough=True)
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
