"""What a view takes and what it answers, said right above it; the OpenAPI document is made of nothing else."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from web.schemas import Schemas

V = TypeVar("V", bound=Callable[..., Any])

# Media type → media type object. Called when the document is built: by then the operator's plug-ins are known.
Body = Callable[[Schemas], dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """One way an operation answers when all is well.

    Attributes:
        model: of the JSON, where it answers in JSON.
        media: the media types of what else it may send, as it is.
        headers: names in HEADERS of web/document.py, which may come with it.
    """

    about: str
    model: type[BaseModel] | None = None
    media: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """A view as the outside sees it. Its summary is the first line of the view's docstring.

    Attributes:
        tag: the dialect or resource it belongs to.
        raises: exceptions of the table in web/errors.py, or of werkzeug; they give the error answers.
        query: its fields are the query's parameters.
        headers: names in HEADERS of web/document.py, which the request may carry.
        public: it wants no API key even where keys are switched on.
    """

    tag: str
    answers: Mapping[int, Answer]
    raises: tuple[type[Exception], ...] = ()
    body: Body | None = None
    query: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    public: bool = False


def operation(
    tag: str,
    answers: type[BaseModel] | Mapping[int, Answer],
    raises: Iterable[type[Exception]] = (),
    body: Body | None = None,
    query: type[BaseModel] | None = None,
    headers: Iterable[str] = (),
    public: bool = False,
) -> Callable[[V], V]:
    """Marks a view; the arguments are those of Operation. A model alone means status 200 with this model."""
    told = answers if isinstance(answers, Mapping) else {200: Answer(inspect.cleandoc(answers.__doc__ or ""), answers)}

    def mark(view: V) -> V:
        found = Operation(tag, told, tuple(raises), body, query, tuple(headers), public)
        view.operation = found  # type: ignore[attr-defined]
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """What was said above a view."""
    found: Operation | None = getattr(view, "operation", None)
    return found
