"""Files of a job onto this disk: whole or not at all, as the manifest says, and never outside their folder."""

import hashlib
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import requests

from maquette_client.errors import MaquetteError
from maquette_client.transport import Transport, framed

_CHUNK = 2**16
_PAUSE_S = 0.5

OnBytes = Callable[[int], None]


def target(folder: Path, name: str) -> Path:
    """Where the file called `name` goes.

    Raises:
        MaquetteError: the name would lead out of the folder, hide the file, or cannot be one.
    """
    parts = name.split("/")
    bad = any(not part or part.startswith(".") or set('\\:*?"<>|') & set(part) for part in parts)
    path = folder / name
    if bad or not name.isprintable() or not path.resolve().is_relative_to(folder.resolve()):
        raise MaquetteError(
            f"the service names a file {name[:200]!r}; that is not kept below {folder}", code="bad_name"
        )
    return path


def fetch(
    transport: Transport,
    address: str,
    path: Path,
    sha256: str | None,
    on_bytes: OnBytes = lambda count: None,
    retry_s: float = 30,
    params: dict[str, str] | None = None,
) -> bool:
    """Brings one file here; False when the very file is here already. A broken connection goes on where it broke.

    Args:
        sha256: what the manifest says; None where no manifest speaks of it.
        on_bytes: told how many more have come; what it raises ends the fetch.
        retry_s: how long to try again while nothing comes.
    Raises:
        MaquetteError: the service does not give it, or gives something else.
        OSError: it cannot be written.
    """
    if sha256 and path.is_file() and _hash_of(path) == sha256:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name[:200]}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(aside, "xb") as file:
            found = _Fetch(transport, address, params, file, on_bytes).work(retry_s)
            file.flush()
            os.fsync(file.fileno())
        if sha256 and found != sha256:
            raise MaquetteError(f"{path.name} came damaged: it is not what the manifest says", code="damaged")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return True


class _Fetch:
    """One file's way, over as many connections as it takes."""

    def __init__(
        self, transport: Transport, address: str, params: dict[str, str] | None, file: IO[bytes], on_bytes: OnBytes
    ) -> None:
        self._transport = transport
        self._address = address
        self._params = params
        self._file = file
        self._on_bytes = on_bytes
        self._got = 0
        self._hash = hashlib.sha256()
        self._etag = ""

    def work(self, retry_s: float) -> str:
        """The SHA-256 of the whole."""
        quiet_since = time.monotonic()
        while True:
            before = self._got
            try:
                self._connect_and_read()
                return self._hash.hexdigest()
            except requests.RequestException as error:
                lost = self._transport.lost(error)
            except MaquetteError as error:
                if not error.transient:
                    raise
                lost = error
            if self._got > before:
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > retry_s:
                raise lost
            time.sleep(_PAUSE_S)

    def _connect_and_read(self) -> None:
        headers = {"Accept-Encoding": "identity"}  # a proxy that compresses would change the length
        if self._got and self._etag:
            headers |= {"Range": f"bytes={self._got}-", "If-Range": self._etag}
        with self._transport.call("GET", self._address, headers=headers, params=self._params, stream=True) as answer:
            if not framed(answer):
                raise requests.ConnectionError("its answer does not say where it ends")
            if not self._continues(answer):
                self._begin_anew()
            self._etag = answer.headers.get("ETag", "")
            expected = self._got + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
            for chunk in answer.iter_content(_CHUNK):
                self._file.write(chunk)
                self._hash.update(chunk)
                self._got += len(chunk)
                self._on_bytes(len(chunk))
        if expected is not None and self._got != expected:
            raise requests.ConnectionError(f"{self._got} of {expected} bytes came")

    def _continues(self, answer: requests.Response) -> bool:
        start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        return answer.status_code == 206 and start == str(self._got)

    def _begin_anew(self) -> None:
        self._on_bytes(-self._got)
        self._file.seek(0)
        self._file.truncate()
        self._got, self._hash = 0, hashlib.sha256()


def _hash_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(manifest: Any) -> dict[str, str]:
    """name → SHA-256 of each file a manifest describes.

    Raises:
        MaquetteError: it is not a manifest.
    """
    try:
        return {name: str(about["sha256"]) for name, about in manifest["files"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise MaquetteError("the job's manifest.json is not one", code="damaged") from error
