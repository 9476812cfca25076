"""Voxels see the pictures at the place they are projected to, and the decoders are TRELLIS's but for that."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from networks import trellis
from networks.ops.voxels import Voxels
from networks.precision import set_torso, torso_modules
from networks.synchuman.mv_decoders import (
    MVBlock,
    MVCondition,
    MVGaussianDecoder,
    MVMeshDecoder,
    build,
    view_samples,
)
from tests.networks.drawing import CONFIGS, drawn, normal, random_coords

SIDE, MV_DIM = 16, 3
KINDS = {"slat_decoder_gs": MVGaussianDecoder, "slat_decoder_mesh": MVMeshDecoder}


def config(key: str, **args: Any) -> dict[str, Any]:
    wanted = {"mv_dim": MV_DIM, "mv_condition_mode": "4_view", "use_multiscale": True, "use_faceinfo": False} | args
    return {**CONFIGS[key], "args": CONFIGS[key]["args"] | wanted}


def decoder(key: str, **args: Any) -> Any:
    return drawn(build(config(key, **args))).requires_grad_(False).eval()


def features(seed: int, items: int = 1) -> Tensor:
    return normal(items, 4, SIDE, SIDE, 4 * MV_DIM, seed=seed)


def test_a_voxel_sees_row_from_the_top_and_column_along_x_or_y() -> None:
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pictures = torch.stack([torch.stack([torch.full_like(rows, view), rows, columns], dim=2) for view in range(4)])
    found = list(view_samples(pictures[None], Voxels(torch.tensor([[0, 3, 5, 0], [0, 8, 1, 15]]))))
    assert [view[0].tolist() for view in found] == [[0, 15, 3], [1, 15, 5], [2, 15, 3], [3, 15, 5]]
    assert [view[1].tolist() for view in found] == [[0, 0, 8], [1, 0, 1], [2, 0, 8], [3, 0, 1]]


def test_each_object_sees_its_own_pictures() -> None:
    voxels = Voxels(random_coords([7, 5], SIDE))
    both = features(1, items=2)
    found = torch.cat(list(view_samples(both, voxels)), dim=1)
    for item, rows in enumerate(voxels.segments.spans()):
        alone = Voxels(voxels.coords[rows] * torch.tensor([0, 1, 1, 1]))
        assert torch.equal(found[rows], torch.cat(list(view_samples(both[item : item + 1], alone)), dim=1))


@pytest.mark.parametrize("shape", [(1, 5, SIDE, SIDE, 3), (2, 4, SIDE, SIDE, 3), (1, 4, 8, 8, 3)])
def test_pictures_that_do_not_fit_the_voxels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give those of 4 pictures for each of 1 objects, on a grid of at least 16"):
        list(view_samples(torch.zeros(shape), Voxels(torch.tensor([[0, 15, 0, 0]]))))


def test_the_condition_is_normals_before_colours_of_one_view_after_the_other() -> None:
    model, voxels = decoder("slat_decoder_gs"), Voxels(random_coords([40], SIDE))
    colour, bumps = features(1), features(2)
    seen = model.condition(colour, bumps, voxels)
    wanted = [
        torch.cat(list(view_samples(layer(pictures), voxels)), dim=1)
        for layer, pictures in ((model.input_layer_normal, bumps), (model.input_layer_color, colour))
    ]
    assert torch.equal(seen, torch.cat(wanted, dim=1)) and seen.shape == (40, 2 * 4 * MV_DIM)
    two = decoder("slat_decoder_gs", mv_condition_mode="front&back")
    two.input_layer_color, two.input_layer_normal = model.input_layer_color, model.input_layer_normal
    both = two.condition(colour, bumps, voxels).unflatten(1, (2, 2, MV_DIM))
    assert torch.equal(both, seen.unflatten(1, (2, 4, MV_DIM))[:, :, [0, 2]])


def test_two_products_are_the_one_of_rows_beside_their_condition() -> None:
    layers = drawn(MVCondition(8, 30))
    x, seen = normal(50, 8), normal(50, 30, seed=1)
    first, act, second = layers
    assert (layers(x, seen) - second(act(first(torch.cat([x, seen], dim=1))))).abs().max() < 1e-6


def test_a_block_without_the_condition_is_that_of_trellis() -> None:
    block = cast(MVBlock, drawn(MVBlock(32, 2, 2.0, condition=6)))
    voxels, h, seen = Voxels(random_coords([60], SIDE)), normal(60, 32), normal(60, 6, seed=1)
    windows = voxels.windows(8, 4)
    changed = block(h, windows, seen)
    block.mv_condition[2].weight.data.zero_()
    block.mv_condition[2].bias.data.zero_()
    plain = super(MVBlock, block).forward(h[windows.order], windows.segments)
    assert (block(h, windows, seen)[windows.order] - plain).abs().max() < 1e-5
    assert (changed[windows.order] - plain).abs().max() > 0.1


@pytest.mark.parametrize("key", KINDS)
def test_every_voxel_depends_on_the_cell_it_sees_and_on_no_other(key: str) -> None:
    """Attention is cut, so that only a voxel's own cells reach it."""
    model, coords = decoder(key), random_coords([30], SIDE, seed=4)
    for block in model.blocks:
        block.attn.to_out.weight.zero_()
    voxels, latent = Voxels(coords), normal(30, 8)
    colour, bumps = features(1), features(2)
    _, x, y, z = coords[11].tolist()
    for kind in (colour, bumps):
        before = model.trunk(latent, voxels, model.condition(colour, bumps, voxels))
        kind[0, 1, SIDE - 1 - z, y] += 1  # of the right view
        after = model.trunk(latent, voxels, model.condition(colour, bumps, voxels))
        expected = (coords[:, 2] == y) & (coords[:, 3] == z)
        assert torch.equal((before != after).any(dim=1), expected)


def test_decoders_give_what_those_of_trellis_give() -> None:
    voxels, latent = Voxels(random_coords([30], SIDE)), normal(30, 8)
    colour, bumps = features(1), features(2)
    raw = decoder("slat_decoder_gs")(latent, voxels, colour, bumps)
    assert raw.shape == (30, 4 * 14)
    mesh = decoder("slat_decoder_mesh")
    whole, fine = mesh(latent, voxels, colour, bumps)
    in_runs, _ = mesh(latent, voxels, colour, bumps, rows=256, onto=torch.device("cpu"))
    assert whole.shape == (64 * 30, 101) and len(fine) == 64 * 30
    assert (whole - in_runs).abs().max() < 1e-5


@pytest.mark.parametrize("key", KINDS)
def test_only_the_first_layers_of_pictures_stay_float32_beside_trellis_own(key: str) -> None:
    with torch.device("meta"):
        ours, plain = build(config(key)), trellis.build(CONFIGS[key])
    assert isinstance(ours, KINDS[key])
    names = {name for name, _ in ours.named_parameters()} - {name for name, _ in plain.named_parameters()}
    wanted = {f"blocks.{i}.mv_condition.{j}.{kind}" for i in (0, 1) for j in (0, 2) for kind in ("weight", "bias")}
    ends = {f"input_layer_{what}.{kind}" for what in ("color", "normal") for kind in ("weight", "bias")}
    assert names == wanted | ends
    torso = {id(parameter) for layer in torso_modules(ours) for parameter in layer.parameters()}
    halves = {name for name, parameter in ours.named_parameters() if id(parameter) in torso}
    assert wanted <= halves and not ends & halves


def test_the_torso_may_run_in_half_precision() -> None:
    model, voxels, latent = decoder("slat_decoder_gs"), Voxels(random_coords([30], SIDE)), normal(30, 8)
    exact = model(latent, voxels, features(1), features(2))
    set_torso(model, torch.bfloat16)
    assert model.condition(features(1), features(2), voxels).dtype == torch.bfloat16
    rough = model(latent, voxels, features(1), features(2))
    assert rough.dtype == torch.float32 and ((rough - exact).norm() / exact.norm()) < 3e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mv_condition_mode": "8_view"}, "mv_condition_mode is '8_view'; use '4_view' or 'front&back'"),
        ({"use_faceinfo": True}, "use_faceinfo True; only True and False are known"),
        ({"use_multiscale": False}, "use_multiscale is False"),
        ({"rope": True}, "arguments of SLatMeshDecoder do not fit: .*'rope'"),
    ],
)
def test_numbers_no_checkpoint_has_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(config("slat_decoder_mesh", **change))


def test_what_is_no_decoder_is_made_by_trellis() -> None:
    assert type(build(CONFIGS["slat_flow_model"])) is trellis.SLatFlow
    with pytest.raises(ValueError, match="'SLatTextDecoder'; this project has"):
        build({"name": "SLatTextDecoder", "args": {}})
