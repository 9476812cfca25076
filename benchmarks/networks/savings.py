"""What is saved without changing the result: each way off and on, one at a time.

Letters: N voxels, M coarse voxels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.networks.meters import timed, watched
from benchmarks.networks.stages import Bench
from networks.compiled import compile_network
from networks.ops.sparse_conv import copied_conv, sparse_conv, subdivided_conv
from networks.ops.voxels import Voxels
from networks.trellis.denoisers import StructureDenoiser

_TOLERANCE = {torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 8e-2}


@dataclass(frozen=True)
class Saving:
    """Two ways to the same tensor.

    Attributes:
        tolerance: the relative L2 error within which they agree.
    """

    name: str
    off: Callable[[], Tensor]
    on: Callable[[], Tensor]
    tolerance: float


@dataclass(frozen=True)
class Compared:
    """A saving's figures: median seconds, peak bytes, relative L2 error."""

    saving: Saving
    seconds: tuple[float, float]
    peaks: tuple[int | None, int | None]
    error: float

    @property
    def agrees(self) -> bool:
        return self.error <= self.saving.tolerance


def compare(saving: Saving, device: str, repeats: int) -> Compared:
    """Both ways in turn, so that what else the machine does falls on both.

    Args:
        repeats: of which the median counts, after a run to warm up; with 1 there is but that one.
    """
    wanted, off_first, off_peak = watched(saving.off, device)
    given, on_first, on_peak = watched(saving.on, device)
    error = float((given.double() - wanted.double()).norm() / wanted.double().norm())
    del wanted, given
    rounds = [(off_first, on_first)]
    if repeats > 1:
        rounds = [(timed(saving.off, device)[1], timed(saving.on, device)[1]) for _ in range(repeats)]
    off, on = (median(seconds) for seconds in zip(*rounds, strict=True))
    # Nothing is close to what is not a number.
    return Compared(saving, (off, on), (off_peak, on_peak), error if error == error else float("inf"))


def run(bench: Bench, compiled: bool, told: Callable[[str], None]) -> Iterator[Compared]:
    """All savings, with one network at a time.

    Args:
        compiled: whether to try torch.compile, which takes a minute to begin with.
        told: receives the name of the saving that begins.
    """
    for savings in (_structure, _latent, _gaussians, _mesh, *([_compiled] if compiled else [])):
        for saving in savings(bench):
            told(saving.name)
            yield compare(saving, bench.device, bench.repeats)
    if bench.torso != torch.float32:
        saving = _half(bench)
        told(saving.name)
        yield compare(saving, bench.device, bench.repeats)


def _structure(bench: Bench) -> Iterator[Saving]:
    made = bench.network("sparse_structure_flow_model", blocks=bench.blocks)
    near = _TOLERANCE[bench.torso]
    x = bench.normal(1, made.in_channels, *[made.resolution] * 3)
    tokens, t = bench.tokens(), torch.tensor([500.0], device=bench.device)
    condition, nothing, times = made.condition(tokens), made.condition(torch.zeros_like(tokens)), made.times(t)
    yield Saving(
        "constant unconditional cross-attention",
        lambda: made(x, times, nothing), lambda: made(x, times, None), near,
    )  # fmt: skip
    yield Saving(
        "kept keys and values of the condition",
        lambda: made(x, times, tokens), lambda: made(x, times, condition), near,
    )  # fmt: skip
    yield Saving(
        "kept modulations of the timesteps", lambda: made(x, t, condition), lambda: made(x, times, condition), near
    )
    apart, together = (StructureDenoiser(made, tokens, bench.times, one) for one in (False, True))
    yield Saving(
        "guided pair in one batch",
        lambda: torch.cat(apart(x, 0, [0, None])), lambda: torch.cat(together(x, 0, [0, None])), near,
    )  # fmt: skip


def _latent(bench: Bench) -> Iterator[Saving]:
    made = bench.network("slat_flow_model", blocks=bench.blocks)
    near = _TOLERANCE[bench.torso]
    x, voxels = bench.latent(), bench.voxels
    t = torch.tensor([500.0], device=bench.device)
    condition, times = made.condition(bench.tokens()), made.times(t)
    made(x, voxels, times, condition)  # what is kept is there before either way is timed
    yield Saving(
        "kept neighbours, latent flow",
        lambda: made(x, Voxels(voxels.coords), times, condition), lambda: made(x, voxels, times, condition), near,
    )  # fmt: skip
    block, coarse = made.out_blocks[0], voxels.coarse
    weight, bias = block.conv1.conv.weight, block.conv1.conv.bias
    rows = bench.normal(len(coarse.voxels), weight.shape[-1]).to(made.dtype)
    yield Saving(
        "convolution before the copy to finer voxels",
        lambda: sparse_conv(rows[coarse.parent], weight, bias, voxels),
        lambda: copied_conv(rows, coarse.parent, weight, bias, voxels),
        near,
    )


def _gaussians(bench: Bench) -> Iterator[Saving]:
    made = bench.network("slat_decoder_gs", blocks=bench.blocks)
    x, voxels = bench.latent(), bench.voxels
    made(x, voxels)
    yield Saving(
        "kept windows, Gaussian decoder",
        lambda: made(x, Voxels(voxels.coords)), lambda: made(x, voxels), _TOLERANCE[bench.torso],
    )  # fmt: skip


def _mesh(bench: Bench) -> Iterator[Saving]:
    made = bench.network("slat_decoder_mesh", blocks=bench.blocks)
    near = _TOLERANCE[bench.torso]
    parents = bench.voxels
    for level, block in enumerate(made.upsample):
        kernel, children = block.out_layers[0].conv, parents.subdivided()
        _ = children.neighbours  # the block's second convolution needs them, whatever becomes of the first
        rows = bench.normal(len(parents), kernel.weight.shape[-1]).to(made.dtype)
        yield _folding(f"folded convolution, subdivision {level + 1}", kernel, rows, parents, children, near)
        parents = children
    x, most = bench.latent(), slice_rows(64 * len(bench.voxels))
    yield Saving(
        f"decoding in slices of {most:,} voxels",
        lambda: made(x, bench.voxels)[0], lambda: made(x, bench.voxels, most)[0], near,
    )  # fmt: skip


def _folding(name: str, kernel: Any, rows: Tensor, parents: Voxels, children: Voxels, near: float) -> Saving:
    return Saving(
        name,
        lambda: sparse_conv(rows.repeat_interleave(8, dim=0), kernel.weight, kernel.bias, children),
        lambda: subdivided_conv(rows, kernel.weight, kernel.bias, parents),
        near,
    )


def slice_rows(finest: int) -> int:
    """A tenth of the finest voxels, in whole families."""
    return max(8, finest // 10 // 8 * 8)


def _compiled(bench: Bench) -> Iterator[Saving]:
    plain, compiled = (bench.network("sparse_structure_flow_model", blocks=bench.blocks) for _ in range(2))
    compile_network(compiled)
    x = bench.normal(1, plain.in_channels, *[plain.resolution] * 3)
    condition, times = plain.condition(bench.tokens()), plain.times(torch.tensor([500.0], device=bench.device))
    yield Saving(
        "torch.compile, structure flow",
        lambda: plain(x, times, condition), lambda: compiled(x, times, condition), _TOLERANCE[bench.torso],
    )  # fmt: skip


def _half(bench: Bench) -> Saving:
    full, half = (
        bench.network("sparse_structure_flow_model", torso, bench.blocks) for torso in (torch.float32, bench.torso)
    )
    for mine, theirs in zip(half.parameters(), full.parameters(), strict=True):
        mine.copy_(theirs)
    x = bench.normal(1, full.in_channels, *[full.resolution] * 3)
    tokens, t = bench.tokens(), torch.tensor([500.0], device=bench.device)
    seen, told = (made.condition(tokens) for made in (full, half)), (made.times(t) for made in (full, half))
    (full_seen, half_seen), (full_told, half_told) = seen, told
    return Saving(
        f"{str(bench.torso).removeprefix('torch.')} torso, structure flow",
        lambda: full(x, full_told, full_seen), lambda: half(x, half_told, half_seen), _TOLERANCE[bench.torso],
    )  # fmt: skip
