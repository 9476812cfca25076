"""One published file onto this disk: resumed where it was broken off, and in its place only once it is whole.

Plain requests, for the hub too: huggingface_hub drops what it has of a file when its process ends, and these files
take long.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import requests

from configs.hub import Hub
from pipelines.weights.catalog import File, Repository
from pipelines.weights.errors import Refused, Unreachable, WrongContent

Told = Callable[[int, int], None]  # (bytes so far, bytes in all or 0)

PART = ".part"
_CHUNK = 2**16  # what is lost at most where a connection breaks
_TRIES = 5  # in a row without a single byte
_TIMEOUT_S = (10, 60)
_SLOWEST_S = 16.0


def address(repository: Repository, file: File, hub: Hub) -> str:
    """Where a file is published."""
    if repository.address:
        return f"{repository.address}/{quote(file.path)}"
    return f"{hub.endpoint}/{repository.id}/resolve/{repository.revision}/{quote(file.path)}"


def download(
    repository: Repository,
    file: File,
    target: Path,
    hub: Hub,
    told: Told = lambda done, total: None,
    pause_s: float = 1.0,
) -> None:
    """Puts a file at `target`, after its checksum has been found right.

    Args:
        told: hears how far it has come.
        pause_s: before the first new try after a failure; doubled each time.
    Raises:
        Refused: the server does not give it to us, or another process downloads it just now.
        Unreachable: it broke off several times; calling this again resumes.
        WrongContent: it is not the published file; what has come whole and is wrong is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    with _held(part) as stream:
        etag = _receive(repository, file, hub, stream, told, pause_s)
        stream.flush()
        os.fsync(stream.fileno())
        if fault := content_fault(part, file, etag):
            part.unlink()
            raise WrongContent(f"{repository.id}/{file.path} came {fault}; it was removed, try again")
        os.replace(part, target)


@contextmanager
def _held(part: Path) -> Iterator[BinaryIO]:
    """The half file, opened to go on with; one process at a time."""
    with part.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(f"another process downloads {part.name.removesuffix(PART)} just now; wait for it") from None
        yield stream


def _receive(repository: Repository, file: File, hub: Hub, stream: BinaryIO, told: Told, pause_s: float) -> str:
    """Appends the rest of the file, however often the connection breaks. Returns what the hub calls these bytes."""
    url, failures = address(repository, file, hub), 0
    while True:
        had = stream.seek(0, os.SEEK_END)
        try:
            return _receive_once(url, repository, file, hub, stream, told)
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, Unreachable) as e:
            failures = 0 if stream.tell() > had else failures + 1
            if failures == _TRIES:
                raise Unreachable(
                    f"{_host(url)} cannot be reached or breaks off ({e}); calling this again resumes"
                ) from e
            time.sleep(min(pause_s * 2**failures, _SLOWEST_S))


def _receive_once(url: str, repository: Repository, file: File, hub: Hub, stream: BinaryIO, told: Told) -> str:
    have = stream.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity", "User-Agent": "maquette"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if hub.token and not repository.address:
        headers["Authorization"] = f"Bearer {hub.token}"  # requests drops it where the hub sends us elsewhere
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
        etag = "" if repository.address else _etag(response)
        if response.status_code == 416:  # nothing is left to send, or what we have is of something else
            if response.headers.get("Content-Range") != f"bytes */{have}":
                stream.truncate(0)
                raise Unreachable("the file has changed there")
            return etag
        _raise_for(response, repository, file, hub)
        if response.status_code != 206:
            stream.truncate(0)
            have = 0
        total = have + int(response.headers.get("Content-Length") or 0)
        if file.exact and total != have and total != file.size:
            raise WrongContent(f"{_host(url)} has {total:,} bytes as {file.path}; {file.size:,} were published")
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            have += len(chunk)
            told(have, total)
        return etag


def _etag(response: requests.Response) -> str:
    """The hub's own name for the bytes: the sha256 of a large file, git's of a small one."""
    for answer in (*response.history, response):
        if named := answer.headers.get("X-Linked-Etag"):
            return named.removeprefix("W/").strip('"')
    return (response.headers.get("ETag") or "").removeprefix("W/").strip('"')


def _raise_for(response: requests.Response, repository: Repository, file: File, hub: Hub) -> None:
    status, host = response.status_code, _host(response.url)
    if status in (401, 403):
        remedy = "the token in HF_TOKEN may not read it" if hub.token else "set HF_TOKEN to a token of your account"
        raise Refused(
            f"{host} gives {repository.id} only to those who have accepted its licence ({status}): "
            f"accept it at {repository.page}; {remedy}"
        )
    if status in (404, 410):
        raise Refused(
            f"{host} has no {file.path} of {repository.id} {repository.revision} ({status})".replace("  ", " ")
        )
    if status >= 400:
        raise Unreachable(f"it answers {status}")


def _host(url: str) -> str:
    return url.split("/")[2]


def content_fault(path: Path, file: File, etag: str = "", told: Told = lambda done, total: None) -> str:
    """How a file differs from the published one; empty when it does not.

    Args:
        etag: what the hub calls its bytes; used where the catalogue has no checksum.
        told: hears how far the reading has come.
    """
    size = path.stat().st_size
    if file.exact and size != file.size:
        return f"with {size:,} bytes instead of {file.size:,}"
    if expected := file.sha256 or (etag if len(etag) == 64 else ""):
        found = _digest(path, hashlib.sha256(), told)
        return "" if found == expected else f"with sha256 {found} instead of {expected}"
    if len(etag) == 40:
        found = _digest(path, hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), told)
        return "" if found == etag else f"as git object {found} instead of {etag}"
    if path.suffix == ".json":
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            return f"as broken JSON ({error})"
    return ""


def _digest(path: Path, digest: "hashlib._Hash", told: Told) -> str:
    done, size = 0, path.stat().st_size
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            told(done, size)
    return digest.hexdigest()
