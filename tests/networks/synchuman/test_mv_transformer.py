"""The transformer is its published steps one after the other, written out here from tensors by name."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from networks.synchuman.attention import TextCache
from networks.synchuman.mv_transformer import GroupNorm, MVTransformerBlock, TransformerMV2D
from networks.synchuman.rows import Rows
from tests.networks.drawing import drawn, normal

Tensors = Mapping[str, Tensor]
CHANNELS, HEADS, SIZE, TEXT, GROUPS, SIDE = 12, 2, 6, 10, 3, 6
ROWS = Rows(halves=2)
PROMPT = normal(10, 7, TEXT, seed=3)


def tiny() -> Any:
    return drawn(TransformerMV2D(CHANNELS, HEADS, SIZE, TEXT, GROUPS, layers=2)).requires_grad_(False).eval()


def linear(x: Tensor, w: Tensors, name: str) -> Tensor:
    bias = w[f"{name}.bias"] if f"{name}.bias" in w else torch.zeros(())
    return x @ w[f"{name}.weight"].double().T + bias.double()


def normed(x: Tensor, w: Tensors, name: str) -> Tensor:
    mean, var = x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / (var + 1e-5).sqrt() * w[f"{name}.weight"].double() + w[f"{name}.bias"].double()


def attended(x: Tensor, context: Tensor, w: Tensors, name: str) -> Tensor:
    """(…, L, C) of sequences and what they look at."""
    q, k, v = (
        linear(part, w, f"{name}.to_{end}").unflatten(-1, (HEADS, SIZE)).transpose(-3, -2)
        for part, end in ((x, "q"), (context, "k"), (context, "v"))
    )
    mixed = (q @ k.mT / SIZE**0.5).softmax(-1) @ v
    return linear(mixed.transpose(-3, -2).flatten(-2), w, f"{name}.to_out.0")


def block(x: Tensor, w: Tensors) -> Tensor:
    """Of (2, B, 5, L, C)."""
    pairs = normed(x, w, "norm1").permute(1, 2, 0, 3, 4).flatten(2, 3)  # (B, V, 2 L, C)
    h = attended(pairs, pairs, w, "attn1").unflatten(2, (2, -1)).permute(2, 0, 1, 3, 4)
    h = h.unflatten(3, (SIDE, SIDE)).clone()
    h[:, :, 0, :2, 2:4] = (h[:, :, 0, :2, 2:4] + h[:, :, 4, 1::3, 1::3]) / 2
    x = x + h.flatten(3, 4)
    lines = (
        normed(x[:, :, :4], w, "norm_mv").unflatten(3, (SIDE, SIDE)).transpose(2, 3).flatten(3, 4)
    )  # (2, B, S, 4 S, C)
    h = attended(lines, lines, w, "attn_mv").unflatten(3, (4, SIDE)).transpose(2, 3).flatten(3, 4)
    x = torch.cat([x[:, :, :4] + h, x[:, :, 4:]], dim=2)
    x = x + attended(normed(x, w, "norm2"), PROMPT.double().view(2, 1, 5, 7, TEXT), w, "attn2")
    a, b = linear(normed(x, w, "norm3"), w, "ff.net.0.proj").chunk(2, dim=-1)
    return x + linear(a * gelu(b), w, "ff.net.2")


def transformer(x: Tensor, w: Tensors) -> Tensor:
    groups = x.unflatten(1, (GROUPS, -1))
    mean, var = groups.mean(dim=(2, 3, 4), keepdim=True), groups.var(dim=(2, 3, 4), keepdim=True, unbiased=False)
    gain, bias = (w[f"norm.{end}"].double().view(1, -1, 1, 1) for end in ("weight", "bias"))
    h = ((groups - mean) / (var + 1e-6).sqrt()).flatten(1, 2) * gain + bias
    h = linear(h.flatten(2).mT, w, "proj_in").unflatten(0, (2, -1, 5))
    for index in range(2):
        prefix = f"transformer_blocks.{index}."
        h = block(h, {name.removeprefix(prefix): value for name, value in w.items() if name.startswith(prefix)})
    return x + linear(h.flatten(0, 2), w, "proj_out").mT.reshape(x.shape)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 5e-6 * float(theirs.abs().max())


def test_the_block_is_its_steps() -> None:
    """Small values show the epsilons of its norms."""
    made = drawn(MVTransformerBlock(CHANNELS, HEADS, SIZE, TEXT)).requires_grad_(False)
    x = 0.01 * ROWS.split(normal(20, SIDE**2, CHANNELS))
    assert close(made(x, ROWS, TextCache(PROMPT)), block(x.double(), made.state_dict()))


def test_the_transformer_is_its_steps() -> None:
    network, x = tiny(), 0.01 * normal(20, CHANNELS, SIDE, SIDE)
    assert close(network(x, ROWS, TextCache(PROMPT)), transformer(x.double(), network.state_dict()))


def test_the_face_takes_no_part_in_what_the_views_of_the_body_tell_each_other() -> None:
    made: Any = drawn(MVTransformerBlock(CHANNELS, HEADS, SIZE, TEXT)).requires_grad_(False)
    for silent in (made.attn1.to_out[0], made.attn2.to_out[0], made.ff.net[2]):
        silent.weight.zero_()
        silent.bias.zero_()
    x = ROWS.split(normal(20, SIDE**2, CHANNELS))
    given = x.clone()
    result = made(x, ROWS, TextCache(PROMPT))
    assert torch.equal(x, given)
    assert torch.equal(result[:, :, 4], x[:, :, 4]) and (result[:, :, :4] != x[:, :, :4]).all()
    faceless = torch.cat([x[:, :, :4], torch.zeros_like(x[:, :, 4:])], dim=2)
    assert torch.equal(made(faceless, ROWS, TextCache(PROMPT))[:, :, :4], result[:, :, :4])


def test_halves_together_are_halves_one_after_the_other() -> None:
    network, x, text = tiny(), normal(20, CHANNELS, SIDE, SIDE), TextCache(PROMPT)
    both = ROWS.split(network(x, ROWS, text))
    for half in range(2):
        alone = network(ROWS.split(x)[:, half].flatten(0, 1), Rows(halves=1), text)
        assert close(both[:, half].flatten(0, 1), alone)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_rows_in_parts_are_rows_together(at_once: int) -> None:
    network, x, text = tiny(), normal(20, CHANNELS, SIDE, SIDE), TextCache(PROMPT)
    assert close(network(x, Rows(halves=2, at_once=at_once), text), network(x, ROWS, text))


def test_text_and_feed_forward_are_worked_on_so_many_rows_at_a_time() -> None:
    network, seen = tiny(), []
    for block in network.transformer_blocks:
        for layer in (block.attn2.to_q, block.ff.net[0].proj):
            layer.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    network(normal(20, CHANNELS, SIDE, SIDE), Rows(halves=2, at_once=8), TextCache(PROMPT))
    assert seen == [8, 8, 4] * 4


def test_pictures_with_channels_last_give_the_same_and_stay_so() -> None:
    network, x, text = tiny(), normal(20, CHANNELS, SIDE, SIDE), TextCache(PROMPT)
    last = network(x.to(memory_format=torch.channels_last), ROWS, text)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert close(last, network(x, ROWS, text))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("all_of_it", [True, False])
def test_in_half_precision_it_says_nearly_the_same(all_of_it: bool, dtype: torch.dtype) -> None:
    """Whether group norms are cast as well or stay float32."""
    network, x = tiny(), normal(20, CHANNELS, SIDE, SIDE)
    wanted = network(x, ROWS, TextCache(PROMPT))
    for module in network.modules():
        if all_of_it or isinstance(module, nn.Linear | nn.LayerNorm):
            module.to(dtype)
    result = network(x.to(dtype), ROWS, TextCache(PROMPT))
    assert result.dtype == dtype
    assert 0 < float((result.float() - wanted).norm() / wanted.norm()) < 2e-2


@pytest.mark.parametrize("norm", [nn.LayerNorm(CHANNELS), GroupNorm(GROUPS, CHANNELS)])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
def test_statistics_are_float32_even_where_values_lie_far_from_zero(
    norm: nn.Module, dtype: torch.dtype, rounding: float
) -> None:
    """Rounding the mean, 301, to a half would move the result by far more than rounding the result does."""
    x = (301 + 4 * normal(20, CHANNELS, CHANNELS)).to(dtype)
    wanted = norm(x.double().float())
    norm = deepcopy(norm).to(dtype)
    with torch.no_grad():
        assert (norm(x).float() - wanted).abs().max() < rounding * wanted.abs().max()


def test_a_large_map_of_half_precision_is_normed_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    norm, x = drawn(GroupNorm(GROUPS, CHANNELS)).bfloat16(), normal(20, CHANNELS, SIDE, SIDE).bfloat16()
    with torch.no_grad():
        together = norm(x)
        for most, parts in ((7 * x[0].numel(), 3), (1, 20)):
            monkeypatch.setattr("networks.synchuman.mv_transformer._MOST", most)
            seen: list[int] = []
            single = norm._single
            norm._single = lambda part, seen=seen, single=single: (seen.append(len(part)), single(part))[1]
            assert torch.equal(norm(x), together) and len(seen) == parts
            norm._single = single


def test_names_are_the_checkpoints() -> None:
    attention = {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias"}
    names = {f"{name}.{rest}" for name in ("attn1", "attn_mv", "attn2") for rest in attention}
    names |= {f"{name}.{end}" for name in ("norm1", "norm_mv", "norm2", "norm3") for end in ("weight", "bias")}
    names |= {f"ff.net.{name}.{end}" for name in ("0.proj", "2") for end in ("weight", "bias")}
    shapes = {name: value.shape for name, value in MVTransformerBlock(CHANNELS, HEADS, SIZE, TEXT).state_dict().items()}
    assert shapes.keys() == names
    assert shapes["ff.net.0.proj.weight"] == (8 * CHANNELS, CHANNELS) and shapes["attn2.to_k.weight"] == (
        CHANNELS,
        TEXT,
    )
    outer = {f"{name}.{end}" for name in ("norm", "proj_in", "proj_out") for end in ("weight", "bias")}
    assert tiny().state_dict().keys() == outer | {f"transformer_blocks.{i}.{name}" for i in range(2) for name in names}
