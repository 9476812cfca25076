"""The learned part of TRELLIS: tokens of pictures, structure, latent, and what is decoded from it.

Letters: V views, N voxels, S side of a picture.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
from networks.samplers.flow_euler import Schedule, Step, flow_euler, schedule
from networks.samplers.guidance import MultiImage, guided_velocity
from networks.trellis.denoisers import LatentDenoiser, StructureDenoiser
from networks.trellis.slat_decoder_rf import RadianceField
from pipelines.base import Machine
from pipelines.errors import DeviceError, InputError
from pipelines.trellis.checkpoint import ENCODER, Checkpoint, Sampling
from pipelines.trellis.effort import Effort, is_out_of_memory
from pipelines.trellis.noise import Noise
from pipelines.trellis.pictures import encoder_input
from pipelines.trellis.residents import Residents, memory_of

StepDone = Callable[[int, int], None]


@dataclass(frozen=True)
class SamplerSettings:
    """How one of the stages is sampled.

    Attributes:
        mode: how several views are used.
    """

    steps: int
    strength: float
    mode: MultiImage


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


class Model:
    """One checkpoint on one machine. Networks are loaded when they are first needed.

    Half precision on an accelerator, where the checkpoints were made for it; float32 on a CPU.
    """

    def __init__(self, checkpoint: Checkpoint, machine: Machine) -> None:
        torso = torch.float32 if machine.device == "cpu" else torch.float16
        self._checkpoint = checkpoint
        self._device = torch.device(machine.device)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # where kernels are launched and probes are made
            torch.backends.cudnn.allow_tf32 = False  # what is float32 shall be, first and last layers among it
        self._low_vram = machine.low_vram
        self.resolution = checkpoint.resolution
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
            for key in (ENCODER, "sparse_structure_flow_model"):
                with self._using(key, "loading"):
                    pass
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.residents.empty()  # a job will make room as far as it can

    @contextmanager
    def _using(self, key: str, stage: str) -> Iterator:  # type: ignore[type-arg]
        with torch.inference_mode(), self.residents.using(key, stage) as network:
            yield network

    def tokens(self, squares: Pixels) -> Tensor:
        """(V, L, C) the condition, from (V, S, S, 3) uint8 pictures."""
        with self._using(ENCODER, "conditioning") as encoder:
            # One view at a time: they do not see each other, and the memory is that of one.
            pixels = encoder_input(squares, encoder.img_size).to(self._device)
            return torch.cat([normalised(encoder(view[None])) for view in pixels])

    def structure(self, tokens: Tensor, seed: int, how: SamplerSettings, effort: Effort, done: StepDone) -> Ints:
        """(N, 3) int32 occupied voxels, ascending.

        Raises:
            InputError: nothing is occupied.
        """
        sampling = self._checkpoint.structure_sampling
        steps = _schedule(how, sampling)
        with self._using("sparse_structure_flow_model", "structure") as flow:
            noise = Noise(seed, self._checkpoint.structure_shape).structure().to(self._device)
            denoiser = StructureDenoiser(flow, tokens, steps, effort.one_batch)
            velocity = guided_velocity(denoiser, steps, how.strength, len(tokens), how.mode)
            latent = _sampled(flow_euler(noise, steps, velocity, sampling.sigma_min), steps.steps, done)
            del denoiser, velocity  # the next network may need their room
        with self._using("sparse_structure_decoder", "structure decoding") as decoder:
            logits = decoder(latent)[0, 0]
            coords = torch.nonzero(_checked(logits, "the structure") > 0)
        if len(coords) == 0:
            raise InputError("the model sees no object in the picture; send one of a single thing, or change seed")
        return coords.int().cpu().numpy()

    def latent(
        self, coords: Ints, tokens: Tensor, seed: int, how: SamplerSettings, effort: Effort, done: StepDone
    ) -> tuple[Tensor, Voxels]:
        """(N, C) denormalised structured latent on the voxels."""
        sampling = self._checkpoint.latent_sampling
        steps = _schedule(how, sampling)
        voxels = _voxels(coords, self._device)
        with self._using("slat_flow_model", "latent") as flow:
            noise = Noise(seed, self._checkpoint.structure_shape).latent(len(coords), flow.in_channels).to(self._device)
            denoiser = LatentDenoiser(flow, voxels, tokens, steps, effort.one_batch)
            velocity = guided_velocity(denoiser, steps, how.strength, len(tokens), how.mode)
            sample = _sampled(flow_euler(noise, steps, velocity, sampling.sigma_min), steps.steps, done)
            mean, std = self._checkpoint.mean.to(self._device), self._checkpoint.std.to(self._device)
            return _checked(sample, "the latent") * std + mean, voxels

    def gaussians(self, latent: Tensor, voxels: Voxels) -> Gaussians:
        """3D Gaussians around the voxels, +Z up."""
        with self._using("slat_decoder_gs", "gaussians") as decoder:
            raw = _checked(decoder(latent, voxels), "the splats")
            parameters = decoder.parameters_of(raw, voxels.coords[:, 1:])
            config = decoder.representation_config
            return activated(
                **parameters._asdict(),
                scaling_bias=config["scaling_bias"],
                opacity_bias=config["opacity_bias"],
                smallest=config["3d_filter_kernel_size"],
            )

    def radiance_field(self, latent: Tensor, voxels: Voxels) -> RadianceField:
        """Low-rank volumes of the voxels, on the CPU."""
        with self._using("slat_decoder_rf", "radiance field") as decoder:
            field = decoder.field_of(_checked(decoder(latent, voxels), "the radiance field"), voxels.coords[:, 1:])
            return RadianceField(*(part.float().cpu() for part in field))

    def surface(self, latent: Tensor, voxels: Voxels, effort: Effort) -> Surface:
        """The mesh.

        Raises:
            InputError: the decoded field has no surface.
        """
        with self._using("slat_decoder_mesh", "mesh decoding") as decoder:
            host = torch.device("cpu") if effort.extract_on_host else None
            features, fine = decoder(latent, voxels, effort.rows, host)
            coords = fine.coords[:, 1:].to(features.device)
            field = cube_field(coords, _checked(features, "the mesh"), decoder.fine_resolution)
            del features, fine, coords  # the largest there is
            vertices, faces, attributes = extract(field)
        if len(faces) == 0:
            raise InputError("the model made no surface of this picture; change seed or send another picture")
        colours = None if attributes is None else (attributes[:, :3] * 255).round().byte().cpu().numpy()
        points = to_glb(vertices.cpu().numpy())
        return Surface(np.ascontiguousarray(points), faces.cpu().numpy(), colours)


def _checked(values: Tensor, what: str) -> Tensor:
    """
    Raises:
        DeviceError: they are not all numbers, which is no fault of the picture.
    """
    if not bool(torch.isfinite(values).all()):
        raise DeviceError(f"{what} is not all numbers: half precision overflowed, or the device failed")
    return values


def _sampled(states: Iterator[Step], count: int, done: StepDone) -> Tensor:
    """The last state of an integration, every step told."""
    for index, state in enumerate(states):
        sample = state.x_t
        done(index + 1, count)
    return sample


def _schedule(how: SamplerSettings, sampling: Sampling) -> Schedule:
    return schedule(how.steps, sampling.rescale_t, sampling.interval)


def _voxels(coords: Ints, device: torch.device) -> Voxels:
    rows = np.concatenate([np.zeros((len(coords), 1), np.int32), coords.astype(np.int32)], axis=1)
    return Voxels(torch.from_numpy(rows).to(device))
