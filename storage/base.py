"""The small face every storage backend has."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class StoredObject:
    """One object, open for reading. The stream can seek; whoever opened it closes it.

    Attributes:
        size: bytes.
        modified: Unix seconds.
        etag: changes when the bytes change.
    """

    stream: BinaryIO
    size: int
    modified: float
    etag: str


class Storage(ABC):
    """Named bytes. Keys come from `storage.keys`; a folder is a key prefix that ends at a slash."""

    @abstractmethod
    def __init__(self, url: str) -> None: ...

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Stores bytes; a reader sees all of them or none.

        Raises:
            StorageFull: no space is left.
        """

    @abstractmethod
    def open(self, key: str) -> StoredObject:
        """Raises ObjectNotFound when there is no such object."""

    @abstractmethod
    def exists(self, key: str) -> bool: ...

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names below the folder, relative to it, sorted; empty when there is no such folder."""

    @abstractmethod
    def folders(self, folder: str) -> list[tuple[str, float]]:
        """(name, when it last changed in Unix seconds) of each folder directly below."""

    @abstractmethod
    def delete(self, folder: str) -> None:
        """Removes a folder; the objects vanish together. A missing folder is no error."""

    @abstractmethod
    def publish(self, source: Path, folder: str) -> bool:
        """Moves a finished local folder to `folder`, all at once.

        Returns:
            False when the folder is there already; it is left alone, and so is `source`.
        """

    @abstractmethod
    def fetch(self, key: str, scratch: Path) -> Path:
        """A local file with the object's bytes, read only; in `scratch` when it has to be copied."""

    @abstractmethod
    def scratch(self, owner: str = "nobody") -> Path:
        """A new empty local folder from which `publish` is cheap. The caller removes it."""

    @abstractmethod
    def clear_scratch(self, owner: str) -> None:
        """Removes every scratch folder of this owner on this machine."""

    @abstractmethod
    def identity(self) -> str:
        """A random text that is this storage's own, made at the first call."""

    @abstractmethod
    def sweep_scratch(self, older_s: float) -> None:
        """Removes scratch folders made more than `older_s` seconds ago: their owners were killed."""

    @abstractmethod
    def url(self, key: str) -> str | None:
        """Where a client can fetch the object without us; None when it has to come through the web tier."""
