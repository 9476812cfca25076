"""Several jobs at once: handed in in order, as fast as the service takes them, followed and fetched side by side."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maquette_client.cli.display import Display
from maquette_client.cli.exits import Exit, exit_of
from maquette_client.cli.pictures import Task
from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError
from maquette_client.records import Job

_FULL = 429
_WAIT_S = 10.0  # where the service asks us to wait and does not say how long


class Stopped(Exception):
    """The user does not want to wait any longer."""


@dataclass
class Outcome:
    """What has become of one task."""

    task: Task
    job: Job | None = None
    paths: list[Path] = field(default_factory=list)
    error: Exception | None = None
    seconds: float = 0.0

    @property
    def exit(self) -> Exit:
        return exit_of(self.error) if self.error else Exit.OK

    def told(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "pictures": [str(path) for path in self.task.pictures],
            "request_id": self.job.id if self.job else None,
            "status": self.job.status if self.job else None,
            "pipeline": self.job.pipeline if self.job else None,
            "seconds": round(self.seconds, 3),
            "files": [str(path) for path in self.paths],
            "warnings": self.job.warnings if self.job else [],
            "error": str(self.error) if self.error else None,
        }


Fetch = Callable[[Job, Path, Callable[[int], None]], list[Path]]


class Batch:
    """Carries out tasks.

    Args:
        submit: hands one in.
        fetch: brings a complete job's files; None to leave after the handing in.
        parallel: how many of ours may be under way at once.
        on_end: called with each outcome, one at a time.
    """

    def __init__(
        self,
        client: MaquetteClient,
        submit: Callable[[Task], Job],
        fetch: Fetch | None,
        parallel: int,
        timeout_s: float,
        display: Display,
        on_end: Callable[[Outcome], None],
    ) -> None:
        self._client = client
        self._submit = submit
        self._fetch = fetch
        self._parallel = parallel
        self._timeout_s = timeout_s
        self._display = display
        self._on_end = on_end
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._exits: list[Exit] = []
        self._told_full = False
        self.active: list[Outcome] = []

    def run(self, tasks: Sequence[Task]) -> Exit:
        """Everything. The status of the first that failed, if one did."""
        for number, task in enumerate(tasks):
            self._until(lambda: len(self.active) < self._parallel)
            outcome = self._hand_in(task)
            if outcome.error and outcome.exit in (Exit.AWAY, Exit.DENIED) and number + 1 < len(tasks):
                self._display.note(f"{len(tasks) - number - 1} more are not handed in")
                break
        self._until(lambda: not self.active)
        return next((found for found in self._exits if found), Exit.OK)

    def stop(self, wait_s: float = 2.0) -> list[Outcome]:
        """Lets go of what is under way, and returns it. Half-fetched files are removed."""
        self._stopping.set()
        left = list(self.active)
        deadline = time.monotonic() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, min(deadline - time.monotonic(), wait_s)))
        return left

    def _until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(condition, timeout_s)

    def _hand_in(self, task: Task) -> Outcome:
        outcome = Outcome(task)
        self.active.append(outcome)  # before it is accepted, so that an interrupt in between forgets nothing
        started = time.monotonic()
        try:
            outcome.job = self._accepted(task)
        except (MaquetteError, OSError) as error:
            outcome.error = error
            self._end(outcome)
            return outcome
        if self._fetch is None:
            self._end(outcome)
            return outcome
        self._display.show(task.title, outcome.job)
        thread = threading.Thread(target=self._watch, args=[outcome, started], daemon=True)
        thread.start()
        self._threads.append(thread)  # only now: an interrupt within start() would leave one that cannot be joined
        return outcome

    def _accepted(self, task: Task) -> Job:
        """The job, once the service takes it: it lets each client have a few at a time."""
        while True:
            try:
                return self._submit(task)
            except MaquetteError as error:
                if error.status != _FULL:
                    raise
                if not self._told_full:
                    self._display.note(f"{task.title} has to wait, and so may others: {error}")
                self._told_full = True
                under_way = len(self.active)
                # One of ours that ends makes room at once; otherwise others share our limit.
                pause = _WAIT_S if error.retry_after_s is None else error.retry_after_s
                self._until(lambda before=under_way: len(self.active) < before, max(pause, 0.2))  # type: ignore[misc]

    def _watch(self, outcome: Outcome, started: float) -> None:
        outcome.error = MaquetteError("it was not followed to its end")
        try:
            self._follow(outcome)
            outcome.error = None
        except (MaquetteError, OSError) as error:
            outcome.error = error
        except Stopped:
            return  # whoever stopped us has the list of what was under way
        finally:
            outcome.seconds = time.monotonic() - started
            if not self._stopping.is_set():
                self._end(outcome)

    def _follow(self, outcome: Outcome) -> None:
        assert outcome.job is not None and self._fetch is not None
        for job in self._client.follow(outcome.job.id, self._timeout_s):
            self._check()
            outcome.job = job
            self._display.show(outcome.task.title, job)
        if outcome.job.status != "complete":
            raise MaquetteError(outcome.job.error or f"it was {outcome.job.status}", code=outcome.job.error_kind)
        outcome.paths = self._fetch(outcome.job, outcome.task.folder, self._check)

    def _check(self, count: int = 0) -> None:
        if self._stopping.is_set():
            raise Stopped

    def _end(self, outcome: Outcome) -> None:
        with self._changed:
            if outcome in self.active:
                self.active.remove(outcome)
            self._exits.append(outcome.exit)
            self._on_end(outcome)
            self._changed.notify_all()
