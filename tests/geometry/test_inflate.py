"""Outlines of known shapes become the bodies that the equation promises."""

import numpy as np

from geometry import inflate


def disc(side: int, radius: float, softness: float = 0.5) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] + 0.5 - side / 2
    return np.clip((radius - np.hypot(x, y)) / (2 * softness) + 0.5, 0, 1).astype(np.float32)


def test_a_small_disc_rises_like_the_solution_of_poisson() -> None:
    """Without screening u = c (r^2 - d^2) / 4; the screening takes a little away."""
    height = inflate.solve(disc(320, 30) > 0.5)
    assert np.isclose(height[160, 160], inflate.SOURCE * 30**2 / 4, rtol=0.06)


def test_the_equation_holds_where_it_should() -> None:
    mask = disc(320, 110) > 0.5
    u = inflate.solve(mask).astype(np.float64)
    laplace = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1]
    residual = -laplace + u[1:-1, 1:-1] / (inflate.REACH * 320) ** 2 - inflate.SOURCE
    assert np.sqrt((residual[mask[1:-1, 1:-1]] ** 2).mean()) < 4e-3 * inflate.SOURCE
    assert (u[~mask] == 0).all()


def test_wide_shapes_do_not_grow_without_end() -> None:
    height = inflate.solve(np.pad(np.ones((300, 300), bool), 10))
    assert np.sqrt(height.max()) < np.sqrt(inflate.SOURCE) * inflate.REACH * 320


def test_the_zero_line_follows_the_outline_to_a_fraction_of_a_pixel() -> None:
    radius = 60.37
    body = inflate.profile(disc(320, radius))
    row = body[160, 160:]
    last = int(np.flatnonzero(row > 0)[-1])
    crossing = last + row[last] / (row[last] - row[last + 1]) + 0.5
    assert abs(crossing - radius) < 0.12


def test_a_hair_line_becomes_a_round_tube_and_a_speck_of_the_body_does_not() -> None:
    alpha = disc(320, 50)
    alpha[159:161, 40:110] = 1
    body = inflate.profile(alpha)
    assert np.isclose(body[159, 70], inflate.THIN**2, atol=1.0)
    assert (body[150, 50:100] < 0).all()


def test_depth_multiplies_the_half_depth() -> None:
    alpha = disc(320, 80)
    once, twice = inflate.profile(alpha), inflate.profile(alpha, depth=2)
    assert np.allclose(twice[once > 25], 4 * once[once > 25], rtol=1e-5)


def test_relief_follows_the_light_and_leaves_the_outline_alone() -> None:
    alpha = disc(320, 100)
    body = inflate.profile(alpha)
    light = np.full((320, 320), 0.4, np.float32)
    light[150:160, 150:160] = 1.0
    bumps = inflate.detail(alpha, light)
    front = inflate.with_relief(body, bumps, inflate.signed_distance(alpha))
    assert front[155, 155] > body[155, 155] + 20
    assert np.array_equal(front > 0, body > 0)
    assert np.array_equal(inflate.with_relief(body, bumps, inflate.signed_distance(alpha), 0.0) > 0, body > 0)
    assert np.allclose(inflate.with_relief(body, bumps, inflate.signed_distance(alpha), 0.0), body, rtol=1e-4)
