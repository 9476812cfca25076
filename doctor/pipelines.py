"""What each pipeline would need here, and which weights lie on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from configs.settings import load_settings
from doctor.findings import Finding, note, ok, problem
from pipelines import PIPELINES, params_class
from workers.devices import lane, visible


def check() -> Iterator[Finding]:
    """Every registered pipeline, then the weights that are there."""
    devices = {lane(name) for name in visible()}
    for name, entry in PIPELINES.items():
        params_class(name)
        if entry.lane == "cpu":
            yield ok(name, "needs no weights and no accelerator")
        elif "cuda" in devices:
            yield ok(name, "finds an accelerator")
        else:
            yield note(name, "wants an accelerator, and there is none")
    yield from weights(_folder(), _hub())


def _folder() -> Path:
    named = os.environ.get("MAQUETTE_WEIGHTS_DIR")
    return Path(named).expanduser() if named else load_settings().data_dir / "weights"


def _hub() -> Path:
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()


def weights(folder: Path, hub: Path) -> Iterator[Finding]:
    """The models in our own folder, as <org>/<name>/, and in the hub's cache, as models--<org>--<name>/."""
    own = {"/".join(path.parts[-2:]): path for path in folder.glob("*/*") if path.is_dir()}
    cached = {path.name[8:].replace("--", "/", 1): path for path in hub.glob("models--*--*") if path.is_dir()}
    for name, path in sorted(cached.items() | own.items()):
        if not os.access(path, os.R_OK | os.X_OK):
            yield problem(name, f"{path} cannot be read", f"chmod -R u+rX {path}")
            continue
        found = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
        half = [one for one in found if one.name.endswith(".incomplete")]
        size = sum(one.stat().st_size for one in found) / 2**30
        said = f"{size:.2f} GiB in {path}"
        if half:
            yield note(name, f"{said}, a download was broken off", "fetch it again")
        else:
            yield ok(name, said)
    if not own and not cached:
        yield note("weights", f"none in {folder} nor in {hub}; relief needs none")
