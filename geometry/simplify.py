"""Fewer triangles for the same solid: quadric collapse, then repair, then proof."""

import fast_simplification
import numpy as np

from geometry.cleanup import close, count_parts
from geometry.mesh import Floats, Ints, compact, euler_number, is_closed, signed_volume

SPONGE = 300  # Euler numbers further from zero belong to noise, not to things
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


def _topology(faces: Ints) -> tuple[int, int]:
    """Euler number and parts: a lost hole and a new bubble would cancel in the first alone."""
    return euler_number(faces), count_parts(faces)
