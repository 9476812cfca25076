"""Whether the weights on this machine are the published ones: every byte is read."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pipelines.weights.catalog import File, family
from pipelines.weights.download import content_fault
from pipelines.weights.local import find
from pipelines.weights.sources import Sources

Read = Callable[[str, int, int], None]  # (file, bytes so far, bytes in all)

UNPINNED = "its checksum is not known here; only its form was looked at"
OF_ANOTHER = "not in the catalogue: a checkpoint of another's; only its form was looked at"


class Verdict(NamedTuple):
    """What is to be said of one file; `fault` is empty when nothing is wrong, `path` None when there is no file."""

    name: str
    path: Path | None
    fault: str = ""
    note: str = ""


def verify(name: str, sources: Sources, told: Read = lambda file, done, total: None) -> Iterator[Verdict]:
    """One verdict for each file the family needs, as each has been read.

    Args:
        told: hears which file is read, and how far that has come.
    Raises:
        UnknownFamily: the catalogue has no such family.
    """
    published = _published(name)
    found = find(name, sources)
    for file, path in found.files.items():
        if entry := published.get(file):
            fault = content_fault(path, entry, told=partial(told, file))
            note = "" if entry.sha256 or path.suffix == ".json" else UNPINNED
            yield Verdict(file, path, f"comes {fault}".replace("comes with", "has") if fault else "", note)
        else:
            yield Verdict(file, path, note=OF_ANOTHER)
    for file, fault in found.missing.items():
        yield Verdict(file, None, fault)


def _published(name: str) -> dict[str, File]:
    return {f"{one.id}/{file.path}": file for one in family(name).repositories for file in one.files}
