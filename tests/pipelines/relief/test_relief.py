"""The relief pipeline from picture files to finished assets."""

import hashlib
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw

from geometry.inspect import inspect_glb
from pipelines.base import Kept, Machine, Progress, Result, Step
from pipelines.errors import InputError
from pipelines.relief.params import ReliefParams
from pipelines.relief.pipeline import ReliefPipeline

Finished = Callable[[str], tuple[Path, Result]]
ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
# Euler number of each part: 2 - 2 x holes.
KNOWN = {
    "person.png": [2],
    "fox.png": [2],
    "mug.png": [0],
    "letter.png": [0],
    "heron.png": [0],  # between the legs, which meet at the toes
    "flower.png": [2],
    "doughnut.png": [0],
    "apple.jpg": [2],
}
FILES = (
    ["output.glb", "preview.glb", "thumbnail.png", "turntable.webp", "stage2_output/output.glb"]
    + ["stage2_output/output_mesh.ply", "stage1_output/input.png", "stage1_output/latent.npz"]
    + [f"stage1_output/{kind}_{k}.png" for kind in ("color", "normal") for k in range(5)]
)


@pytest.fixture(scope="module")
def pipeline() -> ReliefPipeline:
    relief = ReliefPipeline(Machine("cpu"))
    relief.setup()
    return relief


def run(pipeline: ReliefPipeline, images: list[Path], out: Path, **params: Any) -> Any:
    return pipeline.run(images, ReliefParams(**params), out, Progress(lambda step: None, pipeline.PLAN), Kept())


@pytest.fixture(scope="module")
def finished(pipeline: ReliefPipeline, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """One standard run of an example, made when first asked for: its folder and its result."""

    @cache
    def make(name: str) -> tuple[Path, Result]:
        out = tmp_path_factory.mktemp("example")
        return out, run(pipeline, [EXAMPLES / name], out)

    return make


@pytest.fixture(scope="module")
def letter(finished: Finished) -> Path:
    """The files of one standard run on the letter R."""
    return finished("letter.png")[0]


def texture_of(glb: bytes, index: int = 0) -> np.ndarray:
    length = struct.unpack_from("<I", glb, 12)[0]
    document = json.loads(glb[20 : 20 + length])
    view = document["bufferViews"][document["images"][index]["bufferView"]]
    start = 28 + length + view["byteOffset"]
    return np.asarray(Image.open(io.BytesIO(glb[start : start + view["byteLength"]])))


def picture_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def few_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and smaller pictures, for tests that look at the mesh."""
    monkeypatch.setattr("pipelines.showcase.FRAMES", 2)
    monkeypatch.setattr("pipelines.relief.pipeline.VIEW_SIZE", 128)


def small_drawing(path: Path, size: int = 128) -> Path:
    image = Image.new("RGBA", (size, size))
    pen = ImageDraw.Draw(image)
    pen.ellipse((size // 8, size // 6, size - size // 8, size - size // 6), fill=(190, 90, 40, 255))
    pen.rectangle((size // 3, size // 3, size // 2, size // 2), fill=(60, 160, 220, 255))
    image.save(path)
    return path


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_example_is_a_sound_solid_with_its_own_holes(finished: Finished, name: str) -> None:
    folder, result = finished(name)
    for file, triangles in (("output.glb", 20_000), ("preview.glb", 2_000)):
        data = (folder / file).read_bytes()
        report = inspect_glb(data)
        assert report.sound, report.problems
        assert report.euler_numbers == KNOWN[name]
        assert abs(report.triangles - triangles) < 0.1 * triangles
        read = trimesh.load(io.BytesIO(data), file_type="glb", process=False, force="mesh")
        read.merge_vertices(merge_tex=True, merge_norm=True)
        assert read.is_watertight and read.is_winding_consistent and read.volume > 0
        assert np.abs(read.vertices).max() <= 0.5
    assert result.facts["engine"] == "geometric"
    assert result.facts["learned"] is False
    assert result.facts["watertight"] is True
    assert result.facts["matte"] == ("grabcut" if name.endswith("jpg") else "alpha")
    assert ("matte_residual" in result.facts) == name.endswith("jpg")
    assert set(result.timings) == set(ReliefPipeline.PLAN)
    for file in FILES:
        assert (folder / file).stat().st_size > 200, file


def test_the_documented_files_are_there_and_nothing_else(letter: Path) -> None:
    found = sorted(str(path.relative_to(letter)) for path in letter.rglob("*") if path.is_file())
    assert found == sorted(FILES)
    assert (letter / "output.glb").read_bytes() == (letter / "stage2_output/output.glb").read_bytes()


def test_pictures_have_their_sizes_and_the_turntable_turns(letter: Path) -> None:
    for kind in ("color", "normal"):
        for index in range(5):
            assert picture_of(letter / f"stage1_output/{kind}_{index}.png").shape == (768, 768, 3)
    assert picture_of(letter / "stage1_output/input.png").shape == (768, 768, 4)
    assert picture_of(letter / "thumbnail.png").shape == (512, 512, 3)
    with Image.open(letter / "turntable.webp") as turn:
        assert 24 <= turn.n_frames <= 36
        assert turn.info["loop"] == 0
        assert 256 <= turn.size[0] <= 320


@pytest.mark.parametrize(("name", "least"), [("letter.png", 0.985), ("person.png", 0.985), ("doughnut.png", 0.985)])
def test_the_front_view_is_the_picture(finished: Finished, name: str, least: float) -> None:
    """Outlines agree, and colours within two levels on average inside them."""
    folder, _ = finished(name)
    given = picture_of(folder / "stage1_output/input.png").astype(float)
    front = picture_of(folder / "stage1_output/color_0.png").astype(float)
    normal = picture_of(folder / "stage1_output/normal_0.png")
    solid, wanted = (normal != 255).any(axis=2), given[..., 3] > 127
    assert (solid & wanted).sum() / (solid | wanted).sum() > least
    inside = wanted & (given[..., 3] == 255)
    for shift in (6, -6):
        inside &= np.roll(wanted, shift, 0) & np.roll(wanted, shift, 1)
    assert np.abs(front - given[..., :3])[inside].mean() < 2


def test_the_four_sides_show_one_object(letter: Path) -> None:
    front, right, back, left = (
        (picture_of(letter / f"stage1_output/normal_{k}.png") != 255).any(axis=2) for k in range(4)
    )
    assert (front ^ back[:, ::-1]).mean() < 0.002
    assert (right ^ left[:, ::-1]).mean() < 0.002
    assert np.array_equal(np.flatnonzero(front.any(axis=1))[[0, -1]], np.flatnonzero(right.any(axis=1))[[0, -1]])


def test_the_latent_holds_the_voxels_of_the_surface_in_the_z_up_frame(letter: Path) -> None:
    with np.load(letter / "stage1_output/latent.npz") as latent:
        coords = latent["coords"]
    assert coords.dtype == np.float32
    assert coords.shape[1] == 4
    assert (coords[:, 0] == 0).all()
    assert (coords == np.floor(coords)).all() and 0 <= coords.min() and coords.max() <= 63
    assert len(np.unique(coords, axis=0)) == len(coords) > 1000
    mesh = trimesh.load(letter / "stage2_output/output_mesh.ply", process=False)
    points = mesh.vertices
    expected = np.floor((np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1) + 0.5) * 64)
    known = {tuple(row) for row in coords[:, 1:]}
    near = [
        any(tuple(row + step) in known for step in np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])) for row in expected
    ]
    assert np.mean(near) > 0.995


def test_ply_is_the_closed_solid_with_the_picture_s_colours(letter: Path) -> None:
    mesh = trimesh.load(letter / "stage2_output/output_mesh.ply", process=False)
    assert mesh.is_watertight and mesh.euler_number == 0 and mesh.volume > 0
    assert np.ptp(mesh.visual.vertex_colors[:, :3], axis=0).max() > 100


def test_the_normal_map_is_there_and_mostly_straight_up(letter: Path) -> None:
    data = (letter / "output.glb").read_bytes()
    assert inspect_glb(data).has_normal_map
    assert np.abs(np.median(texture_of(data, 1), axis=(0, 1)) - [128, 128, 255]).max() < 3
    assert texture_of(data, 1)[..., 0].std() > 0.5


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize("size", [256, 512, 2048])
def test_texture_size_is_the_side_of_the_texture(pipeline: ReliefPipeline, tmp_path: Path, size: int) -> None:
    result = run(pipeline, [small_drawing(tmp_path / "a.png")], tmp_path / "out", texture_size=size)
    report = inspect_glb((tmp_path / "out/output.glb").read_bytes())
    assert report.texture_size == (size, size)
    assert result.facts["texture_size"] == size
    assert report.sound


def test_no_texel_is_left_dark(letter: Path) -> None:
    """The charts' surroundings are filled, so that no mip level bleeds black into a seam."""
    assert texture_of((letter / "output.glb").read_bytes()).max(axis=2).min() > 40


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize("ratio", [0.5, 0.1, 0.01])
def test_simplify_ratio_is_the_share_of_triangles(pipeline: ReliefPipeline, tmp_path: Path, ratio: float) -> None:
    picture = small_drawing(tmp_path / "a.png")
    result = run(pipeline, [picture], tmp_path / "out", simplify_ratio=ratio, texture_size=256)
    assert 0.9 * 20_000 * ratio < result.facts["triangles"] < 1.1 * 20_000 * ratio + 60
    assert inspect_glb((tmp_path / "out/output.glb").read_bytes()).sound


@pytest.mark.usefixtures("few_frames")
def test_bake_modes_differ_as_they_say(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    reports, textures = {}, {}
    for mode in ("pbr", "opt", "fast"):
        run(pipeline, [EXAMPLES / "letter.png"], tmp_path / mode, texture_bake_mode=mode, texture_size=256)
        data = (tmp_path / mode / "output.glb").read_bytes()
        reports[mode], textures[mode] = inspect_glb(data), texture_of(data).astype(float)
        assert reports[mode].sound
    assert [reports[mode].has_normal_map for mode in ("pbr", "opt", "fast")] == [True, False, False]
    assert 0.1 < np.abs(textures["opt"] - textures["fast"]).mean() < 10


@pytest.mark.usefixtures("few_frames")
def test_quality_depth_and_relief_change_the_shape(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    def extents(name: str, **params: Any) -> tuple[float, int]:
        result = run(pipeline, [EXAMPLES / "letter.png"], tmp_path / name, texture_size=256, **params)
        mesh = trimesh.load(tmp_path / name / "stage2_output/output_mesh.ply", process=False)
        return float(mesh.extents[2]), result.facts["triangles"]

    depth, triangles = extents("plain", relief=0)
    assert np.isclose(extents("deep", relief=0, depth=1.5)[0], 1.5 * depth, rtol=0.02)
    assert extents("bumpy", relief=3)[0] > depth + 0.005
    assert abs(extents("fine", relief=0, quality="high")[1] - 1.5 * triangles) < 100


@pytest.mark.usefixtures("few_frames")
def test_extreme_depth_stays_in_the_unit_cube(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    run(pipeline, [small_drawing(tmp_path / "a.png")], tmp_path / "out", depth=3, relief=3, texture_size=256)
    mesh = trimesh.load(tmp_path / "out/stage2_output/output_mesh.ply", process=False)
    assert np.abs(mesh.vertices).max() <= 0.5
    assert mesh.is_watertight


@pytest.mark.usefixtures("few_frames")
def test_the_seed_changes_the_grain_of_the_back_alone(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    picture = small_drawing(tmp_path / "a.png")
    textures = []
    for seed in (0, 1):
        run(pipeline, [picture], tmp_path / str(seed), seed=seed, texture_size=512, texture_bake_mode="fast")
        textures.append(texture_of((tmp_path / str(seed) / "output.glb").read_bytes()).astype(float))
    first, second = textures
    # A wide object's sheets lie one above the other, the front on top.
    difference = np.abs(first - second).mean(axis=2)
    assert difference[:240].mean() < 0.02
    assert 0.2 < difference[300:450, 180:330].mean() < 6


@pytest.mark.usefixtures("few_frames")
def test_the_back_can_be_the_front_mirrored(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    run(pipeline, [EXAMPLES / "person.png"], tmp_path, back="mirror", texture_size=512)
    front, back = (picture_of(tmp_path / f"stage1_output/color_{k}.png").astype(float) for k in (0, 2))
    assert np.abs(front - back[:, ::-1]).mean() < 1.0


def test_the_back_does_not_show_the_face(finished: Finished) -> None:
    folder, _ = finished("person.png")
    front, back = (picture_of(folder / f"stage1_output/color_{k}.png").astype(float) for k in (0, 2))
    face = slice(150, 220), slice(340, 430)
    front_edges, back_edges = (np.abs(np.diff(view[face], axis=1)) > 12 for view in (front, back[:, ::-1]))
    assert front_edges.mean() > 0.02 > 0.002 > back_edges.mean()


def test_progress_never_falls_and_ends_at_one(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    steps: list[Step] = []
    picture = small_drawing(tmp_path / "a.png")
    preview_at = []

    def report(step: Step) -> None:
        steps.append(step)
        if (tmp_path / "out/preview.glb").exists() and not preview_at:
            preview_at.append(step.fraction)

    pipeline.run([picture], ReliefParams(texture_size=256), tmp_path / "out", Progress(report, pipeline.PLAN), Kept())
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert np.isclose(fractions[-1], 1)
    assert len({step.stage for step in steps}) == len(pipeline.PLAN)
    assert preview_at[0] < 0.5


def test_two_fresh_processes_write_the_same_bytes(tmp_path: Path) -> None:
    """Every file of an alpha picture, of a GrabCut picture, and of several views."""
    views = [str(EXAMPLES / "views" / f"{name}.png") for name in ("front", "left")]
    code = f"""
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pipelines.base import Kept, Machine, Progress
from pipelines.relief.params import ReliefParams
from pipelines.relief.pipeline import ReliefPipeline
pipe, out = ReliefPipeline(Machine("cpu")), Path(sys.argv[1])
def go(name, images, **params):
    pipe.run([Path(i) for i in images], ReliefParams(**params), out / name, Progress(lambda s: None, pipe.PLAN), Kept())
go("alpha", ["{EXAMPLES / "heron.png"}"])
go("photo", ["{EXAMPLES / "apple.jpg"}"], texture_bake_mode="opt", seed=5)
go("views", {views!r}, views=("front", "left"), texture_size=512)
"""
    names, hashes = ("first", "second"), []
    processes = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)], cwd=ROOT) for name in names]
    assert [process.wait() for process in processes] == [0, 0]
    for name in names:
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        hashes.append({str(p.relative_to(tmp_path / name)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files})
    assert len(hashes[0]) == 3 * len(FILES)
    assert hashes[0] == hashes[1]


def write_case(name: str, path: Path) -> Path:
    """Pictures as the world sends them."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0:300, 0:300]
    pixels = np.full((300, 300, 4), 180, np.uint8)
    if name == "tiny":
        return small_drawing(path, 16)
    if name == "wide strip":
        pixels = np.full((8, 3000, 4), 255, np.uint8)
        pixels[:, :20, 3] = pixels[0, :, 3] = 0
    elif name == "hair line":
        pixels[..., 3] = np.where((abs(x - y) < 2) & (x > 20), 255, 0)
    elif name == "spots":
        pixels[..., 3] = np.where((np.sin(x / 9) * np.sin(y / 9)) > 0.5, 255, 0)
    elif name == "grid":
        pixels[..., 3] = np.where((x % 30 < 16) | (y % 30 < 16), 255, 0)
    elif name == "noise":
        pixels = random.integers(0, 255, (30, 30, 4), dtype=np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    elif name == "soft":
        pixels[..., 3] = np.clip(255 - np.hypot(x - 150, y - 150) * 2, 0, 255)
    elif name == "to the edge":
        pixels[..., 3] = np.where(x + y < 380, 255, 0)
    elif name == "frame":
        pixels[..., 3] = np.where((abs(x - 150) > 90) | (abs(y - 150) > 90), 255, 0)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.usefixtures("few_frames")
@pytest.mark.parametrize(
    "name", ["tiny", "wide strip", "hair line", "spots", "grid", "noise", "soft", "to the edge", "frame"]
)
def test_odd_outlines_still_become_closed_solids(pipeline: ReliefPipeline, tmp_path: Path, name: str) -> None:
    run(pipeline, [write_case(name, tmp_path / "a.png")], tmp_path / "out", texture_size=256, simplify_ratio=0.3)
    for file in ("output.glb", "preview.glb"):
        report = inspect_glb((tmp_path / "out" / file).read_bytes())
        assert report.sound, report.problems
    if name == "spots":
        assert len(report.euler_numbers) > 20
    if name == "frame":
        assert report.euler_numbers == [0]


def test_an_unusable_picture_leaves_a_sentence_and_no_asset(pipeline: ReliefPipeline, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), (50, 60, 70)).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match="send a PNG"):
        run(pipeline, [tmp_path / "flat.png"], tmp_path / "out")
    assert not (tmp_path / "out/output.glb").exists()
