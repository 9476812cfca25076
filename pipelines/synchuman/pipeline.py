"""The steps in order: picture to views of all sides and voxels, to a latent on them, to the files of an asset."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from geometry.errors import UnusableMesh
from geometry.export import EXPORTERS
from geometry.finish import Finished, finish
from geometry.gaussians import Gaussians
from geometry.mesh import Mesh
from pipelines import files
from pipelines.base import Kept, Machine, Progress, Result
from pipelines.effort import PIECES
from pipelines.errors import InputError
from pipelines.showcase import write_showcase
from pipelines.slat.model import Surface
from pipelines.slat.pictures import cropped
from pipelines.slat.run import TwoStagePipeline, TwoStageRun
from pipelines.slat.sampling import SamplerSettings
from pipelines.synchuman.checkpoint import REPOSITORY, Checkpoint
from pipelines.synchuman.model import Model
from pipelines.synchuman.params import SyncHumanParams
from pipelines.synchuman.preparation import Prepared, prepare
from pipelines.synchuman.stage1_files import FirstStage, first_stage, read_first_stage
from pipelines.synchuman.texture import seen_colours
from pipelines.synchuman.views import VIEWS, MultiView
from storage import keys

_FEWEST_TRIANGLES = 200


class SyncHumanPipeline(TwoStagePipeline[Model]):
    """SyncHuman, one picture of a person to a textured asset, by its official files."""

    PLAN: ClassVar[Mapping[str, float]] = {
        "foreground": 0.01,
        "conditioning": 0.03,
        "views": 0.5,
        "pictures": 0.04,
        "preview": 0.02,
        "features": 0.03,
        "latent": 0.12,
        "decoding": 0.05,
        "mesh": 0.15,
        "turntable": 0.05,
    }
    FIRST = ("foreground", "conditioning", "views", "pictures", "preview")
    SECOND = ("features", "latent", "decoding", "mesh", "turntable")

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, Model(Checkpoint(machine.weights), machine))

    def run(self, images: Sequence[Path], params: SyncHumanParams, out: Path, progress: Progress, kept: Kept) -> Result:
        return _Run(self._model, self.machine, params, out, progress, kept).carry_out(images)


class _Run(TwoStageRun[FirstStage]):
    """One job."""

    def __init__(
        self, model: Model, machine: Machine, params: SyncHumanParams, out: Path, progress: Progress, kept: Kept
    ) -> None:
        super().__init__(model, machine, params.stage, out, progress, kept, REPOSITORY)
        self._model, self._params = model, params

    def _read(self, path: Path) -> FirstStage:
        return read_first_stage(path, self._model.resolution)

    def _publish(self, first: FirstStage) -> None:
        first.write((self._out / keys.STRUCTURE).parent)
        files.write(self._out / keys.PREVIEW, first.preview())

    def _tell(self, first: FirstStage) -> None:
        self.facts |= {"voxels": len(first.coords), "views": len(VIEWS)}

    def _sampled(self, images: Sequence[Path]) -> FirstStage:
        with self._clock("foreground"):
            prepared = prepare(images[0], self._params.remove_background)
        self.warnings += prepared.cutout.warnings
        self.facts["matte"] = prepared.cutout.matte
        latents, structure = self._views(prepared)
        with self._clock("pictures"):
            pictures = self._attempts("pictures", lambda effort: self._model.decoded(latents, self._told("pictures")))
            coords = self._attempts("structure", lambda effort: self._model.occupied(structure))
        normal, colour = pictures[: len(VIEWS)], pictures[len(VIEWS) :]
        return first_stage(coords, self._model.resolution, normal, colour, prepared.body, prepared.published)

    def _views(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        params = self._params
        with self._clock("conditioning"):
            tokens = self._attempts("conditioning", lambda effort: self._model.tokens(prepared.square[None]))
            picture = self._attempts("conditioning", lambda effort: self._model.picture(prepared, tokens))
        how = SamplerSettings(params.stage1_steps, params.guidance_scale)
        with self._clock("views"):
            return self._attempts(
                "views",
                lambda effort: self._model.views(picture, params.seed, how, effort, self._told("views")),
                self._fewer_pictures,
            )

    def _second_stage(self, first: FirstStage) -> None:
        params, views = self._params, MultiView(first.colour, first.normal)
        how = SamplerSettings(params.stage2_steps, params.cfg_strength, interval=params.cfg_interval)
        with self._clock("features"):
            square = cropped(first.rgba)[None]  # as a later job will cut it, so that both give the same
            tokens = self._attempts("features", lambda effort: self._model.tokens(square))
            features = self._attempts("features", lambda effort: self._model.features(views))
        with self._clock("latent"):
            latent, voxels = self._attempts(
                "latent",
                lambda effort: self._model.latent(first.coords, tokens, params.seed, how, effort, self._told("latent")),
                self._fewer_branches,
            )
        with self._clock("decoding"):
            gaussians = self._attempts("gaussians", lambda effort: self._model.gaussians(latent, voxels, *features))
            surface = self._attempts(
                "mesh", lambda effort: self._model.surface(latent, voxels, effort, *features), PIECES
            )
        with self._clock("mesh"):
            finished = self._finished(surface, gaussians, views)
            self._write(finished)
        self.facts |= finished.facts
        with self._clock("turntable"):
            write_showcase(finished.scene, self._out, self._progress)

    def _finished(self, surface: Surface, gaussians: Gaussians, views: MultiView) -> Finished:
        params = self._params
        target = max(round(len(surface.faces) * (1 - params.simplify)), _FEWEST_TRIANGLES)
        try:
            return finish(
                Mesh(surface.vertices, surface.faces, colours=surface.colours),
                target=target,
                texture_size=params.texture_size,
                mode="best",
                colour_at=seen_colours(views, gaussians, surface.vertices, surface.faces),
                roughness=1.0,
            )
        except UnusableMesh as error:
            raise InputError(f"the model's surface cannot be used: {error}; change seed") from error

    def _write(self, finished: Finished) -> None:
        """The asset under the official name, and under the one that all pipelines have for it."""
        data = EXPORTERS["glb"](finished.scene.mesh, finished.material)
        files.write(self._out / "output.glb", data)
        files.write(self._out / "stage2_output/output.glb", data)
        files.write(self._out / "stage2_output/output_mesh.ply", EXPORTERS["ply"](finished.whole, None))
