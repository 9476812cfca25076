"""`maquette cancel`: stops jobs; what has ended is left alone unless it is to be deleted."""

import argparse
import json
import sys

from maquette_client.cli.display import printable
from maquette_client.cli.exits import Exit, exit_of
from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError

SUMMARY = "cancel waiting or running jobs"
DETAILS = """A job that has ended already is left as it is, and the exit status is 1; with --delete it is removed from
the service together with its files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.add_argument("--delete", action="store_true", help="also delete what has ended, with its files")


def run(client: MaquetteClient, args: argparse.Namespace) -> int:
    worst = Exit.OK
    for job_id in args.ids:
        try:
            found, status, said = _cancel(client, job_id, args.delete)
        except MaquetteError as error:
            found, status, said = exit_of(error), "", str(error)
        worst = worst or found
        if args.json:
            told = {"request_id": job_id, "status": status or None, "error": said if found else None}
            print(json.dumps(told), flush=True)
        else:
            print(f"{job_id}: {printable(said)}", file=sys.stderr if found else sys.stdout)
    return worst


def _cancel(client: MaquetteClient, job_id: str, delete: bool) -> tuple[Exit, str, str]:
    ended = client.job(job_id).ended
    status = client.cancel(job_id)
    if not ended and status in ("processing", "cancelled"):
        return Exit.OK, status, "cancelled" if status == "cancelled" else "is being cancelled"
    if not delete:
        return Exit.FAILED, status, f"it has ended already ({status}); --delete removes it"
    client.delete(job_id)
    return Exit.OK, status, "deleted"
