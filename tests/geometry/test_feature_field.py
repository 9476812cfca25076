"""Voxels become the field of the reference, and the same surface as on the full grid."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from geometry.feature_field import cube_field, vertex_means
from geometry.flexicubes import dense_field, extract
from tests.meshes import same_mesh

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trellis"


def shell(resolution: int, channels: int) -> tuple[Tensor, Tensor]:
    """Voxels along the surface of a ball that reaches the grid's sides, with noisy features."""
    axis = torch.arange(resolution)
    cubes = torch.cartesian_prod(axis, axis, axis)
    corner = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)])
    distances = torch.linalg.norm((cubes[:, None] + corner) / resolution - 0.5, dim=2) - 0.5
    near = (distances.abs() < 1.2 / resolution).any(dim=1)
    features = torch.randn(int(near.sum()), channels, generator=torch.Generator().manual_seed(2))
    features[:, :8] = features[:, :8] * 0.1 / resolution + distances[near]
    return cubes[near].int(), features


@pytest.mark.parametrize("channels", [101, 53])
def test_voxels_give_the_means_mesh_and_attributes_of_the_reference(channels: int) -> None:
    """Also without the colours, which do not move the mesh."""
    given = load_file(FIXTURES / "feats2mesh_color" / "inputs.safetensors")
    wanted = load_file(FIXTURES / "feats2mesh_color" / "outputs.safetensors")
    coords, features = given["coords"][:, 1:], given["feats"][:, :channels]
    means = vertex_means(coords, features, 12)
    assert torch.equal(means.places.int(), wanted["vert_coords"])
    assert (torch.column_stack([means.distances, means.offsets]) - wanted["vert_sdf_deform"]).abs().max() < 1e-5
    vertices, faces, attributes = extract(cube_field(coords, features, 12))
    same_mesh(vertices.numpy(), faces.numpy(), wanted["vertices"].numpy(), wanted["faces"].numpy(), 1e-5)
    if channels == 53:
        assert attributes is None
    else:
        assert attributes is not None
        partner = torch.cdist(vertices, wanted["vertices"]).argmin(dim=1)
        assert (attributes - wanted["vertex_attrs"][partner]).abs().max() < 1e-5


@pytest.mark.parametrize("channels", [53, 101])
def test_voxels_and_their_rim_give_exactly_the_surface_of_the_full_grid(channels: int) -> None:
    resolution = 14
    coords, features = shell(resolution, channels)
    sparse = cube_field(coords, features, resolution)
    means = vertex_means(coords, features, resolution)
    side = resolution + 1
    at = tuple(means.places.T)
    distances, offsets = torch.ones(side, side, side), torch.zeros(side, side, side, 3)
    distances[at], offsets[at] = means.distances, means.offsets
    weights = torch.zeros(resolution, resolution, resolution, 21)
    weights[tuple(coords.long().T)] = features[:, 32:53]
    attributes = None
    if means.attributes is not None:
        attributes = torch.zeros(side, side, side, 6)
        attributes[at] = means.attributes
        attributes = attributes.reshape(-1, 6)
    axis = torch.arange(side)
    positions = torch.cartesian_prod(axis, axis, axis) / resolution - 0.5
    positions += offsets.reshape(-1, 3).tanh() / (2 * resolution)
    dense = dense_field(distances.ravel(), positions, resolution, attributes, weights.reshape(-1, 21))
    assert len(coords) < len(sparse.cubes) < resolution**3
    for ours, theirs in zip(extract(sparse), extract(dense), strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


def test_one_voxel_brings_its_neighbours_along_and_closes_around_them() -> None:
    features = torch.zeros(1, 53)
    features[:, :8] = -1
    field = cube_field(torch.tensor([[0, 2, 3]]), features, 4)
    assert len(field.cubes) == 2 * 3 * 2  # the grid ends below x and above z
    assert field.cubes.amin(dim=0).tolist() == [0, 1, 2]
    assert field.cubes.amax(dim=0).tolist() == [1, 3, 3]
    assert (field.sdf < 0).sum() == 8
    assert (field.sdf == 1).sum() == 3 * 4 * 3 - 8
    assert len(extract(field)[0]) == 12 - 1  # every cube but the voxel itself


def test_the_order_of_the_voxels_does_not_matter() -> None:
    coords, features = shell(10, 53)
    turned = cube_field(coords.flip(0), features.flip(0), 10)
    for ours, theirs in zip(extract(turned)[:2], extract(cube_field(coords, features, 10))[:2], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
def test_a_graphics_card_gives_the_same_surface_every_time() -> None:
    coords, features = shell(20, 101)
    wanted = extract(cube_field(coords, features, 20))
    first, second = (extract(cube_field(coords.cuda(), features.cuda(), 20)) for _ in range(2))
    for ours, again, theirs in zip(first, second, wanted, strict=True):
        assert ours is not None and again is not None and theirs is not None
        assert torch.equal(ours, again)
        assert torch.allclose(ours.cpu(), theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("coords", "channels", "message"),
    [
        ([[0, 0, 0], [0, 0, 4]], 53, "the grid from 0 to 3"),
        ([[0, -1, 0], [0, 0, 1]], 53, "reach from -1"),
        ([[1, 2, 3], [1, 2, 3]], 101, "1 of 2 coords repeat"),
        ([[1, 2, 3], [1, 2, 2]], 100, "101 or 53 columns"),
        ([[0, 1, 2, 3], [0, 1, 2, 2]], 53, r"need \(2, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(coords: list[list[int]], channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cube_field(torch.tensor(coords), torch.zeros(2, channels), 4)
