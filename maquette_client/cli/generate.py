"""`maquette generate`: pictures in, assets out."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from maquette_client.cli.batch import Batch, Fetch, Outcome
from maquette_client.cli.display import Display, display
from maquette_client.cli.exits import Exit
from maquette_client.cli.formats import Format
from maquette_client.cli.options import add_files, add_timeout
from maquette_client.cli.pictures import Task, UsageError, found, tasks
from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError
from maquette_client.records import Job

STAGES = ("both", "stage1", "stage2")
SUMMARY = "turn pictures into 3D assets"
DETAILS = """One picture is one job, and its files go to the output folder. Several pictures are one job each, and each
gets a folder of its own named after it; so does a folder of pictures. With --views several pictures are the sides of
one object, and one job. With --from there are no pictures: the second stage is run again on the structure of an earlier
job. The path of each asset is printed on stdout, everything else on stderr."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="*", type=Path, metavar="PICTURE", help="a PNG, JPEG or WebP, or a folder")
    add_files(parser)
    parser.add_argument("--views", help="the pictures are sides of one object: front,back,left,right, in their order")
    parser.add_argument("--pipeline", help="default: the service decides")
    parser.add_argument("--stage", choices=STAGES, help="of a model that has stages: only the first, or the second")
    parser.add_argument("--from", metavar="JOB", dest="source", help="go on from this job's structure: --stage stage2")
    parser.add_argument("--seed", type=int, help="the same seed gives the same bytes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="params", help="any parameter; may be repeated"
    )
    parser.add_argument("--webhook-url", help="the service calls it when a job has ended")
    parser.add_argument("--no-wait", action="store_true", help="hand in, print the ids, and leave")
    parser.add_argument("--parallel", type=_count, default=8, metavar="N", help="jobs under way at once (default 8)")
    parser.add_argument("--skip-done", action="store_true", help="leave out pictures whose manifest.json is there")
    parser.add_argument("--key", help="with the same key, picture and parameters, a repeated command finds its old job")
    parser.add_argument("--cancel-on-interrupt", action="store_true", help="Ctrl-C also cancels what was handed in")
    add_timeout(parser)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; use a whole number from 1")
    return int(text)


def run(client: MaquetteClient, args: argparse.Namespace) -> int:
    """Does it.

    Raises:
        UsageError: the command line cannot be carried out.
    """
    params = _params(args)
    todo = _todo(args)
    if args.skip_done:
        todo = [task for task in todo if not (task.folder / "manifest.json").exists()]
    fetch = None if args.no_wait else fetcher(client, args.files, args.formats)
    with display(len(todo), args.json) as shown:
        if not todo:
            shown.note("every picture is done already")
        report = Report(shown, args)
        submit = _submitter(client, params, args.key)
        batch = Batch(client, submit, fetch, args.parallel, args.timeout, shown, report.ended)
        try:
            return batch.run(todo)
        except KeyboardInterrupt:
            left = batch.stop()
    return interrupted(client, left, args)


def _todo(args: argparse.Namespace) -> list[Task]:
    if args.source is None:
        if args.stage == "stage2":
            raise UsageError("--stage stage2 goes on from an earlier job; name it with --from")
        if not args.pictures:
            raise UsageError("name a picture, or an earlier job with --from")
        return tasks(found(args.pictures), args.views, args.out)
    if args.pictures or args.views or args.stage not in (None, "stage2"):
        raise UsageError("--from takes no pictures, no --views and no other --stage than stage2")
    return [Task(f"again from {args.source}", [], args.out)]


def _params(args: argparse.Namespace) -> dict[str, str]:
    params = {}
    for text in args.params:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--set is {text!r}; write it as name=value")
        params[name] = value
    named = {"pipeline": args.pipeline, "seed": args.seed, "views": args.views, "webhook_url": args.webhook_url}
    named |= {"stage": "stage2" if args.source else args.stage, "job_id": args.source}
    return params | {name: str(value) for name, value in named.items() if value is not None}


def _submitter(client: MaquetteClient, params: dict[str, str], key: str | None) -> Callable[[Task], Job]:
    def submit(task: Task) -> Job:
        if key is None:
            return client.submit(task.pictures, **params)
        own = task.key(key, params)
        try:
            return client.submit(task.pictures, own, **params)
        except MaquetteError as error:
            if error.code != "gone":
                raise
            return client.submit(task.pictures, **params)  # the old one has been removed from the service since

    return submit


def fetcher(client: MaquetteClient, names: list[str], wanted: list[Format]) -> Fetch:
    """Brings the chosen files of a job, and its asset in the chosen formats."""

    def fetch(job: Job, folder: Path, on_bytes: Callable[[int], None]) -> list[Path]:
        paths = client.download(job, folder, names, on_bytes)
        for one in wanted:
            paths.append(client.convert(job, folder / one.filename, one.to, **one.options))
        return paths

    return fetch


class Report:
    """Tells the user of each job as it ends."""

    def __init__(self, shown: Display, args: argparse.Namespace) -> None:
        self._shown = shown
        self._args = args
        self._warned: set[str] = set()

    def ended(self, outcome: Outcome) -> None:
        if self._args.json:
            print(json.dumps(outcome.told()), flush=True)
            return
        for warning in outcome.job.warnings if outcome.job else []:
            if warning not in self._warned:
                self._shown.note(f"note: {warning}")
            self._warned.add(warning)
        self._shown.finish(outcome.task.title, sentence(outcome), outcome.error is None)
        if outcome.error is None and outcome.job is not None:
            print(_result(outcome), flush=True)


def sentence(outcome: Outcome) -> str:
    """How it ended, in one line."""
    if outcome.error:
        return f"{outcome.error}"
    assert outcome.job is not None
    if not outcome.paths:
        return f"handed in as {outcome.job.id}"
    return f"{outcome.job.status} by {outcome.job.pipeline} in {outcome.seconds:.1f} s, {len(outcome.paths)} files"


def _result(outcome: Outcome) -> str:
    """What a script wants to go on with: the asset, else the folder; without waiting the id."""
    assert outcome.job is not None
    if not outcome.paths:
        return outcome.job.id
    return str(next((path for path in outcome.paths if path.name == "output.glb"), outcome.task.folder))


def interrupted(client: MaquetteClient, left: Sequence[Outcome], args: argparse.Namespace) -> int:
    """Says what goes on without us, or cancels it where that was asked for."""
    same = ["--url", args.url] if args.url else []
    if not left:
        print("interrupted; `maquette status` lists what was handed in", file=sys.stderr)
    for outcome in left:
        if outcome.job is None:
            print(f"{outcome.task.title} was not yet accepted, or just so; `maquette status` tells", file=sys.stderr)
            continue
        job_id = outcome.job.id
        if getattr(args, "cancel_on_interrupt", False):
            print(f"{outcome.task.title}: {_cancel(client, job_id)}", file=sys.stderr)
            continue
        again = shlex.join(["maquette", "download", job_id, "-o", str(outcome.task.folder), *same])
        stop = shlex.join(["maquette", "cancel", job_id, *same])
        print(f"{outcome.task.title} goes on as {job_id}", file=sys.stderr)
        print(f"  fetch it:  {again}\n  cancel it: {stop}", file=sys.stderr)
    return Exit.INTERRUPTED


def _cancel(client: MaquetteClient, job_id: str) -> str:
    try:
        if client.job(job_id).ended:
            return "it had ended already"
        client.cancel(job_id)
        deadline = time.monotonic() + 5
        while not (job := client.job(job_id)).ended and time.monotonic() < deadline:
            time.sleep(0.1)
        return job.status if job.ended else "is being cancelled"
    except MaquetteError as error:
        return f"could not be cancelled: {error}"
