"""Picture → the body and the face on white that the views are made of, and the square for the image encoder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import InputError
from pipelines.foreground import LONGEST_SIDE, Cutout, Floats, Pixels, cut_out, read_picture
from pipelines.slat.pictures import cropped
from pipelines.synchuman.params import VIEW_SIDE

SIDE = VIEW_SIDE
FACE_BOX = (256, 0, 512, 256)  # left, top, right, bottom of the face in the body's picture
LONGEST = 4096  # side of a picture; larger ones are reduced first
_FAINT = 10  # alpha up to which a pixel is not looked at where the published picture is cut
_ROOM = 1.1  # side of the published picture over the longer one of the person
_REMEDY = "send a PNG with transparency around the person, or set remove_background=true"


@dataclass(frozen=True, eq=False)
class Prepared:
    """
    Attributes:
        cutout: the person, at the picture's own size.
        body, face: (768, 768, 3) float32 in [0, 1], on white.
        square: (518, 518, 3) uint8, on black.
        published: (768, 768, 4) uint8, what the second stage goes on from.
    """

    cutout: Cutout
    body: Floats
    face: Floats
    square: Pixels
    published: Pixels


def prepare(path: Path, remove_background: bool = False) -> Prepared:
    """What the networks are shown of a picture file.

    Args:
        remove_background: finds the person in a picture without transparency.
    Raises:
        InputError: the file is no picture, has no transparency, or nothing opaque.
    """
    cutout = _cut_out(path, remove_background)
    body, face = body_and_face(cutout.rgba)
    shown = published(cutout.rgba)
    cropped(shown)  # what only the second stage could not use is told before anything is computed
    return Prepared(cutout, body, face, cropped(cutout.rgba), shown)


def _cut_out(path: Path, remove_background: bool) -> Cutout:
    rgba = read_picture(path, LONGEST_SIDE if remove_background else LONGEST)
    if remove_background:
        return cut_out(rgba)
    if rgba[..., 3].min() == 255:
        raise InputError(f"the picture is opaque. Input must include transparency: {_REMEDY}")
    return Cutout(rgba, "alpha")


def body_and_face(rgba: Pixels, longest: int = SIDE) -> tuple[Floats, Floats]:
    """(768, 768, 3) float32 on white, twice: the person as large as fits, and the middle of its top third.

    Args:
        longest: the longer side of the person.
    Raises:
        InputError: every pixel is transparent.
    """
    body = _placed(Image.fromarray(rgba).crop(_bounds(rgba[..., 3])), longest)
    return _on_white(body), _on_white(body.crop(FACE_BOX).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def published(rgba: Pixels) -> Pixels:
    """(768, 768, 4) the person in the middle, with some room around: the picture that the first stage publishes."""
    rows, columns = (np.flatnonzero((rgba[..., 3] > _FAINT).any(axis=axis)) for axis in (1, 0))
    person = Image.fromarray(rgba).crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    side = int(max(person.size) * _ROOM)
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(person, ((side - person.width) // 2, (side - person.height) // 2))
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _bounds(alpha: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is not wholly transparent, but for the last row and column: as the reference."""
    rows, columns = (np.flatnonzero(alpha.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise InputError(f"the picture is fully transparent; {_REMEDY}")
    left, top = int(columns[0]), int(rows[0])
    return left, top, max(int(columns[-1]), left + 1), max(int(rows[-1]), top + 1)


def _placed(person: Image.Image, longest: int) -> Image.Image:
    """The person in the middle of a transparent square."""
    scale = longest / max(person.size)
    width, height = (max(1, int(scale * side)) for side in person.size)
    canvas = Image.new("RGBA", (SIDE, SIDE))
    resized = person.resize((width, height), Image.Resampling.BICUBIC)
    canvas.paste(resized, ((SIDE - width) // 2, (SIDE - height) // 2))
    return canvas


def _on_white(picture: Image.Image) -> Floats:
    straight = np.asarray(picture).astype(np.float32) / 255
    alpha = straight[..., 3:]
    return straight[..., :3] * alpha + (1 - alpha)
