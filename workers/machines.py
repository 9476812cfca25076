"""The machine that pipelines find: made from the settings, and told to the device process in flags."""

import argparse
from pathlib import Path

from configs.hub import Hub
from configs.settings import Settings
from pipelines.base import Machine
from pipelines.weights.sources import Sources, sources


def machine(device: str, settings: Settings, hub: Hub) -> Machine:
    """What a pipeline finds on one device."""
    return Machine(device, sources(settings, hub), settings.low_vram)


def flags(machine: Machine) -> list[str]:
    """The machine as words of a command line; `from_flags` reads them."""
    words = ["--device", machine.device]
    if machine.weights.weights_dir is not None:
        words += ["--weights-dir", str(machine.weights.weights_dir)]
    for folder in machine.weights.hub_caches:
        words += ["--hub-cache", str(folder)]
    if machine.weights.torch_cache is not None:
        words += ["--torch-cache", str(machine.weights.torch_cache)]
    return [*words, "--low-vram"] if machine.low_vram else words


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Lets a parser take what `flags` writes."""
    parser.add_argument("--device", required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--hub-cache", type=Path, action="append", default=[])
    parser.add_argument("--torch-cache", type=Path)
    parser.add_argument("--low-vram", action="store_true")


def from_flags(args: argparse.Namespace) -> Machine:
    """The machine that `flags` has written."""
    return Machine(args.device, Sources(args.weights_dir, tuple(args.hub_cache), args.torch_cache), args.low_vram)
