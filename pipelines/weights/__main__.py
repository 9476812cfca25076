"""`python -m pipelines.weights`: lists, fetches, checks and locates the weights of learned models."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from configs.hub import Hub, load_hub
from configs.settings import Settings, SettingsError, load_settings
from pipelines.weights.catalog import FAMILIES, command, family
from pipelines.weights.download import Told
from pipelines.weights.errors import UnknownFamily, WeightsError
from pipelines.weights.fetch import Wanted, fetch, room, wanted
from pipelines.weights.local import COMPLETE, Found, find, places
from pipelines.weights.sources import Sources, sources
from pipelines.weights.verify import verify

_BROKEN_OFF = 130  # what a shell says of a program that Ctrl-C has ended


class Tool:
    """One call of the command: what it looks at, and how it tells."""

    def __init__(self, settings: Settings, hub: Hub, as_json: bool) -> None:
        self._folder = settings.weights_dir
        self._hub = hub
        self._sources: Sources = sources(settings, hub)
        self._json = as_json

    def list(self) -> int:
        """What the catalogue has and what of it is here."""
        told = {name: self._described(name, find(name, self._sources)) for name in FAMILIES}
        for name, one in told.items():
            self._say(f"{name:<10} {one['state']:<9} {_gib(one['size']):>9}  {one['licence']:<22} {one['title']}")
        self._say(f"weights folder: {self._folder}")
        return self._end({"weights_dir": str(self._folder), "families": told}, True)

    def _described(self, name: str, found: Found) -> dict[str, Any]:
        entry = family(name)
        return {
            "title": entry.title,
            "state": found.state,
            "licence": ", ".join(dict.fromkeys(one.licence for one in entry.repositories)),
            "size": entry.size,
            "here": found.size,
            "get": command(name),
        }

    def where(self, name: str) -> int:
        """Where each file would be read from; status 1 when any is missing."""
        found = find(name, self._sources)
        for file, path in found.files.items():
            self._say(f"{file}: {path}")
        for one in family(name).repositories:
            if one.id not in found.folders:
                looked = ", ".join(str(place) for place in places(one, self._sources))
                self._say(f"{one.id}: nothing in {looked}")
        for file, reason in found.missing.items():
            if any(file.startswith(f"{repository}/") for repository in found.folders):
                self._say(f"{file}: {reason}")
        if found.missing:
            self._say(f"{name} is {found.state}; {command(name)}")
        told = {
            "family": name,
            "state": found.state,
            "folders": {repository: str(path) for repository, path in found.folders.items()},
            "files": {file: str(path) for file, path in found.files.items()},
            "missing": dict(found.missing),
        }
        return self._end(told, found.state == COMPLETE)

    def verify(self, name: str) -> int:
        """Reads every byte; status 1 when a file is wrong or missing."""
        verdicts = []
        with _progress() as bars:
            bar = bars.add_task("")

            def read(file: str, done: int, total: int) -> None:
                bars.update(bar, description=file, completed=done, total=total)

            for one in verify(name, self._sources, read):
                verdicts.append(one)
                self._say(f"{'WRONG' if one.fault else 'ok':<6} {one.name}: {one.fault or one.note or one.path}")
        wrong = {one.name: one.fault for one in verdicts if one.fault}
        if wrong:
            bad = [str(one.path) for one in verdicts if one.fault and one.path]
            first = f"delete {', '.join(bad)}, then: " if bad else ""
            self._say(f"{len(wrong)} of {len(verdicts)} files of {name} are wrong; {first}{command(name)}")
        return self._end({"family": name, "files": len(verdicts), "wrong": wrong}, not wrong)

    def get(self, name: str, yes: bool) -> int:
        """Fetches what is missing, after asking; needs no network when nothing is."""
        files = wanted(name, self._sources, self._folder)
        if files and not self._hub.offline:
            free = room(files, self._folder)
            self._show(name, files, free)
            if not yes and not self._agreed():
                return self._end({"family": name, "state": find(name, self._sources).state, "fetched": []}, False)
        with _progress() as bars:
            fetch(files, self._hub, lambda one: _bar(bars, one))
        found = find(name, self._sources)
        for file, reason in found.missing.items():
            self._say(f"{file}: {reason}")
        here = ", ".join(str(path) for path in found.folders.values())
        self._say(f"{name} is {found.state}: {here}" + ("; start the workers again to use it" if files else ""))
        told = {"family": name, "state": found.state, "fetched": [one.name for one in files]}
        return self._end(told, found.state == COMPLETE)

    def _show(self, name: str, files: Sequence[Wanted], free: int) -> None:
        """What is about to be fetched, under which licence, and where it goes."""
        self._say(family(name).title)
        for one in family(name).repositories:
            size = sum(file.left for file in files if file.repository is one)
            if size:
                self._say(f"  {one.id}  {_gib(size)}, licence {one.licence}: {one.page}")
        self._say(f"  to {self._folder}, where {_gib(free)} are free")

    def _agreed(self) -> bool:
        if not sys.stdin.isatty():
            raise WeightsError("nobody is here to agree to the licence and the download; add --yes")
        # On stderr, where `input` does not write: stdout may be a program's.
        print("Download under these licences? [y/N] ", end="", file=sys.stderr, flush=True)
        return input().strip().lower() in ("y", "yes")

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr if self._json else sys.stdout, flush=True)

    def _end(self, told: dict[str, Any], well: bool) -> int:
        if self._json:
            print(json.dumps({"ok": well, **told}))
        return 0 if well else 1


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars for a person who watches, on stderr; nothing where nobody does."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True))
    more = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, *more, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield bars


def _bar(bars: Progress, one: Wanted) -> Told:
    bar = bars.add_task(one.file.path, total=one.file.size)
    return lambda done, total: bars.update(bar, completed=done, total=total or None)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0 when all is as it should be."""
    parser = argparse.ArgumentParser("python -m pipelines.weights", description="The weights of learned models.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, help_ in (
        ("list", "what there is, under which licence, and what of it is here"),
        ("get", "download a family; shows its licence first, and asks"),
        ("verify", "read every byte and compare it with what was published"),
        ("where", "where each file would be read from"),
    ):
        one = verbs.add_parser(verb, help=help_, description=help_)
        one.add_argument("--json", action="store_true", help="one JSON object on stdout")
        if verb != "list":
            one.add_argument("family", help=", ".join(FAMILIES))
        if verb == "get":
            one.add_argument("--yes", action="store_true", help="agree to the licence and the download")
    args = parser.parse_args(argv)
    try:
        tool = Tool(load_settings(), load_hub(), args.json)
        words = {name: value for name, value in vars(args).items() if name not in ("verb", "json", "family")}
        return int(getattr(tool, args.verb)(*([args.family] if "family" in args else []), **words))
    except UnknownFamily as error:
        parser.error(str(error))
    except (WeightsError, SettingsError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("broken off; the same command goes on where it stopped", file=sys.stderr)
        return _BROKEN_OFF


if __name__ == "__main__":
    sys.exit(main())
