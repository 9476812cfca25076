"""Every learned stage of the pipeline, and the extraction of the surface, one after the other.

Letters: N voxels, R voxels along a side of the finest grid.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.networks import work
from benchmarks.networks.meters import Reading, measured
from benchmarks.networks.subjects import ENCODER, Size, network, shell
from geometry.feature_field import CHANNELS, cube_field
from geometry.flexicubes import extract
from networks.dinov2.vision_transformer import normalised
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import Schedule
from networks.trellis.denoisers import LatentDenoiser, StructureDenoiser


@dataclass(frozen=True)
class Bench:
    """What all stages are run with.

    Attributes:
        times: the steps that the flows are prepared for.
        radius: of the shell, in voxels.
        blocks: how many transformer blocks each network has where savings are compared; None: all.
    """

    size: Size
    device: str
    torso: torch.dtype
    voxels: Voxels
    radius: float
    times: Schedule
    warmups: int
    repeats: int
    blocks: int | None

    def network(self, key: str, torso: torch.dtype | None = None, blocks: int | None = None) -> Any:
        """A network with random weights."""
        return network(self.size.networks[key], self.device, torso or self.torso, blocks)

    def normal(self, *shape: int) -> Tensor:
        """The same numbers each time."""
        return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(self.device)

    def tokens(self) -> Tensor:
        """The condition of one view."""
        return self.normal(1, *self.size.tokens)

    def latent(self) -> Tensor:
        """One row for each voxel."""
        return self.normal(len(self.voxels), 8)


def bench(size: Size, device: str, torso: torch.dtype, times: Schedule, wanted: int, **rounds: Any) -> Bench:
    """Everything ready, its shell of about `wanted` voxels."""
    coords, radius = shell(size.resolution, wanted)
    item = torch.zeros(len(coords), 1, dtype=coords.dtype)
    voxels = Voxels(torch.cat([item, coords], dim=1).to(device))
    return Bench(size, device, torso, voxels, radius, times, **rounds)


@dataclass(frozen=True)
class Stage:
    """
    Attributes:
        part: the pipeline's name for what it belongs to.
        flops: that it needs; 0 where memory is all that counts.
        beside: bytes that lie there meanwhile, other than weights.
        check: says what is wrong with the result, if something is.
    """

    name: str
    part: str
    work: Callable[[], Any]
    flops: int
    dtype: torch.dtype
    beside: int = 0
    check: Callable[[Any], str] = lambda result: "" if finite(result) else "not all finite"


@dataclass(frozen=True)
class Measured:
    """One stage's figures; `wrong` is empty when its result was right."""

    stage: Stage
    reading: Reading
    wrong: str


def run(bench: Bench, weighed: Callable[[str, int], None], told: Callable[[str], None]) -> Iterator[Measured]:
    """All stages, with one network at a time.

    Args:
        weighed: receives every network's key and bytes.
        told: receives the name of the stage that begins.
    """
    for key, stages in STAGES.items():
        made = bench.network(key)
        weighed(key, sum(value.nbytes for value in made.state_dict().values()))
        for stage in stages(made, bench):
            told(stage.name)
            result, reading = measured(stage.work, bench.device, bench.warmups, bench.repeats)
            yield Measured(stage, reading, stage.check(result))
            del result
        del made
    told("extraction")
    stage = _extraction(bench)
    result, reading = measured(stage.work, bench.device, bench.warmups, bench.repeats)
    yield Measured(stage, reading, stage.check(result))


def finite(result: Any) -> bool:
    """Whether every number of every tensor in it is."""
    if isinstance(result, Tensor):
        return bool(torch.isfinite(result).all())
    return all(finite(part) for part in result) if isinstance(result, list | tuple) else True


def _encoder(made: Any, bench: Bench) -> Iterator[Stage]:
    pixels = bench.normal(1, 3, made.img_size, made.img_size)
    yield Stage("image encoder", "conditioning", lambda: normalised(made(pixels)), work.encoder(made), torch.float32)


def _structure_flow(made: Any, bench: Bench) -> Iterator[Stage]:
    x = bench.normal(1, made.in_channels, *[made.resolution] * 3)
    needed = work.structure_flow(made, bench.size.tokens[0]), work.structure_flow(made, 0)
    yield from _flow("structure", made, bench, x, needed, lambda: StructureDenoiser(made, bench.tokens(), bench.times))


def _latent_flow(made: Any, bench: Bench) -> Iterator[Stage]:
    needed = (work.latent_flow(made, bench.voxels, bench.size.tokens[0]), work.latent_flow(made, bench.voxels, 0))
    make = lambda: LatentDenoiser(made, bench.voxels, bench.tokens(), bench.times)  # noqa: E731
    yield from _flow("latent", made, bench, bench.latent(), needed, make)


def _flow(
    part: str, made: Any, bench: Bench, x: Tensor, needed: tuple[int, int], make: Callable[[], Any]
) -> Iterator[Stage]:
    once = work.preparation(made, bench.size.tokens[0], bench.times.steps)
    yield Stage(f"{part} flow, once a job", part, make, once, made.dtype)
    denoiser = make()
    kept = sum(part.nbytes for pair in denoiser._condition.blocks for part in pair)
    kept += sum(block.nbytes for block in denoiser._times.blocks)
    for name, views, flops in (("conditional", [0], needed[0]), ("unconditional", [None], needed[1])):
        evaluate = lambda views=views: denoiser(x, 0, views)  # noqa: E731
        yield Stage(f"{part} flow, {name}", part, evaluate, flops, made.dtype, kept)


def _structure_decoder(made: Any, bench: Bench) -> Iterator[Stage]:
    side = bench.size.networks["sparse_structure_flow_model"]["args"]["resolution"]
    latent = bench.normal(1, made.input_layer.in_channels, side, side, side)
    flops = work.structure_decoder(made, side)
    yield Stage("structure decoder", "structure decoding", lambda: made(latent), flops, made.dtype)


def _gaussians(made: Any, bench: Bench) -> Iterator[Stage]:
    yield _decoder("Gaussian decoder", "gaussians", made, bench)


def _radiance_field(made: Any, bench: Bench) -> Iterator[Stage]:
    yield _decoder("radiance field decoder", "radiance field", made, bench)


def _decoder(name: str, part: str, made: Any, bench: Bench) -> Stage:
    latent, flops = bench.latent(), work.latent_decoder(made, bench.voxels)
    return Stage(name, part, lambda: made(latent, bench.voxels), flops, made.dtype)


def _mesh(made: Any, bench: Bench) -> Iterator[Stage]:
    latent, flops = bench.latent(), work.mesh_decoder(made, bench.voxels)
    decode = lambda: made(latent, bench.voxels)[0]  # noqa: E731
    yield Stage("mesh decoder", "mesh decoding", decode, flops, made.dtype)


def _extraction(bench: Bench) -> Stage:
    """Of a field that is known: the shell's own distance, so that the surface is known too."""
    fine = bench.voxels.subdivided().subdivided()
    coords, resolution = fine.coords[:, 1:], 4 * bench.size.resolution
    features = distances(coords, resolution, 4 * bench.radius)
    surface = lambda: extract(cube_field(coords, features, resolution))[:2]  # noqa: E731
    beside = features.nbytes + coords.nbytes
    return Stage("extraction", "mesh decoding", surface, 0, torch.float32, beside, closed_shell)


def distances(coords: Tensor, resolution: int, radius: float) -> Tensor:
    """(N, 101) what a mesh decoder would say of a sphere of this radius, in voxels."""
    steps = torch.tensor([[c & 1, c >> 1 & 1, c >> 2 & 1] for c in range(8)], device=coords.device)
    corners = coords[:, None] + steps - resolution / 2
    features = torch.zeros(len(coords), CHANNELS, device=coords.device)
    features[:, :8] = (corners.norm(dim=2) - radius + 1) / resolution
    return features


def closed_shell(surface: tuple[Tensor, Tensor]) -> str:
    """What is wrong with the surface: the shell's two sides are closed sheets, each with Euler number 2."""
    vertices, faces = surface
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = edges[:, 0] * len(vertices) + edges[:, 1]
    back = edges[:, 1] * len(vertices) + edges[:, 0]
    if len(faces) == 0 or not torch.equal(keys.sort()[0], back.sort()[0]) or len(keys.unique()) != len(keys):
        return f"{len(faces)} triangles that do not close"
    euler = len(vertices) - len(keys) // 2 + len(faces)
    return "" if euler == 4 else f"Euler number {euler} in place of 4"


STAGES: dict[str, Callable[[Any, Bench], Iterator[Stage]]] = {
    ENCODER: _encoder,
    "sparse_structure_flow_model": _structure_flow,
    "sparse_structure_decoder": _structure_decoder,
    "slat_flow_model": _latent_flow,
    "slat_decoder_gs": _gaussians,
    "slat_decoder_rf": _radiance_field,
    "slat_decoder_mesh": _mesh,
}
