"""From the paths on a command line to jobs: which pictures go together, and where their files go."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class UsageError(Exception):
    """The command line cannot be carried out as it stands."""


@dataclass(frozen=True)
class Task:
    """One job to be."""

    title: str
    pictures: list[Path]
    folder: Path

    def key(self, prefix: str, params: dict[str, str]) -> str:
        """An idempotency key that stays the same for the same pictures and parameters."""
        digest = hashlib.sha256(repr(sorted(params.items())).encode())
        for picture in self.pictures:
            digest.update(picture.read_bytes())
        return f"{prefix}:{digest.hexdigest()[:32]}"


def found(paths: Sequence[Path]) -> list[Path]:
    """The pictures themselves; a folder stands for those in it, by name.

    Raises:
        UsageError: one does not exist, or a folder holds none.
    """
    pictures = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
            if not inside:
                raise UsageError(f"{path} holds no picture ({', '.join(SUFFIXES)})")
            pictures += inside
        elif path.is_file():
            pictures.append(path)
        else:
            raise UsageError(f"there is no picture {str(path)!r}")
    return pictures


def tasks(pictures: Sequence[Path], views: str | None, out: Path) -> list[Task]:
    """One job of all pictures when their sides are named, else one job for each.

    Raises:
        UsageError: the sides and the pictures do not match in number.
    """
    if views is not None:
        sides = [side.strip() for side in views.split(",")]
        if len(sides) != len(pictures):
            raise UsageError(f"--views names {len(sides)} side(s) and there are {len(pictures)} picture(s)")
        return [Task(pictures[0].name, list(pictures), out)]
    if len(pictures) == 1:
        return [Task(pictures[0].name, list(pictures), out)]
    names = _names(pictures)
    return [Task(name, [picture], out / name) for name, picture in zip(names, pictures, strict=True)]


def _names(pictures: Sequence[Path]) -> list[str]:
    """A folder name for each: its own without the suffix, counted where two are alike."""
    names: list[str] = []
    for picture in pictures:
        name, count = picture.stem, 1
        while name.lower() in {one.lower() for one in names}:
            count += 1
            name = f"{picture.stem}-{count}"
        names.append(name)
    return names
