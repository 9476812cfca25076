"""The first stage's result: pictures of all sides and a rough shape; as the files it publishes, and read again.

Views: front, right, back, left, face. Letters: S = 768 side of a picture.
"""

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geometry.mesh import Floats, Ints, Pixels
from pipelines import files
from pipelines.errors import InputError
from pipelines.slat import voxels
from pipelines.synchuman.cubes import cubes_ply
from pipelines.synchuman.params import NUM_VIEWS
from pipelines.synchuman.preparation import FACE_BOX, LONGEST, SIDE

LATENT = "latent.npz"
_KINDS = ("color", "normal")


@dataclass(frozen=True, eq=False)
class FirstStage:
    """
    Attributes:
        coords: (N, 3) int32 voxels, ascending; +Z up, the front towards -Y.
        resolution: voxels along a side of their grid.
        colour, normal: (5, S, S, 3) uint8.
        rgba: (H, W, 4) uint8, the picture that the second stage is shown.
    """

    coords: Ints
    resolution: int
    colour: Pixels
    normal: Pixels
    rgba: Pixels

    def write(self, folder: Path) -> None:
        """All files of the stage, the same bytes every time."""
        for name, data in self._pngs.items():
            files.write(folder / f"{name}.png", data)
        side_by_side = np.stack([self.colour, self.normal], axis=1).reshape(-1, SIDE, SIDE, 3)
        files.write(folder / "concat.png", files.png(np.hstack(list(side_by_side))))
        files.write(folder / "voxel.ply", cubes_ply(self.coords))
        self.write_latent(folder / LATENT)

    def write_latent(self, path: Path) -> None:
        """An .npz of `coords` (N, 4) float32 rows (0, x, y, z) and of every picture's PNG bytes."""
        stream = io.BytesIO()  # not compressed: a PNG does not get smaller
        pictures: dict[str, Any] = {name: np.frombuffer(data, np.uint8) for name, data in self._pngs.items()}
        np.savez(stream, coords=voxels.rows_of(self.coords), **pictures)
        files.write(path, stream.getvalue())

    def preview(self) -> bytes:
        """A GLB of the voxels as blocks."""
        return voxels.preview(self.coords, self.resolution)

    @cached_property
    def _pngs(self) -> dict[str, bytes]:
        """Stem of a file → its bytes."""
        return {name: files.png(picture) for name, picture in zip(_names(), self._pictures(), strict=True)}

    def _pictures(self) -> list[Pixels]:
        return [*self.colour, *self.normal, self.rgba]


def first_stage(
    coords: Ints, resolution: int, normal: Floats, colour: Floats, body: Floats, rgba: Pixels
) -> FirstStage:
    """What is made of the decoded pictures.

    Args:
        normal: (5, S, S, 3) in [0, 1].
        colour: (4, S, S, 3) of all but the front.
        body: (S, S, 3) of the picture on white, which is the front.
        rgba: (H, W, 4) uint8, the picture for the second stage.
    """
    pasted = normal.copy()
    left, top, right, bottom = FACE_BOX
    # Every third pixel from the second on is what bilinear sampling of a third of the size gives.
    pasted[0, top:bottom, left:right] = normal[-1, 1::3, 1::3]
    whole = np.concatenate([body[None], colour])
    return FirstStage(coords, resolution, _rounded(whole), _rounded(pasted), rgba)


def _rounded(pictures: Floats) -> Pixels:
    return np.clip(np.floor(pictures * np.float32(255) + np.float32(0.5)), 0, 255).astype(np.uint8)


def read_first_stage(path: Path, resolution: int) -> FirstStage:
    """What `FirstStage.write_latent` has written.

    Args:
        resolution: of the model that shall go on from it.
    Raises:
        InputError: the file is something else, or is damaged.
    """
    (rows,) = voxels.read_arrays(path, ("coords",))
    coords = voxels.coords_of(path, rows, resolution)
    try:
        stored = voxels.read_arrays(path, _names())
    except InputError as error:
        raise voxels.foreign(path, f"it has no pictures as SyncHuman's have ({error.__cause__})") from error
    *views, rgba = (_decoded(path, *one) for one in zip(_names(), stored, strict=True))
    return FirstStage(coords, resolution, np.stack(views[:NUM_VIEWS]), np.stack(views[NUM_VIEWS:]), rgba)


def _decoded(path: Path, name: str, data: Pixels) -> Pixels:
    is_input = name == "input"
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=["PNG"]) as image:
            fits = max(image.size) <= LONGEST if is_input else image.size == (SIDE, SIDE)
            if not fits or image.mode != ("RGBA" if is_input else "RGB"):
                raise voxels.foreign(path, f"{name} is {image.mode} of {image.width} x {image.height} pixels")
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise voxels.foreign(path, f"{name} is no PNG ({error})") from error


def _names() -> list[str]:
    """Of the pictures, as their files are called."""
    return [f"{kind}_{view}" for kind in _KINDS for view in range(NUM_VIEWS)] + ["input"]
