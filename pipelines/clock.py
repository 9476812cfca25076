"""How long each stage of a run takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.base import Progress


class Clock:
    """Times the stages and reports their beginning and end.

    Attributes:
        seconds: stage → what it took; a stage that was entered twice counts both times.
    """

    def __init__(self, progress: Progress) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = progress

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._progress(stage, 0, 1)
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 4)
        self._progress(stage, 1, 1)
