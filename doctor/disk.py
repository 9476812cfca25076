"""The data folder: room, and a file system that does what the job's guarantees rest on."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from configs.settings import ROOT, load_settings
from doctor.findings import Finding, note, ok, problem, warning

_FULL_GB, _LOW_GB = 1, 5
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs")


def check() -> Iterator[Finding]:
    """Room, writing, renaming, locking, and where kernels and temporary files go."""
    data = load_settings().data_dir
    base = next(folder for folder in (data, *data.parents) if folder.exists())
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        owner = f"sudo chown {os.getuid()} {base}"
        yield problem(
            "data folder", f"{data} cannot be written by user {os.getuid()}", f"{owner}, or MAQUETTE_DATA_DIR"
        )
    else:
        yield ok("data folder", str(data) + ("" if data.exists() else ", which does not exist yet and can be made"))
        yield from promises(base)
    yield _room(base)
    yield _file_system(base)
    yield _kernels()
    yield from _temporary()


def promises(folder: Path) -> Iterator[Finding]:
    """Whether the file system renames a full folder at once, syncs and locks: tried out in a folder of our own."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as made:
            aside, final = Path(made, "aside"), Path(made, "final")
            aside.mkdir()
            with open(aside / "file", "wb") as file:
                file.write(b"whole")
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, final)
            whole = (final / "file").read_bytes() == b"whole" and not aside.exists()
            with open(final / "file", "rb") as one, open(final / "file", "rb") as other:
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks = not _locked(other)
    except OSError as error:
        yield problem("promises", f"{folder} does not write, rename or lock: {error}", "another MAQUETTE_DATA_DIR")
        return
    if not whole or not locks:
        said = "does not rename folders at once" if not whole else "does not lock files"
        yield problem("promises", f"{folder} {said}", "another MAQUETTE_DATA_DIR, on a local file system")
    else:
        yield ok("promises", "folders are renamed at once, files are synced and locked")


def _locked(file: object) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except BlockingIOError:
        return False
    return True


def _room(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    free = usage.free / 2**30
    inodes = os.statvfs(folder)
    said = f"{free:.1f} of {usage.total / 2**30:.1f} GiB free"
    if free < _FULL_GB or (inodes.f_files and inodes.f_favail < 1000):
        return problem("room", f"{said}, {inodes.f_favail} files", "make room, or lower MAQUETTE_RETENTION_HOURS")
    if free < _LOW_GB:
        return warning("room", said, "an asset takes about 3 MB; lower MAQUETTE_RETENTION_HOURS or make room")
    return ok("room", said)


def _file_system(folder: Path) -> Finding:
    """The kind that the longest mount point above `folder` has."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if folder.is_relative_to(point.replace("\\040", " "))]
    point, kind = max(above, key=lambda one: len(one[0]), default=("/", "unknown"))
    said = f"{kind}, mounted at {point}"
    if kind in _REMOTE and not load_settings().redis_url:
        remedy = "MAQUETTE_REDIS_URL, or a local MAQUETTE_DATA_DIR with MAQUETTE_STORAGE on the share"
        return warning("file system", f"{said}: the private Redis's files do not belong there", remedy)
    if kind == "tmpfs":
        return warning("file system", f"{said}: all is lost at a restart", "a MAQUETTE_DATA_DIR on a disk")
    return ok("file system", said)


def _kernels() -> Finding:
    """numba keeps compiled kernels beside the sources or in NUMBA_CACHE_DIR."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    folder = Path(named) if named else ROOT / "geometry" / "__pycache__"
    compiled = len(list(folder.rglob("*.nbi"))) if folder.exists() else 0
    base = next(one for one in (folder, *folder.parents) if one.exists())
    if os.access(base, os.W_OK):
        return ok("kernels", f"{compiled} compiled, kept in {folder}")
    remedy = "NUMBA_CACHE_DIR=<a folder this user can write>"
    return warning("kernels", f"{folder} cannot be written, so each start compiles for half a minute", remedy)


def _temporary() -> Iterator[Finding]:
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        yield problem("temporary files", str(error), "TMPDIR=<a folder this user can write>")
        return
    yield ok("temporary files", f"{folder}, {shutil.disk_usage(folder).free / 2**30:.1f} GiB free")
    if not os.access("/dev/shm", os.W_OK):
        yield note("shared memory", "no /dev/shm to write to; gunicorn's heartbeats then go to the disk")
