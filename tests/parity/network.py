"""The network of a TRELLIS unit."""

import torch
from torch import nn

from networks.trellis import build
from tests.parity.unit import Unit


def network(unit: Unit) -> nn.Module:
    """Made from the unit's configuration and filled with its weights."""
    with torch.device("meta"):
        made = build({"name": unit.config["class"], "args": unit.config["args"]})
    return unit.filled(made)
