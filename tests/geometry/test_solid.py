"""Profiles become closed surfaces whose holes, parts and outlines come out by themselves."""

import numpy as np
import pytest

from geometry import inflate, mesh, solid


def profile(alpha: np.ndarray) -> np.ndarray:
    return inflate.profile(alpha.astype(np.float32))


def ring(side: int, outer: float, inner: float) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] + 0.5 - side / 2
    away = np.hypot(x, y)
    return np.clip(outer - away + 0.5, 0, 1) * np.clip(away - inner + 0.5, 0, 1)


@pytest.mark.parametrize(("inner", "euler"), [(-9.0, 2), (20.0, 0)])
def test_a_disc_is_a_ball_and_a_ring_is_a_torus(inner: float, euler: int) -> None:
    front = profile(ring(160, 60, inner))
    vertices, faces = solid.two_sided(front, 0.8 * front)
    assert mesh.is_closed(faces)
    assert mesh.euler_number(faces) == euler
    assert mesh.signed_volume(vertices, faces) > 0
    assert np.abs(vertices).max() < 0.5


def test_the_front_is_deeper_than_the_back_and_lies_on_the_profile() -> None:
    front = profile(ring(160, 60, -9))
    vertices, _ = solid.two_sided(front, 0.8 * front)
    half = np.sqrt(front.max()) / 160
    assert np.isclose(vertices[:, 2].max(), half, rtol=0.01)
    assert np.isclose(vertices[:, 2].min(), -half * np.sqrt(0.8), rtol=0.01)


def test_picture_columns_run_along_x_and_rows_run_down() -> None:
    alpha = np.zeros((160, 160))
    alpha[20:50, 90:140] = 1  # upper right
    front = profile(alpha)
    vertices, _ = solid.two_sided(front, front)
    assert vertices[:, 0].min() > 0
    assert vertices[:, 1].min() > 0


def test_two_fields_meet_both_outlines() -> None:
    disc, bar = ring(160, 60, -9), np.zeros((160, 160))
    bar[20:140, 60:100] = 1
    vertices, faces = solid.two_fields(solid.row_normalised(profile(disc)), solid.row_normalised(profile(bar)))
    assert mesh.is_closed(faces)
    assert mesh.signed_volume(vertices, faces) > 0
    assert np.isclose(np.ptp(vertices[:, 0]), 120 / 160, atol=0.02)
    assert np.isclose(np.ptp(vertices[:, 2]), 40 / 160, atol=0.02)


def test_the_left_column_of_the_side_field_is_the_back() -> None:
    disc, bar = ring(160, 60, -9), np.zeros((160, 160))
    bar[20:140, 100:130] = 1
    vertices, _ = solid.two_fields(solid.row_normalised(profile(disc)), solid.row_normalised(profile(bar)))
    assert vertices[:, 2].min() > 0.08
