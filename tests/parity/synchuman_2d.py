"""The units of SyncHuman's 2D network: name → comparison, with the tolerances of the reference set."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from networks.synchuman.attention import CrossDomainAttention, RowWiseAttention, TextAttention, TextCache
from networks.synchuman.mv_blocks import CrossAttnDownBlockMV2D, CrossAttnUpBlockMV2D, UNetMidBlockMV2DCrossAttn
from networks.synchuman.mv_transformer import MVTransformerBlock, TransformerMV2D
from networks.synchuman.rows import Rows
from tests.parity.unit import CannotCompare, Check, Unit

_TOLERANCE = 1e-4  # of the largest value of the reference
_ONLY: dict[str, Any] = {
    "cd_attention_last": False,
    "cd_attention_mid": False,
    "multiview_attention": True,
    "mvcd_attention": True,
    "use_dino": False,
    "use_linear_projection": True,
    "selfattn_block": "self_rowwise",
    "resnet_act_fn": "silu",
    "downsample_padding": 1,
    "only_cross_attention": False,
}


def _init(unit: Unit) -> Mapping[str, Any]:
    """The constructor's arguments, once it is sure that they ask for nothing we do not have."""
    init: dict[str, Any] = unit.config["init"]
    for name, value in (init | unit.config.get("call", {})).items():
        if name in _ONLY and value != _ONLY[name]:
            raise CannotCompare(f"{name} is {value}; only {_ONLY[name]} is known")
    return init


def _made(unit: Unit, make: Callable[[], nn.Module]) -> Any:
    """The module with the unit's weights in float32."""
    with torch.device("meta"):
        module = make()
    return unit.filled(module)


def _rows(count: int, views: int) -> Rows:
    return Rows(halves=count // (2 * views), views=views)


def _text(unit: Unit) -> TextCache:
    return TextCache(unit.floats["encoder_hidden_states"])


def _attention_arguments(init: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channels": init["query_dim"],
        "heads": init["heads"],
        "head_size": init["dim_head"],
        "context_channels": init.get("cross_attention_dim"),
        "bias": init.get("bias", False),
    }


def cross_domain(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    attention = _made(unit, lambda: CrossDomainAttention(**_attention_arguments(init)))
    rows = _rows(len(x), unit.config.get("call", {}).get("num_views", 5))
    values = {
        "out_before_face_blend": attention.joint(rows.split(x), rows),
        "out": attention(rows.split(x), rows),
    }
    return unit.relative(_TOLERANCE, {name: value.flatten(0, 2) for name, value in values.items()})


def row_wise(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    attention = _made(unit, lambda: RowWiseAttention(**_attention_arguments(init)))
    body = x.view(1, -1, unit.config["call"]["num_views"], *x.shape[1:])
    return unit.relative(_TOLERANCE, {"out": attention(body, Rows(halves=body.shape[1])).flatten(0, 2)})


def text(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    attention = _made(unit, lambda: TextAttention(**_attention_arguments(init)))
    rows = Rows(halves=1, views=len(x), domains=1)  # every row has a text, so any order will do
    return unit.relative(_TOLERANCE, {"out": attention(rows.split(x), rows, _text(unit).of(attention)).flatten(0, 2)})


def block(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    heads, size = init["num_attention_heads"], init["attention_head_dim"]
    made = _made(unit, lambda: MVTransformerBlock(init["dim"], heads, size, init["cross_attention_dim"]))
    rows, seen = _rows(len(x), init["num_views"]), {}
    for name in ("norm_mv", "norm2", "norm3"):
        made.get_submodule(name).register_forward_pre_hook(
            lambda _, given, name=name: seen.update({name: given[0].clone()})
        )
    values = {"out": made(rows.split(x), rows, _text(unit)).flatten(0, 2)}
    stride = unit.config.get("intermediates_token_stride", 1)
    # Nothing is done to the face between the first attention and the text.
    seen["norm_mv"] = torch.cat([seen["norm_mv"], seen["norm2"][:, :, rows.face :]], dim=2)
    names = {"after_attn1": "norm_mv", "after_attn_mv": "norm2", "after_attn2": "norm3"}
    values |= {ours: seen[norm].flatten(0, -3)[:, ::stride] for ours, norm in names.items()}
    return unit.relative(_TOLERANCE, values)


def transformer(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    heads, size = init["num_attention_heads"], init["attention_head_dim"]
    width, groups, layers = init["cross_attention_dim"], init.get("norm_num_groups", 32), init.get("num_layers", 1)
    made = _made(unit, lambda: TransformerMV2D(init["in_channels"], heads, size, width, groups, layers))
    return unit.relative(_TOLERANCE, {"out": made(x, _rows(len(x), init["num_views"]), _text(unit))})


def _level_arguments(init: Mapping[str, Any]) -> dict[str, Any]:
    """What all levels have, under our names."""
    return {
        "in_channels": init["in_channels"],
        "temb_channels": init["temb_channels"],
        "heads": init["num_attention_heads"],
        "cross_attention_dim": init["cross_attention_dim"],
        "norm_groups": init.get("resnet_groups", 32),
        "eps": init["resnet_eps"],
        "transformer_layers": init.get("transformer_layers_per_block", 1),
    }


def _own_arguments(init: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return _level_arguments(init) | {"num_layers": 1} | {name: init[name] for name in names if name in init}


def down(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    arguments = _own_arguments(init, "out_channels", "num_layers", "add_downsample")
    made = _made(unit, lambda: CrossAttnDownBlockMV2D(**arguments))
    out, skips = made(x, unit.floats["temb"], _rows(len(x), init["num_views"]), _text(unit))
    return unit.relative(_TOLERANCE, {"out": out} | {f"res_{i}": skip for i, skip in enumerate(skips)})


def mid(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    made = _made(unit, lambda: UNetMidBlockMV2DCrossAttn(**_own_arguments(init, "num_layers")))
    out = made(x, unit.floats["temb"], _rows(len(x), init["num_views"]), _text(unit))
    return unit.relative(_TOLERANCE, {"out": out})


def up(unit: Unit) -> list[Check]:
    init, x = _init(unit), unit.floats["hidden_states"]
    arguments = _own_arguments(init, "out_channels", "prev_output_channel", "num_layers", "add_upsample")
    made = _made(unit, lambda: CrossAttnUpBlockMV2D(**arguments))
    skips = [unit.floats[f"res_{i}"] for i in range(len(made.resnets))]
    out = made(x, skips, unit.floats["temb"], _rows(len(x), init["num_views"]), _text(unit))
    return unit.relative(_TOLERANCE, {"out": out})


def texts_of_rows(prompt: Tensor, rows: Rows) -> Tensor:
    """(D B V, M, C) the text that the network's attention gives each row, of (D V, M, C)."""
    width = prompt[0].numel()
    attention = TextAttention(channels=width, heads=1, head_size=width)
    for layer in (attention.to_v, attention.to_out[0]):
        nn.init.eye_(layer.weight)
    nn.init.zeros_(attention.to_out[0].bias)
    # As a single token, a text is all that its rows can look at: each gets it unchanged.
    text = TextCache(prompt.flatten(1)[:, None])
    told: Tensor = attention(torch.zeros(rows.domains, rows.halves, rows.views, 1, width), rows, text.of(attention))
    return told.view(rows.count, *prompt.shape[1:])


UNITS = {
    "cross_domain_attention": cross_domain,
    "rowwise_mv_attention": row_wise,
    "text_cross_attention": text,
    "mv_transformer_block": block,
    "transformer_mv2d_model": transformer,
    "down_block_mv2d": down,
    "mid_block_mv2d": mid,
    "up_block_mv2d": up,
}
