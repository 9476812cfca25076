"""Pictures of the front and of a side -> a solid that has both outlines, coloured from all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry import bake, inflate, project, solid
from geometry.cameras import Camera
from geometry.cleanup import close, drop_small_parts
from geometry.mesh import Floats, Ints, Material, Mesh, is_closed, unit, vertex_normals
from geometry.project import Photograph
from geometry.rasterize import Fragments, rasterize
from geometry.render import Scene
from geometry.simplify import simplify
from geometry.textures import jpeg, with_normal_map
from geometry.unwrap import unwrap_six_axes
from pipelines.errors import InputError
from pipelines.foreground import Pixels
from pipelines.relief.asset import ROUGHNESS, Asset
from pipelines.relief.colour import front_colours
from pipelines.relief.params import ReliefParams, View
from pipelines.relief.shape import DEEPEST, MASK_GRID, coverage, halved
from pipelines.relief.views import camera_of

FRONT_GAIN = 1.5  # the picture people look at first counts more where views disagree
STAND_IN_GAIN = 0.15  # of a side's picture mirrored onto the side that no picture shows
NORMAL_VIEW = 640
SIX_SIDES = tuple(Camera(azimuth=k * np.pi / 2) for k in range(4)) + tuple(
    Camera(elevation=s * np.pi / 2) for s in (1, -1)
)


def solid_from_views(canvases: dict[View, Floats], params: ReliefParams) -> tuple[Floats, Ints]:
    """A dense closed mesh whose outline is the front's from the front and the side's from the side.

    Raises:
        InputError: the outlines have nothing in common.
    """
    grid = MASK_GRID[params.quality]
    alphas = {
        view: cv2.resize(canvas[..., 3], (grid, grid), interpolation=cv2.INTER_AREA)
        for view, canvas in canvases.items()
    }
    front = [alphas["front"]] + [alpha[:, ::-1] for view, alpha in alphas.items() if view == "back"]
    # The columns of the side's outline run along z; the camera at +X sees z grow to the left.
    side = [alpha[:, ::-1] if view == "left" else alpha for view, alpha in alphas.items() if view in ("left", "right")]
    front_share, side_share = (_normalised(_mean(pictures)) for pictures in (front, side))
    vertices, faces = solid.two_fields(front_share, _without_gaps(side_share))
    if len(faces) == 0:
        raise InputError("the outlines of the front and of the side do not meet; send pictures of one object")
    vertices, faces = drop_small_parts(*close(vertices, faces))
    if not is_closed(faces):
        raise InputError("the outlines are too ragged to become a solid; send cleaner cut-outs")
    deepest = float(np.abs(vertices[:, 2]).max())
    vertices[:, 2] *= min(params.depth, max(DEEPEST / deepest, 1.0))
    return vertices, faces


def _mean(alphas: list[Floats]) -> Floats:
    """One outline from one or two; where two disagree the first is right, as one half would be neither in nor out."""
    return alphas[0] if len(alphas) == 1 else 0.6 * alphas[0] + 0.4 * alphas[1]


def _normalised(alpha: Floats) -> Floats:
    return solid.row_normalised(halved(inflate.profile(coverage(alpha))))


def _without_gaps(share: Floats) -> Floats:
    """Rows that show nothing take the nearest row that shows something."""
    filled = np.flatnonzero((share > 0).any(axis=1))
    rows = np.arange(share.shape[0])
    return share[filled[np.abs(rows[:, None] - filled).argmin(axis=1)]]


def photographs(canvases: dict[View, Floats], rims: dict[View, float]) -> list[Photograph]:
    """The pictures as sources of colour, the mixed colours of their outlines left out."""
    result = []
    for view, canvas in canvases.items():
        colours = front_colours(canvas, rims[view]).astype(np.float32)
        mask = (canvas[..., 3] > 0.5).astype(np.uint8)
        trusted = cv2.erode(mask, np.ones((5, 5), np.uint8)) > 0
        result.append(Photograph(camera_of(view), colours, trusted, FRONT_GAIN if view == "front" else 1.0))
        if (view == "left" and "right" not in canvases) or (view == "right" and "left" not in canvases):
            # Most things are alike on both sides, so the one picture stands in where nothing else shows the other.
            other = camera_of("right" if view == "left" else "left")
            mirrored = np.ascontiguousarray(colours[:, ::-1]), np.ascontiguousarray(trusted[:, ::-1])
            result.append(Photograph(other, *mirrored, STAND_IN_GAIN))
    return result


@dataclass(frozen=True, eq=False)
class TwoFields:
    """A solid with the outlines of two directions, coloured from photographs.

    Attributes:
        dense: vertices and faces as they came from the fields; `mesh` those to use.
    """

    dense: tuple[Floats, Ints]
    sources: Sequence[Photograph]
    seed: int
    mesh: tuple[Floats, Ints]

    def simplified(self, triangles: int) -> "TwoFields":
        return replace(self, mesh=simplify(*self.mesh, triangles))

    def asset(self, texture_size: int, mode: bake.BakeMode) -> Asset:
        vertices, faces = self.mesh
        normals = vertex_normals(vertices, faces)
        depths = [project.depth_map(vertices, faces, source.camera) for source in self.sources]
        colours, weight = project.colours_at(vertices, normals, self.sources, depths)
        colours = project.spread_over_mesh(colours, weight > 1e-3, faces)
        cut = unwrap_six_axes(vertices, faces, texture_size)
        mesh = Mesh(vertices[cut.source], cut.faces, cut.uv, normals[cut.source])
        finer = 2 if mode == "opt" and texture_size <= 1024 else 1
        fragments = bake.rasterize_uv(cut.uv, cut.faces, finer * texture_size)
        texture = _texture(mesh, fragments, colours[cut.source], self.sources, depths, self.seed)
        texture = cv2.resize(texture, (texture_size, texture_size), interpolation=cv2.INTER_AREA)
        material = Material(jpeg(texture), roughness=ROUGHNESS)
        if mode == "pbr":
            mesh, material = with_normal_map(mesh, material, fragments, _fine_normals(mesh, fragments, self.dense))
        whole = Mesh(vertices, faces, normals=normals, colours=np.clip(colours + 0.5, 0, 255).astype(np.uint8))
        return Asset(whole, Scene(mesh, texture), material)


def _texture(
    mesh: Mesh, fragments: Fragments, spread: Floats, sources: Sequence[Photograph], depths: Sequence[Floats], seed: int
) -> Pixels:
    """Each texel from the photographs that see it, from its surroundings on the surface where none does."""
    assert mesh.normals is not None
    covered = fragments.face >= 0
    points, normals, fallback = (
        bake.interpolate(fragments, mesh.faces, v) for v in (mesh.vertices, mesh.normals, spread)
    )
    seen, weight = project.colours_at(points, unit(normals), sources, depths)
    share = np.clip(weight / 0.02, 0, 1)[:, None]
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(len(points), np.float32)[:, None]
    mixed = share * seen + (1 - share) * (fallback + 1.5 * noise)
    texture = np.zeros((*covered.shape, 3), np.uint8)
    texture[covered] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return bake.fill_outside(texture, covered)


def _fine_normals(mesh: Mesh, fragments: Fragments, dense: tuple[Floats, Ints]) -> Floats:
    """(N, N, 3) normals of the dense mesh for each texel, looked up through six views of it."""
    assert mesh.normals is not None
    vertices, faces = dense
    normals = vertex_normals(vertices, faces)
    views, depths = [], []
    for camera in SIX_SIDES:
        seen = rasterize(camera.project(vertices, NORMAL_VIEW), faces, NORMAL_VIEW, NORMAL_VIEW, cull=True)
        picture = np.zeros((NORMAL_VIEW, NORMAL_VIEW, 3), np.float32)
        covered = seen.face >= 0
        picture[covered] = bake.interpolate(seen, faces, normals)
        views.append(Photograph(camera, picture, cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0))
        depths.append(project.depth_map(vertices, faces, camera))
    own = unit(bake.interpolate(fragments, mesh.faces, mesh.normals))
    detail, weight = project.colours_at(bake.interpolate(fragments, mesh.faces, mesh.vertices), own, views, depths)
    fine = np.zeros((*fragments.face.shape, 3), np.float32)
    fine[fragments.face >= 0] = np.where(weight[:, None] > 0.02, unit(detail), own)
    return fine
