"""Hundreds of clients that listen or wait: one thread and a selector, so that they cost the cores next to nothing."""

import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

_PARK_S = 1.0  # the callers that wait say nothing; by then they do


@dataclass(frozen=True)
class Told:
    """How many of the crowd did not hear the word, and how long it took until all others had."""

    missing: int
    took_s: float


class Crowd:
    """Connections to `/jobs/<id>/events` and `/jobs/<id>?wait=60`; the waiting ask again when their time is up.

    Args:
        streams: how many follow events.
        waiting: how many wait.
    """

    def __init__(self, url: str, job_id: str, streams: int, waiting: int) -> None:
        where = urlsplit(url)
        self._address = (str(where.hostname), int(where.port or 80))
        paths = [f"/jobs/{job_id}/events"] * streams + [f"/jobs/{job_id}?wait=60"] * waiting
        self._requests = [f"GET {path} HTTP/1.1\r\nHost: {where.netloc}\r\n\r\n".encode() for path in paths]
        self._selector = selectors.DefaultSelector()
        self._heard = [b""] * len(paths)
        self._closing = False
        self._thread = threading.Thread(target=self._listen, name="crowd")

    def __enter__(self) -> "Crowd":
        for index, request in enumerate(self._requests):
            wire = socket.create_connection(self._address, timeout=30)
            wire.sendall(request)
            self._selector.register(wire, selectors.EVENT_READ, index)
        self._thread.start()
        streams = [index for index, request in enumerate(self._requests) if b"/events" in request]
        self._until(lambda: all(b"event: status" in self._heard[index] for index in streams), 60)
        time.sleep(_PARK_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def told_of(self, word: str, within_s: float) -> Told:
        """Waits until everybody has heard the word."""
        started = time.monotonic()
        wanted = word.encode()
        self._until(lambda: all(wanted in heard for heard in self._heard), within_s)
        return Told(sum(wanted not in heard for heard in self._heard), time.monotonic() - started)

    def _until(self, done: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not done() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _listen(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.1):
                wire, index = key.fileobj, key.data
                assert isinstance(wire, socket.socket)
                part = wire.recv(65536)
                self._heard[index] += part
                if not part:
                    self._selector.unregister(wire)
                    wire.close()
                elif b"?wait=" in self._requests[index] and b'"status":"processing"' in part:
                    wire.sendall(self._requests[index])
