"""Classifier-free guidance: velocities with the condition pushed away from those without, over one view or several."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from networks.samplers.flow_euler import Schedule

MultiImage = Literal["stochastic", "multidiffusion"]
Predict = Callable[[Tensor, int, Sequence[int | None]], list[Tensor]]


def guided_velocity(
    predict: Predict, times: Schedule, strength: float, views: int = 1, mode: MultiImage = "stochastic"
) -> Callable[[Tensor, int], Tensor]:
    """What flow_euler integrates: (1 + strength) v_conditional - strength v_unconditional in guided steps.

    Args:
        predict: (state, step, views) → the velocity under each of these views; None is the empty condition.
        mode: with several views, stochastic shows one after the other, one a step; multidiffusion takes the mean of
            the velocities under all of them.
    """

    def velocity(x: Tensor, index: int) -> Tensor:
        shown: list[int | None] = [index % views] if mode == "stochastic" else list(range(views))
        if not times.guided[index]:
            return _mean(predict(x, index, shown))
        *seen, unseen = predict(x, index, [*shown, None])
        return (1 + strength) * _mean(seen) - strength * unseen

    return velocity


def _mean(velocities: list[Tensor]) -> Tensor:
    return velocities[0] if len(velocities) == 1 else torch.stack(velocities).mean(dim=0)
