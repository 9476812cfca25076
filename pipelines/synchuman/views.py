"""The five pictures of a person that the first stage makes, and how the second stage sees them.

Letters: S side of a picture, P patches along it, F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geometry.mesh import Mask, Pixels
from pipelines.synchuman.params import UP_SIDE

VIEWS = ("front", "right", "back", "left", "face")
FACE = 4
BODY = slice(0, 4)
MIRRORED = frozenset({2, 3})  # their columns run along +x and +y, as those of the front and the right do
BLANK = 230  # where no channel of the normals is darker, there is nothing
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Patch tokens (1, P², F) of several layers of a network, of (1, 3, side, side) normalised pixels.
Encode = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, eq=False)
class MultiView:
    """Colours and normals on white, in the order of VIEWS, as they were generated: back and left are mirrored.

    Attributes:
        colour, normal: (5, S, S, 3) uint8.
    """

    colour: Pixels
    normal: Pixels

    def __post_init__(self) -> None:
        shape = self.colour.shape
        if shape != self.normal.shape or len(shape) != 4 or shape[0] != len(VIEWS) or shape[1] != shape[2]:
            raise ValueError(f"colours are {shape} and normals {self.normal.shape}; give 5 squares of each")

    def seen(self, view: int) -> tuple[Pixels, Mask]:
        """(S, S, 3) colours as a camera there sees them, and (S, S) where there is something."""
        turn = -1 if view in MIRRORED else 1
        something = (self.normal[view] < BLANK).any(axis=2)
        return self.colour[view][:, ::turn], something[:, ::turn]


def encoder_pictures(pictures: Pixels, side: int = UP_SIDE) -> Tensor:
    """(V, 3, side, side) normalised pixels of (V, S, S, 3) uint8."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
    larger = interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=False)
    return (larger - mean) / std


def feature_grid(pictures: Pixels, encode: Encode, side: int = UP_SIDE) -> Tensor:
    """(1, V, P, P, F) what the encoder sees in (V, S, S, 3) pictures, the features of its layers joined.

    Args:
        encode: called with one picture at a time, whose memory is the largest there is; it may move it to its device.
    """
    seen = [torch.cat(list(encode(pixels[None])), dim=2) for pixels in encoder_pictures(pictures, side)]
    patches = round(seen[0].shape[1] ** 0.5)
    return torch.stack(seen, dim=1).view(1, len(seen), patches, patches, -1)
