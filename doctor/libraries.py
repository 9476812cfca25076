"""Libraries that must not only be there but work: one small call each, in a process of its own that may crash."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

from configs.settings import ROOT
from doctor.findings import Finding, note, ok, problem, warning
from doctor.probes import PROBES

_PATIENCE_S = 90.0


def check() -> Iterator[Finding]:
    """Every probe, two at a time: most of a probe is waiting for an import."""
    names = [name for name in PROBES if name != "torch"]  # the devices tell of torch
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(probe, names)


def probe(name: str) -> Finding:
    """What became of one probe."""
    wanted = PROBES[name]
    if find_spec(wanted.module) is None:
        if wanted.required:
            return problem(name, f"not installed; {wanted.purpose}", wanted.remedy)
        return note(name, f"not installed (optional): {wanted.purpose}", wanted.remedy)
    command = [sys.executable, "-m", "doctor.probes", name]
    try:
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        return _broken(name, f"no answer within {_PATIENCE_S:.0f} s")
    if ran.returncode < 0:
        return _broken(name, f"it crashed ({signal.Signals(-ran.returncode).name})")
    lines = ran.stdout.strip().splitlines()
    if ran.returncode or not lines:
        return _broken(name, (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1])
    told = json.loads(lines[-1])
    if told["level"] == "ok":
        return ok(name, told["said"])
    return note(name, told["said"]) if told["level"] == "note" else _broken(name, told["said"])


def _broken(name: str, said: str) -> Finding:
    wanted = PROBES[name]
    kind = problem if wanted.required else warning
    return kind(name, f"installed, but does not work: {said[:300]}", wanted.remedy)
