"""What this machine can run, what is missing, and what to do about it: `./setup.sh doctor`.

A package of its own above all others, because it looks at each of them and none of them needs it. Check groups are
named by string and loaded one by one, so that what is not installed spoils only the groups that need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module

from doctor.findings import Finding, note, problem

# Group → "module:function"; the function yields its findings.
CHECKS: dict[str, str] = {
    "python": "doctor.python:check",
    "settings": "doctor.settings:check",
    "redis": "doctor.redis:check",
    "devices": "doctor.devices:check",
    "libraries": "doctor.libraries:check",
    "pipelines": "doctor.pipelines:check",
    "disk": "doctor.disk:check",
    "network": "doctor.network:check",
    "system": "doctor.system:check",
}


def examine(groups: Iterable[str] = CHECKS) -> Iterator[tuple[str, Finding]]:
    """(group, finding) of each check, as it is made."""
    for group in groups:
        for finding in _findings(group):
            yield group, finding


def _findings(group: str) -> Iterator[Finding]:
    module, name = CHECKS[group].split(":")
    try:
        yield from getattr(import_module(module), name)()
    except (ImportError, SyntaxError) as error:  # not installed, or this Python is too old for it
        yield note(group, f"not checked: {error}", "./setup.sh")
    except Exception as error:
        if type(error).__name__ == "SettingsError":  # our class may be out of reach; the group settings tells of it
            yield note(group, f"not checked, because of the settings: {error}")
        else:
            yield problem(group, f"the check itself failed: {type(error).__name__}: {error}", "please report this")
