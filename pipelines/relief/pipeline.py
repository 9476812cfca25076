"""The steps of the geometric engine in order: outline, solid, preview, asset, pictures of it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from geometry.cameras import FIVE_VIEWS
from geometry.export import EXPORTERS
from geometry.mesh import Floats
from geometry.render import flat_views, turntable
from pipelines import files
from pipelines.base import Kept, Pipeline, Progress, Result
from pipelines.clock import Clock
from pipelines.foreground import Cutout, cut_out, read_picture
from pipelines.relief.asset import (
    BUDGET,
    FEWEST_TRIANGLES,
    PREVIEW_TEXTURE,
    PREVIEW_TRIANGLES,
    Asset,
    Relief,
    Sculpture,
)
from pipelines.relief.colour import back_colours, front_colours, meeting
from pipelines.relief.fields import TwoFields, photographs, solid_from_views
from pipelines.relief.params import ReliefParams, View
from pipelines.relief.shape import solid_from_picture
from pipelines.relief.views import assign, fit_all, rim
from pipelines.showcase import write_showcase

VIEW_SIZE = 768
VOXELS = 64
MARGIN = 0.06
PREVIEW_CANVAS = 512


class ReliefPipeline(Pipeline):
    """A picture's outline inflated into a closed, textured solid. No learned weights, no accelerator."""

    PLAN: ClassVar[Mapping[str, float]] = {
        "foreground": 0.08,
        "solid": 0.2,
        "preview": 0.05,
        "mesh": 0.25,
        "views": 0.2,
        "turntable": 0.22,
    }

    def setup(self) -> None:
        """Compiles the numba kernels, or loads them from their cache, by making a small disc."""
        params = ReliefParams(texture_size=64)
        cutouts: dict[View, Cutout] = {"front": cut_out(_disc())}
        sculpture = _sculpture(cutouts, fit_all(cutouts, canvas_side(params), MARGIN), params)
        asset = sculpture.simplified(FEWEST_TRIANGLES).asset(params.texture_size, "pbr")
        flat_views(asset.scene, FIVE_VIEWS[0], params.texture_size)
        next(turntable(asset.scene, 1, params.texture_size))

    def preview(self, images: Sequence[Path], params: ReliefParams) -> bytes:
        """A GLB of the rough shape alone, in about a third of the time of a whole run.

        Raises:
            InputError: this picture cannot give an asset.
        """
        named, _ = assign(images, params)
        cutouts = {view: cut_out(read_picture(path)) for view, path in named.items()}
        return _preview(_sculpture(cutouts, fit_all(cutouts, PREVIEW_CANVAS, MARGIN), params))

    def run(self, images: Sequence[Path], params: ReliefParams, out: Path, progress: Progress, kept: Kept) -> Result:
        clock = Clock(progress)
        named, warnings = assign(images, params)
        with clock("foreground"):
            cutouts = {view: cut_out(read_picture(path)) for view, path in named.items()}
            canvases = fit_all(cutouts, canvas_side(params), MARGIN)
            files.write(out / "stage1_output/input.png", files.png(_input_picture(canvases["front"])))
        with clock("solid"):
            sculpture = _sculpture(cutouts, canvases, params)
            files.write(out / "stage1_output/latent.npz", _latent(sculpture.dense[0]))
            triangles = int(BUDGET[params.quality] * params.simplify_ratio)
            sculpture = sculpture.simplified(max(triangles, FEWEST_TRIANGLES))
        with clock("preview"):
            files.write(out / "preview.glb", _preview(sculpture))
            progress.preview(out / "preview.glb")
        with clock("mesh"):
            asset = sculpture.asset(params.texture_size, params.bake_mode)
            _write_meshes(asset, out)
        with clock("views"):
            _write_views(asset, out / "stage1_output", progress)
        with clock("turntable"):
            write_showcase(asset.scene, out, progress)
        for cutout in cutouts.values():
            warnings += cutout.warnings
        return Result(_facts(cutouts, asset, params), warnings, clock.seconds)


def _disc() -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows, columns = np.ogrid[:64, :64]
    picture = np.full((64, 64, 4), 200, np.uint8)
    picture[..., 3] = 255 * (np.hypot(rows - 32, columns - 32) < 24)
    return picture


def canvas_side(params: ReliefParams) -> int:
    """Pixels of the square the picture is fitted into: as fine as the texture can show."""
    return 2048 if params.texture_size >= 2048 else 1024


def _sculpture(cutouts: dict[View, Cutout], canvases: dict[View, Floats], params: ReliefParams) -> Sculpture:
    """The shape by one outline, or by two where a side is shown; a back picture alone gives colour only."""
    rims = {view: rim(cutouts[view], canvas) for view, canvas in canvases.items()}
    if "left" in canvases or "right" in canvases:
        dense = solid_from_views(canvases, params)
        return TwoFields(dense, photographs(canvases, rims), params.seed, dense)
    canvas = canvases["front"]
    solid = solid_from_picture(canvas, params)
    front = front_colours(canvas, rims["front"])
    if "back" in canvases:
        # Seen through the front, the back picture is mirrored.
        back = front_colours(canvases["back"], rims["back"])[:, ::-1]
        back = meeting(front, back, canvas[..., 3])
    else:
        back = front if params.back == "mirror" else back_colours(front, canvas[..., 3], params.seed)
    return Relief(solid, front, back, (solid.vertices, solid.faces))


def _input_picture(canvas: Floats) -> np.ndarray[Any, np.dtype[np.uint8]]:
    small: Floats = cv2.resize(canvas, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:], 1e-3)
    return (np.clip(small, 0, 1) * 255).round().astype(np.uint8)


def _latent(points: Floats) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, coords=_voxel_rows(points))
    return stream.getvalue()


def _voxel_rows(points: Floats) -> Floats:
    """(N, 4) rows (0, i, j, k) of the voxels these surface points lie in, sorted; Z-up frame, front towards -Y."""
    upright = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)
    index = np.clip(np.floor((upright + 0.5) * VOXELS), 0, VOXELS - 1).astype(np.int64)
    keys = np.unique((index[:, 0] * VOXELS + index[:, 1]) * VOXELS + index[:, 2])
    rows = np.stack([np.zeros_like(keys), keys // VOXELS**2, keys // VOXELS % VOXELS, keys % VOXELS], axis=1)
    return rows.astype(np.float32)


def _glb(asset: Asset) -> bytes:
    return EXPORTERS["glb"](asset.scene.mesh, asset.material)


def _preview(sculpture: Sculpture) -> bytes:
    return _glb(sculpture.simplified(PREVIEW_TRIANGLES).asset(PREVIEW_TEXTURE, "fast"))


def _write_meshes(asset: Asset, out: Path) -> None:
    data = _glb(asset)
    files.write(out / "output.glb", data)
    files.write(out / "stage2_output/output.glb", data)
    files.write(out / "stage2_output/output_mesh.ply", EXPORTERS["ply"](asset.whole, None))


def _write_views(asset: Asset, folder: Path, progress: Progress) -> None:
    for index, camera in enumerate(FIVE_VIEWS):
        colour, normal = flat_views(asset.scene, camera, VIEW_SIZE)
        files.write(folder / f"color_{index}.png", files.png(colour))
        files.write(folder / f"normal_{index}.png", files.png(normal))
        progress("views", index + 1, len(FIVE_VIEWS))


def _facts(cutouts: dict[View, Cutout], asset: Asset, params: ReliefParams) -> dict[str, Any]:
    mesh = asset.scene.mesh
    residuals = [cutout.residual for cutout in cutouts.values() if cutout.residual is not None]
    facts: dict[str, Any] = {
        "engine": "geometric",
        "learned": False,
        "matte": "grabcut" if residuals else "alpha",
        "views": list(cutouts),
        "vertices": len(mesh.vertices),
        "triangles": len(mesh.faces),
        "watertight": asset.whole.is_watertight,
        "euler_number": asset.whole.euler_number,
        "texture_size": params.texture_size,
    }
    if residuals:
        facts["matte_residual"] = round(max(residuals), 3)
    return facts
