"""The surface is the reference's where there is one, and closed, outward and independent of how the cubes are given."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from geometry.flexicubes import CubeField, dense_field, extract
from geometry.mesh import euler_number, is_closed, signed_volume
from tests.meshes import same_mesh

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trellis"


def grid(resolution: int) -> Tensor:
    axis = torch.arange(resolution + 1)
    return torch.cartesian_prod(axis, axis, axis) / resolution - 0.5


def noise(resolution: int, seed: int) -> Tensor:
    """Random distances, all outside at the border of the grid."""
    distances = torch.randn(len(grid(resolution)), generator=torch.Generator().manual_seed(seed))
    return torch.where((grid(resolution).abs() == 0.5).any(dim=1), 1.0, distances)


@pytest.mark.parametrize(("name", "resolution"), [("sphere", 10), ("noise", 8)])
def test_deformed_and_weighted_cubes_give_the_mesh_and_colours_of_the_reference(name: str, resolution: int) -> None:
    given = load_file(FIXTURES / f"flexicubes_{name}" / "inputs.safetensors")
    wanted = {
        key: value.numpy() for key, value in load_file(FIXTURES / f"flexicubes_{name}/outputs.safetensors").items()
    }
    positions = grid(resolution) + given["deform"].tanh() / (2 * resolution)
    field = dense_field(given["scalar_field"], positions, resolution, given["colors6"], given["weights21"])
    vertices, faces, colours = extract(field)
    assert colours is not None
    same_mesh(vertices.numpy(), faces.numpy(), wanted["vertices"], wanted["faces"], 1e-5)
    # Colours tell apart what lies at one place, so the pairs have to be the same.
    ours = torch.cat([vertices, colours], dim=1)
    theirs = torch.cat([torch.from_numpy(wanted["vertices"]), torch.from_numpy(wanted["colors"])], dim=1)
    assert (torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1) < 1e-5).all()


@pytest.mark.parametrize(("name", "resolution"), [("sphere", 10), ("noise", 8)])
def test_plain_cubes_give_the_mesh_of_the_reference(name: str, resolution: int) -> None:
    given = load_file(FIXTURES / f"flexicubes_{name}" / "inputs.safetensors")
    wanted = {
        key: value.numpy() for key, value in load_file(FIXTURES / f"flexicubes_{name}/outputs.safetensors").items()
    }
    vertices, faces, none = extract(dense_field(given["scalar_field"], grid(resolution), resolution))
    assert none is None
    same_mesh(vertices.numpy(), faces.numpy(), wanted["plain_vertices"], wanted["plain_faces"], 1e-5)


@pytest.mark.parametrize(("inner", "euler"), [(0.0, 2), (0.3, 0)])
def test_a_ball_and_a_ring_are_closed_outward_and_lie_on_the_zero(inner: float, euler: int) -> None:
    x, y, z = grid(24).T
    distances = torch.hypot(torch.hypot(x, y) - inner, z) - (0.4 - inner)
    vertices, faces, _ = extract(dense_field(distances, grid(24), 24))
    x, y, z = vertices.T
    assert (torch.hypot(torch.hypot(x, y) - inner, z) - (0.4 - inner)).abs().max() < 0.01
    assert is_closed(faces.numpy())
    assert euler_number(faces.numpy()) == euler
    assert signed_volume(vertices.numpy(), faces.numpy()) > 0


@pytest.mark.parametrize("seed", range(5))
def test_the_surface_of_noise_is_a_manifold(seed: int) -> None:
    """Also where two pinched cubes meet, which dual surfaces are known to get wrong."""
    _, faces, _ = extract(dense_field(noise(12, seed), grid(12), 12))
    assert len(faces) > 4000
    assert is_closed(faces.numpy())


def test_only_the_surface_cubes_are_needed_and_their_order_does_not_matter() -> None:
    distances = torch.linalg.norm(grid(16) + 0.03, dim=1) - 0.35
    weights = torch.randn(16**3, 21, generator=torch.Generator().manual_seed(1))
    dense = dense_field(distances, grid(16), 16, weights=weights)
    inside = (distances < 0)[dense.corners].sum(dim=1)
    rows = ((inside > 0) & (inside < 8)).nonzero()[:, 0].flip(0)
    some = CubeField(dense.corners[rows], dense.cubes[rows], 16, dense.positions, distances, None, weights[rows])
    for ours, theirs in zip(extract(some)[:2], extract(dense)[:2], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("seed", range(3))
def test_the_end_of_a_row_of_cubes_does_not_touch_the_start_of_the_next(seed: int) -> None:
    """The same cubes in the middle of a larger grid have the same surface."""
    distances = torch.randn(9**3, generator=torch.Generator().manual_seed(seed))
    alone = dense_field(distances, grid(8), 8)
    amid = CubeField(alone.corners, alone.cubes + 1, 10, alone.positions, distances)
    for ours, theirs in zip(extract(alone)[:2], extract(amid)[:2], strict=True):
        assert torch.equal(ours, theirs)


def test_zeros_count_as_outside_and_keep_the_winding() -> None:
    distances = torch.where((grid(4).abs() < 0.3).all(dim=1), -1.0, 0.0)
    vertices, faces, _ = extract(dense_field(distances, grid(4), 4))
    assert is_closed(faces.numpy())
    assert torch.allclose(vertices.abs().amax(dim=0), torch.tensor(0.5))
    assert signed_volume(vertices.numpy(), faces.numpy()) > 0


def test_a_surface_that_leaves_the_grid_stays_open() -> None:
    vertices, faces, _ = extract(dense_field(grid(6)[:, 2] - 0.1, grid(6), 6))
    assert len(vertices) == 36
    assert len(faces) == 2 * 25
    assert torch.allclose(vertices[:, 2], torch.tensor(0.1))


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_field_of_one_sign_gives_empty_arrays(sign: float) -> None:
    attributes = torch.zeros(125, 6)
    vertices, faces, colours = extract(dense_field(torch.full((125,), sign), grid(4), 4, attributes))
    assert colours is not None
    assert (vertices.shape, faces.shape, colours.shape) == ((0, 3), (0, 3), (0, 6))
    assert (vertices.dtype, faces.dtype) == (torch.float32, torch.int64)
