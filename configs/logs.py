"""How log lines look: text for people or one JSON object each for machines; both name the request and the job."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Literal

Form = Literal["text", "json"]

_NOBODY: dict[str, str] = {}
_about: ContextVar[dict[str, str]] = ContextVar("about", default=_NOBODY)


def configure(level: str, form: Form) -> None:
    """Sends the process's log lines to standard error in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)


@contextmanager
def about(**ids: str) -> Iterator[None]:
    """Every line written inside says what it is about: request_id, job_id."""
    token = _about.set({**_about.get(), **{name: value for name, value in ids.items() if value}})
    try:
        yield
    finally:
        _about.reset(token)


def begin(**ids: str) -> None:
    """As `about`, for a thread that serves one request after the other and has no one block for each."""
    _about.set(ids)


def request_id() -> str:
    """Of the request this thread answers; empty outside of one."""
    return _about.get().get("request_id", "")


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        ids = " ".join(f"{name}={value}" for name, value in _about.get().items() if value not in line)
        return f"{line} [{ids}]" if ids else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": os.getpid(),
            **_about.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
