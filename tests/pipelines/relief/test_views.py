"""Several pictures of one object: the shape meets both outlines, each side has its own colours."""

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import trimesh
from PIL import Image

from geometry.inspect import inspect_glb
from pipelines.base import Kept, Machine, Progress
from pipelines.errors import InputError
from pipelines.relief.params import ReliefParams, View
from pipelines.relief.pipeline import ReliefPipeline
from pipelines.relief.views import assign

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
VIEWS = EXAMPLES / "views"
Run = Callable[..., tuple[Path, trimesh.Trimesh]]


@pytest.fixture(scope="module")
def toy() -> ModuleType:
    """examples/toy.py: the duck whose exact solid is known."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        spec = importlib.util.spec_from_file_location("toy", EXAMPLES / "toy.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(EXAMPLES))


@pytest.fixture(autouse=True)
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.showcase.FRAMES", 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The folder and the closed mesh of the named views; each combination is made once."""

    @cache
    def make(*names: View, swap_sides: bool = False) -> tuple[Path, trimesh.Trimesh]:
        pipeline, out = ReliefPipeline(Machine("cpu")), tmp_path_factory.mktemp("views")
        params = ReliefParams(views=names, swap_sides=swap_sides, texture_size=512, texture_bake_mode="fast")
        pipeline.run(
            [VIEWS / f"{name}.png" for name in names], params, out, Progress(lambda s: None, pipeline.PLAN), Kept()
        )
        report = inspect_glb((out / "output.glb").read_bytes())
        assert report.sound, report.problems
        return out, trimesh.load(out / "stage2_output/output_mesh.ply", process=False)

    return make


def overlap(mesh: trimesh.Trimesh, toy: ModuleType) -> float:
    """Intersection over union with the true duck, both brought to one height and middle."""
    axis = (np.arange(72) + 0.5) / 72 - 0.5
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    fine = np.linspace(-0.5, 0.5, 201)
    solid = toy.occupied(*np.meshgrid(fine, fine, fine, indexing="ij"))
    lows, highs = zip(
        *[fine[np.flatnonzero(solid.any(axis=o))[[0, -1]]] for o in ((1, 2), (0, 2), (0, 1))], strict=True
    )
    middle, height = (np.array(lows) + highs) / 2, highs[1] - lows[1]
    bounds = mesh.bounds
    points = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1) * 1.1
    own = (points * (bounds[1, 1] - bounds[0, 1])) + bounds.mean(axis=0)
    true = toy.occupied(*(points * height + middle).T)
    found = inside(mesh, own)
    return float((true & found).sum() / (true | found).sum())


def inside(mesh: trimesh.Trimesh, points: np.ndarray) -> np.ndarray:
    return np.asarray(mesh.contains(points))


def test_two_pictures_give_the_true_shape_where_one_cannot(toy: ModuleType, run: Run) -> None:
    both, single = overlap(run("front", "left")[1], toy), overlap(run("front")[1], toy)
    assert both > 0.85
    assert single < both - 0.1


def test_the_side_stands_where_the_camera_stood(run: Run) -> None:
    """The beak is in front; as the right picture the same outline would turn it backwards."""
    beak = {}
    for swapped in (False, True):
        vertices = run("front", "left", swap_sides=swapped)[1].vertices
        top = vertices[vertices[:, 1] > 0.1]
        beak[swapped] = top[:, 2].max() + top[:, 2].min()
    assert beak[False] > 0.02
    assert beak[True] < -0.02


def test_a_back_picture_alone_changes_only_colour(run: Run) -> None:
    (_, alone), (folder, with_back) = run("front"), run("front", "back")
    assert np.abs(alone.bounds - with_back.bounds).max() < 0.02
    with Image.open(folder / "stage1_output/color_2.png") as image:
        seen = np.asarray(image).astype(float)
    with Image.open(VIEWS / "back.png") as image:
        given = image.convert("RGBA")
    ground = Image.new("RGBA", given.size, (255, 255, 255, 255))
    box = np.flatnonzero((seen < 250).any(axis=(1, 2)))[[0, -1]]
    cropped = Image.alpha_composite(ground, given).crop(given.getbbox())
    height = int(box[1] - box[0] + 1)
    wanted = np.asarray(cropped.resize((round(cropped.width * height / cropped.height), height)).convert("RGB")).astype(
        float
    )
    left = 384 - wanted.shape[1] // 2
    middle = slice(height // 4, 3 * height // 4), slice(wanted.shape[1] // 4, 3 * wanted.shape[1] // 4)
    part = seen[box[0] : box[1] + 1, left : left + wanted.shape[1]]
    assert np.abs(part[middle] - wanted[middle]).mean() < 8


def test_four_pictures_are_used(tmp_path: Path) -> None:
    with Image.open(VIEWS / "left.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "right.png")
    pipeline = ReliefPipeline(Machine("cpu"))
    images = [VIEWS / "front.png", VIEWS / "back.png", VIEWS / "left.png", tmp_path / "right.png"]
    result = pipeline.run(
        images, ReliefParams(texture_size=256), tmp_path / "out", Progress(lambda s: None, pipeline.PLAN), Kept()
    )
    assert result.facts["views"] == ["front", "back", "left", "right"]
    assert result.warnings == []
    assert inspect_glb((tmp_path / "out/output.glb").read_bytes()).sound


def test_best_is_another_word_for_opt(tmp_path: Path) -> None:
    pipeline = ReliefPipeline(Machine("cpu"))
    for word in ("opt", "best"):
        params = ReliefParams(views=("front", "left"), texture_size=256, texture_bake_mode=word)
        images = [VIEWS / "front.png", VIEWS / "left.png"]
        pipeline.run(images, params, tmp_path / word, Progress(lambda s: None, pipeline.PLAN), Kept())
    made = [(tmp_path / word / "output.glb").read_bytes() for word in ("opt", "best")]
    assert made[0] == made[1]


def test_pictures_that_disagree_leave_one_clean_shape(tmp_path: Path) -> None:
    """The same lopsided apple from all four sides: the leaf is where the front shows it, in one piece."""
    pipeline = ReliefPipeline(Machine("cpu"))
    images = [EXAMPLES / "apple.jpg"] * 4
    params = ReliefParams(texture_size=256, texture_bake_mode="fast")
    pipeline.run(images, params, tmp_path, Progress(lambda s: None, pipeline.PLAN), Kept())
    report = inspect_glb((tmp_path / "output.glb").read_bytes())
    assert report.sound, report.problems
    assert set(report.euler_numbers) == {2} and len(report.euler_numbers) <= 2


@pytest.mark.parametrize(
    ("count", "views", "words"),
    [
        (0, (), "no picture"),
        (2, ("front",), "names 1 sides for 2 pictures"),
        (2, ("front", "front"), "once only"),
        (2, ("left", "back"), "one picture must show the front"),
    ],
)
def test_sides_that_do_not_fit_the_pictures_are_refused(count: int, views: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        assign([Path("a.png")] * count, ReliefParams(views=views))  # type: ignore[arg-type]


def test_sides_are_named_in_order_and_more_than_four_are_left_out_aloud() -> None:
    chosen, warnings = assign([Path(f"{k}.png") for k in range(6)], ReliefParams())
    assert [(name, path.stem) for name, path in chosen.items()] == [
        ("front", "0"),
        ("back", "1"),
        ("left", "2"),
        ("right", "3"),
    ]
    assert "only the first 4" in warnings[0]
    swapped, _ = assign([Path("a.png"), Path("b.png")], ReliefParams(views=("left", "front"), swap_sides=True))
    assert [(name, path.stem) for name, path in swapped.items()] == [("front", "b"), ("right", "a")]
