"""What each process loads, looked at from inside a fresh one."""

import subprocess
import sys

import pytest

from workers.processes import environment


@pytest.mark.parametrize(
    "modules", ["web, jobs.queue, storage", "workers.worker", "geometry.inspect, geometry.export, geometry.readers"]
)
def test_the_light_processes_load_nothing_heavy(modules: str) -> None:
    code = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    heavy = {"torch", "diffusers", "transformers", "numba", "cv2", "skimage"}
    assert not heavy & set(loaded.stdout.split())
