"""The tiles draw what every Gaussian at every pixel adds up to."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from geometry.cameras import orbit, perspective, sphere_views
from geometry.gaussians import SH_DC, Gaussians
from geometry.splatting import BLUR, DENSEST, FAINTEST, NEAREST, SPENT, project, render, render_views

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trellis"
CAMERA = orbit(np.array([[0.5, 0.6]]), 2.0)[0]
INTRINSICS = perspective(np.radians(40))


def cloud(count: int, seed: int, spread: float = 0.5, widest: float = 0.1) -> Gaussians:
    random = np.random.default_rng(seed)
    quaternions = random.normal(size=(count, 4))
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    parts = (
        random.uniform(-spread, spread, (count, 3)),
        random.normal(0, 1.5, (count, 3)),
        np.exp(random.uniform(np.log(0.002), np.log(widest), (count, 3))),
        quaternions,
        random.uniform(0, 1, count) ** 0.5,
    )
    return Gaussians(*(part.astype(np.float32) for part in parts))


def one(position: tuple[float, float, float], scale: float, opacity: float, red: float = 1.0) -> Gaussians:
    parts = ([position], [[(red - 0.5) / SH_DC, -2, -2]], [[scale] * 3], [[1, 0, 0, 0]], [opacity])
    return Gaussians(*(np.array(part, np.float32) for part in parts))


def together(*gaussians: Gaussians) -> Gaussians:
    return Gaussians(*(np.concatenate(parts) for parts in zip(*(vars(g).values() for g in gaussians), strict=True)))


def rotation(quaternion: np.ndarray) -> np.ndarray:
    w, axis = quaternion[0], quaternion[1:]
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def directly(gaussians: Gaussians, extrinsics: np.ndarray, intrinsics: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 5) colour, alpha and depth: one Gaussian after the other over all pixels, in float64."""
    turn = extrinsics[:3, :3].astype(np.float64)
    view = gaussians.positions @ turn.T + extrinsics[:3, 3]
    grid = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    focal, middle = np.diag(intrinsics)[:2] * size, intrinsics[:2, 2] * size
    total, light = np.zeros((size, size, 4)), np.ones((size, size))
    for i in np.argsort(view[:, 2], kind="stable"):
        if view[i, 2] <= NEAREST:
            continue
        tangent = view[i, :2] / view[i, 2]
        held = np.clip(tangent, -1.3 * size / 2 / focal, 1.3 * size / 2 / focal)
        jacobian = np.array([[focal[0], 0, -focal[0] * held[0]], [0, focal[1], -focal[1] * held[1]]]) / view[i, 2]
        axes = rotation(gaussians.rotations[i].astype(np.float64)) @ np.diag(gaussians.scales[i].astype(np.float64))
        sharp = jacobian @ turn @ axes @ axes.T @ turn.T @ jacobian.T
        soft = sharp + BLUR * np.eye(2)
        opacity = gaussians.opacities[i] * np.sqrt(np.linalg.det(sharp) / np.linalg.det(soft))
        away = grid - (focal * tangent + middle)
        covered = opacity * np.exp(-0.5 * np.einsum("hwi,ij,hwj->hw", away, np.linalg.inv(soft), away))
        weight = light * np.where((covered >= FAINTEST) & (light >= SPENT), covered.clip(0, DENSEST), 0)
        total += weight[..., None] * np.append(gaussians.colours[i], view[i, 2])
        light -= weight
    alpha = 1 - light
    return np.concatenate(
        [total[..., :3], alpha[..., None], total[..., 3:] / np.where(alpha > 0, alpha, 1)[..., None]], 2
    )


def test_the_rotations_below_are_those_of_the_reference() -> None:
    wanted = load_file(FIXTURES / "slat_dec_gs" / "outputs.safetensors")
    for i in range(20):
        axes = rotation(wanted["g0.rotation"][i]) * wanted["g0.scaling"][i]
        assert np.allclose((axes @ axes.T)[np.triu_indices(3)], wanted["g0.covariance6"][i], atol=1e-8)


@pytest.mark.parametrize("size", [64, 50])
def test_tiles_agree_with_all_gaussians_at_all_pixels(size: int) -> None:
    gaussians = cloud(400, seed=1)
    colour, alpha, depth = render(gaussians, CAMERA, INTRINSICS, size)
    wanted = directly(gaussians, CAMERA, INTRINSICS, size)
    assert np.abs(colour - wanted[..., :3]).max() < 1e-3
    assert np.abs(alpha - wanted[..., 3]).max() < 1e-3
    assert np.abs(depth - wanted[..., 4])[alpha > 0.01].max() < 2e-3
    assert alpha.max() > 0.99


def test_gaussians_around_and_behind_the_camera_agree_too() -> None:
    gaussians = cloud(300, seed=2, spread=2.5, widest=0.3)
    camera = orbit(np.array([[2.0, -0.3]]), 0.5)[0]
    intrinsics = perspective(np.radians(60))
    intrinsics[:2, 2] = 0.35, 0.6
    colour, alpha, _ = render(gaussians, camera, intrinsics, 40)
    wanted = directly(gaussians, camera, intrinsics, 40)
    assert np.abs(colour - wanted[..., :3]).max() < 5e-3
    assert np.abs(alpha - wanted[..., 3]).max() < 5e-3


def test_many_views_are_the_single_ones_in_their_order() -> None:
    gaussians, views = cloud(50, seed=3), orbit(sphere_views(40), 2.0)
    for view, picture in zip(views, render_views(gaussians, views, INTRINSICS, 32), strict=True):
        for ours, theirs in zip(picture, render(gaussians, view, INTRINSICS, 32), strict=True):
            assert np.array_equal(ours, theirs)


def test_a_point_lands_on_its_pixel_with_its_depth() -> None:
    spot = np.array([0.21, -0.13, 0.17])
    picture = render(one(tuple(spot), 0.002, 0.9), CAMERA, INTRINSICS, 128)
    view = CAMERA[:3, :3] @ spot + CAMERA[:3, 3]
    column, row = 128 * (INTRINSICS[:2, :2] @ view[:2] / view[2] + 0.5)
    assert np.unravel_index(picture.alpha.argmax(), (128, 128)) == (int(row), int(column))
    assert picture.depth[int(row), int(column)] == pytest.approx(view[2], abs=1e-5)


def test_the_filter_keeps_the_light_of_a_gaussian_smaller_than_a_pixel() -> None:
    small = project(one((0, 0, 0), 1e-4, 0.8), CAMERA, INTRINSICS, 64)
    assert len(small) == 0  # its light, spread over the filter, is below what is drawn
    sharp = 0.01 * INTRINSICS[0, 0] * 64 / 2  # standard deviation in pixels
    wide = project(one((0, 0, 0), 0.01, 0.8), CAMERA, INTRINSICS, 64)
    assert np.allclose(1 / wide["along"], sharp**2 + BLUR, atol=1e-5)
    assert np.allclose(1 / wide["across"], sharp**2 + BLUR, atol=1e-5)
    assert np.allclose(wide["opacity"] * (sharp**2 + BLUR), 0.8 * sharp**2)


def test_the_nearer_gaussian_covers_the_farther() -> None:
    eye = -CAMERA[:3, :3].T @ CAMERA[:3, 3]
    near, far = one(tuple(0.2 * eye), 0.3, 1.0, red=1.0), one((0, 0, 0), 0.3, 1.0, red=0.0)
    pictures = [render(both, CAMERA, INTRINSICS, 33) for both in (together(near, far), together(far, near))]
    assert np.array_equal(pictures[0].colour, pictures[1].colour)
    assert pictures[0].colour[16, 16, 0] == pytest.approx(DENSEST, abs=1e-3)
    assert pictures[0].alpha[16, 16] == pytest.approx(1 - (1 - DENSEST) ** 2, abs=1e-5)


def test_finished_pixels_take_no_more_and_do_not_end_the_others_of_their_tile() -> None:
    """A wall over all but a corner of one tile, a veil over all of it behind."""
    corner = CAMERA[1, :3] - CAMERA[0, :3]  # down and left
    eye = -CAMERA[:3, :3].T @ CAMERA[:3, 3]
    wall = [one(tuple((0.1 + 0.001 * k) * eye + 0.2 * corner), 0.5, 1.0) for k in range(40)]
    scene = together(*wall, one((0, 0, 0), 1.0, 0.5, red=0.2))
    colour, alpha, depth = render(scene, CAMERA, INTRINSICS, 16)
    wanted = directly(scene, CAMERA, INTRINSICS, 16)
    assert 1 <= (alpha < 1 - SPENT).sum() <= 20
    assert np.abs(colour - wanted[..., :3]).max() < 1e-5
    assert np.abs(alpha - wanted[..., 3]).max() < 1e-5
    assert np.abs(depth - wanted[..., 4]).max() < 1e-5


def test_what_nearly_touches_the_camera_is_not_drawn() -> None:
    eye = -CAMERA[:3, :3].T @ CAMERA[:3, 3]
    for distance, drawn in ((0.95 * NEAREST, 0), (1.05 * NEAREST, 1)):
        gaussian = one(tuple((1 - distance / 2) * eye), 0.01, 1.0)
        assert len(project(gaussian, CAMERA, INTRINSICS, 64)) == drawn


def test_nothing_in_sight_is_black_and_empty() -> None:
    behind = one(tuple(-2 * CAMERA[:3, :3].T @ CAMERA[:3, 3]), 0.1, 1.0)
    for gaussians in (behind, one((5, 0, 0), 0.1, 1.0), Gaussians(*(part[:0] for part in vars(behind).values()))):
        picture = render(gaussians, CAMERA, INTRINSICS, 20)
        assert not any(part.any() for part in picture)
