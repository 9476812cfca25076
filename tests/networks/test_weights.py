"""A checkpoint fills its network exactly, or says by name why it does not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from networks.precision import torso_dtype, torso_modules
from networks.trellis import build
from networks.weights import WeightsMismatch, fill, read_tensors
from tests.networks.drawing import CONFIGS, normal, tiny

TENSORS = {"a.weight": normal(3, 4), "b": normal(5).half()}


def equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) and ours[name].dtype == theirs[name].dtype for name in theirs
    )


@pytest.mark.parametrize(("name", "write"), [("w.safetensors", save_file), ("w.pth", torch.save)])
def test_both_kinds_of_file_are_read_as_they_were_written(
    tmp_path: Path, name: str, write: Callable[[Any, Path], None]
) -> None:
    write(TENSORS, tmp_path / name)
    assert equal(read_tensors(tmp_path / name), TENSORS)


@pytest.mark.parametrize(("name", "write"), [("w.safetensors", save_file), ("w.pth", torch.save)])
@pytest.mark.parametrize("left", [0, 1, 4, 60, -1])
def test_a_file_that_is_cut_short_is_refused(
    tmp_path: Path, name: str, write: Callable[[Any, Path], None], left: int
) -> None:
    path = tmp_path / name
    write(TENSORS, path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(WeightsMismatch, match="cannot be read .* fetch it again"):
        read_tensors(path)


class Command:
    """What a file can hold that would run something when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


def test_a_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    torch.save({"a": normal(2), "b": Command(tmp_path / "ran")}, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match="w.pth cannot be read"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[normal(2)], {"a": 3}, {"model": {"a": normal(2)}}])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsMismatch, match="holds no state dict of tensors"):
        read_tensors(tmp_path / "w.pth")


def test_a_file_that_is_not_there_is_called_that(tmp_path: Path) -> None:
    for name in ("w.pth", "w.safetensors"):
        with pytest.raises(FileNotFoundError):
            read_tensors(tmp_path / name)


def made() -> nn.Module:
    with torch.device("meta"):
        return build(CONFIGS["slat_decoder_rf"])


@pytest.mark.parametrize("torso", [torch.float32, torch.float16])
def test_a_network_without_memory_becomes_the_one_that_was_saved(torso: torch.dtype) -> None:
    tensors = tiny("slat_decoder_rf").state_dict()
    halves = {name: value.half() if name.startswith("blocks") else value for name, value in tensors.items()}
    network = fill(made(), halves, torso)
    assert torso_dtype(network) == torso and not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    half = {f"{name}.{end}" for name, layer in network.named_modules() for end in ("weight", "bias")
            if layer in torso_modules(network)}  # fmt: skip
    wanted = {name: value.half().to(torso) if name in half else value.float() for name, value in halves.items()}
    assert equal(network.state_dict(), wanted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("out_layer.bias"), "missing out_layer.bias$"),
        (lambda tensors: tensors.update(surplus=normal(1)), "left over surplus$"),
        (
            lambda tensors: tensors.update({"out_layer.bias": normal(3)}),
            r"network: out_layer.bias is \(3,\), not \(32,\)$",
        ),
        (
            lambda tensors: tensors.update({"x": normal(1), "input_layer.bias": tensors.pop("out_layer.bias")}),
            r"missing out_layer.bias; left over x; input_layer.bias is \(32,\), not \(48,\)$",
        ),
        (lambda tensors: tensors.clear(), "missing blocks.0.attn.to_out.bias, .* and 15 more$"),
    ],
    ids=["missing", "left over", "shape", "all three", "many"],
)
def test_tensors_that_do_not_fit_are_named(change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    tensors = dict(tiny("slat_decoder_rf").state_dict())
    change(tensors)
    with pytest.raises(WeightsMismatch, match=message):
        fill(made(), tensors)


class Derived(nn.Linear):
    """A layer with a buffer that it can make itself."""

    DERIVED = ("table",)

    def __init__(self) -> None:
        super().__init__(2, 3)
        self.register_buffer("table", torch.arange(4.0, device="cpu"))


def test_a_buffer_that_a_network_makes_itself_may_be_missing_and_counts_where_it_is_there() -> None:
    tensors = {"weight": normal(3, 2), "bias": normal(3)}
    table = torch.ones(4).half()
    with torch.device("meta"):
        without, with_it = Derived(), Derived()
    assert torch.equal(fill(without, tensors).table, torch.arange(4.0))
    assert torch.equal(fill(with_it, tensors | {"table": table}).table, table.float())
    with pytest.raises(WeightsMismatch, match=r"missing bias"):
        fill(Derived(), {"weight": normal(3, 2)})
    with pytest.raises(WeightsMismatch, match=r"table is \(5,\), not \(4,\)"):
        fill(Derived(), tensors | {"table": torch.ones(5)})
