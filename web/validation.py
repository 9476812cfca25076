"""Checking what a client sent against a model, and saying what is wrong in words: name, value, what is allowed."""

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from web.errors import BadRequest

M = TypeVar("M", bound=BaseModel)

_MOST_GUESSES = 20  # each takes time, and a body may hold a million names

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def check(model: type[M], values: Mapping[str, Any]) -> M:
    """The model filled with those of the values that it has fields for.

    Raises:
        BadRequest: one of them cannot work.
    """
    names = _fields(model)
    known = {name: value for name, value in values.items() if name in names}
    try:
        return model(**known)
    except ValidationError as error:
        raise BadRequest("; ".join(_sentence(model, problem) for problem in error.errors())) from None


def unknown(names: Iterable[str], *models: type[BaseModel], extra: Iterable[str] = ()) -> list[str]:
    """A warning for each name that none of the models knows, with the nearest known one; beyond some, their number."""
    known = sorted({name for model in models for name in _fields(model)} | set(extra))
    strange = sorted(set(names) - set(known))
    warnings = []
    for name in strange[:_MOST_GUESSES]:
        near = difflib.get_close_matches(name[:80], known, n=1)
        warnings.append(f"unknown field {name[:80]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if more := strange[_MOST_GUESSES:]:
        warnings.append(f"{len(more)} more unknown fields")
    return warnings


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The model's fields by the names that clients give them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _sentence(model: type[BaseModel], problem: Any) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = _fields(model).get(name)
    if field is None:
        return str(problem["msg"])
    given = _short(problem["input"])
    if problem["type"] == "value_error":
        return f"{name} is {given}: {problem['ctx']['error']}"
    return f"{name} is {given}; use {allowed(field)}"


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "…"


def allowed(field: FieldInfo) -> str:
    """What a field takes, in words."""
    kind = _plain(field.annotation)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return "some of " + ", ".join(map(str, get_args(inner))) + ", separated by commas"
    return _KINDS.get(kind, "a value of the documented kind") + _bounds(field)


def _plain(annotation: Any) -> Any:
    """The annotation without its None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not types.NoneType)
    return annotation


def _bounds(field: FieldInfo) -> str:
    words: dict[type, str] = {Ge: "from {0.ge}", Gt: "above {0.gt}", Le: "to {0.le}", Lt: "below {0.lt}"}
    words[MultipleOf] = "in steps of {0.multiple_of}"
    return "".join(" " + words[type(rule)].format(rule) for rule in field.metadata if type(rule) in words)
