"""What computes: cores and memory, NVIDIA cards, and whether torch really reaches them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from configs.settings import load_settings
from doctor.findings import Finding, note, ok, problem, warning
from doctor.libraries import probe
from workers.devices import lane, memory_mb, visible

_LEAST_MB = 2048
_OLDEST_CARD = 7.5  # what torch 2.13's CUDA 13 builds carry kernels for
_CARD_LEAST_MB = 8192
_FIELDS = ("index", "name", "driver_version", "compute_cap", "memory.total", "memory.free")


def check() -> Iterator[Finding]:
    """Cores, memory, cards, torch, and the devices that were asked for."""
    yield _cores()
    yield _memory()
    cards = list(_cards())
    yield from cards
    yield _torch(bool(cards) and cards[0].level != "note")
    yield _wanted()


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup("cpu.max").split()
    limit = int(quota[0]) / int(quota[1]) if len(quota) == 2 and quota[0] != "max" else float(cores)
    said = f"{cores} CPU core(s)" + (f", of which this container may use {limit:.1f}" if limit < cores else "")
    return ok("cores", said) if limit >= 1 else warning("cores", said, "give the container a whole core at least")


def _memory() -> Finding:
    total, free = memory_mb("cpu")
    limit = _cgroup("memory.max")
    if limit.isdigit():
        free = min(free, (int(limit) - int(_cgroup("memory.current") or 0)) // 2**20)
    said = f"{free / 1024:.1f} of {total / 1024:.1f} GiB memory available"
    if free < _LEAST_MB:
        return warning("memory", said, "2 GiB should be free: a device process and the web tier need that much")
    return ok("memory", said)


def _cgroup(name: str) -> str:
    """A file of our control group; empty outside of one."""
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""


def _cards() -> Iterator[Finding]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield note("NVIDIA", "no nvidia-smi here, so no NVIDIA driver; relief runs on the CPU")
        return
    command = [program, f"--query-gpu={','.join(_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (subprocess.TimeoutExpired, OSError) as error:
        yield problem("NVIDIA", f"nvidia-smi does not answer: {error}", "restart the machine or its driver")
        return
    rows = [row.split(", ") for row in answer.stdout.splitlines()]
    if answer.returncode or not rows:
        said = (answer.stderr or answer.stdout).strip().splitlines() or ["it finds no card"]
        yield problem("NVIDIA", f"nvidia-smi: {said[0][:200]}", "install the driver that fits the card and the kernel")
        return
    for row in rows:
        yield _card(dict(zip(_FIELDS, row, strict=False)), ", ".join(row))


def _card(told: dict[str, str], line: str) -> Finding:
    try:
        free, total, able = int(told["memory.free"]), int(told["memory.total"]), float(told["compute_cap"])
    except (KeyError, ValueError):  # some cards answer [N/A] to some questions
        return note("card", f"nvidia-smi says only: {line}")
    name = f"card {told['index']}"
    said = (
        f"{told['name']}, driver {told['driver_version']}, compute capability {able}, "
        f"{free / 1024:.1f} of {total / 1024:.1f} GiB free"
    )
    if able < _OLDEST_CARD:
        return warning(name, said, "torch has no kernels for it any more; MAQUETTE_DEVICES=cpu, or an older torch")
    if free < _CARD_LEAST_MB:
        return warning(name, said, "see with nvidia-smi who uses it")
    return ok(name, said)


def _torch(cards: bool) -> Finding:
    """Whether torch computes, where the models would."""
    finding = probe("torch")
    if cards and finding.level == "ok" and "cuda" not in finding.said:
        remedy = "MAQUETTE_TORCH_INDEX=<index with builds for your CUDA> ./setup.sh --gpu"
        return problem("torch", f"there is a card, and torch does not reach it ({finding.said})", remedy)
    if finding.level in ("ok", "note"):
        return finding
    return problem(finding.name, finding.said, finding.remedy)


def _wanted() -> Finding:
    wanted, there = load_settings().devices, visible()
    gone = [name for name in wanted if name not in there and name != "auto" and lane(name) == "cuda"]
    if gone:
        said = f"MAQUETTE_DEVICES names {', '.join(gone)}; there is {', '.join(there)}"
        return problem("workers", said, "correct MAQUETTE_DEVICES")
    names = there if wanted == ("auto",) else list(wanted)
    return ok("workers", f"one AI worker each for {', '.join(names)}")
