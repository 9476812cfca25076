"""The image encoder takes pictures of its own size and gives the condition of the flows."""

import pytest
import torch

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
