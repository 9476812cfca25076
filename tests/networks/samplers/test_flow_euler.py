"""Times, guided steps and the integration are those of the formulas."""

import pytest
import torch
from torch import Tensor

from networks.samplers.flow_euler import Schedule, flow_euler, schedule
from tests.networks.drawing import normal


@pytest.mark.parametrize("steps", [1, 2, 12, 25, 50])
@pytest.mark.parametrize("rescale", [1.0, 3.0, 5.0])
def test_times_fall_from_exactly_one_to_exactly_zero(steps: int, rescale: float) -> None:
    times = schedule(steps, rescale).times
    assert len(times) == steps + 1 and (times[0], times[-1]) == (1.0, 0.0)
    assert all(before > after for before, after in zip(times, times[1:], strict=False))
    for index, t in enumerate(times):
        u = 1 - index / steps
        assert t == pytest.approx(rescale * u / (1 + (rescale - 1) * u), abs=1e-15)


def test_a_step_at_the_very_border_is_guided() -> None:
    made = schedule(12, 3.0, (0.5, 1.0))
    assert made.times[9] == 0.5
    assert made.guided == (True,) * 10 + (False,) * 2
    assert (made.steps, made.evaluations) == (12, 22)


def test_an_interval_guides_the_steps_that_start_in_it_and_none_guides_nothing() -> None:
    made = schedule(10, 1.0, (0.25, 0.75))
    assert made.guided == (False,) * 3 + (True,) * 5 + (False,) * 2
    assert schedule(4).guided == (False,) * 4 and schedule(4).evaluations == 4
    assert schedule(4, interval=(0.0, 1.0)).guided == (True,) * 4


def test_the_network_is_told_a_thousand_times_the_time() -> None:
    assert schedule(4).timesteps == [1000.0, 750.0, 500.0, 250.0]


@pytest.mark.parametrize("steps", [0, -3])
def test_fewer_than_one_step_is_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps is {steps}; use at least 1"):
        schedule(steps)


@pytest.mark.parametrize("times", [schedule(1), schedule(7, 3.0)])
def test_a_straight_flow_arrives_at_its_data_in_any_number_of_steps(times: Schedule) -> None:
    """x_t = (1 - t) data + (s + (1 - s) t) noise, so its velocity is (1 - s) noise - data, and it ends s noise off."""
    noise, data, sigma = normal(2, 3, 4), normal(2, 3, 4, seed=1), 1e-2
    start = sigma * noise + (1 - sigma) * noise
    states = list(flow_euler(start, times, lambda x, step: (1 - sigma) * noise - data, sigma))
    assert len(states) == times.steps
    for state, t in zip(states, times.times[1:], strict=True):
        assert torch.allclose(state.x_t, (1 - t) * data + (sigma + (1 - sigma) * t) * noise, atol=1e-5)
        assert torch.allclose(state.x_0, data, atol=1e-5)


def test_every_step_is_asked_in_turn_with_the_state_it_starts_from() -> None:
    asked: list[tuple[int, Tensor]] = []

    def velocity(x: Tensor, step: int) -> Tensor:
        asked.append((step, x))
        return x

    states = list(flow_euler(torch.ones(2), schedule(4), velocity))
    assert [step for step, _ in asked] == [0, 1, 2, 3]
    assert all(torch.equal(x, state.x_t) for (_, x), state in zip(asked[1:], states, strict=False))
    assert torch.allclose(states[-1].x_t, torch.full((2,), 0.75**4))
