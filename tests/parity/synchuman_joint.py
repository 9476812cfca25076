"""The units of SyncHuman's joint model: name → comparison, with the tolerances of the reference set."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from networks.layers.embedding import TimestepEmbedder, sinusoid
from networks.layers.transformer import Context, ModulatedBlock
from networks.ops.segments import Segments
from networks.synchuman.cross_space_model import CrossSpaceModel, Moments
from networks.synchuman.joint_config import SYNC_BLOCKS
from networks.synchuman.rows import Rows
from networks.synchuman.sync_attention import ImagesFromVoxels, VoxelsFromImages
from tests.parity.unit import Check, Unit, cut, thinned


def ss_dit_block(unit: Unit) -> list[Check]:
    init, given = unit.config["init"], unit.floats
    channels = init["channels"]
    parts = nn.ModuleDict(
        {
            "t_embedder": TimestepEmbedder(channels),
            "block": ModulatedBlock(
                channels,
                init["ctx_channels"],
                init["num_heads"],
                init.get("mlp_ratio", 4),
                init.get("qk_rms_norm", False),
                init.get("qk_rms_norm_cross", False),
            ),
        }
    )
    unit.filled(parts)
    block: Any = parts["block"]
    x, embedding = given["x"], parts["t_embedder"](given["t"])
    segments = Segments((x.shape[1],) * len(x))
    modulation = block.adaLN_modulation(embedding).expand(len(x), -1)
    context = Context(*block.cross_attn.keys_values(given["cond"]), len(x))
    values = {"t_emb": embedding, "out": block(x.flatten(0, 1), segments, modulation, context).view_as(x)}
    if told := re.search(r"sinusoid of ([\d.]+)", unit.config.get("note", "")):
        values["half_rounded_embedding"] = sinusoid(torch.tensor([float(told[1])]).half(), 256)
    return unit.relative(1e-4, values)


def sync_block(unit: Unit, kind: Callable[..., nn.Module]) -> nn.Module:
    init = unit.config["init"]
    block = kind(init["query_dim_MV"], init["query_dim_Structure"], init.get("heads", 16), init.get("dim_head", 64))
    return unit.filled(block)


def sync_rows(unit: Unit) -> Rows:
    views, halves = unit.config["init"].get("num_views", 5), len(unit.inputs["structure"])
    return Rows(halves, views, len(unit.inputs["MV"]) // (halves * views))


def images_to_voxels(unit: Unit) -> list[Check]:
    block, rows, given = sync_block(unit, VoxelsFromImages), sync_rows(unit), unit.floats
    values = {"out": block(given["MV"], given["structure"], rows)}
    grid = block.pooled(given["MV"], rows, round(given["structure"].shape[1] ** (1 / 3))).flatten(0, 1)
    values |= pooled(unit, "image_pooled", grid)
    return unit.relative(1e-4, values)


def voxels_to_images(unit: Unit) -> list[Check]:
    block, given = sync_block(unit, ImagesFromVoxels), unit.floats
    values = {"out": block(given["MV"], given["structure"], sync_rows(unit))}
    values |= pooled(unit, "voxel_pooled", block.pooled(given["structure"], given["MV"].shape[-1]))
    return unit.relative(1e-4, values)


def pooled(unit: Unit, name: str, grid: Tensor) -> dict[str, Tensor]:
    """What the unit keeps of the grid: by the stride that its configuration names, else as many as it has."""
    if (wanted := unit.outputs.get(name)) is None:
        return {}
    if (stride := unit.config.get(f"{name}_stride")) is None:
        return {name: thinned(grid, wanted)}
    return {name: grid[(..., *[slice(None, None, stride)] * (grid.ndim - 2))]}


def joint_model(unit: Unit) -> CrossSpaceModel:
    config = unit.config
    with torch.device("meta"):
        made = CrossSpaceModel(
            **config["init"], **config.get("extra_config", {}), sync_blocks=config.get("sync_blocks", SYNC_BLOCKS)
        )
    unit.filled(made)
    return made


@contextmanager
def watched(model: CrossSpaceModel, names: dict[str, str]) -> Iterator[dict[str, Tensor]]:
    """What submodules give while the context lasts; `names`: submodule → output."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _args, result: seen.update({name: result[0] if isinstance(result, tuple) else result})

    hooks = [model.get_submodule(path).register_forward_hook(keep(name)) for path, name in names.items()]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def joint_step(unit: Unit) -> list[Check]:
    model, given, config = joint_model(unit), unit.floats, unit.config
    halves = len(given["trellis_x"])
    rows = Rows(halves, model.num_views, len(given["sample"]) // (halves * model.num_views))
    names = {
        "class_embedding": "class_embedding",
        "time_embedding": "time_embedding",
        "t_embedder": "t_embedder",
        "mid_block": "mid_block",
        **{f"blocks.{i}": f"dit_block_{i}" for i in range(len(model.blocks))},
        **{f"down_blocks.{i}": f"down_block_{i}" for i in range(len(model.down_blocks))},
        **{f"up_blocks.{i}": f"up_block_{i}" for i in range(len(model.up_blocks))},
        **{f"dual_CrossAttblocks_{kind}.{i}": f"sync_{kind}_{i}" for kind in ("SS", "MV") for i in range(2)},
    }
    with watched(model, names) as seen:
        job = model.given(given["class_labels"], given["encoder_hidden_states"], given["trellis_cond"], rows, halves)
        moments = Moments(
            model.moments(torch.tensor([config["timestep"]])).images, model.times(torch.tensor(config["trellis_t"]))
        )
        images, structure = model(given["sample"], given["trellis_x"], moments, job)
    values = {name: sliced(unit, name, value, halves) for name, value in seen.items()}
    slices = config["intermediate_slices"]
    values |= {"v_2d": images, "v_2d_even": images[cut(slices["v_2d_even"])], "v_3d": structure}
    values["pos_emb_rows"] = model.pos_emb[cut(slices["three_d"])[1:]]
    return unit.relative(5e-4, values)


def sliced(unit: Unit, name: str, value: Tensor, halves: int) -> Tensor:
    """What the unit keeps of an intermediate result."""
    slices = unit.config["intermediate_slices"]
    if value.ndim == 4:
        return value[cut(slices["two_d"])]
    if name.startswith("dit_block"):
        value = value.unflatten(0, (halves, -1))
    if value.ndim == 3:
        return value[cut(slices["three_d"])]
    return value.expand(unit.outputs[name].shape) if name in unit.outputs else value


UNITS: dict[str, Callable[[Unit], list[Check]]] = {
    "ss_dit_block": ss_dit_block,
    "sync_attention_2d_to_3d": images_to_voxels,
    "sync_attention_3d_to_2d": voxels_to_images,
    "cross_space_model": joint_step,
}
