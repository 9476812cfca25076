"""One unit on disk, and what a comparison of it says."""

import json
from dataclasses import dataclass
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
