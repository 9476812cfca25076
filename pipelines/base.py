"""The face of every pipeline: checked pictures and parameters in, named files out."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from pipelines.weights.sources import Sources


class Params(BaseModel):
    """Base of a pipeline's parameters: frozen, every field with default, bounds and description.

    Attributes:
        stages: what a client may ask for one at a time, in a field called `stage`; empty when it is all or nothing. The
            first publishes `storage.keys.STRUCTURE`, and the last is content with that file instead of pictures.
    """

    stages: ClassVar[tuple[str, ...]] = ()

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def check_images(self, count: int) -> None:
        """Raises ValueError when `count` pictures cannot go with these parameters."""


@dataclass(frozen=True)
class Step:
    """One report of progress: `fraction` is of the whole job, 0 to 1, and never falls."""

    stage: str
    step: int
    of: int
    fraction: float


class Progress:
    """Turns "step i of n in this stage" into a fraction of the whole job.

    Args:
        report: receives every Step.
        plan: stage name → its usual share of the run time, in the order the stages run.
        show: receives the file of a preview.
    """

    def __init__(
        self,
        report: Callable[[Step], None],
        plan: Mapping[str, float],
        show: Callable[[Path], None] = lambda path: None,
    ) -> None:
        self._report = report
        self._show = show
        self._plan = dict(plan)
        self._total = sum(self._plan.values()) or 1.0
        self._reached = 0.0

    def __call__(self, stage: str, step: int = 0, of: int = 1) -> None:
        """Reports that `step` of `of` steps of `stage` are done.

        Raises:
            KeyError: the stage is not in the pipeline's plan.
        """
        share = self._plan[stage]
        before = 0.0
        for name, weight in self._plan.items():
            if name == stage:
                break
            before += weight
        fraction = (before + share * step / max(of, 1)) / self._total
        self._reached = max(self._reached, min(fraction, 1.0))
        self._report(Step(stage, step, of, self._reached))

    def preview(self, path: Path) -> None:
        """Shows a finished GLB of the rough shape to those who wait, before anything else is finished."""
        self._show(path)


class Kept:
    """Results that outlive the process: what one attempt at a job has kept, the next ones find, and nobody else.

    They go with the job's end. A full disk may lose one, and a power cut may cut one short: a pipeline that cannot read
    what it finds makes it again.

    Args:
        found: name → file, of what earlier attempts have kept.
        hand_over: receives each file to be kept.
    """

    def __init__(
        self, found: Mapping[str, Path] | None = None, hand_over: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._found = dict(found or {})
        self._hand_over = hand_over

    def get(self, name: str) -> Path | None:
        """The file that an earlier attempt has kept under this name, to be read only."""
        return self._found.get(name)

    def keep(self, path: Path) -> None:
        """Keeps a finished file, by its name without the folder, from now on: should the process die, the next attempt
        finds it. A file kept before under the same name is replaced. The file itself may not change any more."""
        self._hand_over(path)

    def discard(self, name: str) -> None:
        """Forgets, for this attempt, what cannot be used; `keep` replaces it for those to come."""
        self._found.pop(name, None)


@dataclass(frozen=True)
class Result:
    """What a run tells about itself beside its files; all of it goes into `manifest.json`.

    Attributes:
        facts: plain JSON values, such as engine, learned, matte, triangles, watertight.
        warnings: sentences the client should read.
        timings: stage name → seconds.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What a pipeline finds where it runs.

    Attributes:
        device: "cpu", "cuda:0", …
        weights: the folders that weights are read from.
        low_vram: only the network that runs just now is to be kept on the device.
    """

    device: str
    weights: Sources = Sources()
    low_vram: bool = False


class Pipeline(ABC):
    """One way from pictures to a 3D asset. Made once per device process, then run for many jobs.

    Attributes:
        PLAN: stage name → usual share of the run time, in order; what Progress needs.
    """

    PLAN: ClassVar[Mapping[str, float]]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.device = machine.device

    @abstractmethod
    def setup(self) -> None:
        """Loads weights and warms kernels, so that the first job does not pay for it."""

    def plan(self, params: Any) -> Mapping[str, float]:
        """The part of PLAN that a run with these parameters takes: all of it, unless they ask for less."""
        return self.PLAN

    @abstractmethod
    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        """Writes the named files of one asset below `out` and returns what is to be said about them.

        Args:
            images: checked picture files, the main one first; for the last of several stages alone, the structure that
                an earlier job published, its bytes unchecked.
            params: the pipeline's own Params class.
            out: an empty folder that belongs to this run alone.
            kept: what earlier attempts at this job have finished, and where to put what a later one shall not do again.
        Raises:
            InputError: this picture or parameter cannot give an asset.
            DeviceError: the device failed; the same job may work in a fresh process.
        """
