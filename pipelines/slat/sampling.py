"""How a flow is sampled, step by step, with each step told."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from networks.samplers.flow_euler import Schedule, Step, schedule
from networks.samplers.guidance import MultiImage
from pipelines.errors import DeviceError

StepDone = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampling:
    """What a sampler is told by the official files, beside steps and strength.

    Attributes:
        interval: times t between which steps are guided.
    """

    sigma_min: float
    rescale_t: float
    interval: tuple[float, float]


def sampling(sampler: Mapping[str, Any]) -> Sampling:
    """From an entry of an official index.

    Raises:
        ValueError: the sampler is one that we do not have.
    """
    if sampler["name"] != "FlowEulerGuidanceIntervalSampler":
        raise ValueError(f"the sampler {sampler['name']!r} is not known")
    low, high = sampler["params"]["cfg_interval"]
    return Sampling(float(sampler["args"]["sigma_min"]), float(sampler["params"]["rescale_t"]), (low, high))


@dataclass(frozen=True)
class SamplerSettings:
    """How one of the stages is sampled.

    Attributes:
        mode: how several views are used.
        interval: times t between which steps are guided; None: as the official files have it.
    """

    steps: int
    strength: float
    mode: MultiImage = "stochastic"
    interval: tuple[float, float] | None = None

    def schedule(self, official: Sampling) -> Schedule:
        """The times of the steps."""
        return schedule(self.steps, official.rescale_t, self.interval or official.interval)


def sampled(states: Iterator[Step], count: int, done: StepDone) -> Tensor:
    """The last state of an integration, every step told."""
    for index, state in enumerate(states):
        sample = state.x_t
        done(index + 1, count)
    return sample


def checked(values: Tensor, what: str) -> Tensor:
    """The same.

    Raises:
        DeviceError: they are not all numbers, which is no fault of the picture.
    """
    if not bool(torch.isfinite(values).all()):
        raise DeviceError(f"{what} is not all numbers: half precision overflowed, or the device failed")
    return values
