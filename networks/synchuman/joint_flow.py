"""Sampling with the joint model: the latents of ten images and of a structure take the same steps from noise to data.

Agrees with the first stage of IGL-HKUST/SyncHuman, commit 1b540b7, but for the precision of the image latents: there
they are rounded to half at every step, here both latents stay float32 throughout.

Letters: D domains (normals, colours), V views (the last is the face), N = D V images, the view running fastest,
R = D B V rows of the network in B guidance halves, I side of the images' latents, S side of the voxel grid, M tokens,
C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from networks.layers.embedding import sinusoid
from networks.samplers.flow_euler import Schedule
from networks.synchuman.attention import TextCache
from networks.synchuman.cross_space_model import CrossSpaceModel, Given
from networks.synchuman.rows import Rows

_DOMAINS = 2

Velocity = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Picture:
    """What the network is told of a picture.

    Attributes:
        embeddings: (2, C) of its body and of its face, CLIP's.
        latents: (2, C, I, I) of both, scaled as the noisy ones are.
        prompt: (N, M, C) text for each image.
        tokens: (1, M, C) DINOv2's, normalised.
    """

    embeddings: Tensor
    latents: Tensor
    prompt: Tensor
    tokens: Tensor


class _Pass(NamedTuple):
    """One run of the network: its conditions, and (D, B, V, C, I, I) latents of the picture."""

    given: Given
    latents: Tensor


class JointVelocity:
    """The guided velocities of both latents under one job's picture; what depends on no step is computed once.

    Args:
        times: of the steps it will be asked about.
        guidance_scale: s in u + s (c - u), where c is the velocity with the picture and u the one without.
        one_batch: both in one pass; one after the other takes half the memory.
        at_once: how many rows the UNet's transformers work on at a time; None is all.
    """

    def __init__(
        self,
        network: CrossSpaceModel,
        picture: Picture,
        times: Schedule,
        guidance_scale: float = 3.0,
        one_batch: bool = True,
        at_once: int | None = None,
    ) -> None:
        self._network, self._guidance_scale = network, guidance_scale
        self._moments = network.moments(torch.tensor(times.timesteps, device=picture.tokens.device))
        self._passes = _passes(network, picture, one_batch, at_once)

    def __call__(self, images: Tensor, structure: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Of (N, C, I, I) images and a (1, C, S, S, S) structure, the same shapes."""
        seen, unseen = (half for one in self._passes for half in self._halves(images, structure, step, one))
        v_images, v_structure = (u + self._guidance_scale * (c - u) for c, u in zip(seen, unseen, strict=True))
        return v_images, v_structure

    def _halves(self, images: Tensor, structure: Tensor, step: int, one: _Pass) -> Iterator[tuple[Tensor, Tensor]]:
        """The velocities of each half of a pass."""
        domains, halves, views = one.latents.shape[:3]
        noisy = images.unflatten(0, (domains, 1, views)).expand(-1, halves, -1, -1, -1, -1)
        rows = torch.cat([noisy, one.latents], dim=3).flatten(0, 2)
        repeated = structure.expand(halves, -1, -1, -1, -1)
        v_images, v_structure = self._network(rows, repeated, self._moments, one.given, step)
        by_half = v_images.unflatten(0, (domains, halves, views)).unbind(1)
        return ((part.flatten(0, 1), v_structure[i : i + 1]) for i, part in enumerate(by_half))


def _passes(network: CrossSpaceModel, picture: Picture, one_batch: bool, at_once: int | None) -> list[_Pass]:
    """Those with and without the picture, or both in one. Without it, all but the text is zero."""
    views = network.num_views
    source = torch.tensor([0] * (views - 1) + [1], device=picture.latents.device)  # all of the body see one picture
    labels, latents = class_labels(picture.embeddings)[source], picture.latents[source]
    text, condition = TextCache(picture.prompt), network.condition(picture.tokens)
    passes = []
    for shown in [(1.0, 0.0)] if one_batch else [(1.0,), (0.0,)]:
        rows = Rows(len(shown), views, _DOMAINS, at_once)
        each = torch.tensor(shown, device=labels.device)[None, :, None, None].expand(_DOMAINS, -1, -1, -1)
        given = network.given((each * labels).flatten(0, 2), text, condition, rows, int(sum(shown)))
        passes.append(_Pass(given, each[..., None, None] * latents))
    return passes


def class_labels(embeddings: Tensor) -> Tensor:
    """(B, 2 C) of (B, C) embeddings: behind each the level of noise that was added to it, which is none."""
    none = torch.zeros(len(embeddings), device=embeddings.device)
    return torch.cat([embeddings, sinusoid(none, embeddings.shape[1])], dim=1)


@dataclass(frozen=True)
class JointStep:
    """Where both latents are after a step."""

    index: int
    images: Tensor
    structure: Tensor


def joint_flow(images: Tensor, structure: Tensor, times: Schedule, velocity: Velocity) -> Iterator[JointStep]:
    """Every step of the integration when it is asked for; the last one's latents are the samples.

    Args:
        images: (N, C, I, I) noise.
        structure: (1, C, S, S, S) noise.
        velocity: of both at step i.
    """
    images, structure = images.float(), structure.float()
    for index, (t, after) in enumerate(zip(times.times, times.times[1:], strict=False)):
        v_images, v_structure = velocity(images, structure, index)
        images, structure = images - (t - after) * v_images, structure - (t - after) * v_structure
        yield JointStep(index, images, structure)
