"""The first stage's files hold what was put in, and nothing else is taken for them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from pipelines.errors import InputError
from pipelines.synchuman.cubes import cubes, cubes_ply
from pipelines.synchuman.preparation import SIDE, body_and_face
from pipelines.synchuman.stage1_files import FirstStage, first_stage, read_first_stage

COORDS = np.array([[0, 0, 0], [1, 2, 3], [63, 63, 63]], np.int32)
LEVELS = np.random.default_rng(0).integers(0, 255, (10, SIDE // 16, SIDE // 16, 3), np.uint8)
PICTURES = LEVELS.repeat(16, axis=1).repeat(16, axis=2)
RGBA = np.random.default_rng(1).integers(0, 255, (40, 30, 4), np.uint8)
FILES = {f"{kind}_{view}.png" for kind in ("color", "normal") for view in range(5)}
FILES |= {"concat.png", "input.png", "latent.npz", "voxel.ply"}


@pytest.fixture
def stage() -> FirstStage:
    return FirstStage(COORDS, 64, PICTURES[:5], PICTURES[5:], RGBA)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_everything_is_published_and_has_the_same_bytes_every_time(stage: FirstStage, tmp_path: Path) -> None:
    for name in ("a", "b"):
        FirstStage(**{key: getattr(stage, key) for key in stage.__annotations__}).write(tmp_path / name)
    written = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    assert written.keys() == FILES
    for view in range(5):
        assert np.array_equal(pixels(tmp_path / "a" / f"color_{view}.png"), PICTURES[view])
        assert np.array_equal(pixels(tmp_path / "a" / f"normal_{view}.png"), PICTURES[5 + view])
    both = [PICTURES[5 * kind + view] for view in range(5) for kind in (0, 1)]
    assert np.array_equal(pixels(tmp_path / "a" / "concat.png"), np.hstack(both))
    assert np.array_equal(pixels(tmp_path / "a" / "input.png"), RGBA)


def test_one_file_is_enough_to_go_on(stage: FirstStage, tmp_path: Path) -> None:
    stage.write_latent(tmp_path / "latent.npz")
    back = read_first_stage(tmp_path / "latent.npz", 64)
    for name in ("coords", "colour", "normal", "rgba"):
        assert np.array_equal(getattr(back, name), getattr(stage, name)), name
    with np.load(tmp_path / "latent.npz") as arrays:
        assert arrays["coords"].dtype == np.float32 and arrays["coords"][1].tolist() == [0, 1, 2, 3]


def test_the_front_is_the_picture_itself_and_its_normals_have_the_faces() -> None:
    rgba = np.zeros((50, 30, 4), np.uint8)
    rgba[5:45, 5:25] = (10, 100, 200, 255)
    body, _ = body_and_face(rgba)
    normal, colour = PICTURES[:5].astype(np.float32) / 255, PICTURES[5:9].astype(np.float32) / 255
    made = first_stage(COORDS, 64, normal, colour, body, rgba)
    assert tuple(made.colour[0, 384, 384]) == (10, 100, 200) and (made.colour[0, :, 0] == 255).all()
    assert np.array_equal(made.colour[1:], PICTURES[5:9]) and np.array_equal(made.normal[1:], PICTURES[1:5])
    assert np.array_equal(made.normal[0, :256, 256:512], PICTURES[4, 1::3, 1::3])
    outside = np.ones((SIDE, SIDE), bool)
    outside[:256, 256:512] = False
    assert np.array_equal(made.normal[0, outside], PICTURES[0, outside])
    assert np.array_equal(made.rgba, rgba)


def test_levels_are_rounded_half_up() -> None:
    body, _ = body_and_face(RGBA)
    levels = {0.5 / 255: 1, 0.499 / 255: 0, 1.0: 255, 1.2: 255, -0.1: 0}
    pictures = np.ones((5, SIDE, SIDE, 3), np.float32)
    pictures[:, -len(levels) :] = np.array(list(levels), np.float32)[:, None, None]
    made = first_stage(COORDS, 64, pictures, pictures[:4], body, RGBA)
    for kind in (made.normal, made.colour[1:]):
        assert (kind[:, -len(levels) :] == np.array(list(levels.values()))[:, None, None]).all()


def png(mode: str, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "PNG")
    return np.frombuffer(stream.getvalue(), np.uint8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"coords": np.array([[0, 1, 1, 64]], np.float32)}, "leave the 64 cubed grid"),
        ({"coords": None}, "coords is not a file"),
        ({"coords": np.array([{}], object)}, "allow_pickle=False"),
        ({"color_3": None}, "no pictures as SyncHuman's have"),
        ({"input": None}, "no pictures as SyncHuman's have"),
        ({"color_3": png("RGB", (64, 64))}, "color_3 is RGB of 64 x 64 pixels"),
        ({"normal_4": png("L")}, "normal_4 is L of 768 x 768 pixels"),
        ({"input": png("RGB", (40, 30))}, "input is RGB of 40 x 30 pixels"),
        ({"input": png("RGBA", (5000, 8))}, "input is RGBA of 5000 x 8 pixels"),
        ({"color_0": np.zeros(100, np.uint8)}, "color_0 is no PNG"),
        ({"color_0": png("RGB")[:-1000]}, "color_0 is no PNG"),
        ({"color_0": np.zeros((0,), np.float32)}, "color_0 is no PNG"),
    ],
)
def test_something_else_is_refused_with_the_remedy(
    stage: FirstStage, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    stage.write_latent(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as arrays:
        changed = {**arrays, **change}
    np.savez(tmp_path / "x.npz", **{name: value for name, value in changed.items() if value is not None})
    with pytest.raises(InputError, match=rf"x.npz is no structure of an earlier job: .*{told}.*run stage1 again"):
        read_first_stage(tmp_path / "x.npz", 64)


def test_another_pipelines_structure_and_a_damaged_file_are_refused(stage: FirstStage, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, coords=np.zeros((1, 4), np.float32), images=np.zeros((1, 518, 518, 3), np.uint8))
    with pytest.raises(InputError, match="no pictures as SyncHuman's have"):
        read_first_stage(path, 64)
    stage.write_latent(path)
    whole = path.read_bytes()
    for data in (b"", b"a picture", whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="run stage1 again"):
            read_first_stage(path, 64)


def test_cubes_are_closed_and_seen_from_outside(tmp_path: Path) -> None:
    (tmp_path / "voxel.ply").write_bytes(cubes_ply(COORDS))
    vertices, faces = cubes(COORDS)
    assert np.array_equal(vertices[:3], COORDS)
    read = trimesh.load(tmp_path / "voxel.ply", process=False)
    assert np.array_equal(read.vertices, vertices)
    assert read.is_watertight and np.isclose(read.volume, len(COORDS))
    assert np.array_equal(faces[:2], [[5, 6, 4, 3], [7, 8, 10, 9]])


def test_the_preview_is_the_voxels(stage: FirstStage) -> None:
    assert stage.preview()[:4] == b"glTF"
