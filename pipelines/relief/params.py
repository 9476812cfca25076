"""Parameters of the relief pipeline, as the OpenAPI document shows them."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.base import Params

View = Literal["front", "back", "left", "right"]
DEFAULT_VIEWS: tuple[View, ...] = ("front", "back", "left", "right")


class ReliefParams(Params):
    """How a picture becomes a solid. The defaults suit a 512 to 1024 px picture of one object."""

    seed: int = Field(0, ge=0, le=2**63 - 1, description="seeds the surface grain of the unseen back")
    simplify_ratio: float = Field(1.0, gt=0, le=1, description="share of the full triangle budget to keep")
    texture_size: int = Field(1024, ge=256, le=4096, description="side of the square texture in pixels, a power of two")
    texture_bake_mode: Literal["pbr", "fast", "opt"] = Field(
        "pbr", description="pbr: base colour and normal map; opt: base colour, supersampled; fast: base colour, one sample"
    )
    quality: Literal["standard", "high"] = Field("standard", description="high: finer grid, more triangles, 3.5 times the time")
    depth: float = Field(1.0, ge=0.1, le=3, description="multiplies the thickness of the solid")
    relief: float = Field(1.0, ge=0, le=3, description="multiplies the surface detail read from the picture; 0 is smooth")
    back: Literal["fill", "mirror"] = Field("fill", description="colour of the unseen back: filled from the outline, or the front mirrored")
    views: tuple[View, ...] = Field((), description="which side each picture shows, in the order sent; front,back,left,right unless given")
    swap_sides: bool = Field(False, description="treat the left picture as the right one and the other way round")

    @field_validator("texture_size")
    @classmethod
    def _power_of_two(cls, size: int) -> int:
        if size & (size - 1):
            raise ValueError("use a power of two from 256 to 4096")
        return size
