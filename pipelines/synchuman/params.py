"""Parameters of the SyncHuman pipeline, as the OpenAPI document shows them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from pipelines.base import Params

# What the official pipeline fixes, under the names it is told by.
NUM_VIEWS = 5
VIEW_SIDE = 768  # pixels of each view
UP_SIDE = 896  # pixels of a view as the second stage's image encoder sees it
BACKGROUND = "white"

_INTERVAL = "use two numbers from 0 to 1, the lower one first, such as 0.5,1.0"


def _interval(value: object) -> object:
    """A form has no lists, so the two may come as one text."""
    parts = value.strip().strip("[]()").split(",") if isinstance(value, str) else value
    try:
        low, high = (float(part) for part in parts)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ValueError(_INTERVAL) from None
    if not 0 <= low <= high <= 1:
        raise ValueError(_INTERVAL)
    return low, high


class SyncHumanParams(Params):
    """How a picture of a person becomes an asset. The defaults are the official ones."""

    stages: ClassVar[tuple[str, ...]] = ("stage1", "stage2")

    stage: Literal["both", "stage1", "stage2"] = Field(
        default="both", description="stage1: the views and the structure; stage2: an asset from those of an earlier job"
    )
    seed: int = Field(default=43, ge=0, le=2**63 - 1, description="the same seed gives the same bytes")
    stage1_steps: int = Field(default=50, ge=1, le=1000, description="diffusion steps for the views and the structure")
    guidance_scale: float = Field(default=3.0, ge=0, le=100, description="guidance for the views and the structure")
    stage2_steps: int = Field(default=25, ge=1, le=1000, description="sampling steps for the structured latent")
    cfg_strength: float = Field(default=5.0, ge=0, le=100, description="guidance for the structured latent")
    cfg_interval: Annotated[tuple[float, float], BeforeValidator(_interval)] = Field(
        default=(0.5, 1.0), description="the times of the structured latent's sampling that are guided: from, to"
    )
    texture_size: int = Field(
        default=1024, ge=64, le=4096, multiple_of=64, description="side of the square texture in pixels"
    )
    simplify: float = Field(default=0.7, ge=0, le=0.98, description="share of the mesh's triangles to take away")
    remove_background: bool = Field(
        default=False, description="cut the person out of an opaque picture, which is an error otherwise"
    )

    def check_images(self, count: int) -> None:
        what = "one structure" if self.stage == "stage2" else "one picture"
        if count != 1:
            raise ValueError(f"image is given {count} times; SyncHuman takes {what}")
