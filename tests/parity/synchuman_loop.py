"""The sampling loop of SyncHuman's first stage, from two prepared images to ten images and voxels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from networks.dinov2.vision_transformer import normalised
from networks.samplers.flow_euler import schedule
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.joint_flow import JointStep, JointVelocity, Picture, joint_flow
from networks.trellis.sparse_structure_vae import SparseStructureDecoder
from networks.weights import fill
from tests.parity.synchuman_joint import cut, inputs, joint_model, relative, thinned
from tests.parity.unit import CannotCompare, Check, Unit


def autoencoder(config: dict[str, Any]) -> nn.Module:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    return AutoencoderKL(**config)


def image_encoder(config: dict[str, Any]) -> nn.Module:
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))


def structure_decoder(config: dict[str, Any]) -> nn.Module:
    return SparseStructureDecoder(**config)


_MAKERS = {"vae": autoencoder, "image_encoder": image_encoder, "sparse_structure_decoder": structure_decoder}


def one_stage_loop(unit: Unit) -> list[Check]:
    config, given = unit.config, inputs(unit)
    vae, clip, decoder = (network(unit, name) for name in _MAKERS)
    times_smaller = config["vae"]["sample_size"] // given["images_low"].shape[-1]
    seen = in_8_bits(given["images_low"].repeat_interleave(times_smaller, 2).repeat_interleave(times_smaller, 3))
    scale = config["vae"]["scaling_factor"]
    picture = Picture(
        embeddings=clip(pixel_values=clip_pixels(seen, config["feature_extractor"])).image_embeds,
        latents=vae.encode(2 * seen - 1).latent_dist.mode() * scale,
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
        "image_8bit_row": seen[0, :, 0],
        "final_latents": states[-1].images,
        "final_trellis_latent": states[-1].structure,
        "traj_2d": torch.stack([state.images[slices["traj_2d"]] for state in [start, *states[:-1]]]),
        "traj_3d": torch.stack([state.structure[slices["traj_3d"]] for state in [start, *states[:-1]]]),
        "decoded_sub": decoded[slices["images"]],
        "images_sub": pixels[slices["images"]],
        "ss_logits_sub": logits[slices["logits"]],
    }
    values = {name: fitted(unit, name, value) for name, value in values.items()}
    ours, theirs = (set(map(tuple, rows.tolist())) for rows in (occupied(logits), unit.outputs["coords"]))
    return [*relative(unit, 1e-3, values), Check("coords", 1 - len(ours & theirs) / len(ours | theirs), 1e-3)]


def network(unit: Unit, name: str) -> Any:
    """One of the small networks that share the unit's weights file."""
    weights = {key.removeprefix(f"{name}."): value for key, value in unit.weights.items() if key.startswith(f"{name}.")}
    return fill(_MAKERS[name](unit.config[name]), weights)


def in_8_bits(pixels: Tensor) -> Tensor:
    """As the reference quantises: truncated."""
    return (pixels * 255).to(torch.uint8).float() / 255


def clip_pixels(pixels: Tensor, extractor: dict[str, Any]) -> Tensor:
    """What CLIP is given of square images in [0, 1]."""
    side = extractor["size"]["shortest_edge"]
    if [extractor["crop_size"]["height"], extractor["crop_size"]["width"]] != [side, side]:
        raise CannotCompare(f"CLIP's pictures are made {side} and cut to {extractor['crop_size']}")
    levels = (pixels * 255).round().to(torch.uint8).movedim(1, -1).numpy()
    small = [Image.fromarray(image).resize((side, side), Image.Resampling(extractor["resample"])) for image in levels]
    values = torch.from_numpy(np.stack([np.asarray(image) for image in small])).movedim(-1, 1) / 255
    mean, std = (torch.tensor(extractor[name])[:, None, None] for name in ("image_mean", "image_std"))
    return (values - mean) / std


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

    prompt = given["prompt_embeds"].unflatten(0, (-1, 1, views)).expand(-1, 2, -1, -1, -1).flatten(0, 2)
    return {
        "first_class_labels": ordered(call["labels"]),
        "first_image_latents": ordered(call["rows"])[:, -picture.latents.shape[1] :],
        "first_v_2d_sub": ordered(call["v_images"]),
        "first_v_3d_sub": call["v_structure"].flip(0),
        "first_prompt_embeds_rows": prompt[:, :1],
        "trellis_cond": torch.cat([torch.zeros_like(picture.tokens), picture.tokens]),
    }


def fitted(unit: Unit, name: str, value: Tensor) -> Tensor:
    """As thin as the reference has it."""
    wanted = unit.outputs.get(name)
    if wanted is None or value.shape == wanted.shape:
        return value
    if name == "image_8bit_row":
        return value[:, :: value.shape[1] // wanted.shape[1]]
    return thinned(value, wanted)


def occupied(logits: Tensor) -> Tensor:
    """(N, 4) item and cell of every voxel."""
    return torch.nonzero(logits[:, 0] > 0)


UNITS = {"one_stage_loop": one_stage_loop}
