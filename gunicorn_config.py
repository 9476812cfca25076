"""gunicorn's settings: addresses, processes and threads from ours; the master keeps the private Redis alive."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from configs.settings import SettingsError, load_settings
from jobs.errors import UnsafeRedis
from jobs.server import serving
from web.addresses import announce, inherited, parse

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
threads = _settings.web_threads
worker_class = "gthread"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a slow disk must not look like a dead worker
timeout = 60
graceful_timeout = 10
keepalive = 15
backlog = 2048
loglevel = "warning"
proc_name = "maquette-web"


def on_starting(server: Any) -> None:
    """Starts or joins the Redis before any worker needs it."""
    try:
        os.environ["MAQUETTE_REDIS_URL"] = _held.enter_context(serving(_settings))
    except UnsafeRedis as error:
        sys.exit(f"gunicorn: {error}")


def when_ready(server: Any) -> None:
    """Says where we listen: port 0 in MAQUETTE_BIND means that only we know."""
    if not inherited():
        announce([listener.getsockname() for listener in server.LISTENERS], _settings.data_dir)


def on_exit(server: Any) -> None:
    """Leaves the Redis; the last one out stops it."""
    _held.close()
