"""The compiled kernels behind meshes and splats, run once so that no job waits for their compilation."""

import numpy as np

from geometry.finish import FinishMode, finish
from geometry.gaussians import Gaussians
from geometry.marching_cubes import surface_of
from geometry.mesh import Floats, Mesh
from geometry.render import thumbnail, turntable
from geometry.views import splat_views, view_colours
from pipelines.slat.splats import splat_thumbnail

_CELLS = 24
_TARGET = 300


def compile_kernels() -> None:
    """Finishes a small ball in every mode, with colours of its own and with those of splats."""
    axis = np.linspace(-1, 1, _CELLS, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    vertices, faces = surface_of(0.7 - np.sqrt(x * x + y * y + z * z))
    vertices = vertices / _CELLS - 0.5
    dense = Mesh(vertices, faces, colours=np.full((len(vertices), 3), 128, np.uint8))
    splats = _splats(len(vertices), vertices)
    modes: tuple[FinishMode, ...] = ("fast", "pbr", "best")
    for mode in modes:
        colour_at = view_colours(vertices, faces, splat_views(splats, 2, 64), robust=True) if mode == "best" else None
        done = finish(dense, target=_TARGET, texture_size=64, mode=mode, colour_at=colour_at)
    splat_thumbnail(splats)
    thumbnail(done.scene)
    next(turntable(done.scene, 1))


def _splats(count: int, places: Floats) -> Gaussians:
    turns = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
    grey, width = np.zeros((count, 3), np.float32), np.full((count, 3), 0.01, np.float32)
    return Gaussians(places.astype(np.float32), grey, width, turns, np.ones(count, np.float32))
