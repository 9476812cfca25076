"""The OpenAPI 3.1 document of an app: one walk over its routes and what is said above each view."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flask import Flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from pipelines.manifest import VERSION
from web.answers import Error
from web.errors import ERRORS, Unauthorized, word
from web.operations import Answer, Operation, operation_of
from web.schemas import Schemas

TAGS = {
    "trellis": "Pictures in, assets out: the house's own API.",
    "synchuman": "A picture of a person in, views and an asset out, in the answer itself.",
    "jobs": "Every job of every dialect: follow, cancel, delete.",
    "outputs": "The files of a job.",
    "health": "Is the service well, and who works for it.",
    "page": "The web page, and what it is made of.",
    "documents": "This description, and two pages that show it.",
    "aliases": "The same operations under other addresses.",
}

_TEXT = {"type": "string"}
# What headers say, in requests and in answers.
HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "the same text from the same client gives the same job, never a second one",
        "schema": _TEXT | {"maxLength": 255},
    },
    "Range": {"description": "a part of the file", "schema": _TEXT, "example": "bytes=0-1023"},
    "If-None-Match": {"description": "an ETag one has already", "schema": _TEXT},
    "If-Modified-Since": {"description": "when one has fetched it last", "schema": _TEXT},
    "Last-Event-ID": {"description": "the id of the last event one has seen", "schema": _TEXT},
    "Prefer": {"description": "respond-async: answer at once, as async=true", "schema": _TEXT},
    "Preference-Applied": {"description": "that Prefer was heeded", "schema": _TEXT},
    "Location": {"description": "where the job can be followed", "schema": _TEXT},
    "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer", "minimum": 0}},
    "ETag": {"description": "changes when the content does", "schema": _TEXT},
    "Last-Modified": {"description": "when it was made", "schema": _TEXT},
    "Cache-Control": {"description": "who may keep it, and how long", "schema": _TEXT},
    "Content-Range": {"description": "which part this is", "schema": _TEXT},
    "Content-Disposition": {"description": "a name for it, when it was converted", "schema": _TEXT},
    "Accept-Ranges": {"description": "that parts can be asked for", "schema": _TEXT},
}
_SECURITY = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """One method at one address.

    Attributes:
        path: in OpenAPI's spelling; `converters` has what Flask's says besides.
        own: where the same view stands first; this one is an alias when it is another.
    """

    method: str
    path: str
    converters: dict[str, str]
    endpoint: str
    view: Callable[..., Any]
    own: str = ""

    @property
    def alias(self) -> bool:
        return self.path != self.own


def routes(app: Flask) -> list[Route]:
    """Everything the app answers to, but for the methods that come by themselves. Aliases stand last."""
    found = []
    for rule in app.url_map.iter_rules():
        converters = {name: converter for converter, name in _PARAMETER.findall(rule.rule)}
        path, view = _PARAMETER.sub(r"{\2}", str(rule.rule)), app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            found.append(Route(method, path, converters, rule.endpoint, view))
    own: dict[tuple[Any, str], Route] = {}
    for route in found:
        before = own.setdefault((route.view, route.method), route)
        if before.endpoint == route.endpoint:  # decorators register from the lowest up, and the topmost is the name
            own[route.view, route.method] = route
    placed = [replace(route, own=own[route.view, route.method].path) for route in found]
    return sorted(placed, key=lambda route: (route.alias, route.path))


def describe(app: Flask, keys: bool) -> dict[str, Any]:
    """The document.

    Args:
        keys: whether the service wants an API key.
    Raises:
        LookupError: a view has no @operation.
    """
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    ids = {}
    for route in routes(app):
        told = _operation(route, schemas, keys)
        if not route.alias:
            ids[route.method, route.path] = told["operationId"]
        else:
            told |= {"tags": ["aliases"], "x-alias-of": ids[route.method, route.own]}
            told["description"] = f"The same as {route.method} {route.own}."
        paths.setdefault(route.path, {})[route.method.lower()] = told
    tags = {told["tags"][0] for path in paths.values() for told in path.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Maquette",
            "version": VERSION,
            "summary": "Images to 3D assets on your own machines.",
            "description": "Every answer carries `X-Request-Id`, the name it has in the service's log.",
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": about} for name, about in TAGS.items() if name in tags],
        "paths": paths,
        **({"security": [{name: []} for name in _SECURITY]} if keys else {}),
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            **({"securitySchemes": _SECURITY} if keys else {}),
        },
    }


def _operation(route: Route, schemas: Schemas, keys: bool) -> dict[str, Any]:
    found = operation_of(route.view)
    if found is None:
        raise LookupError(f"{route.method} {route.path} has no @operation above its view, {route.endpoint}")
    summary, _, rest = inspect.cleandoc(route.view.__doc__ or "").partition("\n")
    about = rest.partition("Raises:")[0].strip()
    told: dict[str, Any] = {"operationId": _id(route), "tags": [found.tag], "summary": summary}
    if about:
        told["description"] = about
    if parameters := _parameters(route, found, schemas):
        told["parameters"] = parameters
    if found.body:
        told["requestBody"] = {"required": True, "content": found.body(schemas)}
    told["responses"] = dict(sorted((_refusals(found, schemas, keys) | _answers(found, schemas)).items()))
    if keys and found.public:
        told["security"] = []
    return told


def _id(route: Route) -> str:
    """Unique: of an alias by its address, whose slashes must not look like the underscores in it."""
    place = re.sub(r"/?{.*?}", "", route.path).replace("/", "__")
    return route.endpoint.replace(".", "_") + (f"_at{place}" if route.alias else "")


def _parameters(route: Route, found: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for name, converter in route.converters.items():
        schema: dict[str, Any] = {"type": "integer", "minimum": 0} if converter == "int" else _TEXT | {"minLength": 1}
        about = {"description": "may hold folders: stage1_output/color_0.png"} if converter == "path" else {}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema, **about})
    return (
        parameters
        + _query(found, schemas)
        + [{"name": name, "in": "header", **HEADERS[name]} for name in found.headers]
    )


def _query(found: Operation, schemas: Schemas) -> list[dict[str, Any]]:
    if not found.query:
        return []
    needed = [field.alias or name for name, field in found.query.model_fields.items() if field.is_required()]
    told = []
    for name, schema in schemas.fields(found.query).items():
        about, default = schema.pop("description"), schema.pop("default", "")  # pages would send what they find there
        about += f"; {default} unless given" if default != "" else ""
        told.append({"name": name, "in": "query", "description": about, "required": name in needed, "schema": schema})
    return told


def _answers(found: Operation, schemas: Schemas) -> dict[str, Any]:
    return {str(status): _answer(answer, schemas) for status, answer in found.answers.items()}


def _answer(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    told: dict[str, Any] = {"description": answer.about}
    if answer.headers:
        told["headers"] = {name: HEADERS[name] for name in answer.headers}
    content: dict[str, Any] = {media: {} for media in answer.media}
    if answer.model:
        content["application/json"] = {"schema": schemas.ref(answer.model)}
    return told | ({"content": content} if content else {})


def _refusals(found: Operation, schemas: Schemas, keys: bool) -> dict[str, Any]:
    """Status → error answer, for everything the operation may raise."""
    kinds = [*found.raises, *([Unauthorized] if keys and not found.public else [])]
    kinds += [RequestEntityTooLarge] if found.body else []
    told: dict[str, dict[str, Any]] = {}
    for status, code, wait_s in sorted(ERRORS[kind] if kind in ERRORS else _http(kind) for kind in kinds):
        answer = told.setdefault(str(status), {"description": code})
        if code not in answer["description"].split(" or "):
            answer["description"] += f" or {code}"
        if wait_s:
            answer["headers"] = {"Retry-After": HEADERS["Retry-After"]}
        answer["content"] = {"application/json": {"schema": schemas.ref(Error)}}
    return told


def _http(kind: type[Exception]) -> tuple[int, str, int]:
    assert issubclass(kind, HTTPException) and kind.code, f"{kind.__name__} is not in the table of web/errors.py"
    return kind.code, word(kind.code), 0
