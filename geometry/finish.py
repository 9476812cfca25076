"""A dense mesh from any engine -> a small textured one, ready for files."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from geometry import bake
from geometry.cleanup import count_parts, drop_small_parts
from geometry.dense import DenseSurface
from geometry.errors import UnusableMesh
from geometry.mesh import (
    Floats,
    Ints,
    Mask,
    Material,
    Mesh,
    Pixels,
    compact,
    euler_number,
    face_normals,
    is_closed,
    signed_volume,
    vertex_normals,
)
from geometry.project import spread_over_mesh
from geometry.rasterize import Fragments
from geometry.render import Scene
from geometry.simplify import approximate
from geometry.textures import jpeg, vertex_colours, with_normal_map
from geometry.unwrap import unwrap_six_axes
from geometry.visibility import drop_hidden

FinishMode = Literal["fast", "pbr", "best"]
# Colours (T, 3), sRGB in 0..255, at surface points (T, 3) with unit normals (T, 3); rows of NaN where unknown.
ColourAt = Callable[[Floats, Floats], Floats]

GREY = 186  # of a mesh that comes without any colours
FINER = 2  # samples along a texel's side in "best"


@dataclass(frozen=True)
class Finished:
    """A finished mesh.

    Attributes:
        whole: one vertex a place, closed unless holes were asked for; with normals and colours; what PLY gets.
        scene: cut along UV borders, with its texture; what is drawn.
        material: the textures, encoded; what GLB gets beside `scene.mesh`.
        facts: what was done, in numbers.
        timings: seconds of each step.
    """

    whole: Mesh
    scene: Scene
    material: Material
    facts: dict[str, int | float | bool] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    @property
    def mesh(self) -> Mesh:
        return self.scene.mesh

    @property
    def texture(self) -> Pixels:
        return self.scene.texture


def finish(
    dense: Mesh,
    *,
    target: int = 30_000,
    texture_size: int = 1024,
    mode: FinishMode = "fast",
    colour_at: ColourAt | None = None,
    hole_limit: float | None = None,
    roughness: float = 0.9,
) -> Finished:
    """About `target` triangles as near to the dense mesh as they can be, with its colours as a texture.

    Same input, same bytes. The frame of the mesh does not matter.

    Args:
        dense: triangles in any state, colours optional; about as large as the unit cube.
        mode: "fast" takes the nearest vertex's colour; "pbr" interpolates colours on the dense surface and keeps its
            fine shape as a normal map, on triangles fitted for longer; "best" is that with four samples a texel.
        colour_at: where colours come from instead of the dense mesh's own, which stay for places it does not know.
        hole_limit: length around a hole beyond which it is left open; None closes all.
    Raises:
        UnusableMesh: there is no surface, or positions are not finite.
    """
    clock = _Clock()
    vertices, faces = _checked(dense)
    points, triangles = approximate(vertices, faces, target, careful=mode != "fast", hole_limit=hole_limit)
    clock.lap("decimate")
    facts: dict[str, int | float | bool] = {"input_triangles": len(faces), "parts_found": count_parts(triangles)}
    points, triangles = _without_clutter(points, triangles, quick=mode == "fast", facts=facts)
    clock.lap("clean")
    cut = unwrap_six_axes(points, triangles, texture_size)
    clock.lap("unwrap")
    normals = vertex_normals(points, triangles)
    mesh = Mesh(points[cut.source], cut.faces, cut.uv, normals[cut.source])
    fragments = bake.rasterize_uv(cut.uv, cut.faces, texture_size)
    surface = DenseSurface(Mesh(vertices, faces, colours=dense.colours), exact=mode != "fast")
    texture = _texture(mesh, fragments, surface, colour_at, texture_size, FINER if mode == "best" else 1)
    clock.lap("bake")
    material = Material(jpeg(texture), roughness=roughness)
    if mode != "fast":
        mesh, material = with_normal_map(mesh, material, fragments, _fine_normals(mesh, fragments, surface), fill=True)
        clock.lap("normal map")
    whole = Mesh(points, triangles, normals=normals, colours=vertex_colours(len(points), cut, texture))
    facts |= {
        "triangles": len(triangles),
        "watertight": is_closed(triangles),
        "euler_number": euler_number(triangles),
        "parts": count_parts(triangles),
        "charts": int(cut.chart.max()) + 1,
        "texture_cover": round(float((fragments.face >= 0).mean()), 4),
    }
    clock.lap("encode")
    return Finished(whole, Scene(mesh, texture), material, facts, clock.laps)


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._last = round(now - self._last, 4), now


def _checked(dense: Mesh) -> tuple[Floats, Ints]:
    vertices, faces = np.ascontiguousarray(dense.vertices, np.float32), np.ascontiguousarray(dense.faces, np.int32)
    if len(faces) == 0:
        raise UnusableMesh("the dense mesh has no triangles; the engine found no surface in this input")
    if not np.isfinite(vertices).all():
        count = int((~np.isfinite(vertices).all(axis=1)).sum())
        raise UnusableMesh(f"{count} of {len(vertices)} positions of the dense mesh are not finite numbers")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise UnusableMesh(f"faces name vertices {faces.min()} to {faces.max()}; there are {len(vertices)}")
    return vertices, faces


def _without_clutter(
    points: Floats, triangles: Ints, quick: bool, facts: dict[str, int | float | bool]
) -> tuple[Floats, Ints]:
    """The mesh without dust and hidden shells, wound outward; says in `facts` how many parts went."""
    if len(triangles) == 0:
        raise UnusableMesh("nothing is left of the dense mesh after repair; it was no surface")
    if not face_normals(points, triangles).any():
        raise UnusableMesh("the triangles of the dense mesh have no area")
    before = facts["parts_found"]
    points, triangles = drop_small_parts(points, triangles)
    without_dust = count_parts(triangles)
    points, triangles = drop_hidden(points, triangles, quick)
    facts["dust_removed"] = int(before) - without_dust
    facts["hidden_removed"] = without_dust - count_parts(triangles)
    if is_closed(triangles) and signed_volume(points, triangles) < 0:
        triangles = np.ascontiguousarray(triangles[:, ::-1])
    return compact(points, triangles)


def _texture(
    mesh: Mesh, fragments: Fragments, surface: DenseSurface, colour_at: ColourAt | None, size: int, finer: int
) -> Pixels:
    """(size, size, 3) the colours on the mesh's UV, those outside the charts continued."""
    assert mesh.uv is not None and mesh.normals is not None
    fine = fragments if finer == 1 else bake.rasterize_uv(mesh.uv, mesh.faces, finer * size)
    covered = fine.face >= 0
    positions = bake.interpolate(fine, mesh.faces, mesh.vertices)
    if colour_at is None:
        colours = surface.colours_at(positions, GREY)
    else:
        normals = bake.interpolate(fine, mesh.faces, mesh.normals)
        normals /= np.maximum(np.sqrt((normals * normals).sum(axis=1, keepdims=True)), 1e-9)
        colours = np.asarray(colour_at(positions, normals), np.float32)
        colours = _with_unknown(colours, fine, positions, mesh, surface)
    picture = np.zeros((*covered.shape, 3), np.float32)
    picture[covered] = colours
    if finer > 1:
        mass = cv2.resize(covered.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) / np.maximum(mass, 1e-6)[..., None]
        covered = np.asarray(mass > 0)
    return bake.fill_outside(np.clip(picture + 0.5, 0, 255).astype(np.uint8), covered)


def _with_unknown(
    colours: Floats, fragments: Fragments, positions: Floats, mesh: Mesh, surface: DenseSurface
) -> Floats:
    """The colours with rows of NaN replaced: by the dense mesh's own, or else by what is known around them."""
    unknown: Mask = np.asarray(np.isnan(colours).any(axis=1))
    if not unknown.any():
        return colours
    colours = np.where(unknown[:, None], 0, colours).astype(np.float32)
    if surface.coloured or unknown.all():
        colours[unknown] = surface.colours_at(positions[unknown], GREY)
        return colours
    # The mean of what is known around each vertex, spread along the surface, then interpolated back.
    corners = mesh.faces[fragments.face[fragments.face >= 0]]
    place = np.unique(mesh.vertices, axis=0, return_inverse=True)[1].ravel()
    known_corners = place[corners[~unknown]].ravel()
    count = np.bincount(known_corners, minlength=int(place.max()) + 1)
    total = [np.bincount(known_corners, np.repeat(colours[~unknown, c], 3), len(count)) for c in range(3)]
    mean = (np.stack(total, axis=1) / np.maximum(count, 1)[:, None]).astype(np.float32)
    spread = spread_over_mesh(mean, count > 0, place[mesh.faces])[place]
    colours[unknown] = bake.interpolate(fragments, mesh.faces, spread)[unknown]
    return colours


def _fine_normals(mesh: Mesh, fragments: Fragments, surface: DenseSurface) -> Floats:
    """(N, N, 3) the dense mesh's normals at each texel, 0 outside the charts."""
    covered = fragments.face >= 0
    fine = np.zeros((*covered.shape, 3), np.float32)
    fine[covered] = surface.normals_at(bake.interpolate(fragments, mesh.faces, mesh.vertices))
    return fine
