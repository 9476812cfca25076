"""gunicorn's settings: addresses, processes and threads from ours; the master keeps the private Redis alive."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(_ROOT))  # gunicorn reads this file before it looks at our folder
chdir = str(_ROOT)

from configs.settings import SettingsError, load_settings  # noqa: E402
from jobs.errors import UnsafeRedis  # noqa: E402
from jobs.server import serving  # noqa: E402
from web.addresses import announce, inherited, parse  # noqa: E402
from workers.processes import LONGEST_STOP_S, Keeper, Member, follow_parent  # noqa: E402

try:
    _settings = load_settings()
except SettingsError as error:
    sys.exit(f"gunicorn: {error}")
_held = ExitStack()


def _gunicorn_name(address: str) -> str:
    host, port = parse(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


bind = [f"fd://{number}" for number in inherited()] or [_gunicorn_name(address) for address in _settings.bind]
workers = _settings.web_workers
# A thread that waits costs nearly nothing; how many work at the same time is the app's business (web/waiting.py).
threads = _settings.web_threads * 4 + _settings.web_waiting
worker_connections = threads + 1000
worker_class = "gthread"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a slow disk must not look like a dead worker
timeout = 60
graceful_timeout = 10
keepalive = 15
backlog = 2048
loglevel = "warning"
proc_name = "maquette-web"
control_socket_disable = True  # it would lie in the home folder, one for every service of this user


def on_starting(server: Any) -> None:
    """Starts or joins the Redis before any worker needs it."""
    follow_parent()
    try:
        os.environ["MAQUETTE_REDIS_URL"] = _held.enter_context(serving(_settings))
    except UnsafeRedis as error:
        sys.exit(f"gunicorn: {error}")
    if _settings.start_workers:
        _start_workers()


def _start_workers() -> None:
    """The AI workers, kept running by a thread of the master: gunicorn alone is the whole service."""
    command = [sys.executable, str(_ROOT / "ai_worker.py")]
    keeper = Keeper([Member("the AI workers", command)])
    thread = threading.Thread(target=keeper.work, args=[_settings.stop_grace_s + LONGEST_STOP_S], name="ai-workers")
    thread.start()
    _held.callback(thread.join)
    _held.callback(keeper.stop)


def when_ready(server: Any) -> None:
    """Says where we listen: port 0 in MAQUETTE_BIND means that only we know."""
    if not inherited():
        announce([listener.getsockname() for listener in server.LISTENERS], _settings.data_dir)


def post_worker_init(worker: Any) -> None:
    """Those who wait for jobs are told when this process is to leave; gunicorn would wait for them."""
    leave = signal.getsignal(signal.SIGTERM)

    def closing(number: int, frame: Any) -> None:
        worker.wsgi.extensions["maquette"].queue.changes.close()
        if callable(leave):
            leave(number, frame)

    signal.signal(signal.SIGTERM, closing)


def on_exit(server: Any) -> None:
    """Leaves the Redis; the last one out stops it."""
    _held.close()
