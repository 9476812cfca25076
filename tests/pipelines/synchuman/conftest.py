"""Every test here computes with small tensors; a tiny checkpoint is written once, and the pipeline made on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.base import Kept, Machine, Progress, Result, Step
from pipelines.synchuman.params import SyncHumanParams
from pipelines.synchuman.pipeline import SyncHumanPipeline
from pipelines.weights import Sources
from tests.threads import one_thread

__all__ = ["one_thread"]

PERSON = Path(__file__).parents[3] / "examples" / "person.png"
QUICK: dict[str, Any] = {"stage1_steps": 1, "stage2_steps": 2, "texture_size": 128, "seed": 8}


@dataclass(frozen=True)
class Made:
    """What one run has left behind.

    Attributes:
        files: name below `folder` → bytes.
        told: stage, step, of; as they were reported.
        shown: previews, at the moment they were.
    """

    folder: Path
    result: Result
    steps: list[Step]
    files: dict[str, bytes]
    shown: list[bytes]

    @property
    def told(self) -> list[tuple[str, int, int]]:
        return [(step.stage, step.step, step.of) for step in self.steps]

    def part(self, folder: str) -> dict[str, bytes]:
        """Those files whose names begin so."""
        return {name: data for name, data in self.files.items() if name.startswith(folder)}


Go = Callable[..., Made]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that MAQUETTE_WEIGHTS_DIR would name."""
    from tests.tiny_synchuman import write_checkpoint  # which imports slowly, and few tests want it

    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def pipeline(weights: Path) -> SyncHumanPipeline:
    made = SyncHumanPipeline(Machine("cpu", Sources(weights)))
    made.setup()
    return made


@pytest.fixture(scope="module")
def go(pipeline: SyncHumanPipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Go]:
    """Runs the pipeline with few steps, into a folder of its own."""

    def run(image: Path = PERSON, kept: Kept | None = None, on: SyncHumanPipeline = pipeline, **params: Any) -> Made:
        steps: list[Step] = []
        shown: list[bytes] = []
        chosen, out = SyncHumanParams(**QUICK | params), tmp_path_factory.mktemp("out")
        progress = Progress(steps.append, on.plan(chosen), lambda path: shown.append(path.read_bytes()))
        result = on.run([image], chosen, out, progress, kept or Kept())
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        return Made(out, result, steps, files, shown)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.showcase.FRAMES", 2)
        yield run
