"""Python itself and the packages: those there are against those the service was tested with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from doctor.findings import Finding, note, ok, problem, warning

ROOT = Path(__file__).resolve().parent.parent
_OLDEST = (3, 11)


def check() -> Iterator[Finding]:
    """Version, environment, packages."""
    yield _version()
    yield _environment()
    yield from packages(ROOT / "requirements.txt", ROOT / "constraints.txt")


def _version() -> Finding:
    said = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < _OLDEST:
        return problem("version", f"{said}; 3.11 or newer is needed", "PYTHON=/path/to/python3.11 ./setup.sh")
    return ok("version", said)


def _environment() -> Finding:
    if (ROOT / ".venv" / "bin" / "python").exists() and Path(sys.prefix) != ROOT / ".venv":
        return note("environment", f"this is {sys.prefix}, and not the .venv that ./setup.sh uses")
    if not (ROOT / ".venv").exists():
        return note("environment", f"there is no .venv here; this looks at {sys.prefix}", "./setup.sh")
    return ok("environment", "the .venv of this folder")


def packages(requirements: Path, constraints: Path) -> Iterator[Finding]:
    """One finding for all that are as they should be, one for each other kind."""
    tested = dict(re.findall(r"^([\w.-]+)==([^\s;+]+)", constraints.read_text(), re.M))
    tested = {_canonical(name): number for name, number in tested.items()}
    wanted = re.findall(r"^([A-Za-z][\w.-]*)", requirements.read_text(), re.M)
    missing, other = [], []
    for name in wanted:
        try:
            found = version(name).partition("+")[0]  # torch's builds differ behind the plus
        except PackageNotFoundError:
            missing.append(name)
            continue
        if found != tested.get(_canonical(name), found):
            other.append(f"{name} {found} (tested: {tested[_canonical(name)]})")
    if missing:
        yield problem("packages", f"not installed: {', '.join(missing)}", "./setup.sh")
    if other:
        yield warning("packages", f"other versions than tested: {', '.join(other)}", "./setup.sh")
    if not missing and not other:
        yield ok("packages", f"all {len(wanted)} in the versions they were tested in")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
