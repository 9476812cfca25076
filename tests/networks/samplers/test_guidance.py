"""Guidance pushes away from the empty condition, in guided steps only, over one view or several."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from networks.samplers.flow_euler import Schedule
from networks.samplers.guidance import MultiImage, guided_velocity
from tests.networks.drawing import normal

TIMES = Schedule((1.0, 0.6, 0.3, 0.0), (True, True, False))
VIEWS, NOTHING = normal(3, 5), normal(5, seed=1)


class Predict:
    """A known velocity for each view, and a list of what was asked."""

    def __init__(self) -> None:
        self.asked: list[list[int | None]] = []

    def __call__(self, x: Tensor, step: int, views: Sequence[int | None]) -> list[Tensor]:
        self.asked.append(list(views))
        return [(NOTHING if view is None else VIEWS[view]) * (step + 1) for view in views]


def test_one_view_is_pushed_away_from_none_at_all() -> None:
    predict = Predict()
    velocity = guided_velocity(predict, TIMES, 5.0)
    for step in (0, 1):
        assert torch.allclose(velocity(NOTHING, step), (6 * VIEWS[0] - 5 * NOTHING) * (step + 1))
    assert torch.equal(velocity(NOTHING, 2), VIEWS[0] * 3)
    assert predict.asked == [[0, None], [0, None], [0]]


def test_stochastic_shows_one_view_after_the_other() -> None:
    predict = Predict()
    velocity = guided_velocity(predict, TIMES, 2.0, 2, "stochastic")
    assert torch.allclose(velocity(NOTHING, 1), (3 * VIEWS[1] - 2 * NOTHING) * 2)
    assert torch.equal(velocity(NOTHING, 2), VIEWS[0] * 3)
    assert predict.asked == [[1, None], [0]]


def test_multidiffusion_takes_the_mean_of_all_views() -> None:
    predict = Predict()
    velocity = guided_velocity(predict, TIMES, 2.0, 3, "multidiffusion")
    assert torch.allclose(velocity(NOTHING, 0), 3 * VIEWS.mean(dim=0) - 2 * NOTHING)
    assert torch.allclose(velocity(NOTHING, 2), VIEWS.mean(dim=0) * 3)
    assert predict.asked == [[0, 1, 2, None], [0, 1, 2]]


@pytest.mark.parametrize("mode", ["stochastic", "multidiffusion"])
def test_strength_zero_is_the_condition_alone(mode: MultiImage) -> None:
    guided = guided_velocity(Predict(), TIMES, 0.0, 1, mode)
    assert torch.equal(guided(NOTHING, 0), VIEWS[0])
