"""A whole service started for as long as one needs it: what the demo, the tests and the benchmarks talk to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError

ROOT = Path(__file__).resolve().parent.parent


class LocalService:
    """Web tier, Redis and AI workers on a free port of this machine, over a folder of their own.

    Args:
        data_dir: made if missing; holds the outputs, and `service.log`.
        env: settings beyond the address and the folder.
    """

    def __init__(self, data_dir: Path, env: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.log = self.data_dir / "service.log"
        own = {"MAQUETTE_DATA_DIR": str(self.data_dir), "MAQUETTE_BIND": "127.0.0.1:0", "PYTHONUNBUFFERED": "1"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAQUETTE_")}
        self._env = {**inherited, **own, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def processes(self) -> list[int]:
        """The ids of this service's processes, told by the data folder in their environment. Redis writes its title
        over its environment, so it is told by the folder it works in. Linux only."""
        mark, own = f"MAQUETTE_DATA_DIR={self.data_dir}".encode(), os.getpid()
        found = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != own]
        return [pid for pid in found if _carries(pid, mark) or _works_in(pid, self.data_dir / "redis")]

    def pids(self, part: str) -> list[int]:
        """The ids of those that run `part`: workers.child, workers.worker, ai_worker.py, gunicorn, api.py, redis."""
        return [pid for pid in self.processes() if part in _names(pid)]

    def web_workers(self) -> list[int]:
        """The ids of gunicorn's workers, without the master that replaces them."""
        gunicorn = self.pids("gunicorn")
        return [pid for pid in gunicorn if _parent(pid) in gunicorn]

    @property
    def running(self) -> bool:
        """Whether the process we started still lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, ready_s: float = 120) -> "LocalService":
        """Starts everything and waits until a worker has its pipelines loaded.

        Raises:
            RuntimeError: it ended, or was not ready in time; the message holds its last words.
        """
        if not (ROOT / "api.py").is_file():
            raise RuntimeError("a service is started from its source tree, and this is the client alone")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        where = self.data_dir / "service.json"
        where.unlink(missing_ok=True)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "api.py"), "--production"], env=self._env, stdout=log, stderr=log
            )
        deadline = time.monotonic() + ready_s
        while time.monotonic() < deadline and self._process.poll() is None:
            if where.exists():
                self.url = json.loads(where.read_text())["urls"][0]
                if self._ready():
                    return self
            time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"the service did not start; its log ends with:\n{self.log.read_text()[-2000:]}")

    def _ready(self) -> bool:
        client = self.client(self._env.get("MAQUETTE_API_KEYS", "").partition(",")[0].strip())
        try:
            # A submit would be accepted before, and then wait for the device process to load.
            return client.ready() and any(worker["state"] != "starting" for worker in client.workers())
        except MaquetteError:
            return False  # it went away again: start() sees whether its process did

    def client(self, api_key: str = "") -> MaquetteClient:
        """A client of this service."""
        if not self.url:
            raise MaquetteError("the service is not running")
        return MaquetteClient(self.url, api_key)

    def stop(self, timeout_s: float = 30) -> int:
        """Stops everything as Ctrl-C would; the exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout_s)

    def __enter__(self) -> "LocalService":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _proc(pid: int, name: str) -> bytes:
    """A file of /proc; empty when the process has gone or belongs to somebody else."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _carries(pid: int, mark: bytes) -> bool:
    return mark in _proc(pid, "environ").split(b"\0")


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == folder
    except OSError:
        return False


def _parent(pid: int) -> int:
    """0 where the process has gone."""
    after_name = _proc(pid, "stat").rpartition(b")")[2].split()
    return int(after_name[1]) if after_name else 0


def _names(pid: int) -> set[str]:
    """The program and the arguments of a process without their folders; a Redis or Valkey server is `redis`."""
    words = _proc(pid, "cmdline").replace(b" ", b"\0").decode(errors="replace").split("\0")
    names = {word.rpartition("/")[2] for word in words}
    return names | ({"redis"} if words[0].endswith(("redis-server", "valkey-server")) else set())
