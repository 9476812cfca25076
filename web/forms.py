"""A submit as the document shows it: the dialect's own fields and those of every pipeline that may answer."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

import pipelines
from web.operations import Body
from web.schemas import Schemas

_PIPELINES = "x-pipelines"
_SERVICE = ("pipeline", "job_id", "async", "download")  # what no pipeline is told
_TEXT = {"type": "string"}
_BINARY = {"type": "string", "format": "binary"}
_NONE = _TEXT | {"default": ""}  # a page that shows the form leaves these out, instead of sending "string"
_WEBHOOK = _NONE | {"title": "Webhook address", "description": "is called once, when the job has ended"}
# A red box with nothing around it, which every API and pipeline can make something of.
_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAKElEQVR42mNgGGjAiE3whJzcf2ziFo8eYahnotQFowaMGjA4DBh4AADjWQQYmAmV"
    "ngAAAABJRU5ErkJggg=="
)


def picture_form(model: type[BaseModel], own: str, short_forms: Mapping[str, str]) -> Body:
    """The body of a submit of pictures, as multipart and as JSON.

    Args:
        model: the dialect's own fields, pipeline and seed among them.
        own: the dialect's own model, which those of its fields are for that no pipeline here has.
        short_forms: other names of fields → the names.
    """

    def body(schemas: Schemas) -> dict[str, Any]:
        fields = _fields(schemas, model, own)
        for short, name in short_forms.items():
            fields[name] = fields[name] | {"description": f"{fields[name]['description']}; {short} for short"}
        lists = {name: {"style": "form", "explode": False} for name, field in fields.items() if _is_list(field)}
        example = {"image": _PICTURE} | {name: model.model_fields[name].default for name in ("pipeline", "seed")}
        encoding = {"image": {"contentType": "image/png, image/jpeg, image/webp"}, **lists}
        return {
            "multipart/form-data": {"schema": _object(_parts() | fields), "encoding": encoding},
            "application/json": {"schema": _object(_values() | fields), "example": example},
        }

    return body


def _fields(schemas: Schemas, model: type[BaseModel], own: str) -> dict[str, dict[str, Any]]:
    """Every field, with the names of the pipelines that heed it in `x-pipelines`; none there: it is for the service."""
    merged = schemas.fields(model)
    offered = {name: schemas.fields(pipelines.params_class(name)) for name in sorted(pipelines.PIPELINES)}
    for name in dict.fromkeys(name for fields in offered.values() for name in fields):
        heeding = {pipeline: fields[name] for pipeline, fields in offered.items() if name in fields}
        merged[name] = merged.get(name) or _one(list(heeding.values()))
        merged[name] |= {_PIPELINES: list(heeding)}
    names = ["auto", *offered]
    merged["pipeline"] |= {"enum": names, "description": f"auto, or the one that shall answer: {', '.join(offered)}"}
    return {
        name: field if _PIPELINES in field or name in _SERVICE else field | {_PIPELINES: [own]}
        for name, field in merged.items()
    }


def _one(fields: list[dict[str, Any]]) -> dict[str, Any]:
    """What several pipelines say of a field; a choice only where they differ about it."""
    different = [field for index, field in enumerate(fields) if field not in fields[:index]]
    return dict(fields[0]) if len(different) == 1 else {"title": fields[0]["title"], "anyOf": different}


def _is_list(field: dict[str, Any]) -> bool:
    return field.get("type") == "array"


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    about = "One of image, image_data and image_url is needed, or with stage=stage2 job_id; all else has a default."
    return {"type": "object", "description": about, "properties": properties}


def _parts() -> dict[str, Any]:
    about = "PNG, JPEG or WebP; repeat it for several sides, the main one first"
    return {
        "image": {"type": "array", "items": _BINARY, "title": "Image", "description": about},
        "image_data": _NONE | {"title": "Image data", "description": "instead: a picture in base64, or a data: URL"},
        "image_url": _NONE | {"title": "Image address", "description": "instead: the service fetches it"},
        "webhook_url": _WEBHOOK,
    }


def _values() -> dict[str, Any]:
    text = "a picture in base64, or a data: URL; a list for several sides, the main one first"
    return {
        "image": _one_or_more("Image", text),
        "image_data": _one_or_more("Image data", "the same"),
        "image_url": _one_or_more("Image address", "instead: the service fetches it"),
        "webhook_url": _WEBHOOK,
    }


def _one_or_more(title: str, about: str) -> dict[str, Any]:
    return {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}], "title": title, "description": about}
