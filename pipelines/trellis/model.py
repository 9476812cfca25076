"""The learned part of TRELLIS: beside what such models share, the structure's flow and the radiance field.

Letters: V views, N voxels.
"""

from torch import Tensor

from geometry.mesh import Ints
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import flow_euler
from networks.samplers.guidance import guided_velocity
from networks.trellis.denoisers import StructureDenoiser
from networks.trellis.slat_decoder_rf import RadianceField
from pipelines.base import Machine
from pipelines.effort import Effort
from pipelines.slat.checkpoint import ENCODER
from pipelines.slat.model import SLatModel
from pipelines.slat.sampling import SamplerSettings, StepDone, checked, sampled
from pipelines.trellis.checkpoint import Checkpoint

_FLOW = "sparse_structure_flow_model"


class Model(SLatModel):
    """One checkpoint on one machine."""

    def __init__(self, checkpoint: Checkpoint, machine: Machine) -> None:
        super().__init__(checkpoint, machine, (ENCODER, _FLOW))
        self._structure_sampling = checkpoint.structure_sampling

    def structure(self, tokens: Tensor, seed: int, how: SamplerSettings, effort: Effort, done: StepDone) -> Ints:
        """(N, 3) int32 occupied voxels, ascending.

        Raises:
            InputError: nothing is occupied.
        """
        steps = how.schedule(self._structure_sampling)
        with self._using(_FLOW, "structure") as flow:
            (noise,) = self._noise(seed).first()
            denoiser = StructureDenoiser(flow, tokens, steps, effort.one_batch)
            velocity = guided_velocity(denoiser, steps, how.strength, len(tokens), how.mode)
            states = flow_euler(noise.to(self._device), steps, velocity, self._structure_sampling.sigma_min)
            latent = sampled(states, steps.steps, done)
            del denoiser, velocity, states  # the next network may need their room
        return self.occupied(latent)

    def radiance_field(self, latent: Tensor, voxels: Voxels) -> RadianceField:
        """Low-rank volumes of the voxels, on the CPU."""
        with self._using("slat_decoder_rf", "radiance field") as decoder:
            field = decoder.field_of(checked(decoder(latent, voxels), "the radiance field"), voxels.coords[:, 1:])
            return RadianceField(*(part.float().cpu() for part in field))
