"""The service under attack: api.py with all it starts, a second host of AI workers, and a disk that can be filled."""

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from maquette_client.service import ROOT, LocalService

_CLONE_NEWNS = 0x00020000
_DISK_MB = 1024
_SECOND_HOST = "chaos-second-host"


def own_disk(folder: Path) -> str:
    """Mounts a small file system on `folder`, which only this process and those it starts will see: it goes with them.

    Returns:
        "tmpfs", or why that is not possible here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform != "linux" or libc.unshare(_CLONE_NEWNS):
        reason = os.strerror(ctypes.get_errno()) if sys.platform == "linux" else "Linux only"
        return f"not possible here: a mount of one's own: {reason}"
    commands = ["mount --make-rprivate /", f"mount -t tmpfs -o size={_DISK_MB}m tmpfs {folder}"]
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True)
        if done.returncode:
            return f"not possible here: {done.stderr.strip()}"
    return "tmpfs"


def give_back_disk(folder: Path) -> None:
    """Undoes `own_disk`."""
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def can_have_second_host() -> bool:
    """Whether processes can be given another host name, as if they ran on another machine with the same folder."""
    return shutil.which("unshare") is not None and subprocess.run(["unshare", "--uts", "true"]).returncode == 0


class Stage:
    """Keeps api.py and the second host's ai_worker.py running, as an init system would, until it is closed.

    Args:
        data_dir: the service's folder.
        logs: where its logs go; not on the disk that will be full.
        env: settings.
        second_host: whether there are AI workers under another host name too.
    """

    def __init__(self, data_dir: Path, logs: Path, env: Mapping[str, str], second_host: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self._logs = logs
        self.env = {**env, "MAQUETTE_BIND": f"127.0.0.1:{self.port}"}
        self.api_starts = 0
        self._second_host = second_host
        self._second: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._service = self._new()
        self._threads = [threading.Thread(target=self._keep_api, daemon=True)]
        if second_host:
            self._threads.append(threading.Thread(target=self._keep_second, daemon=True))

    def _new(self) -> LocalService:
        service = LocalService(self.data_dir, self.env)
        service.log = self._logs / "service.log"
        return service

    @property
    def redis_url(self) -> str:
        return f"unix://{self.data_dir}/redis/redis.sock"

    def start(self) -> None:
        """Returns when a submit is accepted and a device process is ready."""
        self._service.start()
        self.api_starts = 1
        for thread in self._threads:
            thread.start()

    def _keep_api(self) -> None:
        while not self._closing.wait(0.1):
            if not self._service.running:
                self._service = self._new()
                self.api_starts += 1
                with contextlib.suppress(RuntimeError):  # killed again, or the old one's children still hold the port
                    self._service.start()

    def _keep_second(self) -> None:
        env = {**os.environ, **self.env, "MAQUETTE_DATA_DIR": str(self.data_dir), "PYTHONUNBUFFERED": "1"}
        command = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', _SECOND_HOST]
        command += [sys.executable, "ai_worker.py"]
        while not self._closing.wait(0.2):
            if self._second is None or self._second.poll() is not None:
                with open(self._logs / "second-host.log", "ab") as log:
                    self._second = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)

    def roles(self) -> dict[str, list[int]]:
        """What runs: api, web master, web worker, ai_worker, worker, child, redis, and whatever else, with its pids."""
        found: dict[str, list[int]] = {}
        masters = set()
        gunicorns = []
        for pid in self._service.processes():
            role = _role(pid)
            if role == "gunicorn":
                gunicorns.append(pid)
            elif role:
                found.setdefault(role, []).append(pid)
        for pid in gunicorns:
            if _parent(pid) not in gunicorns:
                masters.add(pid)
            found.setdefault("web master" if pid in masters else "web worker", []).append(pid)
        return found

    def close(self) -> list[int]:
        """Stops everything; the ids of what is left, which should be none."""
        self._closing.set()
        for thread in self._threads:
            thread.join(120)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._service.stop()
        if self._second is not None and self._second.poll() is None:
            self._second.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._second.wait(30)
        deadline = time.monotonic() + 10
        while self._service.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        left = self._service.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def fill_disk(self, seconds: float) -> None:
        """Leaves no free byte on the data folder's file system for so long."""
        folder = self.data_dir / "filler"
        folder.mkdir(exist_ok=True)
        until, number = time.monotonic() + seconds, 0
        try:
            while time.monotonic() < until:
                for size in (2**24, 2**20, 2**16, 2**12):
                    number += 1
                    _take(folder / str(number), size)
                time.sleep(0.02)
        finally:
            shutil.rmtree(folder)


def _take(path: Path, size: int) -> None:
    """Files of `size` bytes, as many as fit."""
    number = 0
    while True:
        number += 1
        try:
            with open(f"{path}-{number}", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            with contextlib.suppress(OSError):
                os.unlink(f"{path}-{number}")
            return


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    words = _read(pid, "stat").rpartition(")")[2].split()
    return int(words[1]) if words else 0


def _role(pid: int) -> str:
    words = [word for word in _read(pid, "cmdline").replace(" ", "\0").split("\0") if word]
    if not words:
        return ""
    if words[0].endswith(("redis-server", "valkey-server")):
        return "redis"
    names = [word.rpartition("/")[2] for word in words]
    for name, role in (("api.py", "api"), ("ai_worker.py", "ai_worker"), ("gunicorn", "gunicorn")):
        if name in names:
            return role
    return next((name.removeprefix("workers.") for name in names if name.startswith("workers.")), "")
