"""Colours come from the cameras that see a point, and spread along the surface where none does."""

import numpy as np
import trimesh

from geometry import project
from geometry.cameras import Camera
from geometry.mesh import vertex_normals


def plain(camera: Camera, colour: tuple[int, int, int], gain: float = 1.0) -> project.Photograph:
    picture = np.broadcast_to(np.array(colour, np.float32), (64, 64, 3))
    return project.Photograph(camera, picture, np.ones((64, 64), bool), gain)


def test_each_side_takes_the_colour_of_its_own_camera() -> None:
    ball = trimesh.creation.icosphere(4, 0.4)
    sources = [plain(Camera(), (255, 0, 0)), plain(Camera(azimuth=np.pi / 2), (0, 255, 0))]
    depths = [project.depth_map(ball.vertices, ball.faces, s.camera) for s in sources]
    colours, weight = project.colours_at(ball.vertices, vertex_normals(ball.vertices, ball.faces), sources, depths)
    direction = ball.vertices / 0.4
    assert (colours[direction[:, 2] > 0.95, 0] > 250).all()
    assert (colours[direction[:, 0] > 0.95, 1] > 250).all()
    assert (weight[(direction[:, 2] < 0) & (direction[:, 0] < 0)] == 0).all()


def test_what_stands_behind_something_is_not_coloured_by_it() -> None:
    near, far = trimesh.creation.icosphere(3, 0.1), trimesh.creation.icosphere(3, 0.1)
    near.apply_translation([0, 0, 0.3])
    far.apply_translation([0, 0, -0.3])
    both = trimesh.util.concatenate([near, far])
    source = plain(Camera(), (255, 0, 0))
    depth = project.depth_map(both.vertices, both.faces, source.camera)
    _, weight = project.colours_at(both.vertices, vertex_normals(both.vertices, both.faces), [source], [depth])
    assert weight[: len(near.vertices)].max() > 0.9
    assert (weight[len(near.vertices) :] == 0).all()


def test_unknown_vertices_take_the_colours_around_them() -> None:
    ball = trimesh.creation.icosphere(4)
    known = np.abs(ball.vertices[:, 1]) > 0.8
    values = np.where(ball.vertices[:, 1:2] > 0, 200.0, 100.0).astype(np.float32)
    spread = project.spread_over_mesh(np.where(known[:, None], values, 0), known, ball.faces)
    assert np.array_equal(spread[known], values[known])
    assert 100 <= spread.min() <= spread.max() <= 200
    assert spread[ball.vertices[:, 1] > 0.5].mean() > 165 > 135 > spread[ball.vertices[:, 1] < -0.5].mean()
