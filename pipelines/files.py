"""Pictures -> bytes, the same bytes every time."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
from PIL import Image

from geometry.mesh import Pixels


def png(picture: Pixels) -> bytes:
    """A PNG of an RGB or RGBA picture, compressed little: encoding is the largest cost of the views."""
    order = [2, 1, 0, 3][: picture.shape[2]]
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]
    return cv2.imencode(".png", picture[..., order], options)[1].tobytes()


def animation(frames: Iterable[Pixels], milliseconds: int) -> bytes:
    """A WebP that loops for ever."""
    first, *rest = (Image.fromarray(frame) for frame in frames)
    stream = io.BytesIO()
    first.save(stream, "WEBP", save_all=True, append_images=rest, duration=milliseconds, loop=0, quality=80, method=0)
    return stream.getvalue()


def write(path: Path, data: bytes) -> None:
    """Puts the bytes there, making the folder on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
