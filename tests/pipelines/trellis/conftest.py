"""A tiny checkpoint, made once, and the pipeline on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.base import Kept, Machine, Progress, Result, Step
from pipelines.trellis.params import TrellisParams
from pipelines.trellis.pipeline import TrellisPipeline
from pipelines.weights import Sources
from tests.threads import one_thread
from tests.tiny_trellis import write_checkpoint

__all__ = ["one_thread"]

EXAMPLES = Path(__file__).parents[3] / "examples"
QUICK: dict[str, Any] = {
    "sparse_structure_sample_steps": 3,
    "slat_sample_steps": 2,
    "texture_size": 128,
    "texture_bake_mode": "fast",
    "simplify_ratio": 0.1,
}
Go = Callable[..., tuple[Result, list[Step]]]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(weights: Path) -> TrellisPipeline:
    made = TrellisPipeline(Machine("cpu", Sources(weights)))
    made.setup()
    return made


@pytest.fixture
def go(pipeline: TrellisPipeline, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Runs the pipeline into a folder; gives the result and the steps that were told."""
    monkeypatch.setattr("pipelines.showcase.FRAMES", 2)

    def run(
        out: Path,
        images: list[Path] | None = None,
        kept: Kept | None = None,
        shown: list[Path] | None = None,
        on: TrellisPipeline = pipeline,
        **params: Any,
    ) -> tuple[Result, list[Step]]:
        steps: list[Step] = []
        chosen = TrellisParams(**QUICK | params)
        progress = Progress(steps.append, on.plan(chosen), [].append if shown is None else shown.append)
        out.mkdir(parents=True)
        result = on.run(images or [EXAMPLES / "heron.png"], chosen, out, progress, kept or Kept())
        return result, steps

    return run
