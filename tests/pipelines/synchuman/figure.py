"""A figure with a head and one arm, painted into the five pictures as the first stage makes them."""

from dataclasses import dataclass

import cv2
import numpy as np
import trimesh

from geometry.gaussians import SH_DC, Gaussians
from geometry.mesh import Floats, Ints, Mask, Pixels
from geometry.rasterize import Fragments, rasterize
from pipelines.synchuman.views import MultiView

SIDE = 768
LETTERS = "FRBL"
GROUND = np.array([[205, 90, 80], [90, 170, 90], [85, 110, 200], [200, 180, 80]], np.uint8)  # of each side
FACE_GROUND = np.array([215, 165, 190], np.uint8)
SKY = (60, 200, 200)  # of the splats, which alone see what is on top
_INK = (20, 20, 20)
# For each side the axis that columns run along, as generated, and the axis and sign towards the viewer; +Z up.
SIDES = ((0, 1, -1), (1, 0, 1), (0, 1, 1), (1, 0, -1))


# Radii and middle of each part.
_PARTS = (
    ((0.19, 0.13, 0.31), (0, 0, -0.16)),
    ((0.12, 0.13, 0.14), (0, 0, 0.33)),
    ((0.16, 0.05, 0.05), (0.3, 0, 0)),
)


@dataclass(frozen=True, eq=False)
class Figure:
    """Triangles with normals, +Z up, facing -Y; the arm points to +X.

    Attributes:
        bare: (N,) whether a vertex is not within another part.
    """

    vertices: Floats
    faces: Ints
    normals: Floats
    bare: Mask


def figure() -> Figure:
    ball = trimesh.creation.icosphere(5)
    parts = [trimesh.Trimesh(ball.vertices * radii + middle, ball.faces, process=False) for radii, middle in _PARTS]
    whole = trimesh.util.concatenate(parts)
    vertices, normals = (np.asarray(table, np.float32) for table in (whole.vertices, whole.vertex_normals))
    within = [(((vertices - middle) / radii) ** 2).sum(axis=1) < 0.99 for radii, middle in _PARTS]
    return Figure(vertices, np.asarray(whole.faces, np.int32), normals, ~np.any(within, axis=0))


def box(half: float = 0.3) -> Figure:
    """Its sides look straight at the pictures up to their edges."""
    solid = trimesh.creation.box([2 * half] * 3)
    corners = solid.faces.ravel()
    normals = np.repeat(solid.face_normals, 3, axis=0).astype(np.float32)
    faces = np.arange(len(corners), dtype=np.int32).reshape(-1, 3)
    return Figure(solid.vertices[corners].astype(np.float32), faces, normals, np.ones(len(corners), bool))


def painted(solid: Figure, side: int = SIDE) -> MultiView:
    """Each side has a ground of its own and its letter on the body, which reads as it should from where one sees it."""
    views = [_view(solid, index, side) for index in range(4)]
    views.append(_face(solid, side))
    return MultiView(np.stack([colour for colour, _ in views]), np.stack([normal for _, normal in views]))


def place(points: Floats, view: int, side: int) -> tuple[Floats, Floats]:
    """(N,) column and row of +Z up points in one of the first four pictures, as generated."""
    return (points[:, SIDES[view][0]] + 0.5) * side, (0.5 - points[:, 2]) * side


def splats(solid: Figure, count: int = 12_000) -> Gaussians:
    """On the surface: grey, and SKY where it looks up."""
    mesh = trimesh.Trimesh(solid.vertices, solid.faces, process=False)
    points, face = trimesh.sample.sample_surface(mesh, count, seed=0)
    colours = np.where(mesh.face_normals[face, 2:] > 0.5, np.array(SKY) / 255, 0.5)
    return Gaussians(
        points.astype(np.float32),
        ((colours - 0.5) / SH_DC).astype(np.float32),
        np.full((count, 3), 0.006, np.float32),
        np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        np.full(count, 0.95, np.float32),
    )


def _view(solid: Figure, view: int, side: int) -> tuple[Pixels, Pixels]:
    seen = _fragments(solid, view, *place(solid.vertices, view, side), side)
    letter = _lettered(LETTERS[view], GROUND[view], side)
    return _composed(solid, seen, letter[:, ::-1] if view >= 2 else letter)


def _face(solid: Figure, side: int) -> tuple[Pixels, Pixels]:
    """The middle third of the front view's upper third, three times as large, with another ground and a mark."""
    column, row = place(solid.vertices, 0, 3 * side)
    mark = np.tile(FACE_GROUND, (side, side, 1))
    cv2.circle(mark, (round(0.42 * side), round(0.45 * side)), side // 24, _INK, -1)  # one eye only, at -X
    cv2.line(mark, (round(0.42 * side), round(0.62 * side)), (round(0.58 * side), round(0.62 * side)), _INK, side // 40)
    return _composed(solid, _fragments(solid, 0, column - side, row, side), mark)


def _fragments(solid: Figure, view: int, column: Floats, row: Floats, side: int) -> Fragments:
    _, axis, sign = SIDES[view]
    return rasterize(np.stack([column, row, sign * solid.vertices[:, axis]], axis=1), solid.faces, side, side)


def _lettered(letter: str, ground: Pixels, side: int) -> Pixels:
    picture = np.tile(ground, (side, side, 1))
    scale, thick = side / 120, max(side // 40, 1)
    (wide, tall), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    corner = (side // 2 - wide // 2, round(0.66 * side) + tall // 2)
    return cv2.putText(picture, letter, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, thick, cv2.LINE_AA)


def _composed(solid: Figure, seen: Fragments, paint: Pixels) -> tuple[Pixels, Pixels]:
    """Colours and normals on white; around the outline the colours take a pixel of it."""
    something = (seen.face >= 0)[..., None]
    normals = solid.normals[solid.faces[np.maximum(seen.face, 0), 0]]
    encoded = ((normals * 0.5 + 0.5) * 255).astype(np.uint8)
    colour, normal = (np.where(something, values, 255).astype(np.uint8) for values in (paint, encoded))
    return cv2.blur(colour, (3, 3)), normal
