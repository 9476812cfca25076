"""How long the service needs after a fault.

A fault's recovery ends when all of this has happened:

1. a submit that was sent after it has been accepted;
2. a worker has reported a further step of some job, or ended it;
3. each job that was running when it struck has moved: a new attempt, a further step, or its end.

It begins with the fault itself; when Redis is paused or the disk is full, nothing can recover before that is over, so
it begins with the end of the pause.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.chaos.faults import Fault
from benchmarks.chaos.journal import Journal
from benchmarks.chaos.watcher import Pulse


@dataclass(frozen=True)
class Recovery:
    """Seconds until each of the three; None when the run ended before it could be seen."""

    submit_s: float | None
    work_s: float | None
    moved_s: float | None

    def __str__(self) -> str:
        told = [f"{part:.1f} s" if part is not None else "never" for part in (self.submit_s, self.work_s, self.moved_s)]
        return "a submit was accepted after {}, work went on after {}, what ran had moved after {}".format(*told)

    @property
    def seconds(self) -> float | None:
        """Until the last of them."""
        parts = [self.submit_s, self.work_s, self.moved_s]
        known = [part for part in parts if part is not None]
        return max(known) if len(known) == len(parts) else None


def recovery(fault: Fault, journal: Journal, records: Mapping[str, Mapping[str, str]], pulse: Pulse) -> Recovery:
    """How the service came back after one fault."""
    begin = fault.over_at
    accepted = [answered - begin for sent, answered in journal.submits if sent > begin]
    ends = (float(record["ended_at"]) for record in records.values() if record["status"] in ("complete", "error"))
    worked = [moment - begin for moment in (*ends, *pulse.steps) if moment > begin]
    moved = [_moved(job_id, begin, records, pulse) for job_id in pulse.running_at(fault.at)]
    last = None if None in moved else max((moment - begin for moment in moved if moment), default=0.0)
    return Recovery(min(accepted, default=None), min(worked, default=None), last)


def _moved(job_id: str, begin: float, records: Mapping[str, Mapping[str, str]], pulse: Pulse) -> float | None:
    moments = [moment for moment in pulse.moves.get(job_id, []) if moment > begin]
    record = records.get(job_id)
    if record is None:  # its client has removed it, so it had ended; when, nobody knows any more
        return moments[0] if moments else begin
    ended = float(record.get("ended_at", 0))
    return min([*moments, *([max(ended, begin)] if ended else [])], default=None)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]
