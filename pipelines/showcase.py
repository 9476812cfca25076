"""Pictures of a finished asset that people look at first."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geometry.render import Scene, thumbnail, turntable
from pipelines import files
from pipelines.base import Progress

FRAMES = 30
FRAME_MILLISECONDS = 70
STAGE = "turntable"


def write_showcase(scene: Scene, out: Path, progress: Progress) -> None:
    """thumbnail.png and turntable.webp; reports each frame as a step of the stage `turntable`."""
    files.write(out / "thumbnail.png", files.png(thumbnail(scene)))
    frames = _reported(turntable(scene, FRAMES), progress)
    files.write(out / "turntable.webp", files.animation(frames, FRAME_MILLISECONDS))


def _reported(frames: Iterator[Any], progress: Progress) -> Iterator[Any]:
    for index, frame in enumerate(frames):
        yield frame
        progress(STAGE, index + 1, FRAMES)
