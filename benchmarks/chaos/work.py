"""A pipeline whose every output byte follows from its picture and its parameters, so that a wrong file shows."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image
from pydantic import Field

from pipelines import Entry
from pipelines.base import Kept, Params, Pipeline, Progress, Result
from pipelines.errors import InputError

NAME = "chaos_work"
PIPELINES = {
    NAME: Entry(f"{__name__}:WorkParams", f"{__name__}:WorkPipeline", "cpu"),
}


class WorkParams(Params):
    seed: int = Field(0, ge=0, description="goes into every byte")
    seconds: float = Field(0, ge=0, description="how long to work")
    steps: int = Field(5, ge=1, description="in how many steps, each of which writes a part of the files")
    kilobytes: int = Field(16, ge=1, description="size of the large file")
    deed: Literal["", "crash", "bad_input"] = Field("", description="how to end instead")


def expected(pixels: bytes, seed: int, kilobytes: int) -> dict[str, bytes]:
    """The files of a complete job: name → bytes."""
    large = hashlib.shake_256(f"{seed}:{kilobytes}:".encode() + pixels).digest(kilobytes * 1024)
    told = {"seed": seed, "bytes": len(large), "sha256": hashlib.sha256(large).hexdigest()}
    return {"large.bin": large, "stage/about.json": json.dumps(told).encode()}


class WorkPipeline(Pipeline):
    """Writes its large file in pieces, with a pause after each: a process that dies here leaves half of it. The small
    one is kept, and an attempt that finds it publishes what it finds."""

    PLAN: ClassVar[dict[str, float]] = {"write": 1.0}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        started = time.time()
        progress("write", 0, params.steps)
        with Image.open(images[0]) as image:
            files = expected(image.tobytes(), params.seed, params.kilobytes)
        small, large = out / "stage/about.json", out / "large.bin"
        small.parent.mkdir()
        found = kept.get(small.name)
        small.write_bytes(found.read_bytes() if found else files["stage/about.json"])
        kept.keep(small)
        for step in range(params.steps):
            _append(large, files["large.bin"], step, params.steps)
            if step == params.steps // 2:
                _do(params.deed)
            time.sleep(params.seconds / params.steps)
            progress("write", step + 1, params.steps)
        return Result(facts={"learned": False, "went_on": found is not None}, timings={"write": time.time() - started})


def _append(path: Path, data: bytes, step: int, steps: int) -> None:
    with open(path, "ab") as file:
        file.write(data[len(data) * step // steps : len(data) * (step + 1) // steps])


def _do(deed: str) -> None:
    if deed == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed == "bad_input":
        raise InputError("there is nothing in this picture")
