"""`maquette workers`: the devices behind the service and what they do."""

import argparse
import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from maquette_client.cli.display import printable
from maquette_client.cli.exits import Exit
from maquette_client.client import MaquetteClient

SUMMARY = "list the service's devices and what they do"
DETAILS = "The exit status is 3 when there is none: nothing would be carried out."

_HEADINGS = ("device", "host", "state", "memory free", "pipelines", "jobs done", "does")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(client: MaquetteClient, args: argparse.Namespace) -> int:
    workers = client.workers()
    if args.json:
        print(json.dumps({"workers": workers}))
    elif sys.stdout.isatty():
        table = Table(*_HEADINGS, box=None, pad_edge=False)
        for worker in workers:
            table.add_row(*_row(worker))
        Console().print(table)
    else:
        print("\t".join(_HEADINGS))
        for worker in workers:
            print("\t".join(_row(worker)))
    return Exit.OK if workers else Exit.AWAY


def _row(worker: dict[str, Any]) -> list[str]:
    job = worker.get("current_job") or {}
    does = f"{job['pipeline']} {job.get('stage', '')} {job.get('progress', 0):.0%}" if job else ""
    memory = f"{worker.get('memory_free_mb', 0) / 1024:.1f} of {worker.get('memory_total_mb', 0) / 1024:.1f} GiB"
    pipelines = ", ".join(worker.get("pipelines", []))
    name, host, state = (str(worker.get(key, "")) for key in ("device", "host", "state"))
    told = [name, host, state, memory, pipelines, str(worker.get("jobs_done", "")), does]
    return [printable(one) for one in told]
