"""Child processes: tying their life to ours, and keeping several of them running."""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from configs.settings import ROOT

log = logging.getLogger(__name__)

LONGEST_STOP_S = 10.0  # what a keeper adds to the grace of running jobs before it kills what does not leave
PARENT = "MAQUETTE_PARENT_PID"
_PR_SET_PDEATHSIG = 1
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
_CALM_S = 30.0  # a process that ran this long has recovered: its next death counts as its first


def die_with_parent(signum: signal.Signals, parent: int) -> None:
    """Has the kernel send us `signum` when the process `parent`, which started us, ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:  # it had died before we asked
        os.kill(os.getpid(), signum)


def leave_on_signals() -> None:
    """Has SIGTERM and a closed terminal end this process the way an exception would, so that what it holds is let go.
    Ctrl-C does so by itself."""
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _leave)


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)


def follow_parent() -> None:
    """Ends this process with the one that started it, if that one has asked for it in the environment."""
    if parent := os.environ.get(PARENT):
        die_with_parent(signal.SIGTERM, int(parent))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment for a child that imports our packages, whatever folder we were started from."""
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, **(extra or {})}


@dataclass
class Member:
    """One process that should always be running."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    deaths: int = 0
    started: float = 0.0
    due: float = 0.0

    def start(self) -> None:
        env = environment({**self.env, PARENT: str(os.getpid())})
        self.process = subprocess.Popen(self.command, env=env, pass_fds=self.pass_fds, start_new_session=True)
        self.started = time.monotonic()

    def signal(self, signum: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signum)


class Keeper:
    """Starts its members, starts the dead ones again with a growing pause, and stops all of them on a signal.

    Args:
        on_death: called with the member and its process id after it died unasked.
        on_tick: called about four times a second.
    """

    def __init__(
        self,
        members: Sequence[Member],
        on_death: Callable[[Member, int], None] = lambda member, pid: None,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._members = members
        self._on_death = on_death
        self._on_tick = on_tick
        self._stopping = False

    def run(self, stop_s: float) -> None:
        """Works until SIGINT or SIGTERM, then gives the members `stop_s` seconds to leave."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, lambda signum, frame: self.stop())
        self.work(stop_s)

    def work(self, stop_s: float) -> None:
        """As `run`, until `stop` is called. The members die with the thread that calls this."""
        for member in self._members:
            member.start()
        try:
            while not self._stopping:
                self._on_tick()
                self._revive()
                time.sleep(0.25)
        finally:
            self._stop(stop_s)

    def stop(self) -> None:
        """Ends `run` or `work`."""
        self._stopping = True

    def _revive(self) -> None:
        for member in self._members:
            if self._stopping:
                return
            if member.process is None:
                if time.monotonic() >= member.due:
                    member.start()
            elif member.process.poll() is not None:
                self._bury(member, member.process)

    def _bury(self, member: Member, process: subprocess.Popen[bytes]) -> None:
        member.deaths = 0 if time.monotonic() - member.started > _CALM_S else member.deaths
        pause = _BACKOFF_S[min(member.deaths, len(_BACKOFF_S) - 1)]
        log.warning("%s (pid %d) %s; starting it again", member.name, process.pid, how_it_ended(process.returncode))
        member.deaths += 1
        member.due = time.monotonic() + pause
        member.process = None
        self._on_death(member, process.pid)

    def _stop(self, stop_s: float) -> None:
        # Last started, first stopped: the web tier goes before the workers it feeds.
        for member in reversed(self._members):
            member.signal(signal.SIGTERM)
        deadline = time.monotonic() + stop_s
        for member in self._members:
            if member.process is None:
                continue
            try:
                member.process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                log.warning("%s does not stop; killing it", member.name)
                member.process.kill()
                member.process.wait()


def how_it_ended(returncode: int | None) -> str:
    """Words for an exit status."""
    if returncode is None:
        return "closed its pipe"
    if returncode >= 0:
        return f"exited with status {returncode}"
    hint = " (often the system ran out of memory)" if returncode == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-returncode).name}{hint}"
