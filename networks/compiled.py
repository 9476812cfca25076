"""Compiling what a network does row by row: norms and feed-forwards become one kernel each, linear layers stay.

Off unless called. Attention and sparse convolutions have fused kernels of their own and depend on lists of lengths
that differ from object to object, so they are left alone, and one compilation serves every object. For one network a
process: torch compiles the same code for at most eight kinds of layers, and refuses the ninth.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from networks.layers.norm import HeadRMSNorm, LayerNorm
from networks.layers.transformer import FeedForward

_PARTS = (FeedForward, HeadRMSNorm, LayerNorm)


def compile_network(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> int:
    """Compiles the parts in place and returns how many; names of parameters stay. They are built when first run.

    Args:
        backend: of torch.compile; inductor wants a C++ compiler, or Triton for CUDA.
    """
    parts = [part for part in network.modules() if isinstance(part, _PARTS)]
    for part in parts:
        # Its code is shared by all parts of a kind, so that each width is compiled once, for any number of rows.
        part.forward = torch.compile(part.forward, backend=backend, dynamic=True, fullgraph=True)  # type: ignore[method-assign]
    return len(parts)
