"""A whole family onto this machine: what is still needed, whether there is room, and the downloads one by one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.hub import Hub
from pipelines.weights.catalog import File, Repository, family
from pipelines.weights.download import PART, Told, download
from pipelines.weights.errors import NoRoom, Unreachable
from pipelines.weights.local import COMPLETE, find_repository
from pipelines.weights.sources import Sources

_SPARE = 256 * 2**20  # the disk should not be filled to the last byte


@dataclass(frozen=True)
class Wanted:
    """A file that is to be fetched, and where it will lie."""

    repository: Repository
    file: File
    target: Path

    @property
    def name(self) -> str:
        return f"{self.repository.id}/{self.file.path}"

    @property
    def left(self) -> int:
        """Bytes, about, that have not come yet."""
        part = self.target.with_name(self.target.name + PART)
        return max(self.file.size - (part.stat().st_size if part.exists() else 0), 0)


def wanted(name: str, sources: Sources, folder: Path) -> list[Wanted]:
    """What `folder` needs so that the family is complete. A repository that is complete elsewhere is left there.

    Raises:
        UnknownFamily: the catalogue has no such family.
    """
    files = []
    for one in family(name).repositories:
        found = find_repository(one, sources)
        if found.state != COMPLETE:
            ours = [Wanted(one, file, folder / one.id / file.path) for file in one.files]
            files += [file for file in ours if not file.target.is_file() or file.name in found.missing]
    return files


def room(files: list[Wanted], folder: Path) -> int:
    """Bytes that are free where the files will go.

    Raises:
        NoRoom: they are too few.
    """
    base = next(one for one in (folder, *folder.parents) if one.exists())
    free, needed = shutil.disk_usage(base).free, sum(one.left for one in files) + _SPARE
    if free < needed:
        raise NoRoom(
            f"{base} has {free / 2**30:.2f} GiB free and {needed / 2**30:.2f} are needed; "
            "make room, or set MAQUETTE_WEIGHTS_DIR to a larger disk"
        )
    return free


def fetch(files: list[Wanted], hub: Hub, begin: Callable[[Wanted], Told]) -> None:
    """Downloads them.

    Args:
        begin: called with each file before it begins; what it returns hears how far it has come.
    Raises:
        Refused, Unreachable, WrongContent: as `download`.
    """
    if hub.offline and files:
        raise Unreachable(
            f"HF_HUB_OFFLINE is set and {len(files)} file(s) are not here; unset it, or copy "
            f"{', '.join(sorted({one.repository.id for one in files}))} into the weights folder from another machine"
        )
    for one in files:
        download(one.repository, one.file, one.target, hub, begin(one))
