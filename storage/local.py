"""Objects as files below one folder. Renames within it make every change whole."""

import contextlib
import errno
import os
import shutil
import time
import uuid
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.base import Storage, StoredObject
from storage.errors import ObjectNotFound, space
from storage.keys import checked


def _make(folder: Path) -> None:
    """Makes the folder, also while somebody removes its parents as empty."""
    while not folder.is_dir():
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LocalStorage(Storage):
    """`file:///folder`: for one machine, or several that mount the same folder."""

    def __init__(self, url: str) -> None:
        self._root = Path(unquote(urlsplit(url).path))
        self._scratch = self._root / "scratch"

    def _path(self, key: str) -> Path:
        return self._root / checked(key)

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with space():
            try:
                _make(path.parent)
                with open(aside, "wb") as file:
                    file.write(data)
                os.replace(aside, path)
            except BaseException:
                aside.unlink(missing_ok=True)
                raise

    def open(self, key: str) -> StoredObject:
        try:
            stream = open(self._path(key), "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectNotFound(f"there is no {key!r}") from error
        about = os.fstat(stream.fileno())
        return StoredObject(stream, about.st_size, about.st_mtime, f"{about.st_mtime_ns:x}-{about.st_size:x}")

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def names(self, folder: str) -> list[str]:
        root = self._path(folder)
        files = (Path(place, name) for place, _, names in os.walk(root) for name in names)
        return sorted(file.relative_to(root).as_posix() for file in files if not file.name.startswith("."))

    def folders(self, folder: str) -> list[tuple[str, float]]:
        root = self._path(folder)
        if not root.is_dir():
            return []
        with os.scandir(root) as entries:
            return [(entry.name, entry.stat().st_mtime) for entry in entries if entry.is_dir()]

    def delete(self, folder: str) -> None:
        path = self._path(folder)
        trash = self.scratch()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.rename(path, trash / "folder")
        shutil.rmtree(trash, ignore_errors=True)
        if folder.count("/") > 1:
            with contextlib.suppress(OSError):  # the client's folder, once its last job is gone
                path.parent.rmdir()

    def publish(self, source: Path, folder: str) -> bool:
        target = self._path(folder)
        with space():
            for place, _, names in os.walk(source):
                for name in names:
                    _sync(Path(place, name))
                _sync(Path(place))
            return self._rename(source, target)

    def _rename(self, source: Path, target: Path) -> bool:
        while True:
            _make(target.parent)
            try:
                os.rename(source, target)
            except FileNotFoundError:
                if not source.exists():
                    raise
                continue  # another job's delete removed the client's empty folder in between
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise
            _sync(target.parent)
            return True

    def fetch(self, key: str, scratch: Path) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise ObjectNotFound(f"there is no {key!r}")
        return path

    def scratch(self, owner: str = "nobody") -> Path:
        folder = self._scratch / f"{owner}.{uuid.uuid4().hex}"
        with space():
            folder.mkdir(parents=True)
        return folder

    def clear_scratch(self, owner: str) -> None:
        for folder in self._scratch.glob(f"{owner}.*"):
            shutil.rmtree(folder, ignore_errors=True)

    def identity(self) -> str:
        path = self._root / "storage.id"
        if not path.exists():
            aside = self.scratch() / "id"
            aside.write_text(uuid.uuid4().hex)
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)  # of two that race, the first wins
            shutil.rmtree(aside.parent)
        return path.read_text()

    def sweep_scratch(self, older_s: float) -> None:
        for name, made in self.folders("scratch"):
            if made < time.time() - older_s:
                shutil.rmtree(self._scratch / name, ignore_errors=True)

    def url(self, key: str) -> str | None:
        return None
