"""What the clients wanted, and every word they were told about it."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FINAL = ("complete", "error", "cancelled")


@dataclass(frozen=True)
class Violation:
    """A broken promise. `kind` is lost, duplicated, half_published, changed, server_error, …"""

    kind: str
    job: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.job}: {self.text}"


@dataclass
class Order:
    """One job that one client wants, whatever it takes: it repeats the submit under the same key until it is answered.

    Attributes:
        kind: work, long, relief, crash or bad_input.
        cancel_after_s: seconds after acceptance at which the client changes its mind; None for never.
        ids: every id the service has ever answered for the key. More than one is a double.
        last: the final answer, once there was one.
        followed: its event stream has been opened.
        cancelled: the service has said that it is, or will be.
        deletes: times at which a DELETE was sent; from the first on, the job may be gone.
    """

    number: int
    client: str
    key: str
    kind: str
    picture: bytes
    pixels: bytes
    params: dict[str, Any]
    due_s: float
    cancel_after_s: float | None = None
    ids: list[str] = field(default_factory=list)
    sent_at: float = 0.0
    accepted_at: float = 0.0
    last: dict[str, Any] | None = None
    ended_at: float = 0.0
    deletes: list[float] = field(default_factory=list)
    cancelled: bool = False
    followed: bool = False
    gone: bool = False
    downloads: int = 0

    @property
    def id(self) -> str:
        return self.ids[0] if self.ids else ""

    @property
    def over(self) -> bool:
        """Whether the client has nothing more to learn about it."""
        return self.last is not None or self.gone


class Journal:
    """Takes down what clients are told, and at once what in it breaks a promise. Any thread may write.

    Args:
        forgets: the service may have removed a job that has ended, because its retention is short.
    """

    def __init__(self, forgets: bool = False) -> None:
        self.forgets = forgets
        self._lock = threading.Lock()
        self.orders: list[Order] = []
        self.violations: list[Violation] = []
        self.submits: list[tuple[float, float]] = []  # (sent, accepted)
        self.refusals: dict[str, int] = {}
        self.streams = 0  # event streams read to their end

    def add(self, order: Order) -> None:
        with self._lock:
            self.orders.append(order)

    def blame(self, kind: str, job: str, text: str) -> None:
        with self._lock:
            self.violations.append(Violation(kind, job, text))

    def refused(self, why: str) -> None:
        """Counts an answer that asks for patience, or a connection that failed."""
        with self._lock:
            self.refusals[why] = self.refusals.get(why, 0) + 1

    def accepted(self, order: Order, job_id: str, sent: float) -> None:
        """A submit has been answered with an id."""
        with self._lock:
            now = time.time()
            self.submits.append((sent, now))
            if job_id not in order.ids:
                order.ids.append(job_id)
            order.sent_at = order.sent_at or sent
            order.accepted_at = order.accepted_at or now
        if len(order.ids) > 1:
            self.blame("duplicated", order.id, f"key {order.key} gave {', '.join(order.ids)}")

    def told(self, order: Order, job: Mapping[str, Any], asked: float) -> None:
        """The service has described the job, in answer to what was asked at that time. An end that was told once must
        stay as it is."""
        if job["request_id"] not in order.ids:
            self.blame("changed", order.id, f"asked for it and was told of {job['request_id']}")
        if job["status"] not in FINAL:
            if order.last is not None and asked > order.ended_at:
                self.blame("changed", order.id, f"was {order.last['status']} and is {job['status']} again")
            return
        end = _end(job)
        if order.last is None:
            order.last, order.ended_at = end, time.time()
        elif end != order.last:
            changes = ", ".join(f"{name}: {order.last[name]!r} → {end[name]!r}" for name in end)
            self.blame("changed", order.id, f"its end changed: {changes}")

    def missing(self, order: Order) -> None:
        """The service says that there is no such job."""
        if order.deletes or self.forgets:
            order.gone = True
        else:
            self.blame("lost", order.id, "was accepted, and is not known any more")


def _end(job: Mapping[str, Any]) -> dict[str, Any]:
    """What of a final answer may never change."""
    names = ("status", "error", "error_kind", "ended_at", "attempts", "output_files")
    return {name: job.get(name) for name in names}
