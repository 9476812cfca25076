"""The networks give the reference's numbers, and the comparison says so of nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.parity.__main__ import main

ALL_FIXTURES = Path(__file__).parents[1] / "fixtures"
FIXTURES = ALL_FIXTURES / "trellis"
CORE = {
    "trellis": {"ss_flow", "ss_encoder", "slat_flow", "slat_dec_gs", "slat_dec_rf", "dinov2_reg"},
    "synchuman": {"cross_space_model", "one_stage_loop", "sparse_block_mv_front_back", "ss_dit_block"},
}


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """A copy of a unit with weights, to break."""
    return Path(shutil.copytree(FIXTURES / "sparse_primitives", tmp_path / "trellis" / "sparse_primitives"))


def edit(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("family", CORE)
def test_every_unit_agrees_with_the_reference(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    units = sorted(path.parent.name for path in (ALL_FIXTURES / family).glob("*/config.json"))
    status = main([str(ALL_FIXTURES / family)])
    *checks, summary = lines(capsys)
    assert (status, summary) == (0, f"{len(units)} of {len(units)} units agree")
    assert {line.split()[0] for line in checks} == {"ok"}
    assert sorted({line.split()[1] for line in checks}) == units
    assert CORE[family] <= set(units)


def test_a_name_that_two_families_have_is_told_apart_by_the_folders_above(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ALL_FIXTURES / "synchuman" / "slat_sampler"
    named, nameless = (shutil.copytree(ours, tmp_path / name / "slat_sampler") for name in ("synchuman-more", "some"))
    assert main([str(named)]) == 0
    assert lines(capsys)[-1] == "1 of 1 units agree"
    assert main([str(nameless)]) == 1
    assert "no unit of this name is known" in lines(capsys)[0]


def test_a_difference_within_the_tolerance_agrees_and_one_beyond_does_not(
    unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(unit / "outputs.safetensors", lambda outputs: outputs["conv3_out"][3, 1].add_(5e-6))
    assert main([str(unit)]) == 0
    edit(unit / "outputs.safetensors", lambda outputs: outputs["conv3_out"][3, 1].add_(2e-5))
    capsys.readouterr()
    assert main([str(unit)]) == 1
    assert [line.split()[:3] for line in lines(capsys) if line.startswith("FAIL")] == [
        ["FAIL", "sparse_primitives", "conv3_out"]
    ]


@pytest.mark.parametrize("output", ["conv3_out", "down_feats"])
def test_what_is_no_number_does_not_agree(unit: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    edit(unit / "outputs.safetensors", lambda outputs: outputs[output][0, 0].fill_(torch.nan))
    assert main([str(unit)]) == 1
    failed = [line for line in lines(capsys) if line.startswith("FAIL")]
    assert len(failed) == 1 and f"{output} " in failed[0] and "error nan" in failed[0]


def test_no_number_among_the_vertices_of_a_mesh_does_not_agree(tmp_path: Path) -> None:
    unit = Path(shutil.copytree(FIXTURES / "flexicubes_sphere", tmp_path / "flexicubes_sphere"))
    edit(unit / "outputs.safetensors", lambda outputs: outputs["vertices"][0, 0].fill_(torch.nan))
    assert main([str(unit)]) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda weights: weights.pop("conv3.conv.weight"), "missing conv3.conv.weight"),
        (lambda weights: weights.update(more=torch.zeros(1)), "left over more"),
        (lambda weights: weights.update({"gn.bias": torch.zeros(7)}), "gn.bias is (7,), not (6,)"),
    ],
)
def test_weights_that_do_not_fit_are_told(
    unit: Path, change: Callable[[dict[str, Tensor]], object], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(unit / "weights.safetensors", change)
    assert main([str(unit)]) == 1
    told, summary = lines(capsys)
    assert told.startswith("FAIL sparse_primitives") and why in told
    assert summary == "0 of 1 units agree"


def test_an_output_of_another_shape_is_told(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(unit / "outputs.safetensors", lambda outputs: outputs.update(conv1_out=torch.zeros(3, 5)))
    assert main([str(unit)]) == 1
    assert "conv1_out is (119, 4), the reference's (3, 5)" in lines(capsys)[0]


@pytest.mark.parametrize("name", ["outputs.safetensors", "inputs.safetensors", "weights.safetensors"])
def test_a_missing_file_is_told(unit: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (unit / name).unlink()
    assert main([str(unit)]) == 1
    assert lines(capsys)[0].startswith("FAIL sparse_primitives") and main([str(unit)]) == 1
    assert name in lines(capsys)[0]


def test_outputs_without_any_that_is_known_are_told(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file({"surprise": torch.zeros(1)}, unit / "outputs.safetensors")
    assert main([str(unit)]) == 1
    assert "the reference has none of" in lines(capsys)[0]


def test_a_name_that_is_not_known_is_told(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(unit.rename(unit.parent / "sparse_riddles"))]) == 1
    assert lines(capsys)[0] == f"FAIL {'sparse_riddles':28} no unit of this name is known"


def test_a_folder_without_a_configuration_is_told(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (unit / "config.json").unlink()
    assert main([str(unit)]) == 1
    assert f"{unit} is no unit: it has no config.json" in lines(capsys)[0]


def test_one_broken_unit_does_not_hide_the_others(unit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(FIXTURES / "pixel_shuffle_3d", unit.parent / "pixel_shuffle_3d")
    (unit / "config.json").write_text(json.dumps({}))
    assert main([str(unit.parent)]) == 1
    *told, summary = lines(capsys)
    assert [line.split()[:2] for line in told] == [["ok", "pixel_shuffle_3d"], ["FAIL", "sparse_primitives"]]
    assert summary == "1 of 2 units agree"


def test_several_units_may_be_named_wherever_they_lie(
    unit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copytree(FIXTURES / "pixel_shuffle_3d", tmp_path / "elsewhere" / "pixel_shuffle_3d")
    assert main([str(unit), str(elsewhere)]) == 0
    assert lines(capsys)[-1] == "2 of 2 units agree"
