"""A solid with colours -> the textured meshes that go into the files."""

from dataclasses import dataclass, replace
from typing import Protocol

from geometry import bake
from geometry.mesh import Floats, Ints, Material, Mesh
from geometry.render import Scene
from geometry.simplify import simplify
from geometry.textures import jpeg, vertex_colours, with_normal_map
from geometry.unwrap import two_sheets, unwrap_two_sheets
from pipelines.foreground import Pixels
from pipelines.relief.shape import Solid

BUDGET = {"standard": 20_000, "high": 30_000}
FEWEST_TRIANGLES = 200
PREVIEW_TRIANGLES = 2_000
PREVIEW_TEXTURE = 256
ROUGHNESS = 0.9


@dataclass(frozen=True)
class Asset:
    """A finished mesh.

    Attributes:
        whole: closed, one vertex a place, with normals and colours; what PLY gets.
        scene: cut along UV borders, with its texture; what is drawn.
        material: the texture, encoded; what GLB gets beside `scene.mesh`.
    """

    whole: Mesh
    scene: Scene
    material: Material


class Sculpture(Protocol):
    """A shape with its colours, from which assets of any size can be made."""

    @property
    def dense(self) -> tuple[Floats, Ints]:
        """The finest mesh there is."""

    def simplified(self, triangles: int) -> "Sculpture":
        """The same with about so many triangles to make assets from."""

    def asset(self, texture_size: int, mode: bake.BakeMode) -> Asset:
        """A textured mesh; "pbr" adds what the triangles are too coarse for as a normal map."""


@dataclass(frozen=True, eq=False)
class Relief:
    """A solid behind one outline, with a picture for each of its two sides.

    Attributes:
        front: (T, T, 3) colours beyond the outline too; `back` in the same place, not mirrored.
        mesh: vertices and faces to use.
    """

    solid: Solid
    front: Pixels
    back: Pixels
    mesh: tuple[Floats, Ints]

    @property
    def dense(self) -> tuple[Floats, Ints]:
        return self.solid.vertices, self.solid.faces

    def simplified(self, triangles: int) -> "Relief":
        return replace(self, mesh=simplify(*self.mesh, triangles))

    def asset(self, texture_size: int, mode: bake.BakeMode) -> Asset:
        vertices, faces = self.mesh
        normals = self.solid.normals_at(vertices)
        layout = two_sheets(vertices.min(axis=0), vertices.max(axis=0), texture_size)
        cut = unwrap_two_sheets(vertices, faces, layout)
        texture: Pixels = bake.bake_sheets(self.front, self.back, layout, mode)
        mesh = Mesh(vertices[cut.source], cut.faces, cut.uv, normals[cut.source])
        material = Material(jpeg(texture), roughness=ROUGHNESS)
        if mode == "pbr":
            fine = bake.bake_sheets(*self.solid.normal_pictures(), layout, "fast")
            fragments = bake.rasterize_uv(cut.uv, cut.faces, texture_size)
            mesh, material = with_normal_map(mesh, material, fragments, fine)
        colours = vertex_colours(len(vertices), cut, texture)
        return Asset(Mesh(vertices, faces, normals=normals, colours=colours), Scene(mesh, texture), material)
