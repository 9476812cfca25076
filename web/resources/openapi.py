"""The API's description, and two pages that show it: everything comes from this server."""

import json
from importlib.util import find_spec
from pathlib import Path

from flask import Blueprint, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from web.context import context
from web.document import describe
from web.operations import Answer, operation

blueprint = Blueprint("openapi", __name__)

_OWN = Path(__file__).resolve().parent.parent / "static" / "docs"
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

# Styles are written into the page by both programs; ReDoc's search runs in a worker that it makes itself.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' "
    "data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# ReDoc shows its maker's logo from its maker's server. Nothing leaves this one: it gets our icon.
_ELSEWHERE, _HERE = b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"docs/assets/icon.svg"

_KEPT = ("ETag", "Cache-Control")
_UNCHANGED = {304: Answer("unchanged since the ETag in If-None-Match", headers=_KEPT)}


def _of_package(name: str) -> Path:
    """Where a package keeps its files; it is not imported, since its files are all we want of it."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed; run ./setup.sh install", name=name)
    return Path(found.submodule_search_locations[0]) / "templates"


_SWAGGER = _of_package("flask_openapi3_swagger") / "swagger"
_REDOC = _of_package("flask_openapi3_redoc") / "redoc"

ASSETS = {
    "swagger-ui.css": _SWAGGER / "css" / "swagger-ui.css",
    "swagger-ui-bundle.js": _SWAGGER / "js" / "swagger-ui-bundle.js",
    "swagger.js": _OWN / "swagger.js",
    "redoc.standalone.js": _REDOC / "js" / "redoc.standalone.js",
    "redoc.js": _OWN / "redoc.js",
    "page.css": _OWN / "page.css",
    "icon.svg": _OWN / "icon.svg",
}


@blueprint.get("/openapi.json")
@operation(
    "documents",
    {200: Answer("OpenAPI 3.1", media=("application/json",), headers=_KEPT), **_UNCHANGED},
    headers=("If-None-Match",),
    public=True,
)
def document() -> ResponseReturnValue:
    """This description."""
    made: dict[str, bytes] = current_app.extensions.setdefault("openapi", {})
    if "document" not in made:
        made["document"] = json.dumps(describe(current_app, bool(context().settings.api_keys))).encode()
    return _kept(made["document"], "application/json")


@blueprint.get("/docs")
@operation("documents", {200: Answer("the page", media=("text/html",), headers=_KEPT), **_UNCHANGED}, public=True)
def swagger() -> ResponseReturnValue:
    """This description as a page to try things on: Swagger UI."""
    return _page("swagger.html")


@blueprint.get("/redoc")
@operation("documents", {200: Answer("the page", media=("text/html",), headers=_KEPT), **_UNCHANGED}, public=True)
def redoc() -> ResponseReturnValue:
    """This description as a page to read: ReDoc."""
    return _page("redoc.html")


@blueprint.get("/docs/assets/<name>")
@operation(
    "documents",
    {200: Answer("the file", media=tuple(_MEDIA_TYPES.values()), headers=_KEPT), **_UNCHANGED},
    raises=[NotFound],
    headers=("If-None-Match",),
    public=True,
)
def asset(name: str) -> ResponseReturnValue:
    """A file of these pages."""
    if name not in ASSETS:
        raise NotFound
    data = ASSETS[name].read_bytes()
    if name == "redoc.standalone.js":
        data = data.replace(_ELSEWHERE, _HERE)
    return _kept(data, _MEDIA_TYPES[ASSETS[name].suffix])


def _page(name: str) -> Response:
    response = _kept((_OWN / name).read_bytes(), "text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _kept(data: bytes, media_type: str) -> Response:
    """Kept by the browser, which asks each time whether it is still the same."""
    response = Response(data, mimetype=media_type)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.cache_control.no_cache = True
    response.add_etag()
    return response.make_conditional(request)
