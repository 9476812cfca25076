"""Who works and who waits: many threads of one process may wait for a job, few may work at the same time."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, g, request


class TooManyWaiting(RuntimeError):
    """Every thread that may wait does."""


class Slots:
    """The threads of one web process.

    Args:
        working: requests worked on at the same time. More of them would only make each other slower, and decoding
            pictures takes memory.
        waiting: requests that do nothing but wait for a job, event streams among them.
    """

    def __init__(self, working: int, waiting: int) -> None:
        self._working = threading.BoundedSemaphore(working)
        self._waiting = threading.BoundedSemaphore(waiting)

    def install(self, app: Flask) -> None:
        """Every request takes a slot once its body has come, and gives it back before its answer is sent."""
        app.before_request(self._enter)
        app.teardown_request(lambda error: self._leave())

    def _enter(self) -> None:
        if request.method in ("POST", "PUT", "PATCH") and request.routing_exception is None:
            _ = request.form, request.get_data()  # a slow sender keeps nobody from working
        self._working.acquire()
        g.works = True

    def _leave(self) -> None:
        if g.pop("works", False):
            self._working.release()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """For a request that waits for a job: it does not count as working meanwhile.

        Raises:
            TooManyWaiting: there is no place left.
        """
        with self.place(), self.resting():
            yield

    @contextmanager
    def place(self) -> Iterator[None]:
        """A waiting place for a request that will wait later; it goes on working until it is `resting`.

        Raises:
            TooManyWaiting: there is none left.
        """
        self.reserve()
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """For a request that has a place: it does not count as working meanwhile."""
        self._leave()
        try:
            yield
        finally:
            self._working.acquire()
            g.works = True

    def reserve(self) -> None:
        """Takes a waiting place for an answer that goes on after its request; `release` gives it back.

        Raises:
            TooManyWaiting: there is none left.
        """
        if not self._waiting.acquire(blocking=False):
            raise TooManyWaiting("too many requests wait for jobs just now; ask without waiting, or try again soon")

    def release(self) -> None:
        self._waiting.release()


def hung_up(environ: Mapping[str, Any]) -> bool:
    """Whether a client that waits for its answer has closed the connection; False where that cannot be seen."""
    wire = environ.get("gunicorn.socket")
    if wire is None:
        return False
    try:
        return bool(wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
    except (BlockingIOError, ValueError):  # ValueError: nobody can look ahead in what is encrypted
        return False
    except OSError:
        return True
