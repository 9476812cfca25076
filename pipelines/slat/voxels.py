"""Occupied voxels as they are published: as rows of a file, and as blocks to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geometry.blocks import blocks
from geometry.export import EXPORTERS
from geometry.mesh import Floats, Ints, Material
from pipelines.errors import InputError

_SHOWN = 8_000  # voxels; more are shown at half the resolution
_CLAY = 0.8


def rows_of(coords: Ints) -> Floats:
    """(N, 4) float32 rows (0, x, y, z) of (N, 3) voxels, as the reference writes them."""
    return np.concatenate([np.zeros((len(coords), 1)), coords], axis=1).astype(np.float32)


def preview(coords: Ints, resolution: int) -> bytes:
    """A GLB of the voxels as blocks."""
    coarser = len(coords) > _SHOWN
    shown = np.unique(coords // 2, axis=0) if coarser else coords
    mesh = blocks(shown, resolution // 2 if coarser else resolution)
    return EXPORTERS["glb"](mesh, Material(roughness=_CLAY))


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """The arrays of an .npz that an earlier job has published.

    Raises:
        InputError: the file is something else, or is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
        raise foreign(path, str(error)) from error


def coords_of(path: Path, rows: Ints, resolution: int) -> Ints:
    """(N, 3) int32 voxels of the rows that `path` has.

    Raises:
        InputError: they are no rows of one object's voxels.
    """
    if fault := _fault(rows, resolution):
        raise foreign(path, fault)
    return rows[:, 1:].astype(np.int32)


def foreign(path: Path, fault: str) -> InputError:
    """That a file is not what an earlier job has published."""
    return InputError(f"{path.name} is no structure of an earlier job: {fault}; run stage1 again")


def _fault(rows: Ints, resolution: int) -> str:
    """What is wrong with them; empty when nothing is."""
    if rows.ndim != 2 or rows.shape[1] != 4 or not 1 <= len(rows) <= resolution**3 or rows.dtype.kind not in "fiu":
        return f"coords are {rows.dtype} {rows.shape}, not (N, 4)"
    if not (np.isfinite(rows).all() and (rows == np.floor(rows)).all()):
        return "coords are not whole numbers"
    if rows[:, 0].any() or rows.min() < 0 or rows.max() >= resolution:
        return f"coords leave the {resolution} cubed grid of one object"
    if len(np.unique(rows, axis=0)) < len(rows):
        return "a voxel comes twice"
    return ""
