"""The steps in order: pictures to tokens, structure, latent, fields, and the files of an asset."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from geometry.errors import UnusableMesh
from geometry.finish import Finished, finish
from geometry.gaussians import Gaussians
from geometry.mesh import Mesh
from geometry.views import view_colours
from pipelines import files
from pipelines.base import Kept, Machine, Pipeline, Progress, Result
from pipelines.clock import Clock
from pipelines.effort import BRANCHES, PIECES, Attempts, usual
from pipelines.errors import InputError
from pipelines.showcase import write_showcase
from pipelines.slat.checkpoint import ENCODER
from pipelines.slat.kernels import compile_kernels
from pipelines.slat.model import Surface
from pipelines.slat.pictures import prepare
from pipelines.slat.sampling import SamplerSettings
from pipelines.slat.splats import splat_thumbnail, splat_views
from pipelines.trellis import assets
from pipelines.trellis.checkpoint import REPOSITORY, Checkpoint
from pipelines.trellis.model import FLOW, Model
from pipelines.trellis.params import TrellisParams
from pipelines.trellis.structure import Structure, read_structure
from storage import keys

_OF_PICTURES = ("foreground", "structure", "preview")  # what a job that goes on from a structure leaves out
_SECOND = ("latent", "decoding", "mesh", "turntable")
_KEPT = PurePosixPath(keys.STRUCTURE).name


class TrellisPipeline(Pipeline):
    """Microsoft's TRELLIS, image-large, by its official files."""

    PLAN: ClassVar[Mapping[str, float]] = {
        "foreground": 0.02,
        "conditioning": 0.03,
        "structure": 0.28,
        "preview": 0.02,
        "latent": 0.38,
        "decoding": 0.08,
        "mesh": 0.13,
        "turntable": 0.06,
    }

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._model = Model(Checkpoint(machine.weights), machine)

    def setup(self) -> None:
        compile_kernels()
        self._model.warm([ENCODER, FLOW])

    def plan(self, params: TrellisParams) -> Mapping[str, float]:
        left_out = {"both": (), "stage1": _SECOND, "stage2": _OF_PICTURES}[params.stage]
        return {stage: share for stage, share in self.PLAN.items() if stage not in left_out}

    def run(self, images: Sequence[Path], params: TrellisParams, out: Path, progress: Progress, kept: Kept) -> Result:
        return _Run(self._model, self.machine, params, out, progress, kept).carry_out(images)


class _Run:
    """One job.

    Attributes:
        facts, warnings: for the manifest.
    """

    def __init__(
        self, model: Model, machine: Machine, params: TrellisParams, out: Path, progress: Progress, kept: Kept
    ) -> None:
        self._model, self._params, self._out = model, params, out
        self._progress, self._kept = progress, kept
        self._clock = Clock(progress)
        effort = usual(machine.device, machine.low_vram)
        self._attempts = Attempts(effort, model.residents.empty)
        self._fewer_branches = BRANCHES if effort.one_batch else ""  # one after the other is no less than that
        self._resolution = model.resolution
        self.facts: dict[str, Any] = {"engine": REPOSITORY, "learned": True}
        self.warnings: list[str] = []

    def carry_out(self, images: Sequence[Path]) -> Result:
        structure, tokens = self._first_stage(images)
        self.facts |= {"voxels": len(structure.coords), "views": len(structure.squares)}
        if self._params.stage != "stage1":
            self._second_stage(structure, tokens)
        if self._attempts.degraded:
            self.facts["degraded"] = self._attempts.degraded
            self.warnings += self._attempts.degraded
        self.facts["memory"] = self._model.residents.ledger.told()
        return Result(self.facts, self.warnings, self._clock.seconds)

    def _first_stage(self, images: Sequence[Path]) -> tuple[Structure, Tensor]:
        """The structure, sampled or taken from where it was left, and the pictures' tokens; its files are written."""
        structure = self._earlier(images)
        if structure is None:
            squares = self._squares(images)
            tokens = self._tokens(squares)
            structure = self._sampled(squares, tokens)
        else:
            tokens = self._tokens(structure.squares)
            self._publish(structure)
        return structure, tokens

    def _publish(self, structure: Structure) -> None:
        structure.write(self._out / keys.STRUCTURE)
        files.write(self._out / "stage1_output/input.png", files.png(structure.squares[0]))
        files.write(self._out / keys.PREVIEW, structure.preview())

    def _earlier(self, images: Sequence[Path]) -> Structure | None:
        """The structure of an earlier job, or of an earlier attempt at this one."""
        if self._params.stage == "stage2":
            return read_structure(images[0], self._resolution)
        if (path := self._kept.get(_KEPT)) is None:
            return None
        try:
            structure = read_structure(path, self._resolution)
        except InputError:
            self._kept.discard(_KEPT)
            return None
        self.facts["resumed"] = True
        self._progress("preview", 1, 1)  # first of all: how fast this attempt is counts from where it begins
        return structure

    def _squares(self, images: Sequence[Path]) -> Any:
        with self._clock("foreground"):
            prepared = [prepare(path) for path in images]
        cutouts = [cutout for _, cutout in prepared]
        self.warnings += dict.fromkeys(warning for cutout in cutouts for warning in cutout.warnings)
        self.facts["matte"] = "grabcut" if any(cutout.matte == "grabcut" for cutout in cutouts) else "alpha"
        return np.stack([square for square, _ in prepared])

    def _tokens(self, squares: Any) -> Tensor:
        with self._clock("conditioning"):
            return self._attempts("conditioning", lambda effort: self._model.tokens(squares))

    def _sampled(self, squares: Any, tokens: Tensor) -> Structure:
        params = self._params
        how = SamplerSettings(
            params.sparse_structure_sample_steps, params.sparse_structure_cfg_strength, params.multi_image
        )
        with self._clock("structure"):
            coords = self._attempts(
                "structure",
                lambda effort: self._model.structure(
                    tokens, params.seed, how, effort, lambda step, of: self._progress("structure", step, of)
                ),
                self._fewer_branches,
            )
        structure = Structure(coords, self._resolution, squares)
        with self._clock("preview"):
            self._publish(structure)
            self._kept.keep(self._out / keys.STRUCTURE)
            self._progress.preview(self._out / keys.PREVIEW)
        return structure

    def _second_stage(self, structure: Structure, tokens: Tensor) -> None:
        params = self._params
        how = SamplerSettings(params.slat_sample_steps, params.slat_cfg_strength, params.multi_image)
        with self._clock("latent"):
            latent, voxels = self._attempts(
                "latent",
                lambda effort: self._model.latent(
                    structure.coords, tokens, params.seed, how, effort, lambda i, of: self._progress("latent", i, of)
                ),
                self._fewer_branches,
            )
        meshes = not assets.MESHES.isdisjoint(params.formats)
        gaussians = surface = None
        with self._clock("decoding"):
            if "gaussian" in params.formats or (meshes and self._bakes_views):
                gaussians = self._attempts("gaussians", lambda effort: self._model.gaussians(latent, voxels))
            if "radiance_field" in params.formats:
                field = self._attempts("radiance field", lambda effort: self._model.radiance_field(latent, voxels))
                assets.write_radiance_field(field, self._out)
            if meshes:
                surface = self._attempts("mesh", lambda effort: self._model.surface(latent, voxels, effort), PIECES)
        self._write(surface, gaussians)

    @property
    def _bakes_views(self) -> bool:
        """Whether the texture comes from views of the splats, not from the mesh's own colours."""
        return self._params.bake_mode == "best"

    def _write(self, surface: Surface | None, gaussians: Gaussians | None) -> None:
        if gaussians is not None and "gaussian" in self._params.formats:
            assets.write_gaussians(gaussians, self._out)
            self.facts["gaussians"] = len(gaussians.positions)
        if surface is not None:
            with self._clock("mesh"):
                finished = self._finished(surface, gaussians)
                assets.write_meshes(finished, self._params.formats, self._out)
            self.facts |= finished.facts
            with self._clock("turntable"):
                write_showcase(finished.scene, self._out, self._progress)
        elif gaussians is not None:
            with self._clock("turntable"):
                files.write(self._out / "thumbnail.png", files.png(splat_thumbnail(gaussians)))

    def _finished(self, surface: Surface, gaussians: Gaussians | None) -> Finished:
        params = self._params
        seen = splat_views(gaussians) if gaussians is not None and self._bakes_views else None
        try:
            return finish(
                Mesh(surface.vertices, surface.faces, colours=surface.colours),
                target=max(int(assets.BUDGET * params.simplify_ratio), assets.FEWEST_TRIANGLES),
                texture_size=params.texture_size,
                mode=params.bake_mode,
                colour_at=view_colours(surface.vertices, surface.faces, seen, robust=True) if seen else None,
                roughness=1.0,
            )
        except UnusableMesh as error:
            raise InputError(f"the model's surface cannot be used: {error}; change seed") from error
