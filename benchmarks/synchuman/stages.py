"""The pipeline's model, stage by stage, each with what it took."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from benchmarks.networks.meters import Watch
from benchmarks.networks.stages import closed_shell, distances, finite
from benchmarks.networks.subjects import shell
from benchmarks.synchuman.counting import Live, counting
from benchmarks.synchuman.subjects import FIRST, SECOND, Drawn, Size
from geometry.feature_field import cube_field
from geometry.flexicubes import extract
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import schedule
from networks.synchuman.joint_flow import JointVelocity, Picture
from pipelines.base import Machine
from pipelines.effort import Effort
from pipelines.foreground import Cutout
from pipelines.residents import Residents, memory_of
from pipelines.slat.checkpoint import ENCODER
from pipelines.slat.sampling import SamplerSettings
from pipelines.synchuman.checkpoint import JOINT
from pipelines.synchuman.model import Model
from pipelines.synchuman.params import UP_SIDE
from pipelines.synchuman.preparation import Prepared
from pipelines.synchuman.views import MultiView

_LATENT_CHANNELS = 8


class Row(NamedTuple):
    """One network's turn.

    Attributes:
        before: bytes that lay there when it began, other than weights, where they are counted.
        peak: bytes at most beyond them; None where that cannot be told.
        amount: FLOPs where they are counted, else seconds.
        laps: the same at the end of each step.
        largest: what was alive at the peak.
    """

    name: str
    key: str
    before: int
    peak: int | None
    amount: float
    laps: tuple[float, ...]
    largest: tuple[tuple[str, int], ...] = ()


class Meter(Protocol):
    """What is read while a network is at work."""

    def begin(self) -> None: ...

    def amount(self) -> float:
        """FLOPs or seconds since the beginning."""

    def end(self) -> tuple[int, int | None, tuple[tuple[str, int], ...]]:
        """Bytes there at the beginning, at most beyond them, and what the largest of them were."""


class CountMeter:
    """Of what is counted."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def begin(self) -> None:
        self._live.restart()
        self._before, self._flops = self._live.live, self._live.flops

    def amount(self) -> float:
        return self._live.flops - self._flops

    def end(self) -> tuple[int, int, tuple[tuple[str, int], ...]]:
        return self._before, self._live.peak - self._before, tuple(self._live.largest.most_common(5))


class TimeMeter:
    """Of what is measured."""

    def __init__(self, device: str) -> None:
        self._device = device

    def begin(self) -> None:
        self._watch = Watch(self._device)

    def amount(self) -> float:
        return self._watch.seconds()

    def end(self) -> tuple[int, int | None, tuple[tuple[str, int], ...]]:
        return 0, self._watch.stop()[1], ()


class _Watched(Residents):
    """Networks whose every turn is told."""

    def __init__(self, checkpoint: Drawn, device: str, meter: Meter) -> None:
        super().__init__(lambda key: checkpoint.load(key, torch.float32), device, False, memory_of(device))
        self.rows: list[Row] = []
        self._meter, self._laps = meter, list[float]()

    @contextmanager
    def using(self, key: str, stage: str) -> Iterator[Any]:
        with super().using(key, stage) as network:
            self._laps.clear()
            self._meter.begin()
            try:
                yield network
            finally:
                amount = self._meter.amount()
                before, peak, largest = self._meter.end()
                self.rows.append(Row(stage, key, before, peak, amount, tuple(self._laps), largest))

    def lap(self) -> None:
        self._laps.append(self._meter.amount())


class _Enough(Exception):
    """All steps are alike."""


@dataclass
class Run:
    """One job, stage by stage.

    Args:
        steps: of both stages.
        enough: how many of them are taken.
        interval: times between which the latent's steps are guided; None: the official ones.
        wrong: of each stage whose result is not right, what is wrong.
    """

    size: Size
    device: str
    torso: torch.dtype
    meter: Meter
    steps: tuple[int, int] = (50, 25)
    enough: int | None = None
    interval: tuple[float, float] | None = None
    wrong: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checkpoint = Drawn(self.size, self.device, self.torso)
        self._shapes = checkpoint.first_shapes[::-1]
        self.model = Model(checkpoint, Machine(self.device))
        self.model.residents = self._residents = _Watched(checkpoint, self.device, self.meter)

    def load(self, *keys: str) -> None:
        """Puts networks on the device; their turns are not told."""
        for key in keys or dict.fromkeys(FIRST + SECOND):
            with self._residents.using(key, "loading"):
                pass
        self._residents.rows.clear()

    @property
    def weights(self) -> dict[str, int]:
        """Bytes of each network."""
        return self._residents.ledger.networks

    def rows(self) -> list[Row]:
        """What was told since the last time."""
        told, self._residents.rows = self._residents.rows, []
        return told

    def conditioning(self) -> Picture:
        side, tokens_side = self.size.pictures, 518
        body, face = np.random.default_rng(0).random((2, side, side, 3), np.float32)
        square = np.zeros((tokens_side, tokens_side, 3), np.uint8)
        nothing = np.zeros((1, 1, 4), np.uint8)  # of what the model is not shown
        prepared = Prepared(Cutout(nothing, "alpha"), body, face, square, nothing)
        return self.model.picture(prepared, self.model.tokens(prepared.square[None]))

    def first_stage(self, picture: Picture, effort: Effort) -> tuple[Tensor, Tensor]:
        """Latents of the views and of the structure; nothing that was learned where steps are left out."""
        latents = self._normal(*self._shapes[0]), self._normal(*self._shapes[1])
        with suppress(_Enough):
            latents = self.model.views(picture, 0, SamplerSettings(self.steps[0], 3.0), effort, self._step)
        return latents

    def decoding(self, images: Tensor, structure: Tensor) -> None:
        self._check("pictures", torch.from_numpy(self.model.decoded(images, lambda step, of: None)))
        self.model.occupied(structure)

    def features(self) -> tuple[Tensor, Tensor]:
        """As `Model.features`."""
        side = self.size.pictures
        pixels = np.random.default_rng(0).integers(0, 256, (2, 5, side, side, 3), np.uint8)
        seen = self.model.features(MultiView(*pixels))
        self._check("features", seen)
        return seen

    def blank_features(self) -> tuple[Tensor, Tensor]:
        """Of the same shape."""
        grid, channels = UP_SIDE // 14, 4 * int(self.size.args(ENCODER)["embed_dim"])
        return self._normal(1, 4, grid, grid, channels), self._normal(1, 4, grid, grid, channels)

    def latent(self, tokens: Tensor, wanted: int, effort: Effort) -> tuple[Tensor, Voxels]:
        """(N, C) and as many voxels."""
        voxels = self.voxels(wanted)
        result = self._normal(len(voxels), _LATENT_CHANNELS)
        how = SamplerSettings(self.steps[1], 5.0, interval=self.interval)
        self.model._voxels = lambda coords: voxels  # type: ignore[method-assign]
        with suppress(_Enough):
            coords = voxels.coords[:, 1:].cpu().numpy()
            result, _ = self.model.latent(coords, tokens, 0, how, effort, self._step)
        return result, voxels

    def decoders(self, latent: Tensor, voxels: Voxels, features: tuple[Tensor, Tensor], effort: Effort) -> None:
        """Without the extraction of a surface, which such weights give none worth it."""
        self.model.gaussians(latent, voxels, *features)
        with torch.inference_mode(), self._residents.using("slat_decoder_mesh", "mesh decoding") as decoder:
            field, _ = decoder(latent, voxels, *features, rows=effort.rows)
        self._check("mesh decoding", field)

    def disagreement(self, picture: Picture) -> float:
        """How far the guided velocity with both branches in one batch is from that of one after the other, relative."""
        times = schedule(self.steps[0], 3.0, None)
        latents = self._normal(*self._shapes[0]), self._normal(*self._shapes[1])
        with torch.inference_mode(), self._residents.using(JOINT, "agreement") as network:
            both, single = (JointVelocity(network, picture, times, one_batch=way)(*latents, 0) for way in (True, False))
        self._residents.rows.pop()
        return max(float((a - b).norm() / b.norm()) for a, b in zip(both, single, strict=True))

    def _step(self, step: int, of: int) -> None:
        self._residents.lap()
        if step == self.enough:
            raise _Enough

    def _normal(self, *shape: int) -> Tensor:
        if self.device == "meta":
            return torch.empty(shape, device="meta")
        return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(self.device)

    def voxels(self, wanted: int) -> Voxels:
        """A shell of about so many. Their places have numbers, on whatever device."""
        coords = shell(self.size.resolution, wanted)[0].int()
        rows = torch.cat([torch.zeros(len(coords), 1, dtype=torch.int32), coords], dim=1)
        return Voxels(rows.to("cpu" if self.device == "meta" else self.device))

    def _check(self, name: str, result: Any) -> None:
        if not finite(result):
            self.wrong[name] = "not all finite"


def extraction(size: Size, wanted: int) -> Row:
    """The surface of a known field, counted on the CPU: what it takes depends on the numbers."""
    coords, radius = shell(size.resolution, wanted)
    fine = Voxels(torch.cat([torch.zeros(len(coords), 1, dtype=torch.int64), coords], 1)).subdivided().subdivided()
    places, resolution = fine.coords[:, 1:], 4 * size.resolution
    live = Live(("cpu",))
    with torch.inference_mode(), counting(live):
        features = distances(places, resolution, 4 * radius)
        live.restart()
        before = live.live + places.nbytes
        wrong = closed_shell(extract(cube_field(places, features, resolution))[:2])
    if wrong:
        raise ValueError(f"the extracted surface is wrong: {wrong}")
    largest = tuple(live.largest.most_common(5))
    return Row(
        f"extraction, {wanted:,} voxels",
        "slat_decoder_mesh",
        before,
        live.peak + places.nbytes - before,
        0,
        (),
        largest,
    )
