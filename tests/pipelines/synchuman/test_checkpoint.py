"""The official layout, by a tiny checkpoint: what does not belong together is told with its remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.base import Machine
from pipelines.errors import PipelineUnavailable
from pipelines.synchuman.checkpoint import JOINT, Checkpoint
from pipelines.synchuman.pipeline import SyncHumanPipeline
from pipelines.weights import Sources

OFFICIAL = "xishushu/SyncHuman/ckpts"


@pytest.fixture
def spoilt(tmp_path: Path, weights: Path) -> Path:
    """The files of a checkpoint, to be changed."""
    shutil.copytree(weights, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_weights_that_are_not_there_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PipelineUnavailable, match="python -m pipelines.weights get synchuman"):
        SyncHumanPipeline(Machine("cpu", Sources(tmp_path)))


def _numbers(**changes: Any) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        config = json.loads(path.read_text())
        (config["args"] if "args" in config else config).update(changes)
        path.write_text(json.dumps(config))

    return change


def _with_others_weights(path: Path) -> None:
    shutil.copy(path.parent.parent / "text_encoder/model.safetensors", path)


@pytest.mark.parametrize(
    ("name", "spoil", "key", "said"),
    [
        ("SecondStage/ckpts/slat_flow/config.json", _numbers(num_blocks=3), "slat_flow_model", r"missing blocks\.2"),
        ("OneStage/SyncHuman_2D3DCrossSpaceDiffusion/config.json", _numbers(num_blocks=18), JOINT, "missing"),
        ("OneStage/vae/config.json", _numbers(layers_per_block=2), "vae", "missing"),
        ("OneStage/image_encoder/config.json", _numbers(num_attention_heads=3), "image_encoder", "no network"),
        ("OneStage/vae/diffusion_pytorch_model.safetensors", _with_others_weights, "vae", "missing"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_its_numbers_names_the_remedy(
    spoilt: Path, name: str, spoil: Callable[[Path], None], key: str, said: str
) -> None:
    spoil(spoilt / OFFICIAL / name)
    found = Checkpoint(Sources(spoilt))
    with pytest.raises(PipelineUnavailable, match=f"(?s)weights of {key} cannot be used.*{said}.*verify synchuman"):
        found.load(key, torch.float32)


@pytest.mark.parametrize(
    ("name", "was", "is_now", "said"),
    [
        ("OneStage/pipeline_config.json", "AutoencoderKL", "AutoencoderTiny", "not as expected.*AutoencoderKL"),
        ("OneStage/pipeline_config.json", "{", "", "cannot be read"),
        ("OneStage/feature_extractor/preprocessor_config.json", '"do_resize": true', '"do_resize": false', "do_resize"),
        ("SecondStage/pipeline.json", "GuidanceInterval", "", "sampler 'FlowEulerSampler' is not known"),
    ],
)
def test_an_index_that_is_not_as_expected_names_the_remedy(
    spoilt: Path, name: str, was: str, is_now: str, said: str
) -> None:
    path = spoilt / OFFICIAL / name
    assert was in path.read_text()
    path.write_text(path.read_text().replace(was, is_now))
    with pytest.raises(PipelineUnavailable, match=f"(?s){said}.*verify synchuman"):
        Checkpoint(Sources(spoilt))


def test_embeddings_that_cannot_be_used_name_the_remedy(spoilt: Path) -> None:
    for name in ("normal", "clr"):
        torch.save(torch.zeros(3, 77, 16), spoilt / OFFICIAL / "OneStage" / f"{name}_embeds.pt")
    with pytest.raises(PipelineUnavailable, match=r"(?s)embeddings cannot be used.*\(3, 77, 16\).*verify synchuman"):
        Checkpoint(Sources(spoilt)).prompts()
