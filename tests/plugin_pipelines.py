"""Pipelines that misbehave on purpose, served to the tests as a plug-in (MAQUETTE_PLUGINS)."""

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pipelines import Entry
from pipelines.base import Params, Pipeline, Progress, Result
from pipelines.errors import DeviceError, InputError

PIPELINES = {
    "probe": Entry(f"{__name__}:ProbeParams", f"{__name__}:ProbePipeline", "cpu"),
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

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress) -> Result:
        entered = time.time()
        progress("work", 0, params.steps)
        self._do(params.deed)
        for step in range(params.steps):
            time.sleep(params.seconds / params.steps)
            progress("work", step + 1, params.steps)
        (out / "result.txt").write_text(f"{params.seed}\n")
        machine = json.loads(json.dumps(asdict(self.machine), default=str))
        facts = {"entered_at": entered, "learned": False, "machine": machine}
        return Result(facts=facts, timings={"work": time.time() - entered})

    def _do(self, deed: str) -> None:
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
