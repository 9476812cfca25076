"""The steps in order: pictures to tokens, structure, latent, fields, and the files of an asset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from geometry.errors import UnusableMesh
from geometry.finish import Finished, finish
from geometry.gaussians import Gaussians
from geometry.mesh import Mesh, Pixels
from geometry.views import splat_views, view_colours
from pipelines import files
from pipelines.base import Kept, Machine, Progress, Result
from pipelines.effort import PIECES
from pipelines.errors import InputError
from pipelines.showcase import write_showcase
from pipelines.slat.model import Surface
from pipelines.slat.pictures import prepare
from pipelines.slat.run import TwoStagePipeline, TwoStageRun
from pipelines.slat.sampling import SamplerSettings
from pipelines.slat.splats import splat_thumbnail
from pipelines.trellis import assets
from pipelines.trellis.checkpoint import REPOSITORY, Checkpoint
from pipelines.trellis.model import Model
from pipelines.trellis.params import TrellisParams
from pipelines.trellis.structure import Structure, read_structure
from storage import keys

_VIEWS, _VIEW_SIDE = 40, 768  # of the splats, for the texture


class TrellisPipeline(TwoStagePipeline[Model]):
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
    FIRST = ("foreground", "structure", "preview")
    SECOND = ("latent", "decoding", "mesh", "turntable")

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, Model(Checkpoint(machine.weights), machine))

    def run(self, images: Sequence[Path], params: TrellisParams, out: Path, progress: Progress, kept: Kept) -> Result:
        return _Run(self._model, self.machine, params, out, progress, kept).carry_out(images)


class _Run(TwoStageRun[Structure]):
    """One job."""

    def __init__(
        self, model: Model, machine: Machine, params: TrellisParams, out: Path, progress: Progress, kept: Kept
    ) -> None:
        super().__init__(model, machine, params.stage, out, progress, kept, REPOSITORY)
        self._model, self._params = model, params
        self._seen: Tensor | None = None

    def _read(self, path: Path) -> Structure:
        return read_structure(path, self._model.resolution)

    def _publish(self, first: Structure) -> None:
        first.write(self._out / keys.STRUCTURE)
        files.write(self._out / "stage1_output/input.png", files.png(first.squares[0]))
        files.write(self._out / keys.PREVIEW, first.preview())

    def _tell(self, first: Structure) -> None:
        self.facts |= {"voxels": len(first.coords), "views": len(first.squares)}

    def _sampled(self, images: Sequence[Path]) -> Structure:
        params = self._params
        squares = self._squares(images)
        tokens = self._tokens(squares)
        how = SamplerSettings(
            params.sparse_structure_sample_steps, params.sparse_structure_cfg_strength, params.multi_image
        )
        with self._clock("structure"):
            coords = self._attempts(
                "structure",
                lambda effort: self._model.structure(tokens, params.seed, how, effort, self._told("structure")),
                self._fewer_branches,
            )
        return Structure(coords, self._model.resolution, squares)

    def _squares(self, images: Sequence[Path]) -> Pixels:
        with self._clock("foreground"):
            prepared = [prepare(path) for path in images]
        cutouts = [cutout for _, cutout in prepared]
        self.warnings += dict.fromkeys(warning for cutout in cutouts for warning in cutout.warnings)
        self.facts["matte"] = "grabcut" if any(cutout.matte == "grabcut" for cutout in cutouts) else "alpha"
        return np.stack([square for square, _ in prepared])

    def _tokens(self, squares: Pixels) -> Tensor:
        """Of the pictures; computed once for both stages."""
        if self._seen is None:
            with self._clock("conditioning"):
                self._seen = self._attempts("conditioning", lambda effort: self._model.tokens(squares))
        return self._seen

    def _second_stage(self, first: Structure) -> None:
        params = self._params
        tokens = self._tokens(first.squares)
        how = SamplerSettings(params.slat_sample_steps, params.slat_cfg_strength, params.multi_image)
        with self._clock("latent"):
            latent, voxels = self._attempts(
                "latent",
                lambda effort: self._model.latent(first.coords, tokens, params.seed, how, effort, self._told("latent")),
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
        seen = splat_views(gaussians, _VIEWS, _VIEW_SIDE) if gaussians is not None and self._bakes_views else None
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
