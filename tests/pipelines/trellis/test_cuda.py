"""The whole pipeline on an NVIDIA card, when memory is plenty and when it is short."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geometry.inspect import inspect_glb
from pipelines.base import Machine
from pipelines.trellis.pipeline import TrellisPipeline
from pipelines.weights import Sources
from tests.pipelines.trellis.conftest import Go

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")


@pytest.mark.parametrize("low_vram", [False, True])
def test_a_seed_gives_nearly_the_structure_of_the_cpu_and_a_sound_mesh(
    go: Go, tmp_path: Path, weights: Path, low_vram: bool
) -> None:
    pipeline = TrellisPipeline(Machine("cuda:0", Sources(weights), low_vram))
    pipeline.setup()
    result, _ = go(tmp_path / "card", on=pipeline, seed=3)
    go(tmp_path / "cpu", seed=3, stage="stage1")
    voxels = []
    for name in ("card", "cpu"):
        with np.load(tmp_path / name / "stage1_output/latent.npz") as arrays:
            voxels.append({tuple(row) for row in arrays["coords"].tolist()})
    assert len(voxels[0] & voxels[1]) > 0.9 * len(voxels[0] | voxels[1])
    assert inspect_glb((tmp_path / "card/output.glb").read_bytes()).sound
    assert result.facts["memory"]["stages_mb"]["mesh decoding"] > 0
    left = torch.cuda.memory_allocated()
    pipeline._model.residents.empty()
    assert torch.cuda.memory_allocated() < left or low_vram
