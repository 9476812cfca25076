"""A lean HTTP load: kept connections, requests built once, every answer checked; it leaves the cores to the service."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Load:
    """What a run of requests came to. `wrong` counts answers that failed the check; latencies are milliseconds."""

    seconds: float = 0.0
    wrong: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def percentile(self, share: float) -> float:
        """The latency that `share` of the requests stayed below."""
        return sorted(self.latencies_ms)[int((len(self.latencies_ms) - 1) * share)]


def hammer(
    url: str,
    method: str,
    path: str,
    body: bytes,
    headers: Mapping[str, str],
    seconds: float,
    check: Callable[[bytes], bool],
    connections: int = 8,
    pace_s: float = 0.0,
) -> Load:
    """Sends the same request over several connections for `seconds`.

    Args:
        pace_s: how long each connection rests between two requests; 0 asks how many the service can take.
    """
    where = urlsplit(url)
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {path} HTTP/1.1\r\nHost: {where.netloc}\r\n{told}Content-Length: {len(body)}\r\n\r\n"
    load = Load()
    started = time.monotonic()
    until = started + seconds
    work = (str(where.hostname), int(where.port or 80), head.encode() + body, until, check, load, pace_s)
    threads = [threading.Thread(target=_connection, args=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.monotonic() - started
    return load


def _connection(
    host: str,
    port: int,
    request: bytes,
    until: float,
    check: Callable[[bytes], bool],
    load: Load,
    pace_s: float,
) -> None:
    with socket.create_connection((host, port), timeout=30) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < until:
            started = time.perf_counter()
            wire.sendall(request)
            answer = _read(wire)
            load.latencies_ms.append((time.perf_counter() - started) * 1000)
            if not (answer.startswith(b"HTTP/1.1 2") and check(answer)):
                load.wrong += 1
            time.sleep(pace_s)


def _read(wire: socket.socket) -> bytes:
    answer = wire.recv(65536)
    while b"\r\n\r\n" not in answer:
        answer += _more(wire)
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += _more(wire)
    return head + b"\r\n\r\n" + rest


def _more(wire: socket.socket) -> bytes:
    part = wire.recv(65536)
    if not part:
        raise ConnectionError("the service closed the connection in mid-answer")
    return part
