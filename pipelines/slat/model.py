"""The learned steps that such models share: tokens of pictures, the latent on voxels, and what is decoded from it.

Letters: V views, N voxels, S side of a picture.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geometry.axes import to_glb
from geometry.feature_field import cube_field
from geometry.flexicubes import extract
from geometry.gaussians import Gaussians, activated
from geometry.mesh import Floats, Ints, Pixels
from networks.dinov2.vision_transformer import normalised
from networks.ops.probes import probe_kernels
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import flow_euler
from networks.samplers.guidance import guided_velocity
from networks.trellis.denoisers import LatentDenoiser
from pipelines.base import Machine
from pipelines.effort import Effort, is_out_of_memory
from pipelines.errors import InputError
from pipelines.residents import Residents, memory_of
from pipelines.slat.checkpoint import ENCODER, OfficialFiles
from pipelines.slat.noise import Noise
from pipelines.slat.pictures import encoder_input
from pipelines.slat.sampling import SamplerSettings, StepDone, checked, sampled


@dataclass(frozen=True, eq=False)
class Surface:
    """A decoded mesh, +Y up.

    Attributes:
        vertices: (N, 3) float32; faces: (F, 3) int64, outward.
        colours: (N, 3) uint8 sRGB, or None when the decoder makes none.
    """

    vertices: Floats
    faces: Ints
    colours: Pixels | None


class SLatModel:
    """One checkpoint on one machine. Networks are loaded when they are first needed.

    Half precision on an accelerator, where the checkpoints were made for it; float32 on a CPU.

    Args:
        first: the networks that every job starts with.
    """

    def __init__(self, checkpoint: OfficialFiles, machine: Machine, first: Sequence[str]) -> None:
        torso = torch.float32 if machine.device == "cpu" else torch.float16
        self._files, self._first = checkpoint, first
        self.resolution = checkpoint.resolution
        self._device = torch.device(machine.device)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # where kernels are launched and probes are made
            torch.backends.cudnn.allow_tf32 = False  # what is float32 shall be, first and last layers among it
        self._low_vram = machine.low_vram
        self.residents = Residents(
            lambda key: checkpoint.load(key, torso), machine.device, machine.low_vram, memory_of(machine.device)
        )

    def warm(self) -> None:
        """Loads what every job starts with, unless memory is short, and tries out what may be faster here."""
        if self._device.type == "cuda":
            probe_kernels(torch.float16)
        if self._low_vram:
            return
        try:
            for key in self._first:
                with self._using(key, "loading"):
                    pass
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.residents.empty()  # a job will make room as far as it can

    @contextmanager
    def _using(self, key: str, stage: str) -> Iterator[Any]:
        with torch.inference_mode(), self.residents.using(key, stage) as network:
            yield network

    def tokens(self, squares: Pixels) -> Tensor:
        """(V, L, C) the condition, from (V, S, S, 3) uint8 pictures."""
        with self._using(ENCODER, "conditioning") as encoder:
            # One view at a time: they do not see each other, and the memory is that of one.
            pixels = encoder_input(squares, encoder.img_size).to(self._device)
            return torch.cat([normalised(encoder(view[None])) for view in pixels])

    def occupied(self, latent: Tensor) -> Ints:
        """(N, 3) int32 voxels of a structure's latent, ascending.

        Raises:
            InputError: nothing is occupied.
        """
        with self._using("sparse_structure_decoder", "structure decoding") as decoder:
            logits = decoder(latent)[0, 0]
            coords = torch.nonzero(checked(logits, "the structure") > 0)
        if len(coords) == 0:
            raise InputError("the model sees no object in the picture; send one of a single thing, or change seed")
        return coords.int().cpu().numpy()

    def latent(
        self, coords: Ints, tokens: Tensor, seed: int, how: SamplerSettings, effort: Effort, done: StepDone
    ) -> tuple[Tensor, Voxels]:
        """(N, C) denormalised structured latent on the voxels."""
        steps, voxels = how.schedule(self._files.latent_sampling), self._voxels(coords)
        noise = self._noise(seed).latent(len(coords), len(self._files.mean)).to(self._device)
        with self._using("slat_flow_model", "latent") as flow:
            denoiser = LatentDenoiser(flow, voxels, tokens, steps, effort.one_batch)
            velocity = guided_velocity(denoiser, steps, how.strength, len(tokens), how.mode)
            states = flow_euler(noise, steps, velocity, self._files.latent_sampling.sigma_min)
            sample = sampled(states, steps.steps, done)
            mean, std = self._files.mean.to(self._device), self._files.std.to(self._device)
            return checked(sample, "the latent") * std + mean, voxels

    def gaussians(self, latent: Tensor, voxels: Voxels, *views: Tensor) -> Gaussians:
        """3D Gaussians around the voxels, +Z up.

        Args:
            views: what the decoder is shown beside the latent.
        """
        with self._using("slat_decoder_gs", "gaussians") as decoder:
            raw = checked(decoder(latent, voxels, *views), "the splats")
            parameters = decoder.parameters_of(raw, voxels.coords[:, 1:])
            config = decoder.representation_config
            return activated(
                **parameters._asdict(),
                scaling_bias=config["scaling_bias"],
                opacity_bias=config["opacity_bias"],
                smallest=config["3d_filter_kernel_size"],
            )

    def surface(self, latent: Tensor, voxels: Voxels, effort: Effort, *views: Tensor) -> Surface:
        """The mesh.

        Args:
            views: what the decoder is shown beside the latent.
        Raises:
            InputError: the decoded field has no surface.
        """
        with self._using("slat_decoder_mesh", "mesh decoding") as decoder:
            host = torch.device("cpu") if effort.extract_on_host else None
            features, fine = decoder(latent, voxels, *views, rows=effort.rows, onto=host)
            coords = fine.coords[:, 1:].to(features.device)
            field = cube_field(coords, checked(features, "the mesh"), decoder.fine_resolution)
            del features, fine, coords  # the largest there is
            vertices, faces, attributes = extract(field)
        if len(faces) == 0:
            raise InputError("the model made no surface of this picture; change seed or send another picture")
        colours = None if attributes is None else (attributes[:, :3] * 255).round().byte().cpu().numpy()
        points = to_glb(vertices.cpu().numpy())
        return Surface(np.ascontiguousarray(points), faces.cpu().numpy(), colours)

    def _voxels(self, coords: Ints) -> Voxels:
        rows = np.concatenate([np.zeros((len(coords), 1), np.int32), coords.astype(np.int32)], axis=1)
        return Voxels(torch.from_numpy(rows).to(self._device))

    def _noise(self, seed: int) -> Noise:
        return Noise(seed, self._files.first_shapes)
