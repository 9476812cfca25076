"""Which of a network's layers run in half precision, as the official files have it.

The torso's linear layers and convolutions may; embeddings, first and last layers and all norms stay float32.
"""

from collections.abc import Iterator

import torch
from torch import nn

from networks.layers.sparse import Kernel

_CAST = (nn.Linear, nn.Conv3d, Kernel)


def torso_modules(network: nn.Module) -> list[nn.Module]:
    """The layers that may run in half precision; none for a network without a torso."""
    return list(_layers(network))


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    for name in getattr(network, "TORSO", ()):
        yield from (layer for layer in getattr(network, name).modules() if isinstance(layer, _CAST))


def set_torso(network: nn.Module, dtype: torch.dtype) -> None:
    """Runs the torso in this type."""
    for layer in torso_modules(network):
        layer.to(dtype)


def torso_dtype(network: nn.Module) -> torch.dtype:
    """The type the torso runs in."""
    layer = next(_layers(network))  # the first is enough, and networks ask in every pass
    return next(layer.parameters()).dtype
