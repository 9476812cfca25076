"""Which devices there are and how full they are, asked without starting CUDA."""

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

log = logging.getLogger(__name__)

_MEMORY_CACHE_S = 30.0
_memory_seen: dict[str, tuple[float, tuple[int, int]]] = {}


def lane(device: str) -> str:
    """The queue a device's worker listens to: exactly one, because RQ loses jobs between two."""
    return device.partition(":")[0]


def visible() -> list[str]:
    """Every CUDA device this process may use, then the CPU, which serves what needs no accelerator."""
    return [f"cuda:{index}" for index in range(len(_indices()))] + ["cpu"]


def _indices() -> list[str]:
    """What nvidia-smi calls the devices that CUDA numbers 0, 1, … in this process."""
    found = _query("index")
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return found
    # CUDA reads the list up to the first entry it does not know; -1 is the customary way to say none.
    return list(takewhile(lambda name: name in found or name.startswith("GPU-"), map(str.strip, allowed.split(","))))


def memory_mb(device: str) -> tuple[int, int]:
    """(total, free) MiB of the device's memory, as of half a minute ago at most; zeros when it will not say."""
    seen, answer = _memory_seen.get(device, (float("-inf"), (0, 0)))
    if time.monotonic() - seen > _MEMORY_CACHE_S:
        answer = _cuda_memory_mb(device) if lane(device) == "cuda" else _host_memory_mb()
        _memory_seen[device] = (time.monotonic(), answer)
    return answer


def _cuda_memory_mb(device: str) -> tuple[int, int]:
    indices = _indices()
    index = int(device.partition(":")[2] or 0)
    rows = _query("memory.total,memory.free", indices[index]) if index < len(indices) else []
    total, _, free = rows[0].partition(", ") if rows else ("", "", "")
    return (int(total), int(free)) if total.isdigit() and free.isdigit() else (0, 0)


def _host_memory_mb() -> tuple[int, int]:
    values = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, amount = line.partition(":")
        values[name] = int(amount.split()[0]) // 1024
    return values.get("MemTotal", 0), values.get("MemAvailable", 0)


@contextlib.contextmanager
def held(device: str, data_dir: Path) -> Iterator[None]:
    """Holds the device for this process; a second worker for it stands by until the first has gone."""
    folder = data_dir / "devices"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{socket.gethostname()}-{device.replace(':', '')}"  # several hosts may mount the same folder
    with open(folder / name, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another worker holds %s; standing by", device)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _query(fields: str, index: str = "") -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits", *([f"--id={index}"] if index else [])]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=3)
    except subprocess.TimeoutExpired:
        return []
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []
