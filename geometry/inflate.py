"""An outline -> how thick the body behind it is. All lengths are pixels of the given grid.

A `profile` is the squared half depth on the grid; its zero line is the outline, within a fraction of a pixel.
"""

import cv2
import numpy as np
from scipy import ndimage

from geometry.mesh import Floats, Mask, Pixels

SOURCE = 2.5  # right-hand side: 4 makes a disc a hemisphere, 2 makes a strip a round tube
REACH = 0.22  # screening length as a share of the grid: limits the depth of wide shapes
LEVELS = 4
THIN = 2.2  # half width to which thin parts are thickened
DETAIL = 0.008  # height of the relief as a share of the grid


def profile(alpha: Floats, depth: float = 1.0) -> Floats:
    """(n, n) squared half depth of the body with this outline.

    Args:
        alpha: (n, n) coverage in [0, 1], n divisible by 8, zero along the edge.
        depth: multiplies the half depth.
    """
    mask = alpha > 0.5
    if not mask.any():
        return _thin_parts(alpha, mask) * np.float32(depth * depth)
    height = solve(mask)
    body = _with_subpixel_border(alpha, mask, height)
    return np.maximum(body * np.float32(depth * depth), _thin_parts(alpha, mask))


def solve(mask: Mask) -> Floats:
    """u with -lap u + u / (REACH n)^2 = SOURCE on the mask and 0 outside, from coarse to fine."""
    masks = [mask]
    for _ in range(LEVELS - 1):
        side = masks[-1].shape[0] // 2
        masks.append(masks[-1].reshape(side, 2, side, 2).mean(axis=(1, 3)) >= 0.5)
    guess: Floats = np.zeros(masks[-1].shape, np.float32)
    for level in reversed(masks):
        if level.shape != guess.shape:
            guess = 4 * cv2.resize(guess, level.shape[::-1], interpolation=cv2.INTER_LINEAR)
        guess = _conjugate_gradients(level, guess, 2e-3 if level is mask else 1e-3)
    return guess


def _conjugate_gradients(mask: Mask, guess: Floats, tolerance: float) -> Floats:
    inside = mask.astype(np.float32)
    screening = np.float32(4 + 1 / (REACH * mask.shape[0]) ** 2)

    def apply(field: Floats) -> Floats:
        result = screening * field
        result[1:] -= field[:-1]
        result[:-1] -= field[1:]
        result[:, 1:] -= field[:, :-1]
        result[:, :-1] -= field[:, 1:]
        return result * inside

    solution = guess * inside
    residual = np.float32(SOURCE) * inside - apply(solution)
    direction = residual.copy()
    power = float((residual * residual).sum())
    goal = (tolerance * SOURCE) ** 2 * float(inside.sum())
    for _ in range(4 * mask.shape[0]):
        if power <= goal:
            break
        applied = apply(direction)
        step = np.float32(power / float((direction * applied).sum()))
        solution += step * direction
        residual -= step * applied
        power, previous = float((residual * residual).sum()), power
        direction = residual + np.float32(power / previous) * direction
    return np.maximum(solution, 0)


def signed_distance(alpha: Floats) -> Floats:
    """Distance to the line alpha = 0.5, positive inside, to a fraction of a pixel near it."""
    mask = alpha > 0.5
    far = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    far -= 0.5 * np.sign(far)
    soft = _blur(alpha, 1.0)
    down, right = np.gradient(soft)
    slope = np.sqrt(down * down + right * right)
    near = (soft - 0.5) / np.maximum(slope, 0.03)
    return np.where((np.abs(far) < 3) & (slope > 0.03), np.clip(near, far - 1.5, far + 1.5), far).astype(np.float32)


def _with_subpixel_border(alpha: Floats, mask: Mask, height: Floats) -> Floats:
    """u inside, its zero moved from pixel edges to the line where alpha is one half."""
    weight = mask.astype(np.float32)
    steps = ndimage.distance_transform_edt(mask).astype(np.float32)
    slope = height / np.maximum(steps, 1)
    slope = _blur(slope * weight, 1.6) / np.maximum(_blur(weight, 1.6), 1e-4)
    distance = signed_distance(alpha)
    inner = np.clip((distance - 3) / 3, 0, 1)
    inside = (1 - inner) * slope * distance + inner * height
    return np.where(distance > 0, inside, np.maximum(slope, 0.5) * distance).astype(np.float32)


def _thin_parts(alpha: Floats, mask: Mask) -> Floats:
    """Round tubes of half width THIN along what is too thin for the grid, -inf elsewhere."""
    size = 2 * int(np.ceil(THIN)) + 1
    present = (alpha >= 0.35).astype(np.uint8)
    opened: Pixels = cv2.morphologyEx(
        present, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    )
    residue = present & ~opened & 1
    if not residue.any():
        return np.full(alpha.shape, -np.inf, np.float32)
    away = ndimage.distance_transform_edt(opened == 0) if opened.any() else np.full(alpha.shape, np.inf)
    label, count = ndimage.label(residue, np.ones((3, 3)))
    reach = ndimage.maximum(away, label, np.arange(count + 1))
    reach[0] = 0
    kept = reach[label] > 2 * THIN
    # The squared distance to the nearest kept pixel gives the maximum over all of THIN^2 - |p - q|^2.
    if not kept.any():
        return np.full(alpha.shape, -np.inf, np.float32)
    return np.maximum(THIN**2 - ndimage.distance_transform_edt(~kept) ** 2, -9 * THIN).astype(np.float32)


def detail(alpha: Floats, luminance: Floats) -> Floats:
    """Small bumps in [-1, 1] read from light and dark, without the slow shading of the whole."""
    weight = (alpha > 0.5).astype(np.float32)
    if not weight.any():
        return weight
    fine, coarse = (_blur(luminance * weight, s) / np.maximum(_blur(weight, s), 1e-3) for s in (0.8, 7.0))
    bumps = fine - coarse
    return np.tanh(bumps / (2 * max(float(bumps[weight > 0].std()), 0.07))) * weight


def with_relief(body: Floats, bumps: Floats, distance: Floats, strength: float = 1.0) -> Floats:
    """The profile of the front: `body` with `bumps` on it, fading to nothing at the outline."""
    side = body.shape[0]
    half = np.sqrt(np.maximum(body, 0))
    height = strength * DETAIL * side * bumps * np.clip(distance / (0.03 * side), 0, 1)
    return np.where(body > 0, np.maximum(half + height, 0.3 * half) ** 2, body).astype(np.float32)


def _blur(image: Floats, sigma: float) -> Floats:
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
