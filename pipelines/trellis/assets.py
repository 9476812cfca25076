"""What is decoded → the files of an asset."""

import io
from pathlib import Path

import numpy as np

from geometry.export import EXPORTERS
from geometry.finish import Finished
from geometry.gaussians import Gaussians, write_ply
from networks.trellis.slat_decoder_rf import RadianceField
from pipelines import files
from pipelines.trellis.params import Format

BUDGET = 30_000  # triangles
FEWEST_TRIANGLES = 200
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
