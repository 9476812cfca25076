"""What can go wrong with stored files.

StorageError
├── BadKey           a key that could leave the storage or cannot be a file name
├── ObjectNotFound   no such object
└── StorageFull      no space, or a quota is spent
"""

import contextlib
import errno
from collections.abc import Iterator


class StorageError(Exception):
    """Base of every storage failure."""


class BadKey(StorageError, ValueError):
    pass


class ObjectNotFound(StorageError, FileNotFoundError):
    pass


class StorageFull(StorageError, OSError):
    pass


def is_full(error: Exception) -> bool:
    """Whether the system says so."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def space() -> Iterator[None]:
    """Turns the system's word for a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise StorageFull(
                error.errno, "the data folder is full; free some space or lower MAQUETTE_RETENTION_HOURS"
            ) from error
        raise
