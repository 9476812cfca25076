"""Charts -> places in a square, none touching another."""

import cv2
import numpy as np

from geometry.mesh import Floats, Ints, Mask, Pixels
from geometry.rasterize import rasterize

CELLS = 192
FILL = 0.8  # share of the square the first try wants to cover
SHRINK = 0.95
TRIES = 24
MANY = 600  # charts; more are not worth the search for the tightest place


def place_charts(flat: Floats, faces: Ints, owner: Ints, size: int) -> Floats:
    """(W, 2) column and row in a square of `size` texels, all charts at one scale, some turned by a quarter.

    Args:
        flat: (W, 2) column and row of each vertex in its chart's own plane, units of length.
        owner: (W,) chart of each vertex.
    """
    count = int(owner.max()) + 1
    low = np.full((count, 2), np.inf)
    np.minimum.at(low, owner, flat)
    local = flat - low[owner]
    corners = local[faces]
    sides = corners[:, 1:] - corners[:, :1]
    area = 0.5 * np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]).sum()
    face_owner = owner[faces[:, 0]]
    order = np.argsort(face_owner, kind="stable")
    members = [
        _Chart(local, part) for part in np.split(faces[order], np.cumsum(np.bincount(face_owner, minlength=count))[:-1])
    ]
    high = np.zeros((count, 2))
    np.maximum.at(high, owner, local)
    scale = CELLS * np.sqrt(FILL / area)
    for _ in range(TRIES if count <= MANY else 0):
        places = _try(members, scale)
        if places is not None:
            turned, origin = places
            cells = local * scale
            # A quarter turn: (column, row) -> (row, width - column) keeps the chart unmirrored.
            spun = np.stack([cells[:, 1], np.ceil(high[owner, 0] * scale) - cells[:, 0]], axis=1)
            return (np.where(turned[owner, None], spun, cells) + origin[owner] + 1.0) * (size / CELLS)
        scale *= SHRINK
    return _on_shelves(local, owner, high, size, size * np.sqrt(FILL / area))


def _on_shelves(local: Floats, owner: Ints, high: Floats, size: int, scale: float) -> Floats:
    """The charts in rows by height: loose, but quick with thousands of them, and sure to end."""
    gap = min(1.0, 0.25 * size / np.sqrt(len(high)))
    order = np.argsort(-high[:, 1], kind="stable")
    while True:
        boxes, origin = high * scale + 2 * gap, np.zeros((len(high), 2))
        column = row = tall = 0.0
        for chart in order:
            if column + boxes[chart, 0] > size:
                column, row, tall = 0.0, row + tall, 0.0
            origin[chart] = column, row
            column, tall = column + boxes[chart, 0], max(tall, boxes[chart, 1])
        if row + tall <= size and boxes[:, 0].max() <= size:
            return local * scale + origin[owner] + gap
        scale *= SHRINK


class _Chart:
    """The vertices that one chart uses and its faces among them."""

    def __init__(self, local: Floats, faces: Ints) -> None:
        used, renumbered = np.unique(faces, return_inverse=True)
        self.points, self.faces = local[used], renumbered.reshape(-1, 3)


def _try(members: list[_Chart], scale: float) -> tuple[Mask, Floats] | None:
    """Quarter turns and origins in cells, or None if the charts do not fit at this scale."""
    occupied = np.zeros((CELLS, CELLS), np.float32)
    turned, origin = np.zeros(len(members), bool), np.zeros((len(members), 2))
    masks = [_mask(chart, scale) for chart in members]
    sizes = [int(mask.sum()) for mask in masks]
    if sum(sizes) > CELLS * CELLS:
        return None
    for chart in sorted(range(len(members)), key=lambda k: -sizes[k]):
        best = None
        for turn in (False, True):
            mask = np.ascontiguousarray(np.rot90(masks[chart])) if turn else masks[chart]
            place = _first_free(occupied, mask)
            if place is not None and (best is None or place[0] + mask.shape[0] < best[0]):
                best = (place[0] + mask.shape[0], turn, place, mask)
        if best is None:
            return None
        _, turned[chart], (row, column), mask = best
        occupied[row : row + mask.shape[0], column : column + mask.shape[1]] += mask
        origin[chart] = column, row
    return turned, origin


def _mask(chart: _Chart, scale: float) -> Floats:
    """Cells a chart needs, with one cell around it."""
    points = chart.points * scale + 1.0
    width, height = (int(np.ceil(points[:, k].max())) + 1 for k in range(2))
    fine = rasterize(np.column_stack([points * 2, np.zeros(len(points))]), chart.faces, 2 * height, 2 * width)
    covered: Pixels = np.asarray((fine.face >= 0).reshape(height, 2, width, 2).any(axis=(1, 3)), np.uint8)
    cells = np.floor(points).astype(np.int64)
    covered[cells[:, 1], cells[:, 0]] = 1
    return cv2.dilate(covered, np.ones((3, 3), np.uint8)).astype(np.float32)


def _first_free(occupied: Floats, mask: Floats) -> tuple[int, int] | None:
    if mask.shape[0] > CELLS or mask.shape[1] > CELLS:
        return None
    overlap = cv2.matchTemplate(occupied, mask, cv2.TM_CCORR)
    free = np.flatnonzero(overlap.ravel() < 0.5)
    return divmod(int(free[0]), overlap.shape[1]) if len(free) else None
