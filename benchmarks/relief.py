"""How long the relief pipeline takes from submit to complete, all files included, for pictures of 512 px.

`python -m benchmarks.relief [--json]`. Every GLB is checked. `cpu_s` is what the device process used of one core.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

from PIL import Image

from examples.demo import examples
from geometry.inspect import inspect_glb
from maquette_client.service import LocalService

SIDE = 512


def shrunk(picture: Path, folder: Path) -> Path:
    """A copy of the picture whose longer side is 512 px."""
    path = folder / picture.name
    with Image.open(picture) as image:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.save(path, quality=92)
    return path


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds and core seconds of each single-picture example."""
    found = {}
    with tempfile.TemporaryDirectory(dir=".") as folder, LocalService(Path(folder, "data")) as service:
        client = service.client()
        (device,) = service.pids("workers.child")
        for name, pictures in examples():
            if len(pictures) > 1:
                continue
            picture, seconds, cores = shrunk(pictures[0], Path(folder)), [], []
            for _ in range(rounds):
                used = cpu_seconds(device)
                job = client.wait(client.submit(picture).id)
                seconds.append(job.told["ended_at"] - job.told["created_at"])
                cores.append(cpu_seconds(device) - used)
                report = inspect_glb(client.read(job, "output.glb"))
                assert report.sound, f"{name}: {report.problems}"
            found[name] = {"s": round(statistics.median(seconds), 2), "cpu_s": round(statistics.median(cores), 2)}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    parser.add_argument("--rounds", type=int, default=3, help="runs per picture")
    args = parser.parse_args()
    found = measure(args.rounds)
    if args.json:
        print(json.dumps(found))
    else:
        for name, figures in found.items():
            print(f"{name:<12} {figures['s']:>6.2f} s  {figures['cpu_s']:>6.2f} s of one core")
    return 0


if __name__ == "__main__":
    sys.exit(main())
