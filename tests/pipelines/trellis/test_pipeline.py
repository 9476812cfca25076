"""The whole pipeline on a tiny checkpoint in the official layout."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from pydantic import ValidationError

from geometry.gaussians import read_ply
from geometry.inspect import inspect_glb
from networks.trellis.slat_trunk import SLatDecoder
from pipelines.base import Kept, Machine
from pipelines.errors import DeviceError, InputError, OutOfMemory, PipelineUnavailable
from pipelines.trellis.checkpoint import Checkpoint
from pipelines.trellis.params import TrellisParams
from pipelines.trellis.pipeline import TrellisPipeline
from pipelines.weights import Sources
from tests.pipelines.trellis.conftest import EXAMPLES, Go
from tests.tiny_trellis import NETWORK_CONFIGS, write_checkpoint


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_picture_becomes_a_sound_mesh_and_splats_with_every_step_told(go: Go, tmp_path: Path) -> None:
    shown: list[Path] = []
    result, steps = go(tmp_path / "out", shown=shown)
    report = inspect_glb((tmp_path / "out/output.glb").read_bytes())
    assert report.sound, report.problems
    assert report.texture_size == (128, 128) and report.metallic_factor == 0
    splats = read_ply((tmp_path / "out/gaussian.ply").read_bytes())
    assert len(splats.positions) == 4 * result.facts["voxels"] == result.facts["gaussians"]
    assert set(files_of(tmp_path / "out")) == {
        "output.glb", "gaussian.ply", "preview.glb", "thumbnail.png", "turntable.webp",
        "stage1_output/input.png", "stage1_output/latent.npz",
    }  # fmt: skip
    assert shown == [tmp_path / "out/preview.glb"]
    told = [(step.stage, step.step, step.of) for step in steps]
    assert [one for one in told if one[0] == "structure" and one[2] == 3][:3] == [
        ("structure", i, 3) for i in (1, 2, 3)
    ]
    assert ("latent", 1, 2) in told and ("latent", 2, 2) in told
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert result.facts["learned"] is True and result.facts["engine"] == "microsoft/TRELLIS-image-large"


def test_the_mesh_surrounds_the_voxels(go: Go, tmp_path: Path) -> None:
    """Both are told in different frames; a turn the wrong way would put them elsewhere."""
    go(tmp_path / "out", formats="ply,gaussian", seed=5)
    with np.load(tmp_path / "out/stage1_output/latent.npz") as arrays:
        centres = (arrays["coords"][:, 1:] + 0.5) / 16 - 0.5
    x, y, z = centres.T
    low, high = (edge(np.stack([x, z, -y], axis=1), axis=0) for edge in (np.min, np.max))
    mesh = trimesh.load(tmp_path / "out/output_mesh.ply", process=False)
    assert np.abs(mesh.bounds - [low - 1 / 32, high + 1 / 32]).max() < 1 / 32
    splats = read_ply((tmp_path / "out/gaussian.ply").read_bytes()).positions
    assert np.abs(splats.min(axis=0) - centres.min(axis=0)).max() < 1.5 / 16


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(go: Go, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        go(tmp_path / name, seed=seed, formats="glb,gaussian,radiance_field")
    one, again, other = (files_of(tmp_path / name) for name in "abc")
    assert one == again
    changed = {name for name in one if one[name] != other[name]}
    assert changed == set(one) - {"stage1_output/input.png"}


def test_every_parameter_arrives(go: Go, tmp_path: Path) -> None:
    """Each one changes what it is about, and nothing before that."""
    first, second = ["stage1_output/latent.npz"], ["gaussian.ply"]
    go(tmp_path / "plain")
    plain = files_of(tmp_path / "plain")
    changes = {
        "sparse_structure_sample_steps": (4, first),
        "sparse_structure_cfg_strength": (1.0, first),
        "slat_sample_steps": (3, second),
        "slat_cfg_strength": (1.0, second),
        "simplify_ratio": (0.05, ["output.glb"]),
        "texture_size": (256, ["output.glb"]),
        "texture_bake_mode": ("pbr", ["output.glb"]),
    }
    for name, (value, changed) in changes.items():
        go(tmp_path / name, **{name: value})
        files = files_of(tmp_path / name)
        assert files["output.glb"] != plain["output.glb"], name
        for one in (*first, *second):
            expected = one in changed or (changed == first)
            assert (files[one] != plain[one]) == expected, f"{name} and {one}"


def test_several_pictures_are_all_used_in_both_modes(go: Go, tmp_path: Path) -> None:
    pictures = [EXAMPLES / "heron.png", EXAMPLES / "mug.png"]
    made = {}
    for name, images, mode in (
        ("one", pictures[:1], "stochastic"),
        ("turns", pictures, "stochastic"),
        ("mean", pictures, "multidiffusion"),
    ):
        result, _ = go(tmp_path / name, images, multi_image=mode, stage="stage1")
        assert result.facts["views"] == len(images)
        made[name] = (tmp_path / name / "preview.glb").read_bytes()
    assert len(set(made.values())) == 3


def test_stages_one_after_the_other_give_what_both_give(go: Go, tmp_path: Path) -> None:
    go(tmp_path / "both", seed=8)
    result, steps = go(tmp_path / "one", seed=8, stage="stage1")
    assert {step.stage for step in steps} == {"foreground", "conditioning", "structure", "preview"}
    assert set(files_of(tmp_path / "one")) == {"preview.glb", "stage1_output/input.png", "stage1_output/latent.npz"}
    structure = tmp_path / "one/stage1_output/latent.npz"
    _, steps = go(tmp_path / "two", [structure], seed=8, stage="stage2")
    assert {"foreground", "structure"}.isdisjoint(step.stage for step in steps) and steps[-1].fraction == 1.0
    assert files_of(tmp_path / "two") == files_of(tmp_path / "both")
    go(tmp_path / "other", [structure], seed=9, stage="stage2", slat_sample_steps=3)
    assert (tmp_path / "other/gaussian.ply").read_bytes() != (tmp_path / "two/gaussian.ply").read_bytes()


def test_a_second_attempt_goes_on_from_the_kept_structure(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Path] = []
    go(tmp_path / "first", kept=Kept(hand_over=saved.append))
    assert [path.name for path in saved] == ["latent.npz"]
    monkeypatch.setattr("pipelines.trellis.model.Model.structure", None)  # it must not be sampled again
    result, steps = go(tmp_path / "second", kept=Kept({"latent.npz": saved[0]}))
    assert result.facts["resumed"] is True
    assert steps[0].fraction == pytest.approx(0.35), "the estimate of the rest counts from where it begins"
    assert files_of(tmp_path / "second") == files_of(tmp_path / "first")


def test_a_kept_structure_that_cannot_be_read_is_made_again(go: Go, tmp_path: Path) -> None:
    (tmp_path / "latent.npz").write_bytes(b"cut short")
    result, _ = go(tmp_path / "out", kept=Kept({"latent.npz": tmp_path / "latent.npz"}), stage="stage1")
    assert "resumed" not in result.facts and result.facts["voxels"] > 0


def test_only_what_was_asked_for_is_decoded(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.slat.model.SLatModel.surface", None)
    result, _ = go(tmp_path / "splats", formats="gaussian")
    assert "output.glb" not in files_of(tmp_path / "splats") and "triangles" not in result.facts
    assert "thumbnail.png" in files_of(tmp_path / "splats")
    monkeypatch.undo()
    monkeypatch.setattr("pipelines.showcase.FRAMES", 2)
    monkeypatch.setattr("pipelines.slat.model.SLatModel.gaussians", None)
    go(tmp_path / "meshes", formats="glb,obj,stl,usdz,radiance_field")
    assert {"output.glb", "output_obj.zip", "output.stl", "output.usdz", "radiance_field.npz"} <= set(
        files_of(tmp_path / "meshes")
    )
    with np.load(tmp_path / "meshes/radiance_field.npz") as field:
        assert field["trivec"].shape[1:] == (2, 3, 4) and np.isfinite(field["density"]).all()


def test_memory_that_runs_out_costs_settings_not_the_job(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: TrellisPipeline
) -> None:
    """The decoder asks for more than there is, twice; the slices of the third attempt fit."""
    from networks.trellis.slat_decoder_mesh import SLatMeshDecoder

    forward = SLatMeshDecoder.forward

    def hungry(self: SLatMeshDecoder, x, voxels, rows=None, onto=None):  # type: ignore[no-untyped-def]
        if rows is None:
            torch.empty(2**60, dtype=torch.uint8)
        return forward(self, x, voxels, rows, onto)

    go(tmp_path / "fed")
    monkeypatch.setattr(SLatMeshDecoder, "forward", hungry)
    result, _ = go(tmp_path / "hungry")
    assert len(result.facts["degraded"]) == 1 and result.facts["degraded"][0].startswith("mesh ran out")
    assert result.warnings == result.facts["degraded"]
    assert files_of(tmp_path / "hungry") == files_of(tmp_path / "fed")
    monkeypatch.setattr(SLatMeshDecoder, "forward", lambda *_, **__: torch.empty(2**60, dtype=torch.uint8))
    with pytest.raises(OutOfMemory, match="mesh does not fit"):
        go(tmp_path / "starved")
    monkeypatch.undo()
    monkeypatch.setattr("pipelines.showcase.FRAMES", 2)
    go(tmp_path / "after")
    assert files_of(tmp_path / "after") == files_of(tmp_path / "fed")


def test_where_there_are_fewer_branches_already_nobody_is_told_of_fewer(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def hungry(*_: object) -> torch.Tensor:
        calls.append(1)
        return torch.empty(2**60, dtype=torch.uint8)

    monkeypatch.setattr("pipelines.trellis.model.Model.structure", hungry)
    with pytest.raises(OutOfMemory, match="structure does not fit"):
        go(tmp_path / "starved")
    assert len(calls) == 2, "the same again on an emptied device, and there is nothing to lower on a CPU"


def test_what_is_no_number_is_the_devices_fault(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = "networks.trellis.sparse_structure_vae.SparseStructureDecoder.forward"
    monkeypatch.setattr(decoder, lambda self, z: torch.full((1, 1, 16, 16, 16), float("nan")))
    with pytest.raises(DeviceError, match="the structure is not all numbers"):
        go(tmp_path / "out")


@pytest.mark.parametrize("network", ["slat_decoder_gs.SLatGaussianDecoder", "slat_decoder_rf.SLatRadianceFieldDecoder"])
def test_no_file_of_what_is_no_number(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str) -> None:
    normal = SLatDecoder.normed
    monkeypatch.setattr(f"networks.trellis.{network}.normed", lambda *given: normal(*given) * float("nan"))
    with pytest.raises(DeviceError, match="is not all numbers"):
        go(tmp_path / "out", formats="gaussian,radiance_field")


def test_short_of_memory_the_result_is_the_same(go: Go, tmp_path: Path, weights: Path) -> None:
    small = TrellisPipeline(Machine("cpu", Sources(weights), low_vram=True))
    small.setup()
    go(tmp_path / "roomy")
    go(tmp_path / "short", on=small)
    assert files_of(tmp_path / "short") == files_of(tmp_path / "roomy")


def test_a_picture_without_an_object_is_refused(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="is no structure of an earlier job"):
        go(tmp_path / "wrong", [EXAMPLES / "heron.png"], stage="stage2")
    decoder = "networks.trellis.sparse_structure_vae.SparseStructureDecoder.forward"
    monkeypatch.setattr(decoder, lambda self, z: torch.full((1, 1, 16, 16, 16), -1.0))
    with pytest.raises(InputError, match="sees no object"):
        go(tmp_path / "empty")


def test_weights_that_are_not_there_or_do_not_fit_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PipelineUnavailable, match="python -m pipelines.weights get trellis"):
        Checkpoint(Sources(tmp_path))
    write_checkpoint(tmp_path)
    assert set(Checkpoint(Sources(tmp_path)).networks) == {*NETWORK_CONFIGS, "image_cond_model"}
    stem = tmp_path / "microsoft/TRELLIS-image-large/ckpts/slat_flow_model_tiny"
    config = json.loads(stem.with_suffix(".json").read_text())
    config["args"]["num_blocks"] = 3
    stem.with_suffix(".json").write_text(json.dumps(config))
    with pytest.raises(PipelineUnavailable, match=r"slat_flow_model.*missing blocks\.2.*verify trellis"):
        Checkpoint(Sources(tmp_path)).load("slat_flow_model", torch.float32)
    index = tmp_path / "microsoft/TRELLIS-image-large/pipeline.json"
    index.write_text(index.read_text().replace("GuidanceInterval", ""))
    with pytest.raises(PipelineUnavailable, match="sampler 'FlowEulerSampler' is not known"):
        Checkpoint(Sources(tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("formats", ""), ("formats", "fbx"), ("texture_bake_mode", "hq"), ("texture_size", 100), ("seed", -1),
        ("multi_image", "sum"), ("stage", "stage3"), ("slat_sample_steps", 0), ("simplify_ratio", 0),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        TrellisParams(**{field: value})


def test_the_second_stage_takes_one_structure() -> None:
    with pytest.raises(ValueError, match="one structure, not 2"):
        TrellisParams(stage="stage2").check_images(2)
