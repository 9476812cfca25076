"""The numbers a network is built from are those beside its weights."""

from pathlib import Path

import pytest

from pipelines.weights.construction import Construction, construction
from pipelines.weights.errors import WrongContent


def test_the_file_beside_the_weights_wins(tmp_path: Path) -> None:
    ours, weights = tmp_path / "ours.json", tmp_path / "encoder.pth"
    ours.write_text('{"name": "Large", "args": {"depth": 24}}')
    assert construction(weights, ours) == Construction("Large", {"depth": 24})
    weights.with_suffix(".json").write_text('{"name": "Tiny", "args": {"depth": 2}}')
    assert construction(weights, ours) == ("Tiny", {"depth": 2})


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": "A"}', '{"name": 1, "args": {}}', '{"name": "A", "args": []}']
)
def test_another_form_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(WrongContent, match="net.json does not"):
        construction(tmp_path / "net.safetensors")


def test_without_any_file_it_is_told_which_one_lacks(tmp_path: Path) -> None:
    with pytest.raises(WrongContent, match="net.json does not tell how"):
        construction(tmp_path / "net.safetensors")
