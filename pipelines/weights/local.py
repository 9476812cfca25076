"""Which weights lie on this machine, and where. Reads folders and headers only: cheap enough for every start."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

from pipelines.weights.catalog import Repository, command, family
from pipelines.weights.errors import Missing
from pipelines.weights.sources import Sources

COMPLETE, PARTIAL, ABSENT = "complete", "partial", "absent"
_NOT_THERE = "is not there"
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Found:
    """What is here of one family. Files are named "<repository>/<path>", as in the catalogue.

    Attributes:
        folders: repository → the folder it is read from; only those of which something is there.
        files: name → where it lies.
        missing: name → what is the matter with it.
    """

    folders: Mapping[str, Path]
    files: Mapping[str, Path]
    missing: Mapping[str, str]

    @property
    def state(self) -> str:
        """ "complete", "partial" or "absent"."""
        if not self.missing:
            return COMPLETE
        return PARTIAL if self.files else ABSENT

    @property
    def size(self) -> int:
        """Bytes of what is there."""
        return sum(path.stat().st_size for path in self.files.values())


def find(name: str, sources: Sources) -> Found:
    """Where each file of a family would be read from. Contents are not looked at; `verify` does that.

    Raises:
        UnknownFamily: the catalogue has no such family.
    """
    parts = [find_repository(repository, sources) for repository in family(name).repositories]
    return Found(
        {repository: folder for part in parts for repository, folder in part.folders.items()},
        {file: path for part in parts for file, path in part.files.items()},
        {file: reason for part in parts for file, reason in part.missing.items()},
    )


def require(name: str, sources: Sources) -> Found:
    """The same, of a family that is complete.

    Raises:
        UnknownFamily: the catalogue has no such family.
        Missing: a file is not here.
    """
    found = find(name, sources)
    for file, reason in found.missing.items():
        raise Missing(f"the weights of {name} are {found.state}: {file} {reason}; {command(name)}")
    return found


def find_repository(repository: Repository, sources: Sources) -> Found:
    """The same for one repository."""
    folder = _folder(repository, sources)
    if folder is None:
        return Found({}, {}, {f"{repository.id}/{file.path}": _NOT_THERE for file in repository.files})
    files, missing = {}, {}
    for path, place in _needed(repository, folder, sources):
        if reason := _fault(place):
            missing[f"{repository.id}/{path}"] = reason
        else:
            files[f"{repository.id}/{path}"] = place
    return Found({repository.id: folder}, files, missing)


def places(repository: Repository, sources: Sources) -> Iterator[Path]:
    """The folders that may stand for a repository, the one that wins first."""
    if sources.weights_dir is not None:
        yield sources.weights_dir / repository.id
    if not repository.address:
        for cache in sources.hub_caches:
            yield from _snapshots(cache / f"models--{repository.id.replace('/', '--')}", repository.revision)
    elif sources.torch_cache is not None:
        yield sources.torch_cache


def _snapshots(cached: Path, revision: str) -> Iterator[Path]:
    """In the hub's cache: the revision we know, else the one its owner fetched last."""
    if revision:
        yield cached / "snapshots" / revision
    try:
        latest = (cached / "refs" / "main").read_text().strip()
    except OSError:
        return
    if latest:
        yield cached / "snapshots" / latest


def _folder(repository: Repository, sources: Sources) -> Path | None:
    """The first folder with any of the files. The files of one checkpoint are never gathered from two folders."""
    for place in places(repository, sources):
        if any(isfile(place / file.path) for file in repository.files):
            return place
    return None


def _needed(repository: Repository, folder: Path, sources: Sources) -> Iterator[tuple[str, Path]]:
    """(path in the repository, where it is looked for): what the index names if there is one, else the catalogue's."""
    index = folder / repository.index
    if not repository.index or not isfile(index):
        yield from ((file.path, folder / file.path) for file in repository.files)
        return
    yield repository.index, index
    for stem in networks(index):
        for suffix in (".json", ".safetensors"):
            yield stem + suffix, _network_file(stem + suffix, folder, sources)


def networks(index: Path) -> list[str]:
    """The networks that an index names, as paths without suffix; none when it cannot be read."""
    try:
        named = json.loads(index.read_text())["args"]["models"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return list(dict.fromkeys(stem for stem in named if isinstance(stem, str)))


def _network_file(path: str, folder: Path, sources: Sources) -> Path:
    """A network's file: below the folder, or in the repository that the path begins with."""
    local = folder / path
    org, _, rest = path.partition("/")
    name, _, inner = rest.partition("/")
    if isfile(local) or not inner:
        return local
    other = Repository(f"{org}/{name}", "", "", ())
    return next((place / inner for place in places(other, sources) if isfile(place / inner)), local)


def _fault(path: Path) -> str:
    """What is the matter with a file; empty when nothing shows."""
    try:
        if not isfile(path):
            return _NOT_THERE
        if not os.access(path, os.R_OK):
            return "cannot be read by this user"
        if path.suffix == ".safetensors":
            return _cut_short(path)
        if path.name == "pipeline.json" and not networks(path):
            return "names no networks"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _cut_short(path: Path) -> str:
    """Whether a safetensors file ends before its last tensor does, as it happens to copies."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length < min(size, _LONGEST_HEADER) else b""
    try:
        tensors: dict[str, Any] = json.loads(header)
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return "is no safetensors file, or is cut short"
    whole = 8 + length + max(ends, default=0)
    return "" if size == whole else f"has {size:,} bytes where its header tells of {whole:,}"
