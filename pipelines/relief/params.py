"""Parameters of the relief pipeline, as the OpenAPI document shows them."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from pipelines.base import Params

View = Literal["front", "back", "left", "right"]
DEFAULT_VIEWS: tuple[View, ...] = ("front", "back", "left", "right")


def _split(value: object) -> object:
    """A form has no lists, so sides may come as one text."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class ReliefParams(Params):
    """How a picture becomes a solid. The defaults suit a 512 to 1024 px picture of one object."""

    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="seeds the surface grain of the unseen back")
    simplify_ratio: float = Field(default=1.0, gt=0, le=1, description="share of the full triangle budget to keep")
    texture_size: int = Field(
        default=1024, ge=64, le=4096, multiple_of=64, description="side of the square texture in pixels"
    )
    texture_bake_mode: Literal["pbr", "fast", "opt", "best"] = Field(
        default="pbr",
        description="pbr: base colour and normal map; opt, or best: base colour, supersampled; fast: base colour, "
        "one sample",
    )
    quality: Literal["standard", "high"] = Field(
        default="standard", description="high: finer grid, more triangles, 3.5 times the time"
    )
    depth: float = Field(default=1.0, ge=0.1, le=3, description="multiplies the thickness of the solid")
    relief: float = Field(
        default=1.0, ge=0, le=3, description="multiplies the surface detail read from the picture; 0 is smooth"
    )
    back: Literal["fill", "mirror"] = Field(
        default="fill", description="colour of the unseen back: filled from the outline, or the front mirrored"
    )
    views: Annotated[tuple[View, ...], BeforeValidator(_split)] = Field(
        default=(), description="which side each picture shows, in the order sent; front,back,left,right unless given"
    )
    swap_sides: bool = Field(
        default=False, description="treat the left picture as the right one and the other way round"
    )

    @property
    def bake_mode(self) -> Literal["pbr", "fast", "opt"]:
        """The mode by its one name."""
        return "opt" if self.texture_bake_mode == "best" else self.texture_bake_mode

    def check_images(self, count: int) -> None:
        if self.views and len(self.views) != count:
            raise ValueError(f"views names {len(self.views)} sides for {count} pictures; name one for each picture")
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views is {','.join(self.views)}; each side can be shown once only")
        if self.views and "front" not in self.views:
            raise ValueError(f"views is {','.join(self.views)}; one picture must show the front")
