"""What is decoded → the files of an asset."""

import io
from pathlib import Path

import numpy as np

from geometry.cameras import orbit, perspective, sphere_views
from geometry.export import EXPORTERS
from geometry.finish import ColourAt, Finished
from geometry.gaussians import Gaussians, write_ply
from geometry.mesh import Pixels
from geometry.splatting import render, render_views
from geometry.views import View, view_colours
from networks.trellis.slat_decoder_rf import RadianceField
from pipelines import files
from pipelines.trellis.model import Surface
from pipelines.trellis.params import Format

BUDGET = 30_000  # triangles
FEWEST_TRIANGLES = 200
THUMBNAIL = 512
VIEWS, VIEW_SIDE = 40, 768  # of the splats, for the texture
_LEAST_ALPHA = 0.5  # of a pixel whose colour counts
_FROM_UPRIGHT = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float32)  # +Y up to +Z up
_FRONT = np.radians([[180 + 28, 12]])  # yaw and pitch of a camera before the object's front, a little to its side
_DISTANCE, _FIELD_OF_VIEW = 2.0, np.radians(40)
_NAMES: dict[Format, str] = {
    "glb": "output.glb",
    "obj": "output_obj.zip",
    "stl": "output.stl",
    "ply": "output_mesh.ply",
    "usdz": "output.usdz",
}
MESHES = frozenset(_NAMES)


def write_meshes(finished: Finished, formats: tuple[Format, ...], out: Path) -> None:
    """Every mesh format asked for. PLY is the closed mesh with colours, the others are textured."""
    for wanted in formats:
        if wanted in MESHES:
            mesh = finished.whole if wanted == "ply" else finished.scene.mesh
            files.write(out / _NAMES[wanted], EXPORTERS[wanted](mesh, None if wanted == "ply" else finished.material))


def write_gaussians(gaussians: Gaussians, out: Path) -> None:
    """gaussian.ply, in the frame that splat viewers expect."""
    files.write(out / "gaussian.ply", write_ply(gaussians))


def write_radiance_field(field: RadianceField, out: Path) -> None:
    """radiance_field.npz: an array for each of the field's parts."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **{name: part.numpy() for name, part in field._asdict().items()})
    files.write(out / "radiance_field.npz", stream.getvalue())


def seen_colours(gaussians: Gaussians, surface: Surface, views: int = VIEWS, side: int = VIEW_SIDE) -> ColourAt:
    """What so many views of the splats from all around show at places of the mesh."""
    lens = perspective(_FIELD_OF_VIEW)
    cameras = orbit(sphere_views(views), _DISTANCE)
    seen = []
    for camera, picture in zip(cameras, render_views(gaussians, cameras, lens, side), strict=True):
        colour = picture.colour / np.maximum(picture.alpha, _LEAST_ALPHA)[..., None]
        pixels = (colour.clip(0, 1) * 255).round().astype(np.uint8)
        seen.append(View(pixels, camera @ _FROM_UPRIGHT, lens, picture.alpha >= _LEAST_ALPHA))
    return view_colours(surface.vertices, surface.faces, seen, robust=True)


def splat_thumbnail(gaussians: Gaussians) -> Pixels:
    """(S, S, 3) the splats on white."""
    picture = render(gaussians, orbit(_FRONT, _DISTANCE)[0], perspective(_FIELD_OF_VIEW), THUMBNAIL)
    on_white = picture.colour + (1 - picture.alpha[..., None])
    return (on_white.clip(0, 1) * 255).round().astype(np.uint8)
