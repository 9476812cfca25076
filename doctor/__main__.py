"""`python -m doctor`: tells a person or, with --json, a program."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from doctor import CHECKS, examine
from doctor.findings import LEVELS, Finding

_SIGNS = {"ok": "ok", "note": "note", "warning": "WARNING", "problem": "PROBLEM"}
_COLOURS = {"ok": "32", "note": "36", "warning": "33", "problem": "1;31"}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 1 when something is a problem."""
    parser = argparse.ArgumentParser("./setup.sh doctor", description="What this machine can run, and what is missing.")
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"only these: {', '.join(CHECKS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args(argv)
    unknown = [group for group in args.groups if group not in CHECKS]
    if unknown:
        parser.error(f"there is no group {unknown[0]!r}; use {', '.join(CHECKS)}")
    found = examine(args.groups or CHECKS)
    counts = _json(found) if args.json else _text(found)
    return 1 if counts["problem"] else 0


def _json(found: Iterable[tuple[str, Finding]]) -> dict[str, int]:
    findings = [{"group": group, **asdict(finding)} for group, finding in found]
    counts = {level: sum(one["level"] == level for one in findings) for level in LEVELS}
    print(json.dumps({"ok": counts["problem"] == 0, "counts": counts, "findings": findings}))
    return counts


def _text(found: Iterable[tuple[str, Finding]]) -> dict[str, int]:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    counts, last = dict.fromkeys(LEVELS, 0), ""
    for group, finding in found:
        if group != last:
            print(f"{os.linesep if last else ''}{_painted(group, '1', colour)}", flush=True)
            last = group
        counts[finding.level] += 1
        sign = _painted(f"{_SIGNS[finding.level]:>8}", _COLOURS[finding.level], colour)
        print(f"{sign}  {finding.name}: {finding.said}", flush=True)
        if finding.remedy:
            print(f"{'':>8}  -> {finding.remedy}", flush=True)
    print(f"\n{counts['problem']} problem(s), {counts['warning']} warning(s), {counts['note']} note(s)")
    return counts


def _painted(text: str, code: str, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


if __name__ == "__main__":
    sys.exit(main())
