"""The learned part of SyncHuman: what the networks are told of a picture, views and voxels together, what follows.

Letters: V = 5 views, normals before colours where both are meant; S side of a picture, M tokens, C channels.
"""

import numpy as np
import torch
from torch import Tensor

from geometry.mesh import Floats, Pixels
from networks.samplers.flow_euler import schedule
from networks.synchuman.joint_flow import JointVelocity, Picture, joint_flow
from pipelines.base import Machine
from pipelines.effort import Effort
from pipelines.slat.checkpoint import ENCODER
from pipelines.slat.model import SLatModel
from pipelines.slat.sampling import SamplerSettings, StepDone, checked
from pipelines.synchuman.checkpoint import JOINT, Checkpoint
from pipelines.synchuman.conditioning import clip_input, truncated, vae_input
from pipelines.synchuman.preparation import Prepared
from pipelines.synchuman.prompts import prompt_embeddings
from pipelines.synchuman.views import BODY, VIEWS, MultiView, feature_grid

_RESCALE_T = 3.0  # of the first stage's times; no official file names it
_FRONT_COLOUR = len(VIEWS)  # the row that the picture itself stands for


class Model(SLatModel):
    """One checkpoint on one machine."""

    def __init__(self, checkpoint: Checkpoint, machine: Machine) -> None:
        super().__init__(checkpoint, machine, (ENCODER, JOINT))
        self._checkpoint = checkpoint
        self._prompt = checkpoint.prompts()

    def warm(self) -> None:
        super().warm()
        self._prompts()

    def picture(self, prepared: Prepared, tokens: Tensor) -> Picture:
        """What the joint model is told of a picture whose tokens are these."""
        pictures = truncated(np.stack([prepared.body, prepared.face]))
        return Picture(self._embeddings(pictures), self._encoded(pictures), self._prompts(), tokens)

    def _embeddings(self, pictures: Pixels) -> Tensor:
        with self._using("image_encoder", "conditioning") as encoder:
            pixels = clip_input(pictures, self._checkpoint.clip_pictures).to(self._device, encoder.dtype)
            return torch.cat([encoder(one[None]).image_embeds.float() for one in pixels])

    def _encoded(self, pictures: Pixels) -> Tensor:
        with self._using("vae", "conditioning") as vae:
            pixels = vae_input(pictures).to(self._device, vae.dtype)
            modes = [vae.encode(one[None]).latent_dist.mode().float() for one in pixels]
            return torch.cat(modes) * vae.config.scaling_factor

    def _prompts(self) -> Tensor:
        """(2V, M, C) always the same, so the text encoder runs once, on the CPU, and takes no room on the device."""
        if self._prompt is None:
            self._prompt = prompt_embeddings(self._checkpoint.load("text_encoder", torch.float32))
        return self._prompt.to(self._device)

    def views(
        self, picture: Picture, seed: int, how: SamplerSettings, effort: Effort, done: StepDone
    ) -> tuple[Tensor, Tensor]:
        """Latents of the views (2V, C, I, I) and of the structure."""
        structure, images = (noise.to(self._device) for noise in self._noise(seed).first())
        times = schedule(how.steps, _RESCALE_T, None)
        with self._using(JOINT, "views") as network:
            velocity = JointVelocity(network, picture, times, how.strength, effort.one_batch, effort.pictures)
            for step in joint_flow(images, structure, times, velocity):
                images, structure = step.images, step.structure
                done(step.index + 1, times.steps)
            del velocity, step  # the next network may need their room
        return checked(images, "the views"), structure

    def decoded(self, images: Tensor, done: StepDone) -> Floats:
        """(2V - 1, S, S, 3) in [0, 1]: all normals, and colours but for the front's, which is the picture itself."""
        with self._using("vae", "pictures") as vae:
            rows = [row for row in range(len(images)) if row != _FRONT_COLOUR]
            pictures = []
            for row in rows:  # one at a time: the memory is that of one
                latent = (images[row][None] / vae.config.scaling_factor).to(vae.dtype)
                picture = checked(vae.decode(latent).sample[0].permute(1, 2, 0).float(), "a view")
                pictures.append((picture / 2 + 0.5).clamp(0, 1).cpu().numpy())
                done(len(pictures), len(rows))
            return np.stack(pictures)

    def features(self, pictures: MultiView) -> tuple[Tensor, Tensor]:
        """(1, 4, P, P, F) what the image encoder sees in the colours and in the normals of the body."""
        with self._using(ENCODER, "features") as encoder:
            layers = _layers(len(encoder.blocks))
            side = encoder.patch_size * self.resolution  # so that each voxel has a patch

            def encode(pixels: Tensor) -> tuple[Tensor, ...]:
                return encoder.intermediate(pixels.to(self._device), layers)

            return feature_grid(pictures.colour[BODY], encode, side), feature_grid(pictures.normal[BODY], encode, side)


def _layers(depth: int) -> tuple[int, ...]:
    """The four blocks of the image encoder whose tokens are looked at."""
    return (4, 11, 17, 23) if depth == 24 else tuple(range(depth - 4, depth))
