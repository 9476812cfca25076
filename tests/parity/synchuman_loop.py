"""The sampling loop of SyncHuman's first stage, from two prepared images to ten images and voxels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from networks.dinov2.vision_transformer import normalised
from networks.samplers.flow_euler import schedule
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.joint_flow import JointStep, JointVelocity, Picture, joint_flow
from networks.synchuman.rows import Rows
from networks.trellis.sparse_structure_vae import SparseStructureDecoder
from networks.weights import fill
from pipelines.synchuman import libraries
from pipelines.synchuman.conditioning import ClipPictures, clip_input, truncated, vae_input
from tests.parity.synchuman_2d import texts_of_rows
from tests.parity.synchuman_joint import joint_model
from tests.parity.unit import CannotCompare, Check, Unit, cut, thinned

_DECODER = "sparse_structure_decoder"


def one_stage_loop(unit: Unit) -> list[Check]:
    config, given = unit.config, unit.floats
    vae, clip = (libraries.load(name, config[name], weights(unit, name)) for name in ("vae", "image_encoder"))
    decoder = fill(SparseStructureDecoder(**config[_DECODER]), weights(unit, _DECODER))
    times_smaller = config["vae"]["sample_size"] // given["images_low"].shape[-1]
    images = given["images_low"].repeat_interleave(times_smaller, 2).repeat_interleave(times_smaller, 3)
    seen = truncated(images.movedim(1, -1).numpy())
    scale = config["vae"]["scaling_factor"]
    picture = Picture(
        embeddings=clip(clip_input(seen, ClipPictures.from_config(config["feature_extractor"]))).image_embeds,
        latents=vae.encode(vae_input(seen)).latent_dist.mode() * scale,
        prompt=given["prompt_embeds"],
        tokens=normalised(given["dino_prenorm"]),
    )
    model = joint_model(Unit(unit.folder / str(config["model"]).split()[0]))
    times = schedule(config["num_inference_steps"], config["rescale_t"])
    if config.get("t_seq", list(times.times)) != list(times.times):
        raise CannotCompare(f"the times are {times.times}, the reference's {config['t_seq']}")
    with first_call(model) as call:
        velocity = JointVelocity(model, picture, times, config["guidance_scale"])
        states = list(joint_flow(given["latents_noise"], given["trellis_noise"], times, velocity))
    start = JointStep(-1, given["latents_noise"], given["trellis_noise"])
    slices = {name: cut(told) for name, told in config["slices"].items()}
    decoded, logits = vae.decode(states[-1].images / scale).sample, decoder(states[-1].structure)
    pixels = (decoded / 2 + 0.5).clamp(0, 1)
    values = first_step(call, model.num_views, picture, given) | {
        "image_8bit_row": torch.from_numpy(seen[0, 0].T / np.float32(255)),
        "final_latents": states[-1].images,
        "final_trellis_latent": states[-1].structure,
        "traj_2d": torch.stack([state.images[slices["traj_2d"]] for state in [start, *states[:-1]]]),
        "traj_3d": torch.stack([state.structure[slices["traj_3d"]] for state in [start, *states[:-1]]]),
        "decoded_sub": decoded[slices["images"]],
        "images_sub": pixels[slices["images"]],
        "ss_logits_sub": logits[slices["logits"]],
    }
    values = {name: thinned(value, unit.outputs[name]) for name, value in values.items() if name in unit.outputs}
    ours, theirs = (set(map(tuple, rows.tolist())) for rows in (occupied(logits), unit.outputs["coords"]))
    return [*unit.relative(1e-3, values), Check("coords", 1 - len(ours & theirs) / len(ours | theirs), 1e-3)]


def weights(unit: Unit, name: str) -> dict[str, Tensor]:
    """Of one of the small networks that share the unit's weights file."""
    return {key.removeprefix(f"{name}."): value for key, value in unit.weights.items() if key.startswith(f"{name}.")}


@contextmanager
def first_call(model: CrossSpaceModel) -> Iterator[dict[str, Tensor]]:
    """What the network is given and gives in the first step while the context lasts."""
    seen: dict[str, Tensor] = {}

    def keep(_model: nn.Module, args: tuple[Any, ...], result: tuple[Tensor, Tensor]) -> None:
        for name, value in (("rows", args[0]), ("v_images", result[0]), ("v_structure", result[1])):
            seen.setdefault(name, value)

    def keep_labels(_module: nn.Module, args: tuple[Any, ...]) -> None:
        seen.setdefault("labels", args[0])

    hooks = [
        model.register_forward_hook(keep),
        model.class_embedding.register_forward_pre_hook(keep_labels),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def first_step(call: dict[str, Tensor], views: int, picture: Picture, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first step's values in the reference's order: first without the picture, which in ours comes last."""

    def ordered(rows: Tensor) -> Tensor:
        return rows.unflatten(0, (-1, 2, views)).flip(1).flatten(0, 2)

    prompt = given["prompt_embeds"]
    return {
        "first_class_labels": ordered(call["labels"]),
        "first_image_latents": ordered(call["rows"])[:, -picture.latents.shape[1] :],
        "first_v_2d_sub": ordered(call["v_images"]),
        "first_v_3d_sub": call["v_structure"].flip(0),
        "first_prompt_embeds_rows": texts_of_rows(prompt, Rows(2, views, len(prompt) // views))[:, :1],
        "trellis_cond": torch.cat([torch.zeros_like(picture.tokens), picture.tokens]),
    }


def occupied(logits: Tensor) -> Tensor:
    """(N, 4) item and cell of every voxel."""
    return torch.nonzero(logits[:, 0] > 0)


UNITS = {"one_stage_loop": one_stage_loop}
