"""How jobs are shown while one waits: bars on a terminal, lines in a log, nothing for programs. All on stderr."""

import sys
import threading
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from maquette_client.records import Job


class Display(Protocol):
    """Shows jobs by their titles. Called from several threads."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, title: str, job: Job) -> None:
        """The job has come so far."""

    def finish(self, title: str, sentence: str, good: bool) -> None:
        """The job is done with."""

    def note(self, sentence: str) -> None:
        """Something besides."""


class Silent:
    """Shows nothing: the answer is for a program."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, title: str, job: Job) -> None:
        pass

    def finish(self, title: str, sentence: str, good: bool) -> None:
        pass

    def note(self, sentence: str) -> None:
        pass


class Lines(Silent):
    """One line whenever something has changed that a reader of a log would want to know."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shown: dict[str, tuple[object, ...]] = {}

    def show(self, title: str, job: Job) -> None:
        mark = (job.status, job.position, job.stage, int(job.progress * 10))
        with self._lock:
            if self._shown.get(title) == mark or job.ended:
                return
            self._shown[title] = mark
        share = f", {job.progress:.0%}" if job.status == "processing" else ""
        self.note(f"{title}: {doing(job)}{share}{', ' + eta(job) if job.eta_s is not None else ''}")

    def finish(self, title: str, sentence: str, good: bool) -> None:
        self.note(f"{title}: {sentence}")

    def note(self, sentence: str) -> None:
        print(printable(sentence), file=sys.stderr, flush=True)


class Bars:
    """A bar for each job that is under way, and one for all of them where there are several."""

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        title = TextColumn("{task.description}", markup=False)
        stage = TextColumn("{task.fields[stage]}", markup=False)
        left = TextColumn("{task.fields[left]}", markup=False)
        share = TextColumn("{task.percentage:>3.0f} %", markup=False)
        columns = (title, BarColumn(), share, stage, TimeElapsedColumn(), left)
        # On a terminal, results on stdout go above the bars; into a file or a pipe they go as they are.
        ours = sys.stdout.isatty()
        self._progress = Progress(*columns, console=self._console, transient=True, redirect_stdout=ours)
        self._rows: dict[str, TaskID] = {}
        self._lock = threading.Lock()
        self._all = self._row("all", total) if total > 1 else None

    def _row(self, title: str, total: float = 1.0) -> TaskID:
        return self._progress.add_task(title, total=total, stage="", left="")

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def show(self, title: str, job: Job) -> None:
        with self._lock:
            if title not in self._rows:
                self._rows[title] = self._row(title)
        self._progress.update(self._rows[title], completed=job.progress, stage=doing(job), left=eta(job))

    def finish(self, title: str, sentence: str, good: bool) -> None:
        with self._lock:
            row = self._rows.pop(title, None)
        if row is not None:
            self._progress.remove_task(row)
        if self._all is not None:
            self._progress.advance(self._all)
        self._say(f"{title}: {sentence}", "green" if good else "red")

    def note(self, sentence: str) -> None:
        self._say(sentence, None)

    def _say(self, sentence: str, style: str | None) -> None:
        self._console.print(printable(sentence), style=style, markup=False, soft_wrap=True)


def display(total: int, json: bool) -> Display:
    """What suits the terminal and the reader.

    Args:
        total: how many jobs there will be.
        json: a program reads our output.
    """
    if json:
        return Silent()
    return Bars(total) if Console(stderr=True).is_terminal else Lines()


def printable(text: str) -> str:
    """Without what would command the terminal: the words are the service's, and it may be anybody's."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def doing(job: Job) -> str:
    """What the job does just now, in a few words."""
    if job.status == "queued":
        return f"queued, position {job.position}" if job.position else "queued"
    if job.status == "processing" and job.stage:
        return printable(f"{job.stage} {job.step}/{job.of}" if job.of else job.stage)
    return printable(job.status)


def eta(job: Job) -> str:
    """How long it still takes, as far as that is known."""
    if job.eta_s is None or job.ended:
        return ""
    minutes, seconds = divmod(max(1, round(job.eta_s)), 60)
    return f"about {minutes} min {seconds} s left" if minutes else f"about {seconds} s left"
