"""The first stage's result: which voxels an object fills, with the pictures it was made from; as a file, and to see."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.blocks import blocks
from geometry.export import EXPORTERS
from geometry.mesh import Ints, Material, Pixels
from pipelines import files
from pipelines.errors import InputError
from pipelines.trellis.pictures import SIDE

_SHOWN = 8_000  # voxels; more are shown at half the resolution
_MOST_PICTURES = 256
_CLAY = 0.8


@dataclass(frozen=True, eq=False)
class Structure:
    """
    Attributes:
        coords: (N, 3) int32 voxels, ascending; +Z up, the front towards -Y.
        resolution: voxels along a side of their grid.
        squares: (V, S, S, 3) uint8 pictures as the image encoder is shown them.
    """

    coords: Ints
    resolution: int
    squares: Pixels

    def write(self, path: Path) -> None:
        """An .npz of `coords` (N, 4) float32 rows (0, x, y, z) and `images`; the same bytes every time."""
        rows = np.concatenate([np.zeros((len(self.coords), 1)), self.coords], axis=1).astype(np.float32)
        stream = io.BytesIO()
        np.savez_compressed(stream, coords=rows, images=self.squares)
        files.write(path, stream.getvalue())

    def preview(self) -> bytes:
        """A GLB of the voxels as blocks."""
        coarser = len(self.coords) > _SHOWN
        coords = np.unique(self.coords // 2, axis=0) if coarser else self.coords
        mesh = blocks(coords, self.resolution // 2 if coarser else self.resolution)
        return EXPORTERS["glb"](mesh, Material(roughness=_CLAY))


def read_structure(path: Path, resolution: int) -> Structure:
    """What `Structure.write` has written.

    Args:
        resolution: of the model that shall go on from it.

    Raises:
        InputError: the file is something else, or is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            rows, squares = arrays["coords"], arrays["images"]
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file
        raise InputError(f"{path.name} is no structure of an earlier job ({error}); run stage1 again") from error
    if fault := _fault(rows, squares, resolution):
        raise InputError(f"{path.name} is no structure of an earlier job: {fault}; run stage1 again")
    return Structure(rows[:, 1:].astype(np.int32), resolution, squares)


def _fault(rows: Ints, squares: Pixels, resolution: int) -> str:
    """What is wrong with the arrays; empty when nothing is."""
    if rows.ndim != 2 or rows.shape[1] != 4 or not 1 <= len(rows) <= resolution**3 or rows.dtype.kind not in "fiu":
        return f"coords are {rows.dtype} {rows.shape}, not (N, 4)"
    if not (np.isfinite(rows).all() and (rows == np.floor(rows)).all()):
        return "coords are not whole numbers"
    if rows[:, 0].any() or rows.min() < 0 or rows.max() >= resolution:
        return f"coords leave the {resolution} cubed grid of one object"
    if len(np.unique(rows, axis=0)) < len(rows):
        return "a voxel comes twice"
    if squares.shape[1:] != (SIDE, SIDE, 3) or squares.dtype != np.uint8 or not 1 <= len(squares) <= _MOST_PICTURES:
        return f"images are {squares.dtype} {squares.shape}, not (V, {SIDE}, {SIDE}, 3) uint8"
    return ""
