"""What SyncHuman's benchmark counts is what is there."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.synchuman.__main__ import _flops
from benchmarks.synchuman.counting import Live, counting
from benchmarks.synchuman.stages import CountMeter, Row, Run
from benchmarks.synchuman.subjects import FIRST, SECOND, size
from networks.synchuman.joint_flow import Picture
from pipelines.effort import Effort
from pipelines.synchuman.checkpoint import JOINT
from tests.threads import one_thread

__all__ = ["one_thread"]

KIB = 1024
TINY = size("tiny")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_referred_to_counts_once_and_goes_when_nobody_does(device: str) -> None:
    with torch.inference_mode(), counting(Live((device,))) as live:
        a = torch.empty(256, device=device)
        views = a.view(16, 16).T, a[3:]
        assert live.live == KIB
        b = a + 1
        assert (live.live, live.peak) == (2 * KIB, 2 * KIB)
        b.mul_(2)
        del a
        assert live.live == 2 * KIB
        del views
        assert (live.live, live.peak) == (KIB, 2 * KIB)
        live.restart()
        assert live.peak == KIB
        del b
        gc.collect()
        assert live.live == 0


def test_what_was_there_before_and_other_devices_do_not_count() -> None:
    given = torch.zeros(256)
    with counting(Live(("meta",))) as live:
        torch.zeros(512)
        given.to("meta").copy_(given)
        held = given.to("meta", torch.float16)
    assert (live.live, live.peak) == (KIB // 2, KIB)
    del held


def test_the_largest_tells_what_was_alive_at_the_peak() -> None:
    with counting(Live(("meta",))) as live:
        small = torch.empty(256, device="meta")
        torch.empty(1024, device="meta", dtype=torch.float16)
        del small
    assert dict(live.largest) == {
        "aten.empty.memory_format (256,) float32": KIB,
        "aten.empty.memory_format (1024,) float16": 2 * KIB,
    }


def test_without_numbers_every_answer_is_yes_and_indices_keep_theirs() -> None:
    with torch.inference_mode(), counting(Live()):
        x = torch.empty(5, 3, device="meta")
        assert bool(torch.isfinite(x).all())
        assert torch.nonzero(x > 0).shape == (15, 2)
        assert x[torch.tensor([True, False, True, True, False])].shape == (3, 3)
        assert x.index_add(0, torch.tensor([1]), torch.empty(1, 3, device="meta")).is_meta
        host = torch.ones(2, 3)
        assert host.copy_(x[:2]) is host or host.device.type == "cpu"
        assert x.cpu().device.type == "cpu"


@pytest.mark.parametrize("grouped", [lambda q: (q, q, q), lambda q: (q, q[:, :, :7], q[:, :, :7])])
def test_attention_and_products_are_counted_as_work(grouped: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
    with torch.inference_mode(), counting(Live(("meta",))) as live:
        q, k, v = grouped(torch.empty(2, 3, 16, 8, device="meta"))
        scaled_dot_product_attention(q, k, v)
        assert live.flops == 4 * 2 * 3 * 16 * k.shape[2] * 8
        assert live.peak == 2 * q.nbytes  # no scores
        torch.nn.functional.linear(torch.empty(4, 8, device="meta"), torch.empty(5, 8, device="meta"))
        assert live.flops == 4 * 2 * 3 * 16 * k.shape[2] * 8 + 2 * 4 * 8 * 5


def rows(device: str, devices: tuple[str, ...]) -> list[Row]:
    """All that neither the views nor the latent take many steps to."""
    live = Live(devices)
    run = Run(TINY, device, torch.float32, CountMeter(live), (2, 1))
    run.load(*FIRST[:3], *SECOND[2:])
    with counting(live):
        run.conditioning()
        voxels = run.voxels(300)
        latent = torch.zeros(len(voxels), 8, device=device)
        run.decoders(latent, voxels, run.blank_features(), Effort())
    assert not run.wrong
    return run.rows()


def test_a_tiny_job_takes_as_much_without_numbers_as_with_them() -> None:
    meta, cpu = rows("meta", ("meta", "cpu")), rows("cpu", ("cpu",))
    assert [row.key for row in cpu] == [*FIRST[:3], *SECOND[2:]]
    for one, other in zip(meta, cpu, strict=True):
        assert (one.name, one.key) == (other.name, other.key)
        assert other.peak and one.peak == pytest.approx(other.peak, rel=0.03)


def test_one_branch_after_the_other_takes_half_the_memory_and_the_same_work() -> None:
    live = Live(("meta",))
    run = Run(TINY, "meta", torch.float16, CountMeter(live), (2, 1), enough=1)
    run.load(JOINT)
    side, shapes = TINY.args(JOINT)["sample_size"], ((2, 32), (10, 77, 32), (1, 21, 64))
    embeddings, prompt, tokens = (torch.empty(shape, device="meta") for shape in shapes)
    picture = Picture(embeddings, torch.empty(2, 4, side, side, device="meta"), prompt, tokens)
    with counting(live):
        for effort in (Effort(one_batch=True), Effort(one_batch=False)):
            run.first_stage(picture, effort)
    both, single = run.rows()
    assert both.peak and single.peak and 0.45 < single.peak / both.peak < 0.6
    assert single.amount == pytest.approx(both.amount, rel=0.02)


def test_the_work_of_all_steps_follows_from_the_first() -> None:
    assert _flops(7, (), (50, 25)) == 7
    assert _flops(0, (12, 22), (50, 25)) == 12 + 49 * 10
    assert _flops(0, (12, 22, 26), (50, 25)) == 12 + 18 * 10 + 6 * 4  # 19 of 25 are guided
