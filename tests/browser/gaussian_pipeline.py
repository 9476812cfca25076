"""A pipeline whose result is a ball of Gaussians, as learned models write them; served to the tests as a plug-in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pipelines import Entry
from pipelines.base import Kept, Params, Pipeline, Progress, Result

PIPELINES = {
    "gaussians": Entry(f"{__name__}:GaussianParams", f"{__name__}:GaussianPipeline", "cpu"),
}
FIELDS = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
FIELDS += ["rot_0", "rot_1", "rot_2", "rot_3"]
COLOUR = (0.9, 0.15, 0.1)
_SH_0 = 0.28209479177387814  # the constant spherical harmonic


class GaussianParams(Params):
    """How many."""

    count: int = Field(3000, ge=1, le=100_000, description="Gaussians on the ball")


class GaussianPipeline(Pipeline):
    """Writes the file and nothing else."""

    PLAN: ClassVar[dict[str, float]] = {"write": 1.0}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        (out / "gaussians.ply").write_bytes(ball(params.count))
        progress("write", 1, 1)
        return Result(facts={"learned": False})


def ball(count: int) -> bytes:
    """A red ball of radius 0.5 in the layout of 3D Gaussian splatting: float32 rows, logarithmic scales."""
    turn = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    height = np.linspace(1, -1, count)
    ring = np.sqrt(1 - height**2)
    rows = np.zeros((count, len(FIELDS)), np.float32)
    rows[:, :3] = 0.5 * np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], axis=1)
    rows[:, 3:6] = (np.array(COLOUR) - 0.5) / _SH_0
    rows[:, 6] = 5.0  # before the sigmoid: nearly opaque
    rows[:, 7:10] = np.log(0.03)
    rows[:, 10] = 1.0  # no rotation
    properties = "".join(f"property float {name}\n" for name in FIELDS)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}end_header\n"
    return head.encode() + rows.tobytes()
