"""`manifest.json`: what is in an output folder and how it came to be, written last."""

import hashlib
import json
import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipelines.base import Result

VERSION = "0.1.0"
_LIBRARIES = ("torch", "numpy", "opencv-python-headless", "trimesh", "pillow")


@cache
def versions() -> dict[str, str]:
    """Ours, Python's, and those of the libraries results depend on."""
    found = {"maquette": VERSION, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def write_manifest(out: Path, params: dict[str, Any], result: Result, about: dict[str, Any]) -> None:
    """Describes every file below `out` in `out/manifest.json`.

    Args:
        about: pipeline, device, ids and times of this run; the only part that differs between equal runs.
    """
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    manifest = {
        **about,
        "params": params,
        "seed": params.get("seed"),
        **result.facts,
        "warnings": result.warnings,
        "timings": {stage: round(seconds, 4) for stage, seconds in result.timings.items()},
        "seconds": round(time.time() - about["started_at"], 4),
        "versions": versions(),
        "files": {name: _about_file(out / name) for name in names},
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2))


def _about_file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
