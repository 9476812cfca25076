"""Wakes the threads of this process that wait for something to happen to a job."""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from jobs.server import connect
from jobs.transitions import PREFIX

log = logging.getLogger(__name__)

_CHANNEL = PREFIX + "changes"
_AGAIN_S = 0.5
_LISTEN_S = 5.0
_TURNS = 4


class Changes:
    """One subscription for all who wait here. What it says is only a hint to look: the record is the truth.

    Attributes:
        moves: grows whenever a job begins, ends or goes back, so that places in the queue may have changed.
        closing: nobody should wait any longer.
        turn: to be held while reading after having been woken: hundreds who read at once would need as many connections
            and hold up everybody else.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = {}
        self._thread: threading.Thread | None = None
        self._heard_at: dict[str, float] = {}
        self._connected_at = math.inf  # until then nothing is heard, and what was read may be old
        self.moves = 0
        self.closing = False
        self.turn = threading.Semaphore(_TURNS)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[threading.Event]:
        """An event that is set whenever something happens to the job."""
        woken = threading.Event()
        with self._lock:
            self._waiting.setdefault(job_id, set()).add(woken)
            self._listen()
        if self.closing:
            woken.set()
        try:
            yield woken
        finally:
            with self._lock:
                self._waiting[job_id].discard(woken)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]
                    self._heard_at.pop(job_id, None)

    def unchanged_since(self, job_id: str, moment: float) -> bool:
        """Whether nothing was heard of a watched job after this moment of the monotonic clock."""
        return self._connected_at < moment and self._heard_at.get(job_id, 0.0) < moment

    def close(self) -> None:
        """Wakes everybody for good: this process is about to leave. Safe in a signal handler."""
        self.closing = True
        self._wake_all()

    def _listen(self) -> None:
        """Starts the one thread; not before somebody waits, since gunicorn forks after the app is made."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="changes", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        connection = connect(self._url)
        while not self.closing:
            try:
                with connection.pubsub() as told:
                    told.subscribe(_CHANNEL)
                    while not self.closing:
                        if message := told.get_message(timeout=_LISTEN_S):
                            self._heard(message)
            except redis.RedisError as error:
                self._connected_at = math.inf
                log.debug("cannot listen just now: %s", error)
                time.sleep(_AGAIN_S)

    def _heard(self, message: dict[str, Any]) -> None:
        if message["type"] != "message":  # the subscription stands; whatever happened before was not heard
            self.moves += 1
            self._connected_at = time.monotonic()
            self._wake_all()
            return
        event, _, job_id = message["data"].partition(" ")
        if event in ("status", "end"):
            self.moves += 1
        if job_id in self._waiting:
            self._heard_at[job_id] = time.monotonic()
        for woken in tuple(self._waiting.get(job_id, ())):
            woken.set()

    def _wake_all(self) -> None:
        for waiting in list(self._waiting.values()):
            for woken in tuple(waiting):
                woken.set()
