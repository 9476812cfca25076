"""Work that takes no time: what is left is the way to it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pipelines import Entry
from pipelines.base import Kept, Params, Pipeline, Progress, Result

PIPELINES = {
    "benchmark_noop": Entry(f"{__name__}:NoopParams", f"{__name__}:NoopPipeline", "cpu"),
}


class NoopParams(Params):
    seed: int = Field(0, ge=0, description="told back in the manifest")
    seconds: float = Field(0, ge=0, description="how long to sleep, for a queue that stands still")


class NoopPipeline(Pipeline):
    """Says when it was entered."""

    PLAN: ClassVar[dict[str, float]] = {"nothing": 1.0}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        entered = time.time()
        while time.time() < entered + params.seconds:
            time.sleep(0.1)
            progress("nothing", 0, 1)
        return Result(facts={"entered_at": entered})
