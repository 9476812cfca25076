"""Fewer triangles for the same solid: quadric collapse, then repair, then proof."""

import fast_simplification
import numpy as np

from geometry.cleanup import close, count_parts
from geometry.collapse import collapse
from geometry.fit import fit
from geometry.mesh import Floats, Ints, compact, euler_number, is_closed, signed_volume

SLOWLY = 20_000  # faces that are collapsed one best edge at a time anyway
FEW = 50_000  # dense vertices
SPONGE = 300  # Euler numbers further from zero belong to noise, not to things
QUICK, CAREFUL = 2, 4  # times the target, where the collapse one best edge at a time begins
AGGRESSION = 4  # 7, the library's default, gives slivers; 2 may stop early


def simplify(vertices: Floats, faces: Ints, target: int) -> tuple[Floats, Ints]:
    """About `target` triangles of the same closed solid, with the same number of holes and parts.

    The collapse may pinch off a thin handle; then more triangles are kept, in the end all of them. A sponge of
    more holes than anyone could count may lose some of them instead.
    """
    points, triangles = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    wanted, volume = _topology(triangles), signed_volume(points, triangles)
    budget = float(target)
    while budget < len(triangles):
        fewer = fast_simplification.simplify(points, triangles, target_count=int(budget), agg=AGGRESSION)
        small_points, small_triangles = close(*fewer)
        kept = signed_volume(small_points, small_triangles)
        if is_closed(small_triangles) and abs(kept - volume) < 0.1 * abs(volume):
            if _topology(small_triangles) == wanted or abs(wanted[0]) > SPONGE:
                return small_points, small_triangles
        budget *= 1.6
    return compact(points, triangles)


def approximate(
    vertices: Floats, faces: Ints, target: int, careful: bool = False, hole_limit: float | None = None
) -> tuple[Floats, Ints]:
    """About `target` triangles as near to the dense surface as they can be: collapse, repair, then fitted to it.

    One collapse whatever comes out, so that a noisy mesh costs no more than a smooth one; the Euler number may differ.

    Args:
        careful: collapses more of it one best edge at a time, and fits twice; nearer, and slower.
        hole_limit: as `cleanup.close` has it.
    """
    points, triangles = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    if target >= len(triangles):
        return close(points, triangles, hole_limit)
    budget = max((CAREFUL if careful else QUICK) * target, SLOWLY)
    small_points, small = close(*_collapse(points, triangles, budget, AGGRESSION - careful), hole_limit)
    # Closing may leave vertices where sheets touch, which a collapse can join; so what it leaves is closed again.
    small_points, small = close(*collapse(small_points, small, target), hole_limit)
    if len(small) == 0:  # what was given was no surface
        return small_points, small
    rounds = 2 if careful or len(points) <= FEW else 1
    return fit(small_points, small, _samples(points, triangles), rounds), small


def _samples(points: Floats, triangles: Ints) -> Floats:
    """(N, 3) places of the dense surface: its vertices, and where these are few also the middles of sides and faces."""
    if len(points) > FEW:
        return points
    corners = points[triangles]
    sides = 0.5 * (corners + corners[:, [1, 2, 0]])
    return np.concatenate([points, sides.reshape(-1, 3), corners.mean(axis=1)])


def _collapse(points: Floats, triangles: Ints, target: int, aggression: int) -> tuple[Floats, Ints]:
    """Quadric collapse; what stopped early goes on more boldly."""
    while len(triangles) > target and aggression <= 7:
        before = len(triangles)
        points, triangles = fast_simplification.simplify(points, triangles, target_count=target, agg=aggression)
        aggression += 1 if len(triangles) < before else 2
    return points, triangles


def _topology(faces: Ints) -> tuple[int, int]:
    """Euler number and parts: a lost hole and a new bubble would cancel in the first alone."""
    return euler_number(faces), count_parts(faces)
