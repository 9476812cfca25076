"""Checkpoint files → networks, strictly by name and shape, in the precision the caller wants."""

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from networks.precision import torso_modules

_SHOWN = 5
# What torch lets through of a damaged pickle, beside its own error.
_DAMAGE = (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError, AssertionError)


class WeightsMismatch(ValueError):
    """A checkpoint does not belong to the network; the message names tensors."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pth one, which is read without running any code it may hold.

    Raises:
        WeightsMismatch: the file is neither, or is cut short.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, UnpicklingError, *_DAMAGE) as error:
        raise WeightsMismatch(f"{path} cannot be read ({error}); fetch it again") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise WeightsMismatch(f"{path} holds no state dict of tensors")
    return loaded


def fill(network: nn.Module, tensors: Mapping[str, Tensor], torso: torch.dtype = torch.float32) -> nn.Module:
    """The network with these tensors, in evaluation mode; it may have been built on the meta device.

    Buffers that the network names in DERIVED may be missing: it has made them itself.

    Args:
        torso: what the torso's layers run in; all else is float32.
    Raises:
        WeightsMismatch: a tensor is missing, left over or of another shape.
    """
    own = network.state_dict()
    tensors = {name: own[name] for name in getattr(network, "DERIVED", ())} | dict(tensors)
    _compare({name: value.shape for name, value in own.items()}, tensors)
    halves = {id(parameter) for layer in torso_modules(network) for parameter in layer.parameters()}
    # Each goes straight to the type it will have: a half-precision file is not blown up to twice its size on the way.
    types = {name: torso for name, parameter in network.named_parameters() if id(parameter) in halves}
    cast = {name: value.to(types.get(name, torch.float32)) for name, value in tensors.items()}
    network.load_state_dict(cast, assign=True)
    return network.requires_grad_(False).eval()


def _compare(wanted: Mapping[str, torch.Size], tensors: Mapping[str, Tensor]) -> None:
    missing = sorted(wanted.keys() - tensors.keys())
    extra = sorted(tensors.keys() - wanted.keys())
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    problems = [f"missing {_some(missing)}"] * bool(missing) + [f"left over {_some(extra)}"] * bool(extra)
    problems += [_some(shapes)] * bool(shapes)
    if problems:
        raise WeightsMismatch("the checkpoint does not fit the network: " + "; ".join(problems))


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
