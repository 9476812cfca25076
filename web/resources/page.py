"""The web page: one document, plain modules and pictures, all from this server."""

import base64
import hashlib
import json
from pathlib import Path

from flask import Blueprint, Response, render_template, request, send_from_directory
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, RequestedRangeNotSatisfiable

from pipelines.manifest import VERSION
from web.answers import Listing
from web.files import CONDITIONS
from web.operations import Answer, operation
from web.resources.health import listing

blueprint = Blueprint("page", __name__, template_folder="../templates")

_WEB = Path(__file__).resolve().parent.parent
STATIC = _WEB / "static"
EXAMPLES = _WEB.parent / "examples"
# What a first visitor may try with one click: file, and what to call it.
SAMPLES = {"mug.png": "mug", "fox.png": "fox", "apple.jpg": "apple", "doughnut.png": "doughnut", "person.png": "figure"}

_MEDIA_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
_OTHER = "text/plain"  # licences
_ANY = (*_MEDIA_TYPES.values(), _OTHER)
_VALIDATORS = ("ETag", "Last-Modified", "Cache-Control", "Accept-Ranges")
_FILES = {
    200: Answer("the file", media=_ANY, headers=_VALIDATORS),
    206: Answer("the part of it asked for", media=_ANY, headers=(*_VALIDATORS, "Content-Range")),
    304: Answer("unchanged since the ETag in If-None-Match", headers=_VALIDATORS),
}
_REFUSALS = (NotFound, RequestedRangeNotSatisfiable)

_THREE = "/static/vendor/three-0.183.2"
_IMPORT_MAP = json.dumps(
    {
        "imports": {
            "three": f"{_THREE}/three.module.min.js",
            "three/addons/": f"{_THREE}/addons/",
            "spark": "/static/vendor/spark-2.2.0/spark.module.min.js",
        }
    }
)


def _policy() -> str:
    """The one inline script is the import map, which browsers do not read from a file; its hash stands for it."""
    map_hash = base64.b64encode(hashlib.sha256(_IMPORT_MAP.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        # Spark, which draws splats, is WebAssembly and sorts in a worker that it makes from a blob.
        "script-src": f"'self' 'sha256-{map_hash}' 'wasm-unsafe-eval'",
        "worker-src": "blob:",
        "style-src": "'self'",
        # Files are fetched with the API key and shown from blobs; a GLB's textures are fetched from blobs in turn.
        "img-src": "'self' blob:",
        "connect-src": "'self' blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


POLICY = _policy()


@blueprint.get("/")
@operation(
    "page", {200: Answer("the page, or every route with a word about it", Listing, media=("text/html",))}, public=True
)
def index() -> ResponseReturnValue:
    """The web page for a browser; for anybody else, what this service is and every route it answers."""
    page = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    response = _page() if page else listing()
    response.vary.add("Accept")
    return response


@blueprint.get("/synchuman/")
@operation("page", Listing, public=True)
def synchuman_index() -> ResponseReturnValue:
    """What this service is and every route it answers, for clients that know SyncHuman's API below its name."""
    return listing()


def _page() -> Response:
    html = render_template("index.html", import_map=_IMPORT_MAP, samples=SAMPLES, version=VERSION)
    response = Response(html, mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.cache_control.no_cache = True
    return response


@blueprint.get("/static/<path:filename>")
@operation("page", _FILES, raises=_REFUSALS, headers=CONDITIONS, public=True)
def static(filename: str) -> ResponseReturnValue:
    """The page's own scripts, styles and pictures."""
    return _send(STATIC, filename)


@blueprint.get("/static/examples/<filename>")
@operation("page", _FILES, raises=_REFUSALS, headers=CONDITIONS, public=True)
def sample(filename: str) -> ResponseReturnValue:
    """One of the example pictures that the page offers."""
    return _send(EXAMPLES, filename if filename in SAMPLES else "")


def _send(folder: Path, filename: str) -> Response:
    # A library's folder names its version, so its files never change; ours are asked after each time.
    fixed = filename.startswith("vendor/") and "-" in filename.split("/")[1]
    kind = _MEDIA_TYPES.get(Path(filename).suffix, _OTHER)
    response = send_from_directory(folder, filename, mimetype=kind, max_age=31_536_000 if fixed else None)
    if fixed:
        response.cache_control.immutable = True
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
