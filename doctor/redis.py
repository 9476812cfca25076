"""Redis: is it there, does it keep what it is told, does it agree with us about the time."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import redis

from configs.settings import Settings, load_settings
from doctor.findings import Finding, ok, problem, warning
from jobs.errors import UnsafeRedis
from jobs.server import check as check_persistence
from jobs.server import connect, find_server, private_socket

_CLOCK_S = 5.0
_SLOW_MS = 20.0


def check() -> Iterator[Finding]:
    """The operator's server, or our private one: its program, and itself if it runs."""
    settings = load_settings()
    if settings.redis_url:
        yield from _server(settings.redis_url, settings, f"no Redis answers at {_shown(settings.redis_url)}")
        return
    try:
        program = find_server()
    except UnsafeRedis as error:
        yield problem("program", str(error), "apt install redis-server, or ./setup.sh")
        return
    version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
    yield ok("program", f"{program}: {' '.join(version.split()[:3])}")
    socket = private_socket(settings.data_dir / "redis")
    if socket.exists():
        yield from _server(f"unix://{socket}", settings, "")
    else:
        yield ok("server", f"a private one starts with the service, in {settings.data_dir / 'redis'}")


def _server(url: str, settings: Settings, away: str) -> Iterator[Finding]:
    client = connect(url, answer_s=3)
    try:
        with client:
            client.ping()
            yield from _running(client, settings)
    except redis.AuthenticationError as error:
        yield problem("server", f"{_shown(url)} wants another password: {error}", "correct MAQUETTE_REDIS_URL")
    except (redis.ConnectionError, redis.TimeoutError) as error:
        if away:
            yield problem("server", f"{away}: {error}", "start it, or correct MAQUETTE_REDIS_URL")
        else:
            yield ok("server", "the private one is not running; it starts with the service")
    except redis.ResponseError as error:
        yield warning("server", f"it does not let us look: {error}", "allow this user INFO and TIME")


def _running(client: Any, settings: Settings) -> Iterator[Finding]:
    started = time.perf_counter()
    seconds, micros = client.time()
    took_ms = (time.perf_counter() - started) * 1000
    info = client.info()
    said = f"version {info['redis_version']}, answers in {took_ms:.1f} ms, {info['used_memory_human']} used"
    yield ok("server", said) if took_ms < _SLOW_MS else warning("server", said, "a Redis nearer by: each step asks it")
    yield from _persistence(client, info, settings)
    apart = abs(seconds + micros / 1e6 - time.time())
    if apart > _CLOCK_S:
        yield warning("clock", f"Redis is {apart:.0f} s away from this machine's time", "run an NTP client on both")
    else:
        yield ok("clock", "this machine and Redis agree on the time")


def _persistence(client: Any, info: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    try:
        problems = check_persistence(client, allow_volatile=True)
    except UnsafeRedis as error:
        yield problem("version", str(error), "install Redis 6.2 or Valkey 7.2, or newer")
        return
    for one in problems:
        said, _, remedy = one.removesuffix(")").partition(" (remedy: ")
        kind = warning if settings.allow_volatile_redis else problem
        yield kind("persistence", said, remedy)
    if not problems:
        yield ok("persistence", f"append-only file on{_fsync(client)}, nothing is evicted")
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield problem("persistence", "its last write to the append-only file failed", "make room on Redis's disk")
    if info.get("role") != "master":
        yield problem("role", "it is a replica and takes no writes", "MAQUETTE_REDIS_URL must name the primary")
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit and used > 0.9 * limit:
        yield warning("memory", f"{used / limit:.0%} of its maxmemory is used; then it takes no more jobs", "raise it")


def _fsync(client: Any) -> str:
    """How often it writes through to the disk, if it tells."""
    try:
        word = client.config_get("appendfsync").get("appendfsync")
    except redis.RedisError:  # hosted ones often keep CONFIG to themselves
        return ""
    return {"everysec": ", written through once a second", "always": ", written through at once"}.get(word, f", {word}")


def _shown(url: str) -> str:
    """Without the password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url
