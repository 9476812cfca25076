"""The whole pipeline on a tiny checkpoint in the official layout. A first stage takes seconds, so few are run."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from scipy.spatial import cKDTree

from geometry.inspect import inspect_glb
from networks.synchuman.joint_flow import JointVelocity
from pipelines.base import Kept, Machine
from pipelines.effort import SMALLEST, Effort, usual
from pipelines.errors import DeviceError, InputError, OutOfMemory
from pipelines.residents import Residents
from pipelines.synchuman.checkpoint import JOINT, Checkpoint
from pipelines.synchuman.model import Model
from pipelines.synchuman.pipeline import SyncHumanPipeline
from pipelines.synchuman.preparation import prepare
from pipelines.synchuman.prompts import prompt_embeddings
from pipelines.weights import Sources
from tests.pipelines.synchuman.conftest import PERSON, Go, Made

VIEWS = {f"stage1_output/{kind}_{view}.png" for kind in ("color", "normal") for view in range(5)}
STAGE1 = VIEWS | {f"stage1_output/{name}" for name in ("input.png", "concat.png", "latent.npz", "voxel.ply")}
STAGE1 |= {"preview.glb"}
STAGE2 = {"output.glb", "stage2_output/output.glb", "stage2_output/output_mesh.ply", "thumbnail.png", "turntable.webp"}
LATENT = "stage1_output/latent.npz"
OFFICIAL = "xishushu/SyncHuman/ckpts"
Watched = list[tuple[str, set[str]]]


@pytest.fixture(scope="module")
def saved() -> list[Path]:
    """What `whole` has kept for later attempts."""
    return []


@pytest.fixture(scope="module")
def whole(go: Go, saved: list[Path]) -> Made:
    """A job from beginning to end."""
    return go(kept=Kept(hand_over=saved.append))


@pytest.fixture(scope="module")
def first(go: Go) -> Made:
    """The first stage alone, told other things of the second than `whole`."""
    return go(stage="stage1", stage2_steps=3, cfg_strength=1.0, texture_size=256, simplify=0.1)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Each network that is used from now on, and which ones are on the device then."""
    seen: Watched = []
    using = Residents.using

    @contextmanager
    def watching(self: Residents, key: str, stage: str) -> Iterator[Any]:
        with using(self, key, stage) as network:
            seen.append((key, self.on_device))
            yield network

    monkeypatch.setattr(Residents, "using", watching)
    return seen


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each network that is loaded from now on."""
    keys: list[str] = []
    load = Checkpoint.load

    def loading(self: Checkpoint, key: str, torso: torch.dtype) -> torch.nn.Module:
        keys.append(key)
        return load(self, key, torso)

    monkeypatch.setattr(Checkpoint, "load", loading)
    return keys


def picture(made: Made, name: str) -> Image.Image:
    return Image.open(io.BytesIO(made.files[f"stage1_output/{name}.png"]))


def mesh(made: Made) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(made.files["stage2_output/output_mesh.ply"]), "ply", process=False)


def opaque(path: Path) -> Path:
    """The person on a plain wall, without transparency."""
    with Image.open(PERSON) as person:
        wall = Image.new("RGBA", person.size, (225, 225, 220, 255))
        Image.alpha_composite(wall, person.convert("RGBA")).convert("RGB").save(path)
    return path


def check_fractions(made: Made) -> None:
    fractions = [step.fraction for step in made.steps]
    assert fractions == sorted(fractions) and 0 <= fractions[0] < 0.2 and fractions[-1] == 1.0


def test_a_picture_becomes_views_and_a_sound_mesh_with_every_step_told(whole: Made, saved: list[Path]) -> None:
    assert set(whole.files) == STAGE1 | STAGE2
    report = inspect_glb(whole.files["output.glb"])
    assert report.sound, report.problems
    assert report.texture_size == (128, 128) and report.metallic_factor == 0
    assert report.triangles == whole.result.facts["triangles"]
    assert whole.files["stage2_output/output.glb"] == whole.files["output.glb"]
    facts = whole.result.facts
    assert facts["learned"] is True and facts["engine"] == "xishushu/SyncHuman" and facts["matte"] == "alpha"
    assert facts["views"] == 5 and "resumed" not in facts and not whole.result.warnings
    assert whole.shown == [whole.files["preview.glb"]] and [path.name for path in saved] == ["latent.npz"]
    sampled = [one for one in whole.told if one[0] in ("views", "pictures", "latent") and one[1]]
    assert [one for one in sampled if one[2] > 1] == [
        *(("pictures", done, 9) for done in range(1, 10)), *(("latent", done, 2) for done in (1, 2)),
    ]  # fmt: skip
    assert ("views", 1, 1) in sampled
    assert set(whole.result.timings) == {step.stage for step in whole.steps} == set(SyncHumanPipeline.PLAN)
    check_fractions(whole)


def test_the_first_picture_is_the_person_itself(whole: Made) -> None:
    body = prepare(PERSON).body
    shown = np.asarray(picture(whole, "color_0")).astype(np.float32)
    assert np.abs(shown - body * 255).max() <= 0.5 + 1e-3
    published = picture(whole, "input")
    assert published.mode == "RGBA" and published.size == (768, 768)
    top, bottom = (edge / 768 for edge in (published.getbbox()[1], published.getbbox()[3]))  # type: ignore[index]
    assert bottom - top == pytest.approx(1 / 1.1, abs=0.01) and top == pytest.approx(1 - bottom, abs=0.01)


def test_all_views_are_published_side_by_side(whole: Made) -> None:
    names = [f"{kind}_{view}" for view in range(5) for kind in ("color", "normal")]
    pictures = [np.asarray(picture(whole, name)) for name in names]
    assert {one.shape for one in pictures} == {(768, 768, 3)}
    assert np.array_equal(np.asarray(picture(whole, "concat")), np.hstack(pictures))
    assert min(np.ptp(one) for one in pictures) > 0, "none of them is plain"


def test_the_mesh_surrounds_the_voxels(whole: Made) -> None:
    """Both are told in different frames; a turn the wrong way would put them elsewhere."""
    with np.load(whole.folder / LATENT) as arrays:
        coords = arrays["coords"][:, 1:]
    assert len(coords) == whole.result.facts["voxels"]
    x, y, z = ((coords + 0.5) / 16 - 0.5).T
    corners, centres = mesh(whole).vertices, np.stack([x, z, -y], axis=1)
    assert cKDTree(corners).query(centres)[0].max() < 1 / 16, "each is surrounded"
    assert cKDTree(centres).query(corners)[0].max() < 1.25 / 16, "and nothing else is"
    assert cKDTree(corners).query(centres * [1, 1, -1])[0].max() > 1 / 8, "they would not be elsewhere"
    cubes = trimesh.load(io.BytesIO(whole.files["stage1_output/voxel.ply"]), "ply", process=False)
    assert np.array_equal(cubes.vertices[: len(coords)], coords), "in the units of their grid"


def test_the_first_stage_alone_gives_the_same_whatever_the_second_is_told(first: Made, whole: Made) -> None:
    assert set(first.files) == STAGE1
    assert first.files == {name: whole.files[name] for name in STAGE1}
    assert first.shown == whole.shown and "triangles" not in first.result.facts
    assert {step.stage for step in first.steps} == {"foreground", "conditioning", "views", "pictures", "preview"}
    check_fractions(first)


def test_the_second_stage_from_its_file_gives_what_both_give(go: Go, first: Made, whole: Made) -> None:
    second = go(first.folder / LATENT, stage="stage2", stage1_steps=7, guidance_scale=1.0)
    assert second.files == whole.files
    assert {step.stage for step in second.steps} == {"features", "latent", "decoding", "mesh", "turntable"}
    assert "resumed" not in second.result.facts
    check_fractions(second)


def test_a_second_attempt_goes_on_from_the_kept_views(
    go: Go, whole: Made, saved: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "views", None)  # they must not be sampled again
    monkeypatch.setattr(Model, "decoded", None)
    again = go(kept=Kept({"latent.npz": saved[0]}))
    assert again.result.facts["resumed"] is True and again.files == whole.files
    assert again.steps[0].fraction == pytest.approx(0.6), "the estimate of the rest counts from where it begins"


@pytest.mark.parametrize(("name", "value"), [("seed", 9), ("stage1_steps", 2), ("guidance_scale", 1.0)])
def test_what_the_views_are_told_changes_them(go: Go, whole: Made, name: str, value: float) -> None:
    other = go(stage="stage1", **{name: value})
    same = {name for name in STAGE1 if other.files[name] == whole.files[name]}
    assert same == {"stage1_output/color_0.png", "stage1_output/input.png"}, "which are the picture that was sent"
    if name == "stage1_steps":
        assert [one for one in other.told if one[0] == "views" and one[2] == 2] == [("views", 1, 2), ("views", 2, 2)]


@pytest.mark.parametrize(
    ("name", "value", "reshapes"),
    [
        ("stage2_steps", 3, True), ("cfg_strength", 1.0, True), ("cfg_interval", "0,0.1", True),
        ("texture_size", 256, False), ("simplify", 0.9, True),
    ],
)  # fmt: skip
def test_what_the_asset_is_told_changes_it_alone(go: Go, whole: Made, name: str, value: object, reshapes: bool) -> None:
    other = go(whole.folder / LATENT, stage="stage2", **{name: value})
    assert other.files["output.glb"] != whole.files["output.glb"]
    corners, before = (mesh(made).vertices for made in (other, whole))
    assert np.array_equal(corners, before) is not reshapes
    assert {name: other.files[name] for name in STAGE1} == {name: whole.files[name] for name in STAGE1}
    if name == "texture_size":
        assert inspect_glb(other.files["output.glb"]).texture_size == (256, 256)
    if name == "simplify":
        left = other.result.facts["triangles"] / other.result.facts["input_triangles"]
        assert left == pytest.approx(0.1, abs=0.02)
        assert whole.result.facts["triangles"] == pytest.approx(3 * other.result.facts["triangles"], rel=0.05)


def test_memory_that_runs_out_costs_settings_not_the_job(go: Go, whole: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The views ask for more than there is, on what does as much at once as an accelerator; the third attempt fits."""
    tried: list[Effort] = []
    views = Model.views

    def hungry(self: Model, picture: Any, seed: int, how: Any, effort: Effort, done: Any) -> Any:
        tried.append(effort)
        if effort is not SMALLEST:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 EiB")
        return views(self, picture, seed, how, effort, done)

    at_first = usual("cuda:0", low_vram=False)
    monkeypatch.setattr("pipelines.slat.run.usual", lambda *_: at_first)
    monkeypatch.setattr(Model, "views", hungry)
    made = go(stage="stage1")
    assert tried == [at_first, at_first, SMALLEST]
    (told,) = made.result.facts["degraded"]
    assert told.startswith("views ran out of the device's memory") and told in made.result.warnings
    assert made.files == {name: whole.files[name] for name in STAGE1}


def test_without_enough_memory_the_stage_is_named_and_the_next_job_works(
    go: Go, whole: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def starved(*_: object) -> torch.Tensor:
        tried.append(1)
        return torch.empty(2**60, dtype=torch.uint8)

    with monkeypatch.context() as patch:
        patch.setattr(Model, "views", starved)
        with pytest.raises(OutOfMemory, match="views does not fit into the device's memory"):
            go()
    assert len(tried) == 3, "the same again on an emptied device, then fewer pictures at a time"
    assert go(whole.folder / LATENT, stage="stage2").files == whole.files


def test_short_of_memory_the_result_is_the_same(
    go: Go, whole: Made, weights: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[object] = []

    def velocity(*given: Any) -> JointVelocity:
        at_once.append(given[-1])
        return JointVelocity(*given)

    monkeypatch.setattr("pipelines.synchuman.model.JointVelocity", velocity)
    small = SyncHumanPipeline(Machine("cpu", Sources(weights), low_vram=True))
    small.setup()
    assert go(on=small).files == whole.files
    assert {JOINT, "vae", "slat_decoder_mesh"} <= {key for key, _ in watched}
    assert all(here == {key} for key, here in watched), "one network on the device at a time"
    assert at_once == [2], "pictures are attended to two at a time"


def test_the_sentences_are_encoded_once_and_not_for_each_job(weights: Path, loaded: list[str]) -> None:
    model = Model(Checkpoint(Sources(weights)), Machine("cpu", Sources(weights)))
    model.warm()
    assert loaded.count("text_encoder") == 1
    prepared, tokens = prepare(PERSON), torch.zeros(1, 1, 24)
    one, other = (model.picture(prepared, tokens).prompt for _ in range(2))
    assert torch.equal(one, other) and one.shape == (10, 77, 16) and loaded.count("text_encoder") == 1
    assert len({row.numpy().tobytes() for row in one}) == 10, "each says something else"


def test_with_the_authors_embeddings_the_text_encoder_is_not_loaded(
    tmp_path: Path, weights: Path, loaded: list[str]
) -> None:
    shutil.copytree(weights, tmp_path, dirs_exist_ok=True)
    sources = Sources(tmp_path)
    each = prompt_embeddings(Checkpoint(sources).load("text_encoder", torch.float32))
    for name, rows in (("normal", each[:5]), ("clr", each[5:])):
        seven = torch.zeros(7, *rows.shape[1:])
        seven[[0, 2, 3, 4, 6]] = rows
        torch.save(seven, tmp_path / OFFICIAL / "OneStage" / f"{name}_embeds.pt")
    loaded.clear()
    model = Model(Checkpoint(sources), Machine("cpu", sources))
    model.warm()
    told = model.picture(prepare(PERSON), torch.zeros(1, 1, 24))
    assert {JOINT, "image_encoder"} <= set(loaded) and "text_encoder" not in loaded
    assert torch.equal(told.prompt, each)


def test_what_is_no_number_is_the_devices_fault(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    latents = torch.full((10, 4, 96, 96), float("nan")), torch.zeros(1, 8, 4, 4, 4)
    monkeypatch.setattr(Model, "views", lambda *_: latents)
    with pytest.raises(DeviceError, match="a view is not all numbers"):
        go(stage="stage1")


def test_an_opaque_picture_is_cut_out_only_when_asked(go: Go, tmp_path: Path) -> None:
    path = opaque(tmp_path / "opaque.png")
    with pytest.raises(InputError, match=r"Input must include transparency.*remove_background=true"):
        go(path)
    made = go(path, stage="stage1", remove_background=True)
    assert made.result.facts["matte"] == "grabcut" and set(made.files) == STAGE1
    assert np.asarray(picture(made, "color_0"))[0, 0].tolist() == [255, 255, 255], "the wall is gone"


def test_a_picture_of_nothing_is_refused(go: Go, tmp_path: Path) -> None:
    Image.new("RGBA", (64, 64)).save(tmp_path / "nothing.png")
    for remove_background in (False, True):
        with pytest.raises(InputError, match="fully transparent"):
            go(tmp_path / "nothing.png", remove_background=remove_background)


def _of_another_model(path: Path) -> None:
    np.savez(path, coords=np.zeros((1, 4), np.float32), feats=np.zeros((1, 8), np.float32))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_of_another_model, "it has no pictures as SyncHuman's have"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "run stage1 again"),
        (lambda path: path.write_bytes(PERSON.read_bytes()), "run stage1 again"),
    ],
)
def test_what_is_no_first_stage_is_refused(
    go: Go, whole: Made, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "latent.npz"
    path.write_bytes(whole.files[LATENT])
    spoil(path)
    with pytest.raises(InputError, match=f"is no structure of an earlier job.*{said}"):
        go(path, stage="stage2")
