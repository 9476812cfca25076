"""Surface -> flat charts: a front and a back sheet for a solid made from one picture, six axes for any other."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from geometry.charts import chart_labels, chart_sheets
from geometry.mesh import Floats, Ints, face_normals
from geometry.pack import place_charts


class Unwrapped(NamedTuple):
    """A mesh cut along chart borders; copies of one vertex keep bit-identical positions.

    Attributes:
        source: (W,) the vertex of the uncut mesh that each vertex copies.
        faces: (F, 3), in the uncut mesh's order.
        uv: (W, 2), v upwards.
        chart: (F,) the chart of each face.
    """

    source: Ints
    faces: Ints
    uv: Floats
    chart: Ints


@dataclass(frozen=True)
class TwoSheets:
    """A square atlas with a front and a mirrored back sheet of one scale, side by side or one above the other.

    Attributes:
        size: texels along the atlas.
        scale: texels per unit of length.
        centre: (x, y) of the object that lies in the middle of both sheets.
        middles: (column, row) of the middle of the front sheet and of the back sheet.
    """

    size: int
    scale: float
    centre: tuple[float, float]
    middles: tuple[tuple[float, float], tuple[float, float]]

    @property
    def stacked(self) -> bool:
        return self.middles[0][0] == self.middles[1][0]

    def texels(self, xy: Floats, back: bool) -> Floats:
        """(N, 2) column and row of points of the object."""
        column, row = self.middles[int(back)]
        offset = (np.asarray(xy, np.float64) - self.centre) * self.scale
        return np.stack([column + (-1 if back else 1) * offset[:, 0], row - offset[:, 1]], axis=1)


def two_sheets(low: Floats, high: Floats, size: int) -> TwoSheets:
    """The layout that gives an object with these (x, y) bounds the most texels per unit."""
    pad = max(2, size // 256)
    wide, tall = (max(float(high[k] - low[k]), 1e-6) for k in range(2))
    beside = min((size / 2 - 2 * pad) / wide, (size - 2 * pad) / tall)
    stacked = min((size - 2 * pad) / wide, (size / 2 - 2 * pad) / tall)
    half, quarter = size / 2, size / 4
    middles = ((quarter, half), (3 * quarter, half)) if beside >= stacked else ((half, quarter), (half, 3 * quarter))
    centre = (float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2)
    return TwoSheets(size, max(beside, stacked), centre, middles)


def unwrap_two_sheets(vertices: Floats, faces: Ints, layout: TwoSheets) -> Unwrapped:
    """Faces that look forward on the front sheet, the others on the back sheet."""
    back = (face_normals(vertices, faces)[:, 2] < 0).astype(np.int64)
    source, cut, side = _split(faces, back)
    texel = np.where(
        side[:, None] == 1, layout.texels(vertices[source, :2], True), layout.texels(vertices[source, :2], False)
    )
    return Unwrapped(source, cut, _uv(texel, layout.size), back)


def unwrap_six_axes(vertices: Floats, faces: Ints, size: int) -> Unwrapped:
    """Any closed mesh as charts seen along +-X, +-Y and +-Z, packed into a square of `size` texels."""
    axis, chart = chart_labels(vertices, faces)
    sheets = chart_sheets(vertices, axis)
    source, cut, owner = _split(faces, chart)
    chart_axis = np.zeros(int(chart.max()) + 1, np.int64)
    chart_axis[chart] = axis
    flat = sheets[chart_axis[owner], source]
    return Unwrapped(source, cut, _uv(place_charts(flat, cut, owner, size), size), chart)


def _split(faces: Ints, chart: Ints) -> tuple[Ints, Ints, Ints]:
    """Each vertex once for each chart that meets there: its source, the faces anew, its chart."""
    count = int(chart.max(initial=0)) + 1
    keys, inverse = np.unique(faces.astype(np.int64) * count + chart[:, None], return_inverse=True)
    return keys // count, inverse.reshape(-1, 3).astype(np.int32), keys % count


def _uv(texels: Floats, size: int) -> Floats:
    uv = np.stack([texels[:, 0] / size, 1 - texels[:, 1] / size], axis=1)
    return np.clip(uv, 0, 1).astype(np.float32)
