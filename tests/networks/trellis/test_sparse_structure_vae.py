"""The dense autoencoder is its published layers one after the other, written out here from tensors by name."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv3d, silu

from tests.networks.drawing import normal, tiny

Tensors = Mapping[str, Tensor]


def conv(x: Tensor, w: Tensors, name: str) -> Tensor:
    return conv3d(x, w[f"{name}.weight"].double(), w[f"{name}.bias"].double(), padding=1)


def activated(x: Tensor, w: Tensors, name: str) -> Tensor:
    """SiLU of the norm over channels."""
    mean, var = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, unbiased=False)
    unit = (x - mean) / (var + 1e-5).sqrt()
    gain, bias = (w[f"{name}.{end}"].double().view(1, -1, 1, 1, 1) for end in ("weight", "bias"))
    return silu(unit * gain + bias)


def residual(x: Tensor, w: Tensors, name: str) -> Tensor:
    h = conv(activated(x, w, f"{name}.norm1"), w, f"{name}.conv1")
    return x + conv(activated(h, w, f"{name}.norm2"), w, f"{name}.conv2")


def shuffled(x: Tensor) -> Tensor:
    """Channel 8 c + 4 i + 2 j + k goes to channel c, to the odd or even places that i, j and k say."""
    items, channels, *grid = x.shape
    result = torch.empty(items, channels // 8, *(2 * side for side in grid), dtype=x.dtype)
    for i in (0, 1):
        for j in (0, 1):
            for k in (0, 1):
                result[:, :, i::2, j::2, k::2] = x[:, 4 * i + 2 * j + k :: 8]
    return result


def test_the_decoder_is_its_layers() -> None:
    decoder, z = tiny("sparse_structure_decoder"), normal(2, 8, 4, 4, 4)
    w = decoder.state_dict()
    h = conv(z.double(), w, "input_layer")
    h = residual(h, w, "middle_block.0")
    for block in (0, 2):
        h = residual(h, w, f"blocks.{block}")
        h = shuffled(conv(h, w, f"blocks.{block + 1}.conv"))
    h = residual(h, w, "blocks.4")
    wanted = conv(activated(h, w, "out_layer.0"), w, "out_layer.2")
    logits = decoder(z)
    assert logits.shape == (2, 1, 16, 16, 16)
    assert (logits - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_items_of_a_batch_do_not_meet() -> None:
    decoder, encoder = tiny("sparse_structure_decoder"), tiny("sparse_structure_encoder")
    z, x = normal(2, 8, 4, 4, 4), normal(2, 1, 8, 8, 8)
    assert torch.allclose(decoder(z)[1:], decoder(z[1:]), atol=1e-5)
    for whole, alone in zip(encoder(x), encoder(x[1:]), strict=True):
        assert whole.shape == (2, 8, 4, 4, 4) and torch.allclose(whole[1:], alone, atol=1e-5)
