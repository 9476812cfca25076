"""Hundreds of clients that listen or wait: one thread and a selector, so that they cost the cores next to nothing."""

import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_PARK_S = 1.0  # the callers that wait say nothing; by then they do


@dataclass(frozen=True)
class Told:
    """How many of the crowd did not hear the word, and how long it took until all others had."""

    missing: int
    took_s: float


class Wires:
    """One connection for each request, and what each has heard.

    Args:
        url: of the service.
        requests: as they go over the wire.
    """

    def __init__(self, url: str, requests: list[bytes]) -> None:
        where = urlsplit(url)
        self._address = (str(where.hostname), int(where.port or 80))
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self.heard = [b""] * len(requests)
        self.ended = [False] * len(requests)
        self._closing = False
        self._thread = threading.Thread(target=self._listen, name="crowd")

    def __enter__(self) -> Self:
        for index, request in enumerate(self._requests):
            wire = socket.create_connection(self._address, timeout=30)
            wire.sendall(request)
            self._selector.register(wire, selectors.EVENT_READ, index)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _listen(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(0.1):
                wire, index = key.fileobj, key.data
                assert isinstance(wire, socket.socket)
                part = wire.recv(65536)
                self.heard[index] += part
                if not part:
                    self.ended[index] = True
                    self._selector.unregister(wire)
                    wire.close()
                elif again := self._next(index, part):
                    wire.sendall(again)

    def _next(self, index: int, part: bytes) -> bytes:
        """What to ask after having heard this; empty for nothing."""
        return b""


class Crowd(Wires):
    """Connections to `/jobs/<id>/events` and `/jobs/<id>?wait=60`; the waiting ask again when their time is up.

    Args:
        streams: how many follow events.
        waiting: how many wait.
    """

    def __init__(self, url: str, job_id: str, streams: int, waiting: int) -> None:
        paths = [f"/jobs/{job_id}/events"] * streams + [f"/jobs/{job_id}?wait=60"] * waiting
        super().__init__(
            url, [f"GET {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode() for path in paths]
        )
        self._streams = streams

    def __enter__(self) -> Self:
        super().__enter__()
        until(lambda: all(b"event: status" in heard for heard in self.heard[: self._streams]), 60)
        time.sleep(_PARK_S)
        return self

    def told_of(self, word: str, within_s: float) -> Told:
        """Waits until everybody has heard the word."""
        started = time.monotonic()
        wanted = word.encode()
        until(lambda: all(wanted in heard for heard in self.heard), within_s)
        return Told(sum(wanted not in heard for heard in self.heard), time.monotonic() - started)

    def _next(self, index: int, part: bytes) -> bytes:
        waits_on = index >= self._streams and b'"status":"processing"' in part
        return self._requests[index] if waits_on else b""


def until(condition: Callable[[], bool], within_s: float) -> None:
    """Waits until the condition holds, or for so long."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
