"""The machine that a pipeline finds is the one its worker was set up with."""

import argparse
from pathlib import Path

import pytest

from configs.hub import load_hub
from configs.settings import Settings, load_settings
from pipelines.base import Machine
from pipelines.weights.sources import Sources
from workers import machines


@pytest.mark.parametrize(
    "machine",
    [
        Machine("cpu"),
        Machine("cuda:1", Sources(Path("/w"), (Path("/a b"), Path("/c:d")), Path("/torch")), low_vram=True),
    ],
)
def test_the_flags_say_all_of_it(machine: Machine) -> None:
    parser = argparse.ArgumentParser()
    machines.add_flags(parser)
    assert machines.from_flags(parser.parse_args(machines.flags(machine))) == machine


def test_it_follows_the_settings_and_the_environment(tmp_path: Path) -> None:
    chosen = {"MAQUETTE_DATA_DIR": str(tmp_path), "MAQUETTE_LOW_VRAM": "1"}
    hub = load_hub({"HF_HOME": str(tmp_path / "hf")}, tmp_path)
    found = machines.machine("cuda:0", load_settings(chosen, tmp_path), hub)
    assert found.weights.weights_dir == tmp_path / "weights" and found.low_vram
    assert found.weights.hub_caches == (tmp_path / "hf" / "hub",)


def test_the_weights_may_lie_elsewhere(settings: Settings, tmp_path: Path) -> None:
    assert not settings.low_vram and settings.weights_dir == settings.data_dir / "weights"
    chosen = load_settings({"MAQUETTE_WEIGHTS_DIR": str(tmp_path / "models")}, tmp_path)
    assert chosen.weights_dir == tmp_path / "models"
