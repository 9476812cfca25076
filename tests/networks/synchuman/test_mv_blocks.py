"""The levels have the checkpoint's tensors, and are residual blocks, transformers and steps in the published order."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, group_norm, silu
from torch.utils._python_dispatch import TorchDispatchMode

from networks.synchuman.attention import TextCache
from networks.synchuman.mv_blocks import (
    CrossAttnDownBlockMV2D,
    CrossAttnUpBlockMV2D,
    DownBlock2D,
    UNetMidBlockMV2DCrossAttn,
    UpBlock2D,
)
from networks.synchuman.rows import Rows
from networks.weights import fill
from tests.networks.drawing import drawn, normal

Tensors = Mapping[str, Tensor]
IN, OUT, TEMB, TEXT, GROUPS, SIDE = 8, 12, 10, 6, 2, 6
PLAIN = {"in_channels": IN, "out_channels": OUT, "temb_channels": TEMB, "num_layers": 2, "norm_groups": GROUPS}
ACROSS = {"heads": 2, "cross_attention_dim": TEXT}
KINDS: dict[str, Any] = {
    "down": lambda **more: CrossAttnDownBlockMV2D(**PLAIN, **ACROSS, **more),
    "plain down": lambda **more: DownBlock2D(**PLAIN, **more),
    "mid": lambda: UNetMidBlockMV2DCrossAttn(in_channels=OUT, temb_channels=TEMB, norm_groups=GROUPS, **ACROSS),
    "up": lambda **more: CrossAttnUpBlockMV2D(**PLAIN, **ACROSS, prev_output_channel=OUT, **more),
    "plain up": lambda **more: UpBlock2D(**PLAIN, prev_output_channel=OUT, **more),
}
ROWS = Rows(halves=2)
PROMPT = normal(10, 7, TEXT, seed=9)


def tiny(kind: str, **more: Any) -> Any:
    return drawn(KINDS[kind](**more)).requires_grad_(False).eval()


def run(
    kind: str, level: Any, rows: Rows = ROWS, dtype: torch.dtype = torch.float32, half: int | None = None
) -> Tensor:
    """What a level makes of pictures that are always the same, or of one half of them."""
    shapes = {"x": (IN if "down" in kind else OUT, SIDE, SIDE), "temb": (TEMB,)}
    shapes |= {"first": (IN, SIDE, SIDE), "second": (OUT, SIDE, SIDE)}
    given = {name: normal(20, *shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
    if half is not None:
        given = {name: ROWS.split(value)[:, half].flatten(0, 1) for name, value in given.items()}
    x, temb, first, second = (value.to(dtype) for value in given.values())
    if "up" in kind:
        return level(x, [first, second], temb, rows, TextCache(PROMPT))
    result = level(x, temb, rows, TextCache(PROMPT))
    return result[0] if "down" in kind else result


def resnet_names(index: int, shortcut: bool) -> set[str]:
    layers = ["norm1", "conv1", "time_emb_proj", "norm2", "conv2"] + ["conv_shortcut"] * shortcut
    return {f"resnets.{index}.{layer}.{end}" for layer in layers for end in ("weight", "bias")}


def step_names(name: str) -> set[str]:
    return {f"{name}.0.conv.weight", f"{name}.0.conv.bias"}


NAMES = {
    "plain down": resnet_names(0, True) | resnet_names(1, False) | step_names("downsamplers"),
    "plain up": resnet_names(0, True) | resnet_names(1, True) | step_names("upsamplers"),
    "mid": resnet_names(0, False) | resnet_names(1, False),
}
NAMES |= {"down": NAMES["plain down"], "up": NAMES["plain up"]}


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_the_checkpoints(kind: str) -> None:
    names = tiny(kind).state_dict().keys()
    assert {name for name in names if not name.startswith("attentions.")} == NAMES[kind]
    transformers = {name.split(".")[1] for name in names if name.startswith("attentions.")}
    assert transformers == {"down": {"0", "1"}, "up": {"0", "1"}, "mid": {"0"}}.get(kind, set())
    if transformers:
        assert "attentions.0.transformer_blocks.0.attn_mv.to_out.0.bias" in names


@pytest.mark.parametrize("kind", KINDS)
def test_a_level_made_without_memory_is_filled_strictly(kind: str) -> None:
    with torch.device("meta"):
        hollow = KINDS[kind]()
    assert torch.equal(run(kind, fill(hollow, tiny(kind).state_dict())), run(kind, tiny(kind)))


def resnet(x: Tensor, temb: Tensor, w: Tensors, name: str) -> Tensor:
    w = {key.removeprefix(f"{name}."): value.double() for key, value in w.items() if key.startswith(f"{name}.")}
    h = silu(group_norm(x, GROUPS, w["norm1.weight"], w["norm1.bias"], 1e-5))
    h = conv2d(h, w["conv1.weight"], w["conv1.bias"], padding=1)
    h = h + (silu(temb) @ w["time_emb_proj.weight"].T + w["time_emb_proj.bias"])[:, :, None, None]
    h = silu(group_norm(h, GROUPS, w["norm2.weight"], w["norm2.bias"], 1e-5))
    if "conv_shortcut.weight" in w:
        x = conv2d(x, w["conv_shortcut.weight"], w["conv_shortcut.bias"])
    return x + conv2d(h, w["conv2.weight"], w["conv2.bias"], padding=1)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 5e-6 * float(theirs.abs().max())


def test_the_way_down_is_its_layers_and_gives_every_one_of_them_to_the_way_up() -> None:
    level, x, temb = tiny("plain down"), 0.01 * normal(20, IN, SIDE, SIDE), normal(20, TEMB, seed=1)
    w = level.state_dict()
    first = resnet(x.double(), temb.double(), w, "resnets.0")
    second = resnet(first, temb.double(), w, "resnets.1")
    weight, bias = (w[f"downsamplers.0.conv.{end}"].double() for end in ("weight", "bias"))
    third = conv2d(second, weight, bias, stride=2, padding=1)
    out, skips = level(x, temb, ROWS, TextCache(PROMPT))
    assert out is skips[-1] and len(skips) == 3
    for ours, theirs in zip(skips, (first, second, third), strict=True):
        assert close(ours, theirs)


def test_the_way_up_is_its_layers_and_takes_the_last_pictures_first() -> None:
    level, temb = tiny("plain up"), normal(20, TEMB, seed=1)
    x, deep, shallow = (normal(20, width, SIDE, SIDE, seed=seed) for seed, width in enumerate((OUT, OUT, IN)))
    w = level.state_dict()
    h = resnet(torch.cat([x, deep], dim=1).double(), temb.double(), w, "resnets.0")
    h = resnet(torch.cat([h, shallow], dim=1), temb.double(), w, "resnets.1")
    weight, bias = (w[f"upsamplers.0.conv.{end}"].double() for end in ("weight", "bias"))
    wanted = conv2d(h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), weight, bias, padding=1)
    others = normal(1)
    skips = [others, shallow, deep]
    assert close(level(x, skips, temb, ROWS, TextCache(PROMPT)), wanted)
    assert len(skips) == 1 and skips[0] is others


def test_every_residual_block_is_followed_by_its_transformer() -> None:
    for kind in ("down", "up"):
        across, plain = tiny(kind), tiny(f"plain {kind}")
        fill(plain, {name: value for name, value in across.state_dict().items() if not name.startswith("attentions.")})
        for transformer in across.attentions:
            transformer.proj_out.weight.zero_()
            transformer.proj_out.bias.zero_()
        assert torch.equal(run(kind, across), run(kind, plain))
        across.attentions[1].proj_out.bias.fill_(1)
        assert not torch.equal(run(kind, across), run(kind, plain))


def test_the_middle_is_a_transformer_between_residual_blocks() -> None:
    level, x, temb = tiny("mid"), normal(20, OUT, SIDE, SIDE), normal(20, TEMB, seed=1)
    first, last = level.resnets
    wanted = last(level.attentions[0](first(x, temb), ROWS, TextCache(PROMPT)), temb)
    assert torch.equal(level(x, temb, ROWS, TextCache(PROMPT)), wanted)
    assert close(first(x, temb), resnet(x.double(), temb.double(), level.state_dict(), "resnets.0"))


@pytest.mark.parametrize("kind", ["down", "plain down"])
def test_the_last_level_keeps_its_size(kind: str) -> None:
    level = tiny(kind, add_downsample=False)
    x, temb = normal(20, IN, SIDE, SIDE), normal(20, TEMB, seed=1)
    out, skips = level(x, temb, ROWS, TextCache(PROMPT))
    assert [skip.shape for skip in skips] == [(20, OUT, SIDE, SIDE)] * 2 and out is skips[-1]


@pytest.mark.parametrize("kind", ["up", "plain up"])
def test_the_top_level_keeps_its_size(kind: str) -> None:
    assert run(kind, tiny(kind, add_upsample=False)).shape == (20, OUT, SIDE, SIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_halves_together_are_halves_one_after_the_other(kind: str) -> None:
    level = tiny(kind)
    both = ROWS.split(run(kind, level))
    for half in range(2):
        assert close(both[:, half].flatten(0, 1), run(kind, level, Rows(halves=1), half=half))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("all_of_it", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_in_half_precision_a_level_says_nearly_the_same(kind: str, all_of_it: bool, dtype: torch.dtype) -> None:
    """Whether group norms are cast as well or stay float32."""
    level = tiny(kind)
    wanted = run(kind, level)
    for module in level.modules():
        if all_of_it or isinstance(module, nn.Linear | nn.Conv2d | nn.LayerNorm):
            module.to(dtype)
    result = run(kind, level, dtype=dtype)
    assert result.dtype == dtype
    assert 0 < float((result.float() - wanted).norm() / wanted.norm()) < 2e-2


class GroupNorms(TorchDispatchMode):
    """The types that normalisations over groups are computed in."""

    def __init__(self) -> None:
        super().__init__()
        self.types: list[torch.dtype] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.native_group_norm.default:
            self.types += [part.dtype for part in args[:3]]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("kind", "norms"), [("down", 6), ("plain down", 4), ("mid", 5), ("up", 6), ("plain up", 4)])
def test_every_group_norm_of_half_precision_is_computed_in_float32(kind: str, norms: int) -> None:
    with GroupNorms() as seen:
        run(kind, tiny(kind).to(torch.bfloat16), dtype=torch.bfloat16)
    assert seen.types == [torch.float32] * 3 * norms


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="12 channels, which 5 heads do not divide"):
        CrossAttnDownBlockMV2D(**PLAIN, **ACROSS | {"heads": 5})
