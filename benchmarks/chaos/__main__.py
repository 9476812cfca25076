"""Kills, pauses and fills everything at random moments under load, and checks that no job was lost, doubled or halved.

`python -m benchmarks.chaos --jobs 300 --kills 40 --seed N [--json]`. Exit status 0 only when no promise was broken.
`docs/reliability.md` says what is promised and what the figures mean.
"""

import argparse
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from benchmarks.chaos import work
from benchmarks.chaos.checker import Books, Verdict, check, read_books
from benchmarks.chaos.clients import Client, orders
from benchmarks.chaos.faults import DISK, Fault, Saboteur, plan
from benchmarks.chaos.journal import Journal, Violation
from benchmarks.chaos.recovery import percentile, recovery
from benchmarks.chaos.stage import Stage, can_have_second_host, give_back_disk, own_disk
from benchmarks.chaos.watcher import FolderWatch, Pulse

_PATIENCE_S = 60.0  # after the last fault, clients go on until for so long no job has ended
_SETTLE_S = 20.0  # how long Redis and RQ may take to be at rest after the last end
LIMIT_P95_S = 20.0

Say = Callable[[str], None]


def settings(lease_s: float, clients: list[str]) -> dict[str, str]:
    """Nothing is removed by age or number, so that the checker finds everything."""
    return {
        "MAQUETTE_PLUGINS": work.__name__,
        "MAQUETTE_PIPELINES": f"{work.NAME},relief",
        "MAQUETTE_DEVICES": "cpu",
        "MAQUETTE_LEASE_S": f"{lease_s:g}",
        "MAQUETTE_STOP_GRACE_S": "0.5",
        "MAQUETTE_API_KEYS": ",".join(clients),
        "MAQUETTE_MAX_ACTIVE": "0",
        "MAQUETTE_HISTORY_LIMIT": "100000",
    }


def run(
    folder: Path, logs: Path, jobs: int, kills: int, seed: int, lease_s: float, gap_s: float, say: Say
) -> dict[str, Any]:
    """One run over an empty folder; the summary."""
    rng, began = random.Random(seed), time.monotonic()
    disk = own_disk(folder)
    second_host = can_have_second_host()
    clients = [f"client-{number}" for number in range(8)]
    stage = Stage(folder / "data", logs, settings(lease_s, clients), second_host)
    journal, watch, pulse = Journal(), FolderWatch(stage.data_dir), Pulse(stage.redis_url)
    seconds = kills * gap_s
    faults = plan(kills, seconds, lease_s, disk == "tmpfs", rng)
    for order in orders(jobs, clients, seconds + 2, rng):
        journal.add(order)
    say(f"seed {seed}: {jobs} jobs, {kills} faults in about {seconds:.0f} s; full disk: {disk}")
    try:
        stage.start()
        watch.start()
        pulse.start()
        started = time.monotonic()
        give_up = Stalled(journal, started + seconds)
        threads = [
            Client(
                stage.url, name, journal, [o for o in journal.orders if o.client == name], started, give_up, seed + n
            )
            for n, name in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        Saboteur(stage, faults, rng, lambda fault: say(_line(fault, time.monotonic() - started, journal))).work(started)
        for thread in threads:
            thread.join()
        say(f"{time.monotonic() - started:6.1f} s  the clients are done")
        books = at_rest(stage.redis_url)
        watch.close()
        pulse.close()
    finally:
        left = stage.close()
    verdict = check(journal, books, stage.data_dir, any(fault.target == DISK for fault in faults))
    verdict.violations += watch.violations
    verdict.violations += [Violation("leftover", str(pid), "a process outlived the service") for pid in left]
    for violation in verdict.violations:
        say(f"VIOLATION {violation}")
    return {
        **summary(faults, journal, books, verdict, recoveries(faults, journal, books, pulse, say)),
        "seed": seed,
        "jobs": jobs,
        "disk_full": disk,
        "hosts": 2 if second_host else 1,
        "lease_s": lease_s,
        "load_average": round(os.getloadavg()[1], 1),
        "harness_cpu_s": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
        "wall_s": round(time.monotonic() - began, 1),
        "violations": [str(violation) for violation in verdict.violations][:50],
    }


def recoveries(faults: list[Fault], journal: Journal, books: Books, pulse: Pulse, say: Say) -> list[float | None]:
    """Seconds from each fault that was made to a service that is whole again; None where that was not seen."""
    found = []
    for fault in [fault for fault in faults if fault.at]:
        how = recovery(fault, journal, books.records, pulse)
        found.append(how.seconds)
        say(f"{fault.name:<16} at {fault.at - faults[0].at:5.1f} s: {how}")
    return found


def summary(
    faults: list[Fault], journal: Journal, books: Books, verdict: Verdict, took: list[float | None]
) -> dict[str, Any]:
    """What clients, Redis and the storage say together."""
    records = books.records.values()
    known = sorted(seconds for seconds in took if seconds is not None) or [float("inf")]
    p95 = percentile(known, 0.95)
    statuses = Counter(record["status"] for record in records)
    return {
        "ok": not verdict.violations and None not in took and p95 < LIMIT_P95_S,
        "kills": sum(fault.at > 0 for fault in faults),
        "accepted": sum(bool(order.ids) for order in journal.orders),
        **{status: statuses[status] for status in ("complete", "error", "cancelled")},
        "removed_by_client": sum(order.id not in books.records for order in journal.orders if order.deletes),
        **{kind: verdict.count(kind) for kind in ("lost", "duplicated", "half_published")},
        "recovery_p50_s": round(percentile(known, 0.5), 2),
        "recovery_p95_s": round(p95, 2),
        "recovery_max_s": round(known[-1], 2),
        "recovery_unseen": took.count(None),
        "kills_by_target": dict(sorted(Counter(fault.name for fault in faults if fault.at).items())),
        "errors_by_kind": dict(Counter(record["error_kind"] for record in records if record.get("error_kind"))),
        "attempts": dict(sorted(Counter(int(record["attempts"]) for record in records).items())),
        "clients_waited": journal.refusals,
        "streams": journal.streams,
        **verdict.facts,
    }


class Stalled:
    """Whether, some time after the last fault, the service has stopped to end jobs."""

    def __init__(self, journal: Journal, not_before: float) -> None:
        self._journal = journal
        self._ended, self._since = 0, not_before

    def __call__(self) -> bool:
        ended, now = sum(order.over for order in self._journal.orders), time.monotonic()
        if ended > self._ended:
            self._ended, self._since = ended, max(now, self._since)
        return now - self._since > _PATIENCE_S


def _line(fault: Fault, elapsed: float, journal: Journal) -> str:
    over, accepted = sum(order.over for order in journal.orders), sum(bool(order.ids) for order in journal.orders)
    lasts = f" for {fault.seconds:.1f} s" if fault.seconds else ""
    return f"{elapsed:6.1f} s  {fault.name}{lasts} (pid {fault.pid}); {accepted} accepted, {over} ended"


def at_rest(url: str) -> Books:
    """The books once nothing waits, runs, or lies in RQ; or as they are when that takes too long."""
    deadline = time.monotonic() + _SETTLE_S
    with redis.Redis.from_url(url, decode_responses=True) as client:
        while True:
            books = read_books(client)
            busy = [key for key, ids in books.places.items() if ids and not key.endswith(("ended", "history"))]
            if not busy and not any(books.rq.values()) or time.monotonic() > deadline:
                return books
            time.sleep(0.5)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--kills", type=int, default=40, help="faults of every kind, in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lease", type=float, default=3, help="MAQUETTE_LEASE_S; the service's own is 12")
    parser.add_argument("--gap", type=float, default=3.5, help="mean seconds between two faults")
    parser.add_argument("--logs", type=Path, help="a folder to keep the service's logs in")
    parser.add_argument("--json", action="store_true", help="nothing but one line of JSON")
    args = parser.parse_args()

    def say(text: str) -> None:
        if not args.json:
            print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="maquette-chaos-") as folder:
        disk, logs = Path(folder, "disk"), args.logs or Path(folder)
        disk.mkdir()
        logs.mkdir(parents=True, exist_ok=True)
        try:
            found = run(disk, logs, args.jobs, args.kills, args.seed, args.lease, args.gap, say)
        finally:
            give_back_disk(disk)
    print(json.dumps(found), flush=True)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
