"""Which picture shows which side, and all of them at one scale."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geometry.cameras import Camera
from geometry.mesh import Floats
from pipelines.errors import InputError
from pipelines.foreground import Cutout, bounds, fit_square
from pipelines.relief.params import DEFAULT_VIEWS, ReliefParams, View

# `left` is the object's own left: the camera stands at +X and sees the front at the picture's left edge.
AZIMUTHS: dict[str, float] = {"front": 0.0, "left": np.pi / 2, "back": np.pi, "right": -np.pi / 2}


def assign(images: Sequence[Path], params: ReliefParams) -> tuple[dict[View, Path], list[str]]:
    """Side -> picture, the front first, and what the client should know about it.

    Raises:
        InputError: the sides named do not fit the pictures.
    """
    if not images:
        raise InputError("there is no picture; send at least one, of the front")
    try:
        params.check_images(len(images))
    except ValueError as error:
        raise InputError(str(error)) from None
    names = params.views or DEFAULT_VIEWS[: len(images)]
    warnings = []
    if len(images) > len(names):
        warnings.append(f"{len(images)} pictures were sent; only the first {len(names)} ({', '.join(names)}) are used")
    if params.swap_sides:
        names = tuple({"left": "right", "right": "left"}.get(name, name) for name in names)  # type: ignore[misc]
    chosen = dict(zip(names, images, strict=False))
    return {name: chosen[name] for name in DEFAULT_VIEWS if name in chosen}, warnings


def camera_of(view: View) -> Camera:
    return Camera(azimuth=AZIMUTHS[view])


def rim(cutout: Cutout, canvas: Floats) -> float:
    """Canvas pixels along the outline that may show some background."""
    shown = np.flatnonzero((canvas[..., 3] > 0.5).any(axis=1))
    _, top, _, bottom = bounds(cutout.rgba[..., 3])
    enlarged = (int(shown[-1]) + 1 - int(shown[0])) / (bottom - top) if len(shown) else 1.0
    return cutout.rim * enlarged


def fit_all(cutouts: dict[View, Cutout], size: int, margin: float) -> dict[View, Floats]:
    """(size, size, 4) premultiplied canvases on which the object has one height and stands in the middle."""
    if len(cutouts) == 1:
        return {view: fit_square(cutout.rgba, size, margin) for view, cutout in cutouts.items()}
    height = 1 - 2 * margin
    for cutout in cutouts.values():
        left, top, right, bottom = bounds(cutout.rgba[..., 3])
        height = min(height, (1 - 2 * margin) * (bottom - top) / (right - left))
    return {view: fit_square(cutout.rgba, size, margin, height) for view, cutout in cutouts.items()}
