"""`maquette download`: the files of a job that was handed in before."""

import argparse

from maquette_client.cli.batch import Batch, Outcome
from maquette_client.cli.display import display
from maquette_client.cli.generate import Report, fetcher, interrupted
from maquette_client.cli.options import add_files, add_timeout
from maquette_client.cli.pictures import Task
from maquette_client.client import MaquetteClient

SUMMARY = "fetch the files of a job, once it has ended"
DETAILS = """Waits for the job first if it still goes on. Files that are there already and unharmed are not fetched
again. Several jobs get a folder each, named by their ids."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="+", metavar="ID")
    add_files(parser)
    add_timeout(parser)


def run(client: MaquetteClient, args: argparse.Namespace) -> int:
    ids = list(dict.fromkeys(args.ids))
    todo = [Task(job_id, [], args.out / job_id if len(ids) > 1 else args.out) for job_id in ids]
    with display(len(todo), args.json) as shown:
        report = Report(shown, args)
        fetch = fetcher(client, args.files, args.formats)
        batch = Batch(client, lambda task: client.job(task.title), fetch, 4, args.timeout, shown, report.ended)
        try:
            return batch.run(todo)
        except KeyboardInterrupt:
            left: list[Outcome] = batch.stop()
    return interrupted(client, left, args)
