"""Which of a network's layers run in half precision, as the official files have it.

The torso's linear layers and convolutions may; embeddings, first and last layers and our own norms stay float32. A
layer norm of torch's own kind has to be of the type of its input, and is cast with the rest, its statistics being
float32 all the same; what is derived from it here computes in float32.
"""

from collections.abc import Iterator

import torch
from torch import nn

from networks.layers.sparse import Kernel

_CAST = (nn.Linear, nn.Conv2d, nn.Conv3d, Kernel)


def torso_modules(network: nn.Module) -> list[nn.Module]:
    """The layers that may run in half precision; none for a network without a torso."""
    return list(_layers(network))


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    for name in getattr(network, "TORSO", ()):
        yield from (layer for layer in network.get_submodule(name).modules() if _is_cast(layer))


def _is_cast(layer: nn.Module) -> bool:
    return isinstance(layer, _CAST) or (type(layer) is nn.LayerNorm and layer.elementwise_affine)


def set_torso(network: nn.Module, dtype: torch.dtype) -> None:
    """Runs the torso in this type."""
    for layer in torso_modules(network):
        layer.to(dtype)


def torso_dtype(network: nn.Module) -> torch.dtype:
    """The type the torso runs in."""
    layer = next(_layers(network))  # the first is enough, and networks ask in every pass
    return next(layer.parameters()).dtype
