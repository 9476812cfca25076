"""The benchmark of the networks: its counts of work, its meters, its shell, and a whole run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from benchmarks.networks import savings, work
from benchmarks.networks.__main__ import main
from benchmarks.networks.meters import measured
from benchmarks.networks.savings import Saving, compare
from benchmarks.networks.stages import STAGES, bench, closed_shell, distances
from benchmarks.networks.subjects import ENCODER, network, shell, size, skeleton
from geometry.feature_field import cube_field
from geometry.flexicubes import extract
from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import schedule
from tests.threads import one_thread

__all__ = ["one_thread"]

TINY, OFFICIAL = size("tiny"), size("official")


@pytest.fixture(scope="module")
def voxels() -> Voxels:
    coords = shell(16, 400)[0]
    return Voxels(torch.cat([torch.zeros(len(coords), 1, dtype=torch.long), coords], dim=1))


def counted(run: Callable[[], Any]) -> int:
    """FLOPs that torch counts."""
    own = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=own) as counter:
        run()
    return counter.get_total_flops()


def _attention(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *_: Any, **__: Any) -> int:
    return sdpa_flop(q, k, v)


def meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def test_the_work_of_the_official_structure_flow_is_what_torch_counts() -> None:
    flow: Any = skeleton(OFFICIAL.networks["sparse_structure_flow_model"], blocks=2).requires_grad_(False)
    tokens, x = meta(1, *OFFICIAL.tokens), meta(1, 8, 16, 16, 16)
    condition, times = flow.condition(tokens), flow.times(meta(25))
    assert counted(lambda: (flow.condition(tokens), flow.times(meta(25)))) == work.preparation(flow, 1374, 25)
    assert counted(lambda: flow(x, times.of(0, 1), condition)) == work.structure_flow(flow, 1374)
    assert counted(lambda: flow(x, times.of(0, 1), None)) == work.structure_flow(flow, 0)


def test_the_work_of_the_official_encoder_and_structure_decoder_is_what_torch_counts() -> None:
    encoder: Any = skeleton(OFFICIAL.networks[ENCODER], blocks=2).requires_grad_(False)
    decoder: Any = skeleton(OFFICIAL.networks["sparse_structure_decoder"]).requires_grad_(False)
    assert counted(lambda: encoder(meta(1, 3, 518, 518))) == work.encoder(encoder)
    assert counted(lambda: decoder(meta(1, 8, 16, 16, 16))) == work.structure_decoder(decoder, 16)


def test_the_work_of_the_latent_flow_is_what_torch_counts(voxels: Voxels) -> None:
    flow = network(TINY.networks["slat_flow_model"], "cpu", torch.float32)
    condition, times = flow.condition(torch.zeros(1, *TINY.tokens)), flow.times(torch.zeros(1))
    for seen, tokens in ((condition, TINY.tokens[0]), (None, 0)):
        run = lambda seen=seen: flow(torch.zeros(len(voxels), 8), voxels, times, seen)  # noqa: E731
        assert counted(run) == work.latent_flow(flow, voxels, tokens)


@pytest.mark.parametrize("key", ["slat_decoder_gs", "slat_decoder_rf", "slat_decoder_mesh"])
def test_the_work_of_a_latent_decoder_is_what_torch_counts_without_the_padding(key: str, voxels: Voxels) -> None:
    decoder = network(TINY.networks[key], "cpu", torch.float32)
    needed = work.mesh_decoder if key.endswith("mesh") else work.latent_decoder
    padding = 0
    for index in range(len(decoder.blocks)):
        segments = voxels.windows(8, 4 * (index % 2)).segments
        padded = [bucket.rows.shape[1] for bucket in segments.buckets for _ in bucket.rows]
        padding += sum(4 * decoder.model_channels * length**2 for length in padded)
        padding -= work.windowed(segments.lengths, decoder.model_channels)
    given = counted(lambda: decoder(torch.zeros(len(voxels), 8), voxels))
    assert given == needed(decoder, voxels) + padding


def test_a_folded_convolution_needs_the_distinct_taps_of_every_child() -> None:
    """A lone voxel: all taps of its eight children that hit something hit siblings, which share its features."""
    alone = Voxels(torch.tensor([[0, 5, 5, 5]]))
    assert work.folded(alone) == 8
    assert sum(work.occupied(alone.subdivided())) == 64


@pytest.mark.parametrize(("resolution", "wanted"), [(16, 300), (16, 900), (64, 20_000)])
def test_the_shell_is_as_large_as_wanted_and_the_surface_in_it_closed(resolution: int, wanted: int) -> None:
    coords, radius = shell(resolution, wanted)
    assert len(coords) == pytest.approx(wanted, rel=0.1)
    assert coords.min() >= 0 and coords.max() < resolution
    if resolution == 16:
        fine = Voxels(torch.cat([torch.zeros(len(coords), 1, dtype=torch.long), coords], 1)).subdivided().subdivided()
        features = distances(fine.coords[:, 1:], 64, 4 * radius)
        vertices, faces, _ = extract(cube_field(fine.coords[:, 1:], features, 64))
        assert closed_shell((vertices, faces)) == ""
        assert closed_shell((vertices, faces[1:])) != ""


def test_a_shell_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="voxels is 5000; a grid of 16 has room for"):
        shell(16, 5000)


def test_the_peak_is_that_of_the_work_alone() -> None:
    """Not what came before it, nor what is left when it is done."""

    def use(mib: int) -> Callable[[], float]:
        return lambda: float(torch.ones(mib * 2**18).sum())

    peaks = [measured(use(mib), "cpu", 0, 1)[1].peak for mib in (256, 64)]
    if None in peaks:
        pytest.skip("the kernel does not let this process reset its peak")
    for peak, mib in zip(peaks, (256, 64), strict=True):
        assert peak is not None and abs(peak / 2**20 - mib) < 16


def test_two_ways_that_differ_do_not_agree() -> None:
    ones, nothing = torch.ones(4), torch.full((4,), float("nan"))
    assert compare(Saving("same", lambda: ones, lambda: ones + 1e-7, 1e-5), "cpu", 1).agrees
    assert not compare(Saving("off", lambda: ones, lambda: ones + 1e-3, 1e-5), "cpu", 1).agrees
    assert not compare(Saving("lost", lambda: ones, lambda: nothing, 1e-5), "cpu", 1).agrees


def test_a_half_precision_torso_is_compared_on_the_same_weights() -> None:
    times = schedule(2)
    ready = bench(TINY, "cpu", torch.bfloat16, times, 100, warmups=0, repeats=1, blocks=None)
    with torch.inference_mode():
        found = compare(savings._half(ready), "cpu", 1)
    assert 1e-4 < found.error < 5e-2


RUN = ["--size", "tiny", "--voxels", "100", "--repeats", "1"]


def test_a_run_measures_every_stage_and_saving(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--steps", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] and len(report["stages"]) == 12 and len(report["savings"]) == 10
    assert set(report["networks_mib"]) == set(STAGES)
    assert report["ledger_mib"].keys() == {row["part"] for row in report["stages"].values()}
    assert all(row["agrees"] and row["error"] >= 0 for row in report["savings"].values())
    steps, rows = report["sampling"]["3"], report["stages"]
    parts = [rows[f"structure flow, {name}"]["s"] for name in ("once a job", "conditional", "unconditional")]
    assert steps["evaluations"] == 3 + steps["guided"]
    assert steps["structure_s"] == pytest.approx(parts[0] + 3 * parts[1] + steps["guided"] * parts[2])


def test_a_saving_that_changes_the_result_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(savings, "copied_conv", lambda *given: 1.01 * torch.ones(len(given[-1]), 1))
    assert main([*RUN, "--no-stages", "--steps", "2"]) == 1
    assert "SOME CHECKS FAILED" in capsys.readouterr().out
