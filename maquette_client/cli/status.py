"""`maquette status`: one's jobs, or one job in full."""

import argparse
import json
import sys
import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from maquette_client.cli.display import doing, eta, printable
from maquette_client.cli.exits import Exit
from maquette_client.client import MaquetteClient
from maquette_client.records import Job

SUMMARY = "list one's jobs, or tell everything about one"
DETAILS = """With an ID the exit status is 1 when that job ended in an error or was cancelled."""

_EVERY_S = 1.0
_HEADINGS = ("id", "picture", "pipeline", "status", "progress", "age", "took")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="?", metavar="ID")
    parser.add_argument("--watch", action="store_true", help="show it again every second until all have ended")


def run(client: MaquetteClient, args: argparse.Namespace) -> int:
    jobs = _asked(client, args)
    if args.watch:
        jobs = _watch(client, args, jobs)
    else:
        _print(args, jobs)
    failed = args.id and jobs[0].status in ("error", "cancelled")
    return Exit.FAILED if failed else Exit.OK


def _asked(client: MaquetteClient, args: argparse.Namespace) -> list[Job]:
    return [client.job(args.id)] if args.id else client.jobs()


def _watch(client: MaquetteClient, args: argparse.Namespace, jobs: list[Job]) -> list[Job]:
    if args.json or not sys.stdout.isatty():
        _print(args, jobs)
        while not all(job.ended for job in jobs):
            time.sleep(_EVERY_S)
            jobs = _asked(client, args)
            _print(args, jobs)
        return jobs
    with Live(_table(jobs), auto_refresh=False) as live:
        while not all(job.ended for job in jobs):
            time.sleep(_EVERY_S)
            jobs = _asked(client, args)
            live.update(_table(jobs), refresh=True)
    return jobs


def _print(args: argparse.Namespace, jobs: list[Job]) -> None:
    if args.json:
        print(json.dumps(jobs[0].told if args.id else {"jobs": [job.told for job in jobs]}), flush=True)
    elif args.id:
        _print_one(jobs[0])
    elif sys.stdout.isatty():
        Console().print(_table(jobs))
    else:  # for cut and awk: nothing wrapped, nothing shortened
        print("\t".join(_HEADINGS))
        for job in jobs:
            print("\t".join(_row(job)), flush=True)


def _table(jobs: list[Job]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
    for job in jobs:
        table.add_row(*_row(job))
    return table


def _row(job: Job) -> list[str]:
    began, ended = job.started_at, job.ended_at
    took = f"{ended - began:.1f} s" if began and ended else ""
    share = "" if job.status == "queued" else f"{job.progress:.0%}"
    told = [job.id, job.image_name, job.pipeline, doing(job), share, _age(job.created_at), took]
    return [printable(one) for one in told]


def _age(created_at: float) -> str:
    seconds = max(0, int(time.time() - created_at))
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"


def _print_one(job: Job) -> None:
    told = {
        "id": job.id,
        "picture": job.image_name,
        "pipeline": job.pipeline,
        "status": doing(job),
        "progress": f"{job.progress:.0%} {eta(job)}".strip(),
        "age": _age(job.created_at),
        "attempts": job.told.get("attempts"),
        "error": f"{job.error} ({job.error_kind})" if job.error else None,
        "warning": "; ".join(job.warnings),
        "files": ", ".join(sorted(job.files)),
    }
    for name, value in told.items():
        if value not in (None, ""):
            print(f"{name:<9} {printable(str(value))}")
