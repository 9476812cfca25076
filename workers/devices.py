"""Which devices there are and how full they are, asked without starting CUDA."""

import contextlib
import fcntl
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


def lane(device: str) -> str:
    """The queue a device's worker listens to: exactly one, because RQ loses jobs between two."""
    return device.partition(":")[0]


def visible() -> list[str]:
    """Every CUDA device this process may use, then the CPU, which serves what needs no accelerator."""
    found = _query("index")
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        found = found[: len([part for part in allowed.split(",") if part.strip()])]
    return [f"cuda:{index}" for index in range(len(found))] + ["cpu"]


def memory_mb(device: str) -> tuple[int, int]:
    """(total, free) MiB of the device's memory; zeros when it will not say."""
    kind, _, index = device.partition(":")
    if kind == "cuda":
        rows = _query("memory.total,memory.free", index)
        total, _, free = rows[0].partition(",") if rows else ("0", "", "0")
        return int(total), int(free)
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
    with open(folder / device.replace(":", ""), "w") as lock:
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
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return []
    return answer.stdout.split("\n")[:-1] if answer.returncode == 0 else []
