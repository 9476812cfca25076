"""A model with two stages, and one job of it. What the first one gives is kept, so that no attempt makes it again."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Generic, TypeVar

from pipelines.base import Kept, Machine, Pipeline, Progress, Result
from pipelines.clock import Clock
from pipelines.effort import BRANCHES, FEWER_PICTURES, SMALLEST, Attempts, usual
from pipelines.errors import InputError
from pipelines.slat.kernels import compile_kernels
from pipelines.slat.model import SLatModel
from pipelines.slat.sampling import StepDone
from storage import keys

_KEPT = PurePosixPath(keys.STRUCTURE).name

M = TypeVar("M", bound=SLatModel)
S = TypeVar("S")  # what the first stage gives


class TwoStagePipeline(Pipeline, Generic[M]):
    """
    Attributes:
        FIRST, SECOND: the parts of PLAN that the other stage does without.
    """

    FIRST: ClassVar[tuple[str, ...]]
    SECOND: ClassVar[tuple[str, ...]]

    def __init__(self, machine: Machine, model: M) -> None:
        super().__init__(machine)
        self._model = model

    def setup(self) -> None:
        compile_kernels()
        self._model.warm()

    def plan(self, params: Any) -> Mapping[str, float]:
        left_out = {"both": (), "stage1": self.SECOND, "stage2": self.FIRST}[params.stage]
        return {stage: share for stage, share in self.PLAN.items() if stage not in left_out}


class TwoStageRun(ABC, Generic[S]):
    """
    Args:
        stage: "both", "stage1" or "stage2"; the last goes on from a file that the first has published.
        engine: for the manifest.

    Attributes:
        facts, warnings: for the manifest.
    """

    def __init__(
        self,
        model: SLatModel,
        machine: Machine,
        stage: str,
        out: Path,
        progress: Progress,
        kept: Kept,
        engine: str,
    ) -> None:
        self._stage, self._out, self._progress, self._kept = stage, out, progress, kept
        self._residents = model.residents
        self._clock = Clock(progress)
        effort = usual(machine.device, machine.low_vram)
        self._attempts = Attempts(effort, model.residents.empty)
        # One after the other, and the fewest, is no less than that.
        self._fewer_branches = BRANCHES if effort.one_batch else ""
        self._fewer_pictures = FEWER_PICTURES if effort.pictures != SMALLEST.pictures else ""
        self.facts: dict[str, Any] = {"engine": engine, "learned": True}
        self.warnings: list[str] = []

    def carry_out(self, images: Sequence[Path]) -> Result:
        """Runs the stages asked for."""
        first = self._earlier(images)
        if first is None:
            first = self._sampled(images)
            with self._clock("preview"):
                self._publish(first)
                self._kept.keep(self._out / keys.STRUCTURE)
                self._progress.preview(self._out / keys.PREVIEW)
        else:
            self._publish(first)
        self._tell(first)
        if self._stage != "stage1":
            self._second_stage(first)
        if self._attempts.degraded:
            self.facts["degraded"] = self._attempts.degraded
            self.warnings += self._attempts.degraded
        self.facts["memory"] = self._residents.ledger.told()
        return Result(self.facts, self.warnings, self._clock.seconds)

    def _told(self, stage: str) -> StepDone:
        """What a sampler tells its steps."""
        return lambda step, of: self._progress(stage, step, of)

    def _earlier(self, images: Sequence[Path]) -> S | None:
        """The first stage's result of an earlier job, or of an earlier attempt at this one."""
        if self._stage == "stage2":
            return self._read(images[0])
        if (path := self._kept.get(_KEPT)) is None:
            return None
        try:
            first = self._read(path)
        except InputError:
            self._kept.discard(_KEPT)
            return None
        self.facts["resumed"] = True
        self._progress("preview", 1, 1)  # first of all: how fast this attempt is counts from where it begins
        return first

    @abstractmethod
    def _read(self, path: Path) -> S:
        """What a published `storage.keys.STRUCTURE` holds.

        Raises:
            InputError: it is something else.
        """

    @abstractmethod
    def _sampled(self, images: Sequence[Path]) -> S:
        """The first stage, from pictures."""

    @abstractmethod
    def _publish(self, first: S) -> None:
        """Writes the files of the first stage, `storage.keys.STRUCTURE` and `storage.keys.PREVIEW` among them."""

    @abstractmethod
    def _tell(self, first: S) -> None:
        """Adds to the facts what there is to say of it."""

    @abstractmethod
    def _second_stage(self, first: S) -> None:
        """Makes the asset of it."""
