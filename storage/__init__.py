"""Where inputs and outputs rest. `open_storage` picks the backend by URL scheme."""

from urllib.parse import urlsplit

from storage.base import Storage, StoredObject
from storage.errors import StorageError
from storage.local import LocalStorage

__all__ = ["BACKENDS", "Storage", "StoredObject", "open_storage"]

BACKENDS: dict[str, type[Storage]] = {
    "file": LocalStorage,
}


def open_storage(url: str) -> Storage:
    """The storage behind a URL such as `file:///srv/maquette`.

    Raises:
        StorageError: no backend serves this scheme.
    """
    scheme = urlsplit(url).scheme
    if scheme not in BACKENDS:
        raise StorageError(f"MAQUETTE_STORAGE is {url!r}; its scheme must be one of {', '.join(BACKENDS)}")
    return BACKENDS[scheme](url)
