"""Each picture lands on its side of the mesh, the right way round, and the splats where no picture sees well."""

import numpy as np
import pytest

from geometry.axes import to_glb
from geometry.cameras import Camera
from geometry.finish import ColourAt, finish
from geometry.mesh import Floats, Mesh
from geometry.render import Scene, flat_views
from pipelines.synchuman.texture import seen_colours
from pipelines.synchuman.views import MIRRORED, MultiView
from tests.pipelines.synchuman.figure import (
    FACE_GROUND,
    GROUND,
    SIDES,
    SKY,
    Figure,
    box,
    figure,
    painted,
    place,
    splats,
)

SIDE = 384


@pytest.fixture(scope="module")
def solid() -> Figure:
    return figure()


@pytest.fixture(scope="module")
def pictures(solid: Figure) -> MultiView:
    return painted(solid, SIDE)


@pytest.fixture(scope="module")
def colour_at(solid: Figure, pictures: MultiView) -> ColourAt:
    return seen_colours(pictures, splats(solid), upright(solid.vertices), solid.faces, views=12, side=192)


@pytest.fixture(scope="module")
def finished(solid: Figure, colour_at: ColourAt) -> Scene:
    dense = Mesh(upright(solid.vertices), solid.faces)
    return finish(dense, target=8_000, texture_size=512, colour_at=colour_at).scene


def upright(points: Floats) -> Floats:
    return np.ascontiguousarray(to_glb(points))


def turned_to(solid: Figure, view: int, least: float) -> Floats:
    """(N,) whether vertices of the body look towards a side, and the arm is not before them."""
    _, axis, sign = SIDES[view]
    body = (solid.vertices[:, 0] < 0.19) & (solid.vertices[:, 2] < (-0.07 if view == 1 else 0.12))
    return (sign * solid.normals[:, axis] > least) & body & solid.bare


@pytest.mark.parametrize("view", range(4))
def test_a_place_has_the_colour_of_the_pixel_it_is_projected_to(
    view: int, solid: Figure, pictures: MultiView, colour_at: ColourAt
) -> None:
    """The rule is the pictures' own: rows from the top, columns along +x or +y whether mirrored or not."""
    chosen = turned_to(solid, view, 0.93)
    points, normals = solid.vertices[chosen], solid.normals[chosen]
    found = colour_at(upright(points), upright(normals))
    column, row = place(points, view, SIDE)
    wanted = pictures.colour[view][row.astype(int), column.astype(int)].astype(int)
    away = np.abs(found - wanted).max(axis=1)
    assert len(away) > 100 and np.median(away) < 2
    assert (away > 60).mean() < 0.02, "only the edges of the letter are blurred"
    mirrored = pictures.colour[view][row.astype(int), -1 - column.astype(int)].astype(int)
    assert (np.abs(found - mirrored).max(axis=1) > 60).mean() > 0.06, "the letter would not tell"


@pytest.mark.parametrize("view", range(4))
def test_the_finished_mesh_looks_from_each_side_as_its_picture(view: int, pictures: MultiView, finished: Scene) -> None:
    shown, _ = flat_views(finished, Camera(azimuth=view * np.pi / 2), SIDE)
    wanted = pictures.colour[view][:, ::-1] if view in MIRRORED else pictures.colour[view]
    middle = slice(round(0.55 * SIDE), round(0.8 * SIDE)), slice(round(0.44 * SIDE), round(0.56 * SIDE))  # the letter
    off, off_mirrored = (
        np.abs(shown[middle].astype(int) - picture[middle].astype(int)).mean() for picture in (wanted, wanted[:, ::-1])
    )
    assert off < 8 and off_mirrored > 3 * off


def test_the_face_takes_its_own_picture_and_the_back_of_the_head_does_not(solid: Figure, colour_at: ColourAt) -> None:
    head = (solid.vertices[:, 2] > 0.22) & (np.abs(solid.normals[:, 2]) < 0.3)
    front, back = head & (solid.normals[:, 1] < -0.95), head & (solid.normals[:, 1] > 0.95)
    shown = colour_at(upright(solid.vertices), upright(solid.normals))
    dark = shown.max(axis=1) < 60
    assert np.abs(shown[front & ~dark] - FACE_GROUND).mean() < 12
    assert np.abs(shown[back] - GROUND[2]).max() < 12
    eye = solid.vertices[front & dark & (solid.vertices[:, 2] > 0.34)]
    assert len(eye) > 3 and np.abs(eye[:, 0].mean() + 0.08 / 3) < 0.01, "the one eye is at -X"


def test_what_looks_up_takes_the_splats(solid: Figure, colour_at: ColourAt) -> None:
    top = (solid.normals[:, 2] > 0.97) & solid.bare
    shown = colour_at(upright(solid.vertices[top]), upright(solid.normals[top]))
    assert np.abs(np.nanmedian(shown, axis=0) - SKY).max() < 12


def test_only_where_arm_and_body_meet_is_nothing_seen(solid: Figure, colour_at: ColourAt) -> None:
    shown = colour_at(upright(solid.vertices[solid.bare]), upright(solid.normals[solid.bare]))
    assert np.isnan(shown).any(axis=1).mean() < 0.01


@pytest.mark.parametrize("view", range(4))
def test_white_around_the_figure_does_not_reach_it(view: int) -> None:
    """On a box, whose sides are seen straight up to edges that are half white in the pictures."""
    solid, half = box(), 0.3
    colour_at = seen_colours(painted(solid, SIDE), splats(solid), upright(solid.vertices), solid.faces, 1, 64)
    along, towards, sign = SIDES[view]
    points = np.zeros((40, 3), np.float32)
    points[:, along] = (half - np.linspace(0.1, 4, 40) / SIDE) * np.array([1, -1])[np.arange(40) % 2]
    points[:, towards], points[:, 2] = sign * half, -0.25
    normals = np.zeros_like(points)
    normals[:, towards] = sign
    shown = colour_at(upright(points), upright(normals))
    away = np.abs(shown - GROUND[view]).max(axis=1)
    assert np.nanmax(away) < 3 and np.isfinite(away).sum() > 15
