"""What a check has to say. Only the standard library: the doctor also answers where nothing is installed."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("ok", "note", "warning", "problem")


@dataclass(frozen=True)
class Finding:
    """One sentence about this machine.

    Attributes:
        name: what was looked at.
        level: ok; note, which needs nothing done; warning, which will hurt some day; problem: jobs would fail.
        said: the sentence.
        remedy: a command or a setting; empty where nothing is to be done.
    """

    name: str
    level: str
    said: str
    remedy: str = ""


def ok(name: str, said: str) -> Finding:
    return Finding(name, "ok", said)


def note(name: str, said: str, remedy: str = "") -> Finding:
    return Finding(name, "note", said, remedy)


def warning(name: str, said: str, remedy: str) -> Finding:
    return Finding(name, "warning", said, remedy)


def problem(name: str, said: str, remedy: str) -> Finding:
    return Finding(name, "problem", said, remedy)
