"""What each pipeline would need here, and which weights lie on this machine."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs.hub import load_hub
from configs.settings import Settings, load_settings
from doctor.findings import Finding, note, ok, problem, warning
from pipelines import PIPELINES, register
from pipelines.errors import PipelineUnavailable
from pipelines.weights import COMPLETE, PARTIAL, Sources, find
from pipelines.weights.catalog import FAMILIES, command, family
from pipelines.weights.sources import sources
from workers.offers import offers


def check() -> Iterator[Finding]:
    """Every registered pipeline, the weights of each family, then all else that lies where weights do."""
    settings, hub = load_settings(), load_hub()
    yield from _offered(settings)
    yield _memory(settings)
    for name in FAMILIES:
        yield family_weights(name, sources(settings, hub), settings.weights_dir)
    yield from weights(settings.weights_dir, hub.caches)


def _offered(settings: Settings) -> Iterator[Finding]:
    """What the workers of this machine would do with each pipeline."""
    try:
        for module in settings.plugins:
            register(module)
        found = offers(settings)
    except PipelineUnavailable as error:  # the settings are to blame, and their check says so
        yield note("pipelines", str(error))
        return
    for name in PIPELINES:
        devices = [device for device, one in found.items() if name in one.pipelines]
        reasons = dict.fromkeys(one.unavailable[name] for one in found.values() if name in one.unavailable)
        if devices:
            yield ok(name, f"runs on {', '.join(devices)}")
        else:
            yield note(name, "; ".join(reasons) or "is not among MAQUETTE_PIPELINES")


def _memory(settings: Settings) -> Finding:
    if settings.low_vram:
        return ok("device memory", "MAQUETTE_LOW_VRAM: only the network that runs just now is kept on the device")
    said = "networks stay on the device while there is room; MAQUETTE_LOW_VRAM=1 where it is small"
    return ok("device memory", said)


def family_weights(name: str, sources: Sources, folder: Path) -> Finding:
    """Whether all files of a family are here. What is in them is told by `python -m pipelines.weights verify`."""
    found, label = find(name, sources), f"weights of {name}"
    size = f"{found.size / 2**30:.2f} GiB"
    if found.state == COMPLETE:
        return ok(label, f"complete, {size} in {', '.join(map(str, found.folders.values()))}")
    if found.state == PARTIAL:
        file, reason = next(iter(found.missing.items()))
        more = f" and {len(found.missing) - 1} more" if len(found.missing) > 1 else ""
        return warning(label, f"partial, {size} are here; {file} {reason}{more}", command(name))
    return note(label, f"absent, {family(name).size / 2**30:.2f} GiB would go to {folder}", command(name))


def weights(folder: Path, caches: Sequence[Path]) -> Iterator[Finding]:
    """The models in our own folder, as <org>/<name>/, and in the hub's caches, as models--<org>--<name>/."""
    own = {"/".join(path.parts[-2:]): path for path in folder.glob("*/*") if path.is_dir()}
    cached = {
        path.name[8:].replace("--", "/", 1): path
        for cache in reversed(caches)
        for path in cache.glob("models--*--*")
        if path.is_dir()
    }
    for name, path in sorted((cached | own).items()):
        if not os.access(path, os.R_OK | os.X_OK):
            yield problem(name, f"{path} cannot be read", f"chmod -R u+rX {path}")
            continue
        found = [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
        half = [one for one in found if one.name.endswith((".incomplete", ".part"))]
        size = sum(one.stat().st_size for one in found) / 2**30
        said = f"{size:.2f} GiB in {path}"
        if half:
            yield note(name, f"{said}, a download was broken off", "fetch it again")
        else:
            yield ok(name, said)
    if not own and not cached:
        yield note("weights", f"none in {folder} nor in {', '.join(map(str, caches))}; relief needs none")
