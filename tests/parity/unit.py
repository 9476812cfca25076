"""One unit on disk, and what a comparison of it says."""

import json
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from networks.weights import fill, read_tensors


class CannotCompare(Exception):
    """The unit is not what the family's rules expect; the message says how."""


@dataclass(frozen=True)
class Check:
    """One output's error against what is allowed."""

    output: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # NaN does not pass


@dataclass(frozen=True)
class Unit:
    """A folder with a reference run."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return config

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return load_file(self.folder / "inputs.safetensors")

    @cached_property
    def floats(self) -> dict[str, Tensor]:
        """The inputs with every fraction in float32: half precision only saves space in these files."""
        return {name: value.float() if value.is_floating_point() else value for name, value in self.inputs.items()}

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        return load_file(self.folder / "outputs.safetensors")

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return read_tensors(self.folder / "weights.safetensors")

    @property
    def model(self) -> "Unit":
        """The unit whose network and weights this one uses."""
        return Unit(self.folder / self.config["model"]) if "model" in self.config else self

    def filled(self, network: nn.Module) -> nn.Module:
        """The network with this unit's weights, strictly by name."""
        return fill(network, self.weights)

    def error(self, output: str, value: Tensor) -> float:
        """Largest absolute difference from the reference; shapes must agree."""
        wanted = self.outputs[output]
        if value.shape != wanted.shape:
            raise CannotCompare(f"{output} is {tuple(value.shape)}, the reference's {tuple(wanted.shape)}")
        if value.numel() == 0:
            return 0.0
        return float((value.detach().to(torch.float64) - wanted.to(torch.float64)).abs().max())

    def checks(self, tolerance: float, values: dict[str, Tensor]) -> list[Check]:
        """One for each output that the reference has as well.

        Raises:
            CannotCompare: it has none of them.
        """
        shared = [name for name in values if name in self.outputs]
        if not shared:
            raise CannotCompare(f"the reference has none of {', '.join(values)}")
        return [Check(name, self.error(name, values[name]), tolerance) for name in shared]

    def relative(self, tolerance: float, values: dict[str, Tensor]) -> list[Check]:
        """The same, where the tolerance is a part of the largest value that the reference has of each."""
        return [
            replace(check, tolerance=tolerance * float(self.outputs[check.output].abs().max()))
            for check in self.checks(tolerance, values)
        ]


def cut(words: str) -> tuple[slice, ...]:
    """The slices that a configuration writes as "[:, 3::4]".

    Raises:
        CannotCompare: there are none.
    """
    if (found := re.search(r"\[([^\]]*:[^\]]*)\]", words)) is None:
        raise CannotCompare(f"{words!r} has no slices in brackets")
    axes = ([int(part) if part.strip() else None for part in axis.split(":")] for axis in found[1].split(","))
    return tuple(slice(*axis) for axis in axes)


def thinned(value: Tensor, wanted: Tensor) -> Tensor:
    """Every so manieth along each axis, so that as many are left as the reference has."""
    if value.ndim != wanted.ndim:
        return value
    sizes = zip(value.shape, wanted.shape, strict=True)
    return value[tuple(slice(None, None, max(1, -(-ours // max(1, theirs)))) for ours, theirs in sizes)]
