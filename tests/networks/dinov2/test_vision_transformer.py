"""The image encoder takes pictures of its own size and gives the condition of the flows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from networks.dinov2 import VisionTransformer
from networks.dinov2.vision_transformer import normalised
from tests.networks.drawing import normal, tiny
from tests.tiny_trellis import ENCODER


def test_tokens_are_class_registers_and_patches_in_reading_order() -> None:
    encoder, x = tiny("image_encoder"), normal(2, 3, 56, 56)
    tokens = encoder(x)
    assert tokens.shape == (2, 1 + 4 + 16, 24) and tokens.dtype == torch.float32
    for block in encoder.blocks:  # without what mixes tokens, a patch touches its own token only
        block.attn.proj.weight.zero_()
    before = encoder(x)
    x[1, :, 14:28, 28:42] += 1  # row 1, column 2 of four
    changed = (encoder(x) != before).any(dim=2)
    assert changed.nonzero().tolist() == [[1, 5 + 4 + 2]]


def test_the_condition_has_mean_zero_and_variance_one() -> None:
    tokens = normalised(3 * normal(1, 5, 24) + 2)
    assert tokens.mean(dim=2).abs().max() < 1e-6
    assert (tokens.var(dim=2, unbiased=False) - 1).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 3, 42, 56), (1, 3, 28, 28)])
def test_a_picture_of_another_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"the image is {shape[3]} x {shape[2]}; this encoder takes 56 squared"):
        tiny("image_encoder")(torch.zeros(shape))


@pytest.mark.parametrize("change", [{"block_chunks": 4}, {"ffn_layer": "swiglu"}, {"qkv_bias": False}])
def test_another_kind_of_transformer_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="only 0 and 'mlp', with biases"):
        VisionTransformer(**ENCODER | change)


def keys_weights(side: int, finer: int) -> np.ndarray:
    """(finer, side) of Keys' cubic filter with a = -1/2, cut off at the border and brought back to a sum of one."""
    centre = (np.arange(finer) + 0.5) * side / finer
    away = np.abs(np.arange(side) + 0.5 - centre[:, None])
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    weights = np.where(away < 1, near, np.where(away < 2, far, 0))
    return weights / weights.sum(axis=1, keepdims=True)


def shown_positions(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """The position table, and what patches without any content have before the first block."""
    encoder, seen = tiny("image_encoder"), []
    encoder.patch_embed.proj.weight.zero_()
    encoder.patch_embed.proj.bias.zero_()
    encoder.blocks[0].register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    encoder.intermediate(torch.zeros(1, 3, 14 * rows, 14 * columns), [0])
    assert torch.equal(seen[0][:, :1], encoder.cls_token + encoder.pos_embed[:, :1])
    return encoder.pos_embed[0, 1:].view(4, 4, -1), seen[0][0, 5:].view(rows, columns, -1)


def test_positions_of_another_size_are_interpolated_by_the_cubic_filter() -> None:
    table, shown = shown_positions(7, 9)
    wanted = np.einsum("ri,cj,ijk->rck", keys_weights(4, 7), keys_weights(4, 9), table.numpy())
    assert np.abs(shown.numpy() - wanted).max() < 1e-5


def test_positions_of_a_smaller_size_are_smoothed() -> None:
    table, shown = shown_positions(1, 1)
    away = (np.arange(4) - 1.5) / 4  # the filter widened to the new patch
    weights = 1.5 * np.abs(away) ** 3 - 2.5 * away**2 + 1
    weights /= weights.sum()
    assert np.abs(shown[0, 0].numpy() - np.einsum("i,j,ijk->k", weights, weights, table.numpy())).max() < 1e-5


def test_intermediate_tokens_are_the_normed_patches_after_each_block() -> None:
    encoder, x = tiny("image_encoder"), normal(2, 3, 56, 56)
    first, last = encoder.intermediate(x, [0, 1])
    assert first.shape == last.shape == (2, 16, 24) and last.dtype == torch.float32
    assert torch.equal(last, encoder.norm(encoder(x))[:, 5:])
    encoder.blocks = encoder.blocks[:1]
    assert torch.equal(first, encoder.norm(encoder(x))[:, 5:])


@pytest.mark.parametrize("layers", [(1, 0), (0, 0), (0, 2), (-1, 1)])
def test_layers_that_are_not_there_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give ascending ones of 0 to 1"):
        tiny("image_encoder").intermediate(torch.zeros(1, 3, 56, 56), layers)


def test_a_picture_that_patches_do_not_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="the image is 56 x 60; its sides are multiples of 14"):
        tiny("image_encoder").intermediate(torch.zeros(1, 3, 60, 56), [0])


def test_an_offset_of_positions_is_refused_where_it_would_matter() -> None:
    encoder = VisionTransformer(**ENCODER, interpolate_offset=0.1)
    encoder.intermediate(torch.zeros(1, 3, 56, 56), [0])
    with pytest.raises(ValueError, match="interpolate_offset is 0.1"):
        encoder.intermediate(torch.zeros(1, 3, 70, 56), [0])
