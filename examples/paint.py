"""Brushes for the example pictures: masks of smooth shapes, shaded as if they were round. Pillow and numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Mask = NDArray[np.float32]
Point = tuple[float, float]
SUPERSAMPLE = 3
LIGHT = np.array([-0.45, -0.62, 0.64])


def colour(code: str) -> NDArray[np.float32]:
    """(3,) of a #rrggbb word, in [0, 1]."""
    return np.array([int(code[k : k + 2], 16) for k in (1, 3, 5)], np.float32) / 255


@dataclass
class Canvas:
    """A transparent square whose unit is its side; x to the right, y down."""

    size: int = 640
    pixels: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.pixels = np.zeros((self.side, self.side, 4), np.float32)

    @property
    def side(self) -> int:
        return self.size * SUPERSAMPLE

    def grid(self) -> tuple[Mask, Mask]:
        """x and y of every pixel."""
        y, x = np.mgrid[0 : self.side, 0 : self.side].astype(np.float32)
        return (x + 0.5) / self.side, (y + 0.5) / self.side

    def polygon(self, points: Sequence[Point]) -> Mask:
        return self._drawn(lambda pen: pen.polygon([(x * self.side, y * self.side) for x, y in points], fill=255))

    def blob(self, points: Sequence[Point]) -> Mask:
        """The inside of a smooth closed curve through the points."""
        return self.polygon(spline(points, closed=True))

    def ellipse(self, x: float, y: float, a: float, b: float, degrees: float = 0) -> Mask:
        turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        across, along = a * np.cos(turn), b * np.sin(turn)
        return self.polygon(list(zip(x + c * across - s * along, y + s * across + c * along, strict=True)))

    def tube(self, points: Sequence[Point], radii: Sequence[float]) -> Mask:
        """A limb along a smooth open curve, its radius changing from point to point."""
        path = spline(points, closed=False)
        where = np.linspace(0, len(radii) - 1, len(path))
        radius = np.interp(where, np.arange(len(radii)), radii)

        def draw(pen: ImageDraw.ImageDraw) -> None:
            for (x, y), r in zip(path, radius, strict=True):
                box = [(x - r) * self.side, (y - r) * self.side, (x + r) * self.side, (y + r) * self.side]
                pen.ellipse(box, fill=255)

        return self._drawn(draw)

    def _drawn(self, draw: object) -> Mask:
        image = Image.new("L", (self.side, self.side))
        draw(ImageDraw.Draw(image))  # type: ignore[operator]
        return np.asarray(image, np.float32) / 255

    def add(
        self,
        mask: Mask,
        base: str | Mask,
        round_: float = 0.05,
        shade: float = 0.55,
        gloss: float = 0.0,
        within: Mask | None = None,
    ) -> None:
        """Paints a shape over what is there.

        Args:
            base: a colour word, or (H, W, 3) colours.
            round_: how far the shape's edge bends away, as a share of the side; 0 is flat.
            shade: how dark the far side gets.
            within: the shape shows only here.
        """
        paint = np.broadcast_to(colour(base), (self.side, self.side, 3)) if isinstance(base, str) else base
        cover = mask if within is None else mask * within
        rows, columns = (np.flatnonzero(cover.any(axis=axis)) for axis in (1, 0))
        if len(rows) == 0:
            return
        reach = 4 + round(3 * round_ * self.side)
        box = tuple(slice(max(used[0] - reach, 0), used[-1] + 1 + reach) for used in (rows, columns))
        light, glint = self._lighting(mask[box], round_)
        shaded = paint[box] * (1 - shade + shade * 1.25 * light)[..., None] + gloss * glint[..., None]
        below, share = self.pixels[box], cover[box][..., None]
        alpha = share + below[..., 3:] * (1 - share)
        mixed = np.clip(shaded, 0, 1) * share + below[..., :3] * below[..., 3:] * (1 - share)
        self.pixels[box] = np.dstack([mixed / np.maximum(alpha, 1e-6), alpha])

    def shadow(self, mask: Mask, dx: float, dy: float, soft: float, strength: float) -> None:
        """Darkens what is there where a shape above it stands in the light."""
        moved = np.roll(mask, (round(dy * self.side), round(dx * self.side)), (0, 1))
        self.pixels[..., :3] *= 1 - strength * blurred(moved, soft * self.side)[..., None]

    def _lighting(self, mask: Mask, round_: float) -> tuple[Mask, Mask]:
        """Diffuse light and gloss on the mask as if it bulged towards the viewer."""
        if round_ <= 0:
            return np.full(mask.shape, 0.8, np.float32), np.zeros(mask.shape, np.float32)
        sides = [(1, 0.5), (0.5, 0.3), (0.25, 0.2)]
        height = np.sum([blurred(mask, round_ * self.side * share) * part for share, part in sides], axis=0)
        down, right = np.gradient(height)
        scale = 2.6 * round_ * self.side
        normal = np.dstack([-right * scale, -down * scale, np.ones_like(mask)])
        normal /= np.sqrt((normal**2).sum(axis=2, keepdims=True))
        facing = np.clip(normal @ (LIGHT / np.sqrt((LIGHT**2).sum())), 0, 1)
        half = LIGHT + np.array([0, 0, 1.0])
        glint = np.clip(normal @ (half / np.sqrt((half**2).sum())), 0, 1) ** 40
        return facing.astype(np.float32), glint.astype(np.float32)

    def image(self) -> Image.Image:
        """The finished RGBA picture."""
        tall = self.pixels.reshape(self.size, SUPERSAMPLE, self.size, SUPERSAMPLE, 4)
        alpha = tall[..., 3:].mean(axis=(1, 3))
        mixed = (tall[..., :3] * tall[..., 3:]).mean(axis=(1, 3)) / np.maximum(alpha, 1e-6)
        return Image.fromarray((np.dstack([mixed, alpha]).clip(0, 1) * 255).round().astype(np.uint8))


def blurred(mask: Mask, sigma: float) -> Mask:
    """The mask under a Gaussian, by three box filters in floating point: eight bits would show as contour lines."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    result = np.zeros_like(mask)
    if len(rows) == 0:
        return result
    radius = max(1, round(sigma))
    reach = 3 * radius + 1
    box = tuple(slice(max(used[0] - reach, 0), used[-1] + 1 + reach) for used in (rows, columns))
    part = mask[box].astype(np.float64)
    for axis in (0, 1):
        for _ in range(3):
            part = _box_filter(part, radius, axis)
    result[box] = part
    return result


def _box_filter(values: NDArray[np.float64], radius: int, axis: int) -> NDArray[np.float64]:
    """Means over 2 radius + 1 neighbours along an axis, zeros beyond the ends."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (radius + 1, radius)
    total = np.cumsum(np.pad(values, pad), axis=axis)
    count = values.shape[axis]
    ends = np.take(total, range(2 * radius + 1, 2 * radius + 1 + count), axis)
    return (ends - np.take(total, range(count), axis)) / (2 * radius + 1)


def spline(points: Sequence[Point], closed: bool, steps: int = 40) -> list[Point]:
    """A Catmull-Rom curve through the points."""
    p = np.asarray(points, np.float64)
    ring = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    curve = []
    for a, b, c, d in zip(ring, ring[1:], ring[2:], ring[3:], strict=False):
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    path = np.concatenate(curve if closed else [*curve, p[-1:]])
    return [(float(x), float(y)) for x, y in path]


def blend(low: str, high: str, share: Mask) -> Mask:
    """(H, W, 3) colours from one to the other."""
    share = np.clip(share, 0, 1)[..., None]
    return (colour(low) * (1 - share) + colour(high) * share).astype(np.float32)
