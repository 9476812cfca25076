"""Colours of the side one sees and of the side one does not."""

import cv2
import numpy as np

from geometry.bake import fill_outside, pull_push
from geometry.mesh import Floats, Mask
from pipelines.foreground import Pixels

EROSION = 0.004  # share of the canvas: the outline's mixed colours are not used
RING = 0.02  # share of the canvas: the band along the outline that colours the back
FILL_GRID = 256
LIGHT_REACH = 25.6  # cells of the fill grid over which brightness is compared
NEARBY = 22.0  # cells of the fill grid over which outline colours are compared
GRAIN = (1.3, 7.0)  # smallest and largest grain on the back, levels of 255


def front_colours(canvas: Floats, rim: float) -> Pixels:
    """(T, T, 3) the picture's colours, each pixel beyond the sure ones taking the nearest of them.

    Args:
        canvas: (T, T, 4) premultiplied colours and alpha.
        rim: canvas pixels along the outline whose colours are mixed with the background's.
    """
    side = canvas.shape[0]
    mask = canvas[..., 3] > 0.5
    erosion = float(np.clip(rim, EROSION * side, 3 * EROSION * side))
    core = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) > erosion + 0.75
    core |= mask & (_distance_to(core) > 3 * erosion)  # thin parts have no core of their own
    straight = canvas[..., :3] / np.maximum(canvas[..., 3:], 1e-3)
    colours = (np.clip(straight, 0, 1) * 255).round().astype(np.uint8)
    return fill_outside(colours, core if core.any() else mask if mask.any() else canvas[..., 3] > 0)


def back_colours(front: Pixels, alpha: Floats, seed: int) -> Pixels:
    """(T, T, 3) a back that continues the colours along the outline, with grain as strong as the front's.

    Args:
        front: filled colours as `front_colours` gives them.
        alpha: (T, T) coverage in [0, 1].
    """
    mask = alpha > 0.5
    side, small = front.shape[0], (FILL_GRID, FILL_GRID)
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    colours = cv2.resize(front, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    depth = cv2.resize(inside, small, interpolation=cv2.INTER_AREA) * (FILL_GRID / side)
    ring = RING * FILL_GRID
    weight = np.where(depth > 0, np.exp(-1.5 * ((depth - 1) / ring) ** 2), 0).astype(np.float32)
    weight *= _commonness(colours, weight)
    weight = np.where((depth > 0) & (depth < 2 * ring), np.maximum(weight, 1e-3), weight)
    filled = pull_push(colours, weight)
    filled *= _as_bright(colours, filled, depth > 0)[..., None]
    filled = cv2.resize(filled, (side, side), interpolation=cv2.INTER_CUBIC)
    filled += grain(front, mask, seed)[..., None]
    return meeting(front, np.clip(filled + 0.5, 0, 255).astype(np.uint8), alpha)


def meeting(front: Pixels, back: Pixels, alpha: Floats) -> Pixels:
    """The back with its outermost ring blended into the front's colours, so that no seam runs around the body."""
    inside = cv2.distanceTransform((alpha > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    share = np.clip(inside / (RING * front.shape[0]), 0, 1)[..., None]
    return (front * (1 - share) + back * share + 0.5).astype(np.uint8)


def _commonness(colours: Floats, weight: Floats) -> Floats:
    """(h, w) near 1 for colours like most along the outline nearby, small for an ear or the end of a stripe."""
    mass = np.maximum(cv2.GaussianBlur(weight, (0, 0), NEARBY), 1e-4)[..., None]
    usual = cv2.GaussianBlur(colours * weight[..., None], (0, 0), NEARBY) / mass
    return np.exp(-((colours - usual) ** 2).sum(axis=2) / (2 * 45.0**2)).astype(np.float32)


def _as_bright(front: Floats, back: Floats, mask: Mask) -> Floats:
    """(h, w) factors that lift the back to the front's slow light: outlines are often drawn or shaded darker."""
    weight = mask.astype(np.float32)
    mass = np.maximum(cv2.GaussianBlur(weight, (0, 0), LIGHT_REACH), 1e-3)
    front_light, back_light = (
        cv2.GaussianBlur(c.mean(axis=2) * weight, (0, 0), LIGHT_REACH) / mass for c in (front, back)
    )
    return np.clip((front_light + 8) / (back_light + 8), 1.0, 1.5)


def grain(front: Pixels, mask: Mask, seed: int) -> Floats:
    """(T, T) noise in levels, locally as strong as the finest detail of the front."""
    side = front.shape[0]
    grey = cv2.cvtColor(front, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = np.minimum(np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)), 12) * mask
    tile = (32, 32)
    mass = cv2.resize(mask.astype(np.float32), tile, interpolation=cv2.INTER_AREA)
    level = cv2.resize(fine, tile, interpolation=cv2.INTER_AREA) / np.maximum(mass, 1e-3)
    level = cv2.GaussianBlur(pull_push(level[..., None], (mass > 0.2).astype(np.float32))[..., 0], (0, 0), 1.5)
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((side, side), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 0.9) * np.float32(3.0)
    strength = cv2.resize(np.clip(1.2 * level, *GRAIN).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return noise * strength


def _distance_to(core: Mask) -> Floats:
    if not core.any():
        return np.full(core.shape, np.inf, np.float32)
    return cv2.distanceTransform((~core).astype(np.uint8), cv2.DIST_L2, 5)
