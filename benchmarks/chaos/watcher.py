"""Eyes during the run: on the output folders, which must be whole whenever seen, and on the running jobs."""

import hashlib
import json
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.chaos.journal import Violation
from jobs.transitions import PREFIX

_LOOK_S = 0.05
_AGAIN = 40  # every so many looks also at the folders that are known already


@dataclass(frozen=True)
class Seen:
    """An output folder at first sight: the folder's own inode, and of each file its inode, change time and size."""

    inode: int
    files: dict[str, tuple[int, int, int]]
    manifest: str


class FolderWatch(threading.Thread):
    """Lists the outputs all the time. Whatever is visible must be complete at once, and never change after."""

    def __init__(self, storage: Path) -> None:
        super().__init__(daemon=True)
        self.violations: list[Violation] = []
        self.seen: dict[str, Seen] = {}
        self.vanished: set[str] = set()
        self.looks = 0
        self._outputs = storage / "outputs"
        self._closing = threading.Event()

    def run(self) -> None:
        while not self._closing.wait(_LOOK_S):
            self.look()

    def close(self) -> None:
        self._closing.set()
        self.join()
        self.look()

    def look(self) -> None:
        """One look at every folder."""
        self.looks += 1
        now = {folder.name: folder for client in _folders(self._outputs) for folder in _folders(client)}
        for job_id, folder in now.items():
            if job_id not in self.seen:
                self._first_sight(job_id, folder)
            elif self.looks % _AGAIN == 0 or job_id in self.vanished:
                self._again(job_id, folder, self.seen[job_id])
        self.vanished |= set(self.seen) - set(now)

    def _first_sight(self, job_id: str, folder: Path) -> None:
        try:
            inode = folder.stat().st_ino
            text = (folder / "manifest.json").read_bytes()
            listed = json.loads(text)["files"]
            files = _files(folder)
            whole = set(files) == {*listed, "manifest.json"} and all(
                hashlib.sha256((folder / name).read_bytes()).hexdigest() == about["sha256"]
                for name, about in listed.items()
            )
        except (OSError, ValueError, KeyError) as error:
            return self._unless_removed(job_id, folder, f"visible, and cannot be read: {error!r}")
        if not whole:
            return self._unless_removed(job_id, folder, f"visible, and not what its manifest lists: {sorted(files)}")
        self.seen[job_id] = Seen(inode, files, hashlib.sha256(text).hexdigest())
        return None

    def _unless_removed(self, job_id: str, folder: Path, problem: str) -> None:
        """A folder that is removed while we read it (a rename away, then file by file) was not half published."""
        if folder.exists():
            self.violations.append(Violation("half_published", job_id, problem))
            self.seen[job_id] = Seen(0, {}, "")

    def _again(self, job_id: str, folder: Path, first: Seen) -> None:
        if not first.inode:
            return
        try:
            inode, files = folder.stat().st_ino, _files(folder)
        except OSError:
            return
        if (inode, files) != (first.inode, first.files) and folder.exists():
            what = "another folder stands in its place" if inode != first.inode else "its files have changed"
            self.violations.append(Violation("duplicated", job_id, f"published twice: {what}"))
            self.seen[job_id] = Seen(0, {}, "")


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir()]
    except FileNotFoundError:
        return []


def _files(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            about = os.stat(path := os.path.join(place, name))
            found[os.path.relpath(path, folder)] = (about.st_ino, about.st_mtime_ns, about.st_size)
    return found


@dataclass
class Pulse(threading.Thread):
    """Notes every sign that a running job moves: a new attempt, a new step."""

    url: str
    moves: dict[str, list[float]] = field(default_factory=dict)  # job → times of its new attempts and steps
    steps: list[float] = field(default_factory=list)  # times of steps of any job
    running: list[tuple[float, frozenset[str]]] = field(default_factory=list)  # what was processing, when that changed

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self._closing = threading.Event()
        self._last: dict[str, Any] = {}

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        with redis.Redis.from_url(self.url, decode_responses=True, socket_timeout=1) as client:
            while not self._closing.wait(0.1):
                try:
                    self._look(client)
                except (redis.RedisError, OSError):
                    continue

    def close(self) -> None:
        self._closing.set()
        self.join()

    def _look(self, client: Any) -> None:
        now, names = time.time(), client.zrange(PREFIX + "processing", 0, -1)
        if not self.running or self.running[-1][1] != frozenset(names):
            self.running.append((now, frozenset(names)))
        for name in names:
            state = client.hmget(f"{PREFIX}job:{name}", "attempt", "progress")
            before = self._last.get(name, [None, None])
            if state != before:
                self._last[name] = state
                self.moves.setdefault(name, []).append(now)
            if state[1] != before[1] and state[1]:
                self.steps.append(now)

    def running_at(self, moment: float) -> frozenset[str]:
        """The jobs that were processing just before."""
        return next((names for at, names in reversed(self.running) if at < moment), frozenset())
