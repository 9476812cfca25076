"""Many jobs one after another, with nothing going wrong: whatever still grows once the retention has settled is a leak.

`python -m benchmarks.soak --jobs 2000 [--json] [--plot docs/images/soak.png]`. Watches memory, open files and threads
of every process, the keys and the memory of Redis, and what lies on the disk. Exit status 1 when something grows, or
when a job did not end as it should.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import redis

from benchmarks.chaos import work
from benchmarks.chaos.clients import Client, orders
from benchmarks.chaos.journal import Journal, Order
from benchmarks.chaos.stage import Stage

_SAMPLE_S = 2.0
_LONGEST_S = 3600.0
_AT_REST = 10  # samples: the lowest of so many is what a process holds when it is not in mid-job
RETENTION_S = 20.0
_OPEN = 4  # jobs of one client at a time, so that the queue does not grow on a slow machine
_SETTLED = 10  # the first tenth of the run is its beginning
_UNSEEN = 0.02  # share of the jobs that may have been removed before their client looked
KINDS = {"work": 0.91, "relief": 0.01, "bad_input": 0.08}

# How far the last quarter may lie above the first half: as a share of the level, and in any case.
ALLOWED = {
    "MiB": (0.05, 4.0),
    "files": (0.1, 3.0),
    "threads": (0.15, 3.0),  # gunicorn starts a thread when all of its others are busy, up to a limit, and keeps it
    "keys": (0.05, 50.0),
    "Redis MiB": (0.05, 0.5),
    "disk MiB": (0.1, 8.0),
    "inodes": (0.1, 100.0),
    "scratch": (0.0, 3.0),
}


class Sampler(threading.Thread):
    """Takes a sample of everything every two seconds: (what, unit) → values; nan where there was none."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(daemon=True)
        self._stage = stage
        self._closing = threading.Event()
        self.times: list[float] = []
        self.jobs: list[int] = []
        self.values: dict[tuple[str, str], list[float]] = {}
        self.count: Callable[[], int] = lambda: 0

    def run(self) -> None:
        with redis.Redis.from_url(self._stage.redis_url, decode_responses=True) as client:
            client.config_set("auto-aof-rewrite-min-size", "2mb")  # by itself it is 64: longer than this run
            while not self._closing.wait(_SAMPLE_S):
                self._take(client)

    def close(self) -> None:
        self._closing.set()
        self.join()

    def _take(self, client: Any) -> None:
        now: dict[tuple[str, str], float] = {}
        for role, pids in self._stage.roles().items():
            for unit, measure in (("MiB", _resident_mb), ("files", _open_files), ("threads", _threads)):
                now[role, unit] = sum(measure(pid) for pid in pids)
        now["Redis", "keys"] = client.dbsize()
        now["Redis", "Redis MiB"] = client.info("memory")["used_memory"] / 2**20
        for folder in ("inputs", "outputs", "redis"):
            size, inodes = _disk(self._stage.data_dir / folder)
            now[folder, "disk MiB"] = size / 2**20
            now[folder, "inodes"] = inodes
        now["scratch folders", "scratch"] = len(list(self._stage.data_dir.glob("scratch/*")))
        for key, value in now.items():
            self.values.setdefault(key, [float("nan")] * len(self.times)).append(value)
        self.times.append(time.monotonic())
        self.jobs.append(self.count())
        for values in self.values.values():
            values += [float("nan")] * (len(self.times) - len(values))


def _resident_mb(pid: int) -> float:
    """Resident memory. A proportional share would change with every other process that uses the same libraries."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:")), 0.0)


def _open_files(pid: int) -> float:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0.0


def _threads(pid: int) -> float:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return 0.0


def _disk(folder: Path) -> tuple[int, int]:
    """Bytes and names below a folder."""
    size = inodes = 0
    for place, folders, names in os.walk(folder):
        inodes += len(folders) + len(names)
        for name in names:
            try:
                size += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                continue
    return size, inodes


def at_rest(values: Sequence[float]) -> np.ndarray:
    """The lowest of the last ten samples: what stays when the moment's work is done."""
    return np.array([np.nanmin(values[max(0, end - _AT_REST) : end]) for end in range(1, len(values) + 1)])


def growth(values: Sequence[float]) -> tuple[float, float, float]:
    """(level, what the trend of the last half adds to it, how far the last quarter lies above all of the first half).

    The trend alone also sees a heap that wobbles between two sizes; only what outgrows its past is a leak.
    """
    rest = at_rest(values)
    half, quarter = rest[len(rest) // 2 :], rest[len(rest) * 3 // 4 :]
    slope = np.polyfit(np.arange(len(half)), half, 1)[0]
    first = rest[len(rest) // _SETTLED : len(rest) // 2]
    return float(np.median(half)), float(slope * len(half)), float(np.median(quarter) - np.max(first))


def verdict(values: dict[tuple[str, str], list[float]]) -> dict[str, dict[str, float | bool]]:
    """Each series' level and growth, and whether that is too much."""
    found: dict[str, dict[str, float | bool]] = {}
    for (what, unit), series in sorted(values.items()):
        level, trend, above = growth(series)
        share, least = ALLOWED[unit]
        found[f"{what}: {unit}"] = {
            "level": round(level, 2),
            "trend": round(trend, 2),
            "above": round(above, 2),
            "grows": above > max(share * level, least),
        }
    return found


def plot(sampler: Sampler, path: Path) -> None:
    """One panel for each unit, over the jobs that had ended."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [
        ("MiB", "resident memory of each process", "MiB"),
        ("files", "open files", ""),
        ("keys", "Redis keys", ""),
        ("Redis MiB", "Redis memory", "MiB"),
        ("disk MiB", "disk", "MiB"),
        ("inodes", "files and folders on the disk", ""),
    ]
    figure, axes = pyplot.subplots(3, 2, figsize=(11, 10), constrained_layout=True)
    for axis, (unit, title, label) in zip(axes.flat, panels, strict=True):
        for (what, has), values in sorted(sampler.values.items()):
            if has == unit:
                axis.plot(sampler.jobs, values, label=what, linewidth=1.2)
        axis.set_title(title, loc="left", fontsize=11)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.grid(alpha=0.25)
        if len(axis.lines) > 1:
            axis.legend(fontsize=8, ncol=2)
    for axis in axes[-1]:
        axis.set_xlabel("jobs ended")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def run(folder: Path, jobs: int, seed: int, say: Callable[[str], None]) -> tuple[dict[str, Any], Sampler]:
    """One soak; the summary and the samples."""
    clients = [f"client-{number}" for number in range(12)]
    env = {
        "MAQUETTE_PLUGINS": work.__name__,
        "MAQUETTE_PIPELINES": f"{work.NAME},relief",
        "MAQUETTE_DEVICES": "cpu",
        "MAQUETTE_API_KEYS": ",".join(clients),
        "MAQUETTE_MAX_ACTIVE": "0",
        "MAQUETTE_HISTORY_LIMIT": "20",
        "MAQUETTE_RETENTION_HOURS": f"{RETENTION_S / 3600:.6f}",
        "MAQUETTE_LOG_LEVEL": "WARNING",
    }
    began, journal = time.monotonic(), Journal(forgets=True)
    for order in orders(jobs, clients, 0, random.Random(seed), KINDS):
        order.params["seconds"] = min(order.params.get("seconds", 0), 0.03) if order.kind != "relief" else None
        order.params = {name: value for name, value in order.params.items() if value is not None}
        journal.add(order)
    stage = Stage(folder / "data", folder, env, second_host=False)
    sampler = Sampler(stage)
    sampler.count = lambda: sum(order.over for order in journal.orders)
    try:
        stage.start()
        sampler.start()
        started = time.monotonic()
        give_up = started + _LONGEST_S
        threads = [
            Client(
                stage.url,
                name,
                journal,
                [order for order in journal.orders if order.client == name],
                started,
                lambda: time.monotonic() > give_up,
                seed + number,
                pause_s=0.05,
                most_open=_OPEN,
            )
            for number, name in enumerate(clients)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(10)
            say(f"{time.monotonic() - started:6.0f} s  {sampler.count()} of {jobs} jobs have ended")
        sampler.close()
    finally:
        left = stage.close()
    series = verdict(sampler.values)
    ends = Counter(order.last["status"] if order.last else "unseen" for order in journal.orders)
    problems = [str(violation) for violation in journal.violations]
    problems += [f"order {order.number} did not end" for order in journal.orders if not order.over]
    problems += filter(None, map(_wrong, journal.orders))
    if ends["unseen"] > _UNSEEN * jobs:
        problems.append(f"{ends['unseen']} jobs were removed before their clients saw their end")
    problems += [f"process {pid} outlived the service" for pid in left]
    grows = [name for name, figures in series.items() if figures["grows"]]
    return {
        "ok": not problems and not grows,
        "jobs": jobs,
        "ended": sampler.count(),
        **ends,
        "downloads": sum(order.downloads for order in journal.orders),
        "streams": journal.streams,
        "grows": grows,
        "series": series,
        "violations": problems[:50],
        "wall_s": round(time.monotonic() - began, 1),
    }, sampler


def _wrong(order: Order) -> str:
    """What is wrong with how a job ended; empty when nothing is."""
    allowed = {"bad_input": {"error"}}.get(order.kind, {"complete"}) | ({"cancelled"} if order.deletes else set())
    if order.last is None or order.last["status"] in allowed:
        return ""
    return f"{order.kind} order {order.number} ended as {order.last}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="a PNG to draw the samples into (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="nothing but one line of JSON")
    args = parser.parse_args()

    def say(text: str) -> None:
        if not args.json:
            print(text, flush=True)

    with tempfile.TemporaryDirectory(prefix="maquette-soak-") as folder:
        found, sampler = run(Path(folder), args.jobs, args.seed, say)
    if args.plot:
        plot(sampler, args.plot)
    for name, figures in found["series"].items():
        word = "  GROWS" if figures["grows"] else ""
        say(f"{name:<28} {figures['level']:>9} {figures['trend']:>+9} {figures['above']:>+9}{word}")
    print(json.dumps(found), flush=True)
    return 0 if found["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
