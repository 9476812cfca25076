"""Pipelines that misbehave on purpose, served to the tests as a plug-in (MAQUETTE_PLUGINS)."""

import json
import os
import secrets
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipelines import Entry
from pipelines.base import Kept, Params, Pipeline, Progress, Result
from pipelines.errors import DeviceError, InputError
from storage.keys import STRUCTURE

PIPELINES = {
    "probe": Entry(f"{__name__}:ProbeParams", f"{__name__}:ProbePipeline", "cpu"),
    "staged": Entry(f"{__name__}:StagedParams", f"{__name__}:StagedPipeline", "cpu"),
}


class ProbeParams(Params):
    """What the probe should do to its process."""

    seed: int = Field(0, ge=0, description="recorded in the file")
    seconds: float = Field(0.0, ge=0, description="how long to work")
    steps: int = Field(10, ge=1, description="in how many steps")
    deed: str = Field("", description="crash, hang, device_error, memory, bad_input, full, raise, crash_once:<folder>")


class ProbePipeline(Pipeline):
    """Writes when it was entered; then does the deed."""

    PLAN: ClassVar[dict[str, float]] = {"work": 1.0}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        entered = time.time()
        progress("work", 0, params.steps)
        do(params.deed)
        for step in range(params.steps):
            time.sleep(params.seconds / params.steps)
            progress("work", step + 1, params.steps)
        (out / "result.txt").write_text(f"{params.seed}\n")
        machine = json.loads(json.dumps(asdict(self.machine), default=str))
        facts = {"entered_at": entered, "learned": False, "machine": machine}
        return Result(facts=facts, timings={"work": time.time() - entered})


class StagedParams(ProbeParams):
    """As the probe; the deed is done between the two stages."""

    stages: ClassVar[tuple[str, ...]] = ("stage1", "stage2")
    stage: Literal["both", "stage1", "stage2"] = Field("both", description="which of the two to run")
    slat_cfg_strength: float = Field(4.0, ge=0, le=100, description="told in the manifest")


class StagedPipeline(Pipeline):
    """The first stage writes a token that nobody can guess; the second, which takes the time, says which it was given
    and how often the first has run in this process."""

    PLAN: ClassVar[dict[str, float]] = {"structure": 0.4, "surface": 0.6}

    def setup(self) -> None:
        self.first_runs = 0

    def plan(self, params: Any) -> dict[str, float]:
        left_out = {"stage1": "surface", "stage2": "structure"}.get(params.stage)
        return {stage: share for stage, share in self.PLAN.items() if stage != left_out}

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        structure = out / STRUCTURE
        structure.parent.mkdir(parents=True)
        found = images[0] if params.stage == "stage2" else kept.get(structure.name)
        token = _token(found)
        if token is None and params.stage == "stage2":
            raise InputError("the structure cannot be read")
        structure.write_text(token or self._first(progress))
        if token is None:
            kept.keep(structure)
        do(params.deed)
        token = structure.read_text()
        if params.stage != "stage1":
            self._second(params, out / "result.txt", token, progress)
        return Result(facts={"token": token, "first_runs": self.first_runs, "learned": False})

    def _first(self, progress: Progress) -> str:
        progress("structure", 0, 1)
        self.first_runs += 1
        progress("structure", 1, 1)
        return f"token {secrets.token_hex(8)}"

    def _second(self, params: Any, result: Path, token: str, progress: Progress) -> None:
        progress("surface", 0, params.steps)
        for step in range(params.steps):
            time.sleep(params.seconds / params.steps)
            progress("surface", step + 1, params.steps)
        result.write_text(f"{token}, first stage run {self.first_runs} times in this process\n")


def _token(found: Path | None) -> str | None:
    """What the file says, if there is one and it is whole."""
    text = found.read_text() if found else ""
    return text if len(text) == len("token ") + 16 else None


def do(deed: str) -> None:
    name, _, folder = deed.partition(":")
    if name == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "crash_once" and not (mark := Path(folder, "crashed")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "hang":
        time.sleep(3600)
    elif name == "device_error":
        raise DeviceError("out of memory")
    elif name == "memory":
        raise MemoryError
    elif name == "bad_input":
        raise InputError("there is nothing in this picture")
    elif name == "full":
        Path("/dev/full").write_text("no file system takes this")
    elif name == "raise":
        raise ZeroDivisionError("a bug")
