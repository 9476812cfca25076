"""For containers: is the process here well? `python -m doctor.health URL` or `python -m doctor.health worker`.

Asked every few seconds, so it loads as little as it can. Exit status 0 is yes.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

_PATIENCE_S = 4.0


def answers(url: str) -> bool:
    """Whether GET brings 200, asked directly: http.client knows no proxies."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PATIENCE_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def has_worker() -> bool:
    """Whether a worker of this host has renewed its entry in the fleet within its lease."""
    import socket

    import redis

    from configs.settings import load_settings
    from jobs.fleet import Fleet
    from jobs.server import connect, private_socket

    settings = load_settings()
    url = settings.redis_url or f"unix://{private_socket(settings.data_dir / 'redis')}"
    try:
        with connect(url, retry_s=0, answer_s=_PATIENCE_S) as client:
            return any(worker.host == socket.gethostname() for worker in Fleet(client).workers())
    except redis.RedisError:
        return False


def main(what: str) -> int:
    """The exit status."""
    well = has_worker() if what == "worker" else answers(what)
    if not well:
        print(f"{what} is not well", file=sys.stderr)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
