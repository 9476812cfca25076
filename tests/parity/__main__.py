"""`python -m tests.parity DIR…`: exit status 1 when anything differs, is not known or cannot be compared."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from tests.parity import synchuman, trellis
from tests.parity.unit import Check, Unit

Compare = Callable[[Unit], list[Check]]
FAMILIES: dict[str, dict[str, Compare]] = {"trellis": trellis.UNITS, "synchuman": synchuman.UNITS}


def comparison(unit: Unit) -> Compare | None:
    """What compares this unit: by its family where a folder above names one, else by its name alone."""
    families = list(FAMILIES.values())
    for folder in unit.folder.resolve().parents:
        if named := FAMILIES.keys() & set(re.split("[^a-z0-9]", folder.name.lower())):
            families = [FAMILIES[name] for name in named]
            break
    found = [units[unit.name] for units in families if unit.name in units]
    return found[0] if len(found) == 1 else None


def units(folders: list[Path]) -> Iterator[Unit]:
    """The units at or below each folder."""
    for folder in folders:
        found = sorted(path.parent for path in folder.rglob("config.json"))
        yield from (Unit(path) for path in found or [folder])


def compare(unit: Unit) -> tuple[list[Check], str]:
    """The checks of a unit, and why there are none."""
    if not (unit.folder / "config.json").is_file():
        return [], f"{unit.folder} is no unit: it has no config.json"
    if (run := comparison(unit)) is None:
        return [], "no unit of this name is known"
    try:
        with torch.no_grad():
            return run(unit), ""
    except Exception as error:  # one broken unit must not hide the others
        return [], f"{type(error).__name__}: {error}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description="Compares units with the reference.")
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="a unit, or a folder of units")
    failed = total = 0
    for unit in units(parser.parse_args(arguments).folders):
        checks, problem = compare(unit)
        total += 1
        failed += not checks or not all(check.passed for check in checks)
        if not checks:
            print(f"FAIL {unit.name:28} {problem}")
        for check in checks:
            word = "ok  " if check.passed else "FAIL"
            print(f"{word} {unit.name:28} {check.output:24} error {check.error:.3g}  tolerance {check.tolerance:g}")
    print(f"{total - failed} of {total} units agree")
    return 1 if failed or not total else 0


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(main(sys.argv[1:]))
