"""Options that several commands share."""

import argparse
from pathlib import Path

from maquette_client.cli.formats import Format, formats


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Where the service is, and how to answer."""
    parser.add_argument("--url", help="the service (default: MAQUETTE_URL, else http://127.0.0.1:6006)")
    parser.add_argument("--api-key", metavar="KEY", help="better in MAQUETTE_API_KEY: a command line can be seen")
    parser.add_argument("--json", action="store_true", help="answer in JSON on stdout, one object a line")


def add_files(parser: argparse.ArgumentParser) -> None:
    """Which files to fetch, and where to."""
    parser.add_argument("-o", "--out", type=Path, default=Path("out"), metavar="FOLDER", help="default: out")
    parser.add_argument(
        "--files", type=_names, default=["*"], metavar="NAMES", help="only these, as output.glb,stage1_output/*"
    )
    parser.add_argument(
        "--as",
        type=_formats,
        default=[],
        dest="formats",
        metavar="FORMATS",
        help="the asset in these formats as well: stl,obj,ply,usdz,zip,glb+draco,glb+meshopt+webp",
    )


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """How long to wait for a job."""
    parser.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds to wait for each (3600)")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _formats(text: str) -> list[Format]:
    try:
        return formats(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
