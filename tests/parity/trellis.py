"""The units of TRELLIS: name → comparison, with the tolerances of the reference set."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from networks.dinov2 import VisionTransformer
from networks.dinov2.vision_transformer import normalised
from networks.layers.norm import SegmentGroupNorm
from networks.layers.sparse import PointwiseConv, SparseConv, pooled
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import Schedule, flow_euler, schedule
from networks.samplers.guidance import guided_velocity
from networks.trellis.denoisers import LatentDenoiser, StructureDenoiser
from networks.trellis.slat_decoder_mesh import SubdivideBlock
from networks.trellis.slat_decoder_rf import SLatRadianceFieldDecoder
from networks.trellis.slat_flow import SLatFlow
from networks.trellis.sparse_structure_flow import SparseStructureFlow, patchify
from networks.trellis.sparse_structure_vae import pixel_shuffle_3d
from pipelines.slat.noise import Noise
from pipelines.slat.pictures import encoder_input, prepare
from tests.parity import trellis_shapes as shapes
from tests.parity.network import network
from tests.parity.unit import CannotCompare, Check, Unit


@contextmanager
def block_outputs(blocks: nn.ModuleList) -> Iterator[dict[str, Tensor]]:
    """What each block gives while the context lasts, under the reference's names."""
    seen: dict[str, Tensor] = {}
    hooks = [
        block.register_forward_hook(lambda _module, _args, result, name=f"after_block{i}": seen.update({name: result}))
        for i, block in enumerate(blocks)
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def ss_flow(unit: Unit) -> list[Check]:
    model = cast(SparseStructureFlow, network(unit))
    x, t = unit.inputs["x"], unit.inputs["t"]
    with block_outputs(model.blocks) as seen:
        values = {"out": model(x, t, unit.inputs["cond"])}
    values |= {name: value.view(len(x), -1, value.shape[-1]) for name, value in seen.items()}
    values["t_emb"] = model.t_embedder(t)
    if "patchified_x" in unit.outputs:
        tokens = patchify(x, model.patch_size).mT
        values["patchified_x"] = tokens.reshape(unit.outputs["patchified_x"].shape)
    return unit.checks(2e-5, values)


def ss_decoder(unit: Unit) -> list[Check]:
    logits = network(unit)(unit.inputs["z"])
    coords = torch.nonzero(logits[:, 0] > 0)
    return unit.checks(1e-4, {"out": logits}) + unit.checks(0, {"coords": coords})


def ss_encoder(unit: Unit) -> list[Check]:
    mean, logvar = network(unit)(unit.inputs["x"])
    return unit.checks(1e-4, {"z": mean, "mean": mean, "logvar": logvar})


def shuffle(unit: Unit) -> list[Check]:
    return unit.checks(0, {"out": pixel_shuffle_3d(unit.inputs["x"], unit.config["scale_factor"])})


def times(unit: Unit) -> Schedule:
    wanted = unit.config["sample_kwargs"]
    interval = tuple(wanted["cfg_interval"]) if "cfg_interval" in wanted else (0.0, 1.0)
    return schedule(wanted["steps"], wanted["rescale_t"], interval if "cfg_strength" in wanted else None)


def sampler(unit: Unit) -> list[Check]:
    steps, cond = times(unit), unit.inputs["cond"]
    denoiser = StructureDenoiser(cast(SparseStructureFlow, network(unit.model)), cond, steps)
    mode = unit.config.get("mode")
    velocity = guided_velocity(
        denoiser, steps, unit.config["sample_kwargs"].get("cfg_strength", 0.0), len(cond) if mode else 1,
        mode or "stochastic",
    )  # fmt: skip
    return unit.checks(1e-4, trajectory(unit, unit.inputs["noise"], steps, velocity))


def slat_sampler(unit: Unit) -> list[Check]:
    steps = times(unit)
    model = cast(SLatFlow, network(unit.model))
    denoiser = LatentDenoiser(model, Voxels(unit.inputs["coords"]), unit.inputs["cond"], steps)
    velocity = guided_velocity(denoiser, steps, unit.config["sample_kwargs"]["cfg_strength"])
    values = trajectory(unit, unit.inputs["noise_feats"], steps, velocity)
    mean, std = (torch.tensor(unit.config["slat_normalization"][name]) for name in ("mean", "std"))
    values["slat_denormalised"] = values["samples"] * std + mean
    return unit.checks(2e-4, values)


def trajectory(unit: Unit, noise: Tensor, steps: Schedule, velocity) -> dict[str, Tensor]:
    states = list(flow_euler(noise, steps, velocity, unit.config["sampler_args"]["sigma_min"]))
    return {
        "samples": states[-1].x_t,
        "pred_x_t": torch.stack([state.x_t for state in states]),
        "pred_x_0": torch.stack([state.x_0 for state in states]),
    }


def schedules(unit: Unit) -> list[Check]:
    checks = []
    for index, case in enumerate(unit.config["cases"]):
        made = schedule(case["steps"], case["rescale_t"], tuple(case["cfg_interval"]))
        checks += unit.checks(1e-12, {f"t_seq_{index}": torch.tensor(made.times, dtype=torch.float64)})
        checks += unit.checks(0, {f"guided_{index}": torch.tensor(made.guided)})
        checks.append(Check(f"evaluations_{index}", abs(made.evaluations - case["model_evaluations"]), 0))
    return checks


def sparse_primitives(unit: Unit) -> list[Check]:
    config, coords, x = unit.config, unit.inputs["coords"], unit.inputs["feats"]
    voxels = Voxels(coords)
    layers = nn.ModuleDict(
        {
            "conv3": SparseConv(config["conv3"]["in"], config["conv3"]["out"]),
            "conv1": PointwiseConv(config["conv1"]["in"], config["conv1"]["out"]),
            "gn": SegmentGroupNorm(config["group_norm"]["num_groups"], config["group_norm"]["channels"]),
        }
    )
    unit.filled(layers)
    coarse, size = voxels.coarse, config["window_size"]
    down, few = pooled(x, coarse), config["subdivide_rows"]
    exact = {"down_coords": coarse.voxels.coords, "subdiv_coords": Voxels(coords[:few]).subdivided().coords}
    close = {
        "down_feats": down,
        "up_feats": down[coarse.parent],
        "subdiv_feats": x[:few].repeat_interleave(8, dim=0),
        "conv3_out": layers["conv3"](x, voxels),
        "conv1_out": layers["conv1"](x),
        "group_norm_out": layers["gn"](x, voxels.segments),
    }
    windows = [
        Check(name, float(not same_partition(voxels.window_ids(size, shift), unit.outputs[name])), 0)
        for name, shift in (("window_id_shift0", 0), (f"window_id_shift{size // 2}", size // 2))
        if name in unit.outputs
    ]
    return unit.checks(0, exact) + unit.checks(1e-5, close) + windows


def same_partition(ours: Tensor, theirs: Tensor) -> bool:
    """Whether two numberings put the same rows together."""
    pairs = len(torch.unique(torch.stack([ours.long(), theirs.long()]), dim=1).T)
    return pairs == len(ours.unique()) == len(theirs.unique())


def slat_flow(unit: Unit) -> list[Check]:
    model, voxels = cast(SLatFlow, network(unit)), Voxels(unit.inputs["coords"])
    with block_outputs(model.blocks) as seen:
        values = {"out_feats": model(unit.inputs["feats"], voxels, unit.inputs["t"], unit.inputs["cond"])}
    values |= {"t_emb": model.t_embedder(unit.inputs["t"]), **seen}
    return unit.checks(0, {"coarse_coords": voxels.coarse.voxels.coords}) + unit.checks(5e-5, values)


def slat_dec_rf(unit: Unit) -> list[Check]:
    model, voxels = cast(SLatRadianceFieldDecoder, network(unit)), Voxels(unit.inputs["coords"])
    raw = model(unit.inputs["feats"], voxels)
    values = {"raw_feats": raw}
    for item, rows in enumerate(voxels.segments.spans()):
        field = model.field_of(raw[rows], voxels.coords[rows, 1:])
        values |= {f"r{item}.{name}": value for name, value in field._asdict().items()}
    return unit.checks(5e-5, values)


def slat_encoder(unit: Unit) -> list[Check]:
    mean, logvar = network(unit)(unit.inputs["feats"], Voxels(unit.inputs["coords"]))
    return unit.checks(5e-5, {"z": mean, "mean": mean, "logvar": logvar})


def subdivide_block(unit: Unit) -> list[Check]:
    args, voxels = unit.config["args"], Voxels(unit.inputs["coords"])
    block = unit.filled(SubdivideBlock(args["channels"], args["out_channels"], args["num_groups"]))
    children = voxels.subdivided()
    values = {"out_feats": block(unit.inputs["feats"], voxels, children)}
    return unit.checks(0, {"out_coords": children.coords}) + unit.checks(5e-5, values)


def dinov2(unit: Unit) -> list[Check]:
    model = cast(VisionTransformer, unit.filled(VisionTransformer(**unit.config["args"])))
    tokens = model(unit.inputs["x"])
    values = {"x_prenorm": tokens, "x_norm_clstoken": model.norm(tokens)[:, 0], "cond": normalised(tokens)}
    return unit.checks(5e-5, values)


def pipeline_glue(unit: Unit) -> list[Check]:
    config = unit.config
    picture = prepare(unit.folder / config["source_image"])[0]
    with Image.open(unit.folder / str(config["preprocessed"]).split()[0]) as image:
        wanted = np.asarray(image.convert("RGB"))
    if picture.shape != wanted.shape:
        raise CannotCompare(f"the prepared picture is {picture.shape}, the reference's {wanted.shape}")
    levels = int(np.abs(picture.astype(int) - wanted).max())
    # The reference encoded its own picture, which may differ from ours by a grey level.
    pixels = encoder_input(wanted[None], wanted.shape[0])[:, :, 7::14, 7::14]
    noise = Noise(config["seed"], ((1, 8, 16, 16, 16),))
    (structure,), cond = noise.first(), normalised(unit.inputs["x_prenorm"])
    rows, channels = unit.outputs["slat_noise"].shape
    values = {
        "cond": cond,
        "neg_cond": torch.zeros_like(cond),
        "dino_input_s14": pixels,
        "ss_noise_first64": structure.flatten()[:64],
        "slat_noise": noise.latent(rows, channels),
    }
    # A sum of 32,768 draws; its last bits depend on the order of addition.
    total = Check("ss_noise_sum", unit.error("ss_noise_sum", structure.sum().view(1)), 1e-3)
    return [Check("preprocessed", levels, 1), *unit.checks(1e-5, values), total]


UNITS = {
    "ss_flow": ss_flow,
    "ss_flow_patch2": ss_flow,
    "ss_decoder": ss_decoder,
    "ss_encoder": ss_encoder,
    "pixel_shuffle_3d": shuffle,
    "sampler_plain": sampler,
    "sampler_cfg": sampler,
    "sampler_guidance_interval": sampler,
    "multi_image_stochastic": sampler,
    "multi_image_multidiffusion": sampler,
    "slat_sampler": slat_sampler,
    "schedule": schedules,
    "sparse_primitives": sparse_primitives,
    "slat_flow": slat_flow,
    "slat_dec_rf": slat_dec_rf,
    "slat_encoder": slat_encoder,
    "subdivide_block": subdivide_block,
    "dinov2_reg": dinov2,
    "pipeline_glue": pipeline_glue,
    "slat_dec_gs": shapes.slat_dec_gs,
    "slat_dec_mesh": shapes.slat_dec_mesh,
    "gs_perturbation": shapes.gs_perturbation,
    "feats2mesh_color": shapes.feats2mesh,
    "feats2mesh_nocolor": shapes.feats2mesh,
    "flexicubes_sphere": shapes.flexicubes,
    "flexicubes_torus": shapes.flexicubes,
    "flexicubes_noise": shapes.flexicubes,
    "cameras_axes": shapes.cameras_axes,
    "simplify": shapes.simplified,
}
