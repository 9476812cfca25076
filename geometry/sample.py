"""Values of a picture at points between its pixels."""

import numpy as np
from numba import njit

from geometry.mesh import Floats, Pixels


def sample(image: Floats, x: Floats, y: Floats) -> Floats:
    """Bilinear values of (H, W) or (H, W, C) at pixel coordinates whose integers are pixel centres; edges repeat.

    Exact, where OpenCV's remap rounds places to 1/32 of a pixel.
    """
    layers = np.ascontiguousarray(image, np.float32).reshape(*image.shape[:2], -1)
    result = np.empty((len(x), layers.shape[2]), np.float32)
    _bilinear(layers, np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float32), result)
    return result if image.ndim == 3 else result[:, 0]


def sample_nearest(image: Pixels, x: Floats, y: Floats) -> Pixels:
    """The pixels that points lie in; here pixel (0, 0) reaches from 0 to 1."""
    column = np.clip(x, 0, image.shape[1] - 1).astype(np.int64)
    row = np.clip(y, 0, image.shape[0] - 1).astype(np.int64)
    return image[row, column]


@njit(cache=True)
def _bilinear(image, x, y, result):  # type: ignore[no-untyped-def]
    height, width, layers = image.shape
    for k in range(x.shape[0]):
        a = min(max(x[k], np.float32(0)), np.float32(width - 1))
        b = min(max(y[k], np.float32(0)), np.float32(height - 1))
        left, top = min(int(a), width - 2), min(int(b), height - 2)
        a, b = a - np.float32(left), b - np.float32(top)
        for c in range(layers):
            upper = image[top, left, c] * (np.float32(1) - a) + image[top, left + 1, c] * a
            lower = image[top + 1, left, c] * (np.float32(1) - a) + image[top + 1, left + 1, c] * a
            result[k, c] = upper * (np.float32(1) - b) + lower * b
