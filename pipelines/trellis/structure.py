"""The first stage's result: which voxels an object fills, with the pictures it was made from; as a file, and to see."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.mesh import Ints, Pixels
from pipelines import files
from pipelines.slat import voxels
from pipelines.slat.pictures import SIDE

_MOST_PICTURES = 256


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
        stream = io.BytesIO()
        np.savez_compressed(stream, coords=voxels.rows_of(self.coords), images=self.squares)
        files.write(path, stream.getvalue())

    def preview(self) -> bytes:
        """A GLB of the voxels as blocks."""
        return voxels.preview(self.coords, self.resolution)


def read_structure(path: Path, resolution: int) -> Structure:
    """What `Structure.write` has written.

    Args:
        resolution: of the model that shall go on from it.

    Raises:
        InputError: the file is something else, or is damaged.
    """
    rows, squares = voxels.read_arrays(path, ("coords", "images"))
    coords = voxels.coords_of(path, rows, resolution)
    if squares.shape[1:] != (SIDE, SIDE, 3) or squares.dtype != np.uint8 or not 1 <= len(squares) <= _MOST_PICTURES:
        fault = f"images are {squares.dtype} {squares.shape}, not (V, {SIDE}, {SIDE}, 3) uint8"
        raise voxels.foreign(path, fault)
    return Structure(coords, resolution, squares)
