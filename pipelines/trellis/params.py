"""Parameters of the TRELLIS pipeline, as the OpenAPI document shows them."""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipelines.base import Params

Format = Literal["glb", "gaussian", "radiance_field", "obj", "stl", "ply", "usdz"]


def _split(value: object) -> object:
    """A form has no lists, so formats may come as one text."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class TrellisParams(Params):
    """How pictures of one thing become an asset. Guidance w means (1 + w) conditional - w unconditional."""

    stages: ClassVar[tuple[str, ...]] = ("stage1", "stage2")

    stage: Literal["both", "stage1", "stage2"] = Field(
        default="both", description="stage1: the structure alone; stage2: an asset from an earlier job's structure"
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="the same seed gives the same bytes")
    sparse_structure_sample_steps: int = Field(
        default=25, ge=1, le=1000, description="sampling steps for the sparse structure"
    )
    sparse_structure_cfg_strength: float = Field(
        default=8.5, ge=0, le=100, description="guidance for the sparse structure"
    )
    slat_sample_steps: int = Field(default=25, ge=1, le=1000, description="sampling steps for the structured latent")
    slat_cfg_strength: float = Field(default=4.0, ge=0, le=100, description="guidance for the structured latent")
    multi_image: Literal["stochastic", "multidiffusion"] = Field(
        default="stochastic",
        description="several pictures: one a step in turn, or the mean over all of them in every step",
    )
    formats: Annotated[tuple[Format, ...], BeforeValidator(_split)] = Field(
        default=("glb", "gaussian"),
        description="files to make, comma-separated; gaussian is a PLY of splats",
    )
    simplify_ratio: float = Field(
        default=1.0, gt=0, le=1, description="share of the full triangle budget (30,000) to keep"
    )
    texture_size: int = Field(
        default=1024, ge=64, le=4096, multiple_of=64, description="side of the square texture in pixels"
    )
    texture_bake_mode: Literal["pbr", "fast", "opt", "best"] = Field(
        default="pbr",
        description="fast: base colour; pbr: base colour and normal map; best, or opt: those from views of the splats, "
        "four samples a texel",
    )

    @model_validator(mode="after")
    def _some_format(self) -> "TrellisParams":
        if not self.formats:
            raise ValueError("formats is empty; name at least one, such as glb")
        return self

    @property
    def bake_mode(self) -> Literal["pbr", "fast", "best"]:
        """The mode by its one name."""
        return "best" if self.texture_bake_mode == "opt" else self.texture_bake_mode

    def check_images(self, count: int) -> None:
        if self.stage == "stage2" and count != 1:
            raise ValueError(f"stage2 takes one structure, not {count}")
