"""A worker offers what its machine can run, and says why it does not offer the rest."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pipelines
from configs.settings import Settings, load_settings
from jobs.fleet import Fleet
from pipelines.base import Machine
from pipelines.errors import PipelineUnavailable
from pipelines.weights import Sources
from pipelines.weights.catalog import FAMILIES, Family, File, Repository
from workers.offers import Offer, named, offer, offers
from workers.worker import DeviceWorker

GET = "python -m pipelines.weights get small"


@pytest.fixture(autouse=True)
def learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pipelines: relief, and one that wants an accelerator and weights."""
    repository = Repository("org/small", "MIT", "https://x", (File("a.pth", 1), File("b.pth", 1)), revision="1")
    monkeypatch.setitem(FAMILIES, "small", Family("Small", (repository,)))
    monkeypatch.setattr(pipelines, "PIPELINES", {"relief": pipelines.PIPELINES["relief"]})
    probe = ("tests.plugin_pipelines:ProbeParams", "tests.plugin_pipelines:ProbePipeline")
    pipelines.PIPELINES["learned"] = pipelines.Entry(*probe, "device", weights="small")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The folder with all of the family, of a size that is too much for a CPU."""
    folder = tmp_path / "data" / "weights" / "org" / "small"
    folder.mkdir(parents=True)
    for name in ("a.pth", "b.pth"):
        (folder / name).write_bytes(b"w")
    os.truncate(folder / "b.pth", 2**28)  # a hole, not bytes on the disk
    return folder


def machine(settings: Settings, device: str = "cuda:0") -> Machine:
    return Machine(device, Sources(settings.weights_dir))


def with_pipelines(names: str, tmp_path: Path) -> Settings:
    return load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_PIPELINES": names}, tmp_path)


def test_a_card_with_the_weights_offers_the_model(settings: Settings, weights: Path) -> None:
    assert offer(settings, machine(settings)) == Offer(["relief", "learned"], {}, {"small": "complete"})


def test_without_its_weights_the_command_is_told(settings: Settings, weights: Path) -> None:
    (weights / "b.pth").unlink()
    found = offer(settings, machine(settings))
    assert found.pipelines == ["relief"] and found.weights == {"small": "partial"}
    assert found.unavailable == {"learned": f"its weights are only partly there; fetch them with: {GET}"}
    (weights / "a.pth").unlink()
    found = offer(settings, machine(settings))
    assert found.weights == {"small": "absent"}
    assert found.unavailable == {"learned": f"its weights are not there; fetch them with: {GET}"}


def test_a_cpu_offers_it_only_when_it_is_named(settings: Settings, weights: Path, tmp_path: Path) -> None:
    found = offer(settings, machine(settings, "cpu"))
    assert found.pipelines == ["relief"] and found.weights == {"small": "complete"}
    assert "MAQUETTE_PIPELINES=relief,learned python ai_worker.py" in found.unavailable["learned"]
    chosen = with_pipelines("relief,learned", tmp_path)
    assert offer(chosen, machine(chosen, "cpu")) == Offer(["relief", "learned"], {}, {"small": "complete"})


def test_a_cpu_offers_a_small_checkpoint_by_itself(settings: Settings, weights: Path) -> None:
    os.truncate(weights / "b.pth", 2**28 - 1)  # with the other file's byte just as much as it may be
    assert offer(settings, machine(settings, "cpu")) == Offer(["relief", "learned"], {}, {"small": "complete"})


def test_what_was_not_asked_for_needs_no_reason(weights: Path, tmp_path: Path) -> None:
    chosen = with_pipelines("relief", tmp_path)
    assert offer(chosen, machine(chosen)) == Offer(["relief"], {}, {"small": "complete"})


def test_a_worker_without_anything_to_offer_does_not_start(tmp_path: Path) -> None:
    chosen = with_pipelines("learned", tmp_path)
    with pytest.raises(PipelineUnavailable, match=f"MAQUETTE_PIPELINES=learned can run here: learned: its .*{GET}"):
        offers(chosen)
    with pytest.raises(PipelineUnavailable, match="pipeline is 'no'; this service has learned, relief"):
        named(with_pipelines("no", tmp_path))


def test_each_device_is_asked_by_itself(weights: Path, tmp_path: Path) -> None:
    both = {"MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_DEVICES": "cuda:0,cpu"}
    found = offers(load_settings(both, tmp_path))
    assert {device: one.pipelines for device, one in found.items()} == {
        "cuda:0": ["relief", "learned"],
        "cpu": ["relief"],
    }


@pytest.fixture
def fleet(redis: Any) -> Iterator[Fleet]:
    yield Fleet(redis)


def test_the_fleet_hears_of_it(fleet: Fleet, redis_url: str, settings: Settings, weights: Path) -> None:
    worker = DeviceWorker(redis_url, "cpu", settings)
    worker._beat()
    (told,) = fleet.workers()
    assert told.pipelines == ["relief"] and told.weights == {"small": "complete"}
    assert list(told.unavailable) == ["learned"] and "NVIDIA" in told.unavailable["learned"]
