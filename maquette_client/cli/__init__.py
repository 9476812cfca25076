"""The `maquette` command: what the client can do, from a shell."""

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from maquette_client.cli import cancel, download, generate, status, workers
from maquette_client.cli.display import printable
from maquette_client.cli.exits import MEANING, Exit, exit_of
from maquette_client.cli.options import add_connection
from maquette_client.cli.pictures import UsageError
from maquette_client.client import MaquetteClient
from maquette_client.errors import MaquetteError

DEFAULT_URL = "http://127.0.0.1:6006"


class Command(NamedTuple):
    """One word after `maquette`."""

    summary: str
    details: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[MaquetteClient, argparse.Namespace], int]


COMMANDS: dict[str, Command] = {
    name: Command(module.SUMMARY, module.DETAILS, module.add_arguments, module.run)
    for name, module in {
        "generate": generate,
        "status": status,
        "cancel": cancel,
        "download": download,
        "workers": workers,
    }.items()
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    found = argparse.ArgumentParser(
        "maquette",
        description="Images to 3D assets, by a Maquette service.",
        epilog=MEANING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("--version", action="version", version=_version())
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.summary,
            description=textwrap.fill(f"{command.summary[0].upper()}{command.summary[1:]}. {command.details}", 100),
            epilog=MEANING,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(one)
        add_connection(one)
    return found


def _version() -> str:
    try:
        return f"maquette {version('maquette')}"
    except PackageNotFoundError:
        return "maquette, from a source tree"


def main(argv: Sequence[str] | None = None) -> int:
    """Carries out one command; its exit status."""
    args = parser().parse_args(argv)
    url = args.url or os.environ.get("MAQUETTE_URL") or DEFAULT_URL
    try:
        client = MaquetteClient(url, args.api_key or os.environ.get("MAQUETTE_API_KEY", ""))
    except ValueError as error:
        return _said(error, Exit.USAGE)
    try:
        return int(COMMANDS[args.command].run(client, args))
    except UsageError as error:
        return _said(error, Exit.USAGE)
    except MaquetteError as error:
        return _said(error, exit_of(error))
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except OSError as error:
        return _said(error, Exit.FAILED)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _said(error: Exception, found: Exit) -> int:
    hint = ""
    if found == Exit.AWAY:
        hint = " (another address: --url or MAQUETTE_URL)"
    elif found == Exit.DENIED:
        hint = " (MAQUETTE_API_KEY or --api-key)"
    print(f"maquette: {printable(str(error))}{hint}", file=sys.stderr)
    return found
