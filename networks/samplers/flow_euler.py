"""Euler integration of a flow from noise at t = 1 to data at t = 0: x_t = (1 - t) x_0 + (s + (1 - s) t) noise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

SIGMA_MIN = 1e-5


@dataclass(frozen=True)
class Schedule:
    """The times of all steps.

    Attributes:
        times: steps + 1 of them, from 1 to 0.
        guided: whether step i, which starts at times[i], is guided.
    """

    times: tuple[float, ...]
    guided: tuple[bool, ...]

    @property
    def steps(self) -> int:
        return len(self.guided)

    @property
    def evaluations(self) -> int:
        """How often the network runs: twice in a guided step."""
        return self.steps + sum(self.guided)

    @property
    def timesteps(self) -> list[float]:
        """What the network is told at each step."""
        return [1000 * t for t in self.times[:-1]]


def schedule(steps: int, rescale_t: float = 1.0, interval: tuple[float, float] | None = None) -> Schedule:
    """The grid t = r u / (1 + (r - 1) u) for u from 1 to 0, guided where a step starts within the closed interval.

    Without an interval no step is guided. Computed in float64: with 12 steps and r = 3 one step starts at exactly
    0.5, the usual interval's border, and is guided.

    Raises:
        ValueError: fewer than one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; use at least 1")
    u = np.linspace(1, 0, steps + 1)
    times = tuple((rescale_t * u / (1 + (rescale_t - 1) * u)).tolist())
    low, high = interval or (1.0, 0.0)
    return Schedule(times, tuple(low <= t <= high for t in times[:-1]))


class Step(NamedTuple):
    """What a step gave: the next state, and the data it would be if the velocity were constant."""

    x_t: Tensor
    x_0: Tensor


def flow_euler(
    noise: Tensor, times: Schedule, velocity: Callable[[Tensor, int], Tensor], sigma_min: float = SIGMA_MIN
) -> Iterator[Step]:
    """Every step of the integration; the last one's x_t is the sample.

    Args:
        velocity: of a state at step i.
    """
    x = noise
    for index, (t, after) in enumerate(zip(times.times, times.times[1:], strict=False)):
        v = velocity(x, index)
        x_0 = (1 - sigma_min) * x - (sigma_min + (1 - sigma_min) * t) * v
        x = x - (t - after) * v
        yield Step(x, x_0)
