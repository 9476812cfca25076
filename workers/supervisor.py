"""Owns the device process: starts it, hands it one job at a time, and replaces it when it dies or will not stop."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from pipelines.base import Machine
from workers import machines
from workers.messages import Advanced, Done, Failed, Message, Previewed, Ready, Run, Saved, Stop, Stopped, receive, send
from workers.processes import environment, how_it_ended

log = logging.getLogger(__name__)

_TICK_S = 0.1
_STOP_GRACE_S = 1.0  # how long a job may take to reach its next step before its process is killed


@dataclass(frozen=True)
class Interrupted:
    """The job was stopped because the watcher said so."""

    reason: str


@dataclass(frozen=True)
class Died:
    """The device process ended in mid-job."""

    message: str


Outcome = Done | Failed | Interrupted | Died
News = Advanced | Previewed | Saved
Watch = Callable[[News | None], str | None]


class Supervisor:
    """One device process and the pipe to it.

    Args:
        machine: what its pipelines find here.
        pipelines: names it may load.
        plugins: modules that bring further pipelines.
    """

    def __init__(
        self,
        machine: Machine,
        pipelines: Sequence[str],
        plugins: Sequence[str] = (),
        log_level: str = "INFO",
        log_format: str = "text",
    ) -> None:
        self._flags = [*machines.flags(machine), "--pipelines", ",".join(pipelines), "--plugins", ",".join(plugins)]
        self._flags += ["--log-level", log_level, "--log-format", log_format]
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._ready = False
        self.loaded: list[str] = []
        self.restarts = -1

    @property
    def pid(self) -> int:
        """Of the device process; 0 while there is none."""
        return self._process.pid if self._process and self._process.poll() is None else 0

    @property
    def ready(self) -> bool:
        return self._ready and bool(self.pid)

    def ensure(self) -> None:
        """Starts the process unless it lives; does not wait for it. Only the main thread may call this: the kernel
        ties the process to the thread that started it."""
        if not self.pid:
            self._discard()
            self._start()
        self._drain()

    def _start(self) -> None:
        ours, theirs = Pipe()
        flags = [*self._flags, "--pipe", str(theirs.fileno()), "--parent", str(os.getpid())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "workers.child", *flags],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        theirs.close()
        self._pipe, self._ready, self.loaded = ours, False, []
        self.restarts += 1

    def _drain(self) -> None:
        """Takes what the idle process has said."""
        try:
            while self._pipe and self._pipe.poll():
                self._note(receive(self._pipe))
        except (EOFError, OSError):
            self._discard()

    def _note(self, message: Message) -> None:
        """Keeps what a message tells of the process itself."""
        if isinstance(message, Ready | Done):
            self._ready, self.loaded = True, message.loaded

    def run(self, job: Run, watch: Watch) -> Outcome:
        """Carries out one job.

        Args:
            watch: called at least ten times a second with the latest progress, if there is news; a word stops the job.
        """
        self.ensure()
        assert self._pipe is not None
        try:
            send(self._pipe, job)  # a process that still loads will read it when it is ready
            return self._follow(watch)
        except (EOFError, OSError):
            return self._died()

    def _follow(self, watch: Watch) -> Outcome:
        assert self._pipe is not None
        while True:
            news = None
            if self._pipe.poll(_TICK_S):
                message = receive(self._pipe)
                self._note(message)
                if isinstance(message, News):
                    news = message
                elif isinstance(message, Done | Failed):
                    return self._ended(message)
            elif not self.pid and not self._pipe.poll():  # what it said just before it died counts
                return self._died()
            if reason := watch(news):
                self._interrupt(watch)
                return Interrupted(reason)

    def _ended(self, message: Done | Failed) -> Done | Failed:
        if isinstance(message, Failed) and message.broken:
            self.kill()
        return message

    def _died(self) -> Died:
        process = self._process
        if process is not None:
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                self.kill()
        self._discard()
        return Died(f"the device process {how_it_ended(process.returncode if process else None)}")

    def _interrupt(self, watch: Watch) -> None:
        """Asks the process to stop at the next step, which keeps its models; kills it when it does not. What it has
        finished by then is still kept."""
        assert self._pipe is not None
        deadline = time.monotonic() + _STOP_GRACE_S
        try:
            with contextlib.suppress(OSError):  # it has gone, and may have said something before
                send(self._pipe, Stop())
            while self._pipe.poll(max(deadline - time.monotonic(), 0)):
                message = receive(self._pipe)
                self._note(message)
                if isinstance(message, Saved):
                    watch(message)
                if isinstance(message, Stopped | Done | Failed):
                    return
        except (EOFError, OSError):
            log.info("the device process ended while it was being stopped")
        self.kill()

    def kill(self) -> None:
        """Ends the process and all it started, at once; `ensure` starts a new one."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._discard()

    def _discard(self) -> None:
        if self._process is not None:
            self._process.poll()
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe, self._ready, self.loaded = None, None, False, []
