"""Evenly spread points of the unit cube, the same ones every time."""

import numpy as np

from geometry.mesh import Floats, Ints

_BASES = (2, 3)


def hammersley(count: int, dimensions: int) -> Floats:
    """(count, dimensions) float64 in [0, 1): i / count, then the radical inverses of i in the bases 2 and 3."""
    if not 1 <= dimensions <= 1 + len(_BASES):
        raise ValueError(f"dimensions is {dimensions}; use 1 to {1 + len(_BASES)}")
    numbers = np.arange(count)
    inverses = [radical_inverse(numbers, base) for base in _BASES[: dimensions - 1]]
    return np.stack([numbers / max(count, 1), *inverses], axis=1)


def radical_inverse(numbers: Ints, base: int) -> Floats:
    """The digits of whole numbers mirrored at the point: 6 = 110 in base 2 becomes 0.011."""
    result, weight = np.zeros(numbers.shape), 1.0
    while numbers.any():
        weight /= base
        result += weight * (numbers % base)
        numbers = numbers // base
    return result
