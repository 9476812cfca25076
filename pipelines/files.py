"""Pictures and arrays -> bytes, the same bytes every time."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from geometry.mesh import Floats, Pixels

JPEG_QUALITY = 92
NORMAL_QUALITY = 95
VOXELS = 64


def jpeg(picture: Pixels, quality: int = JPEG_QUALITY, full_chroma: bool = False) -> bytes:
    """A JPEG of an RGB picture; `full_chroma` for normal maps, whose channels are not colours."""
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444 if full_chroma else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), options)[1].tobytes()


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


def voxel_rows(points: Floats) -> Floats:
    """(N, 4) rows (0, i, j, k) of the voxels these surface points lie in, sorted; Z-up frame, front towards -Y."""
    upright = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
    index = np.clip(np.floor((upright + 0.5) * VOXELS), 0, VOXELS - 1).astype(np.int64)
    keys = np.unique((index[:, 0] * VOXELS + index[:, 1]) * VOXELS + index[:, 2])
    rows = np.stack([np.zeros_like(keys), keys // VOXELS**2, keys // VOXELS % VOXELS, keys % VOXELS], axis=1)
    return rows.astype(np.float32)


def write(path: Path, data: bytes) -> None:
    """Puts the bytes there, making the folder on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
