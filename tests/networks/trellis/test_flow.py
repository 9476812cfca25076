"""What the flows compute once or not at all gives what computing it every time gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.ops.voxels import Voxels
from networks.samplers.flow_euler import schedule
from networks.trellis import build
from networks.trellis.denoisers import LatentDenoiser, StructureDenoiser
from networks.trellis.flow import Times
from tests.networks.drawing import CONFIGS, drawn, normal, random_coords, tiny

TOLERANCE = 2e-6
KINDS = ["sparse_structure_flow_model", "slat_flow_model"]
COND = normal(3, 9, 24, seed=7)
TIMES = schedule(4, 3.0, (0.5, 1.0))


def state(kind: str, samples: int) -> tuple[Tensor, tuple[Voxels, ...]]:
    """Something for the flow to work on, and the voxels it lies on where there are any."""
    if kind == "sparse_structure_flow_model":
        return normal(samples, 8, 4, 4, 4), ()
    voxels = Voxels(random_coords([50, 31, 12][:samples], 8))
    return normal(len(voxels), 8), (voxels,)


def denoiser(kind: str, network: Any, voxels: tuple[Voxels, ...], one_batch: bool, views: int = 3) -> Any:
    made = LatentDenoiser if voxels else StructureDenoiser
    return made(network, *voxels, COND[:views], TIMES, one_batch)


def close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < TOLERANCE * float(theirs.abs().max())


@pytest.mark.parametrize("cross_normed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_condition_is_a_condition_of_zeros(kind: str, cross_normed: bool) -> None:
    config = CONFIGS[kind]
    network = drawn(build({**config, "args": config["args"] | {"qk_rms_norm_cross": cross_normed}}))
    x, voxels = state(kind, 2)
    t = torch.tensor([700.0, 20.0])
    with torch.no_grad():
        wanted = network(x, *voxels, t, torch.zeros(2, 9, 24))
        for nothing in (network(x, *voxels, t, None), network(x, *voxels, t, COND[:1], 0)):
            assert close(nothing, wanted)
        assert not close(network(x, *voxels, t, COND[:2]), wanted)


@pytest.mark.parametrize("guided", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_first_items_see_the_condition_and_the_others_zeros(kind: str, guided: int) -> None:
    network, (x, voxels) = tiny(kind), state(kind, 3)
    t = torch.tensor([900.0, 500.0, 100.0])
    cond = torch.cat([COND[:guided], torch.zeros(3 - guided, 9, 24)])
    assert close(network(x, *voxels, t, COND[:guided], guided), network(x, *voxels, t, cond))


@pytest.mark.parametrize("kind", KINDS)
def test_one_condition_serves_every_item(kind: str) -> None:
    network, (x, voxels) = tiny(kind), state(kind, 3)
    t = torch.tensor([900.0, 500.0, 100.0])
    assert close(network(x, *voxels, t, COND[:1]), network(x, *voxels, t, COND[:1].expand(3, -1, -1)))


@pytest.mark.parametrize("kind", KINDS)
def test_items_of_a_batch_do_not_meet(kind: str) -> None:
    network, (x, voxels) = tiny(kind), state(kind, 3)
    t = torch.tensor([900.0, 500.0, 100.0])
    whole = network(x, *voxels, t, COND)
    spans = list(voxels[0].segments.spans()) if voxels else [slice(i, i + 1) for i in range(3)]
    for item, span in enumerate(spans):
        own = tuple(Voxels(grid.coords[span] * torch.tensor([0, 1, 1, 1])) for grid in voxels)
        alone = network(x[span], *own, t[item : item + 1], COND[item : item + 1])
        assert close(whole[span], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_times_made_at_once_are_those_made_for_each_call(kind: str) -> None:
    network: Any = tiny(kind)
    x, voxels = state(kind, 2)
    made: Times = network.times(torch.tensor(TIMES.timesteps))
    for step, t in enumerate(TIMES.timesteps):
        assert close(
            network(x, *voxels, made.of(step, 2), COND[:2]), network(x, *voxels, torch.tensor([t, t]), COND[:2])
        )


VIEWS: list[tuple[int, list[int | None]]] = [
    (1, [0]), (1, [0, None]), (1, [None]), (2, [0, 1]), (2, [1, None]), (2, [0, 1, None]), (3, [2, None]),
    (3, [0, 1, 2]), (3, [0, 1, 2, None]),
]  # fmt: skip


@pytest.mark.parametrize("one_batch", [False, True])
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_views_together_are_views_one_by_one(kind: str, samples: int, one_batch: bool) -> None:
    """And each is the network called with the timestep and the view's tokens, or zeros."""
    network, (x, voxels) = tiny(kind), state(kind, samples)
    for views, shown in VIEWS:
        predict: Callable[..., list[Tensor]] = denoiser(kind, network, voxels, one_batch, views)
        velocities = predict(x, 2, shown)
        assert len(velocities) == len(shown)
        t = torch.full((samples,), TIMES.timesteps[2])
        for view, velocity in zip(shown, velocities, strict=True):
            cond = torch.zeros(1, 9, 24) if view is None else COND[view : view + 1]
            assert close(velocity, network(x, *voxels, t, cond)), (views, shown, view)
