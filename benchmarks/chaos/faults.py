"""What goes wrong, when, and for how long: kills, pauses past the lease, a full disk, by a seeded plan."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.chaos.stage import Stage

KILLS = ("web worker", "web master", "ai_worker", "worker", "child", "redis", "api", "previewer")
PAUSES = ("worker", "child", "redis", "web worker", "ai_worker")
DISK = "disk"
_LOOK_FOR_S = 20.0


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes:
        due_s: seconds after the start.
        action: kill, pause or fill.
        seconds: how long a pause or a full disk lasts.
        at: Unix time at which it happened; 0 while it has not.
        lifted: Unix time at which a pause or a full disk ended.
    """

    due_s: float
    action: str
    target: str
    seconds: float = 0.0
    pid: int = 0
    at: float = 0.0
    lifted: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.action} {self.target}"

    @property
    def over_at(self) -> float:
        """From when on the service can recover: at once, unless everything stands still until the fault is lifted."""
        return self.lifted if self.lifted and self.target in ("redis", DISK) else self.at


def plan(count: int, seconds: float, lease_s: float, disk: bool, rng: random.Random) -> list[Fault]:
    """`count` faults at random moments. Every kind comes once before any comes again."""
    kinds = [("kill", target) for target in KILLS] + [("pause", target) for target in PAUSES]
    kinds += [("fill", DISK)] if disk else []
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        chosen += rng.sample(kinds, min(len(kinds), count - len(chosen)))
    moments = sorted(rng.uniform(0.02, 0.98) * seconds for _ in chosen)
    found = []
    for due_s, (action, target) in zip(moments, chosen, strict=True):
        lasts = {"kill": 0.0, "pause": lease_s + rng.uniform(0.5, 2.0), "fill": rng.uniform(1.0, 4.0)}[action]
        found.append(Fault(due_s, action, target, lasts))
    return found


@dataclass
class Saboteur:
    """Carries out a plan."""

    stage: Stage
    faults: list[Fault]
    rng: random.Random
    say: Callable[[Fault], None]
    _running: list[threading.Thread] = field(default_factory=list)

    def work(self, started: float) -> None:
        """Returns when all has happened and been lifted."""
        for fault in self.faults:
            time.sleep(max(0.0, started + fault.due_s - time.monotonic()))
            thread = threading.Thread(target=self._carry_out, args=[fault], daemon=True)
            thread.start()
            self._running.append(thread)
        for thread in self._running:
            thread.join()

    def _carry_out(self, fault: Fault) -> None:
        if fault.action == "fill":
            fault.at = time.time()
            self.say(fault)
            self.stage.fill_disk(fault.seconds)
            fault.lifted = time.time()
            return
        deadline = time.monotonic() + _LOOK_FOR_S
        while time.monotonic() < deadline:
            pids = self.stage.roles().get(fault.target, [])
            if pids and self._hit(fault, self.rng.choice(pids)):
                return
            time.sleep(0.05)  # it is just being started again

    def _hit(self, fault: Fault, pid: int) -> bool:
        """False when it had gone before."""
        try:
            os.kill(pid, signal.SIGKILL if fault.action == "kill" else signal.SIGSTOP)
        except ProcessLookupError:
            return False
        fault.pid, fault.at = pid, time.time()
        self.say(fault)
        if fault.action == "pause":
            time.sleep(fault.seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            fault.lifted = time.time()
        return True
