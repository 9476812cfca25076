"""Picture → the black-backed square that the image encoder is shown.

Letters: V views, S side of the square.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.errors import InputError
from pipelines.foreground import REMEDY, Cutout, Pixels, cut_out, read_picture

SIDE = 518
_MARGIN = 1.2  # side of the crop over the longer side of the object
_SOLID = 204  # alpha above which a pixel belongs to the object: 0.8 of 255
_OPAQUE_SHARE = 0.998  # of solid pixels, above which an alpha channel says nothing
_LONGEST_OPAQUE = 1024  # side to which an opaque picture is reduced before its background is found
_LONGEST = 8192
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the encoder was trained on


def prepare(path: Path) -> tuple[Pixels, Cutout]:
    """(S, S, 3) uint8 of the object on black, and how it was cut out.

    Raises:
        InputError: no object can be found in the picture.
    """
    cutout = _cut_out(read_picture(path, _LONGEST))
    return cropped(cutout.rgba), cutout


def _cut_out(rgba: Pixels) -> Cutout:
    alpha = rgba[..., 3]
    if alpha.min() < 255 and (alpha > _SOLID).mean() <= _OPAQUE_SHARE:
        return Cutout(rgba, "alpha")
    height, width = rgba.shape[:2]
    scale = min(1.0, _LONGEST_OPAQUE / max(height, width))
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    opaque = Image.fromarray(rgba[..., :3]).resize(size, Image.Resampling.LANCZOS)
    return cut_out(np.asarray(opaque.convert("RGBA")))


def cropped(rgba: Pixels) -> Pixels:
    """The object in the middle of a black square, its margin included.

    Raises:
        InputError: no pixel is solid enough.
    """
    rows, columns = np.nonzero(rgba[..., 3] > _SOLID)
    if len(rows) == 0:
        raise InputError(f"no pixel of the picture is more than {_SOLID} of 255 opaque; {REMEDY}")
    top, bottom, left, right = (int(edge) for edge in (rows.min(), rows.max(), columns.min(), columns.max()))
    x, y = (left + right) / 2, (top + bottom) / 2
    half = int(max(right - left, bottom - top) * _MARGIN) // 2
    # A single pixel has no extent, and Pillow takes no empty box.
    half = max(half, 1)
    box = (x - half, y - half, x + half, y + half)
    square = Image.fromarray(rgba).crop(box).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    colour = np.asarray(square).astype(np.float32) / 255
    return (colour[..., :3] * colour[..., 3:] * 255).astype(np.uint8)


def encoder_input(squares: Pixels, side: int) -> Tensor:
    """(V, 3, side, side) normalised pixels of (V, S, S, 3) uint8."""
    if squares.shape[1] != side:
        resized = [Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS) for square in squares]
        squares = np.stack([np.asarray(square) for square in resized])
    pixels = torch.from_numpy(squares.copy()).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    return (pixels - mean) / std
