"""The structure's file holds what was put in, and nothing else is taken for one."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geometry.inspect import inspect_glb
from pipelines.errors import InputError
from pipelines.trellis.structure import Structure, read_structure

COORDS = np.array([[0, 0, 0], [1, 2, 3], [15, 15, 15]], np.int32)
SQUARES = np.random.default_rng(0).integers(0, 255, (2, 518, 518, 3), np.uint8)


def test_it_reads_back_and_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        Structure(COORDS, 16, SQUARES).write(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    back = read_structure(tmp_path / "a.npz", 16)
    assert np.array_equal(back.coords, COORDS) and np.array_equal(back.squares, SQUARES)
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["coords"].dtype == np.float32
        assert arrays["coords"][1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"coords": np.zeros((0, 4), np.float32)}, r"not \(N, 4\)"),
        ({"coords": np.zeros((3, 3), np.float32)}, r"not \(N, 4\)"),
        ({"coords": np.array([[0, 1, 1, np.nan]], np.float32)}, "not whole numbers"),
        ({"coords": np.array([[0, 1, 1, 0.5]], np.float32)}, "not whole numbers"),
        ({"coords": np.array([[1, 1, 1, 1]], np.float32)}, "leave the 16 cubed grid"),
        ({"coords": np.array([[0, 1, 1, 16]], np.float32)}, "leave the 16 cubed grid"),
        ({"coords": np.array([[0, 1, 1, -1]], np.float32)}, "leave the 16 cubed grid"),
        ({"coords": np.array([[0, 1, 1, 1]] * 2, np.float32)}, "comes twice"),
        ({"images": np.zeros((1, 64, 64, 3), np.uint8)}, "images are uint8"),
        ({"images": np.zeros((1, 518, 518, 3), np.float32)}, "images are float32"),
        ({"images": None}, "images is not a file"),
        ({"coords": np.array([{}], object)}, "allow_pickle=False"),
    ],
)
def test_something_else_is_refused_with_the_remedy(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    rows = np.concatenate([np.zeros((3, 1)), COORDS], axis=1).astype(np.float32)
    arrays = {"coords": rows, "images": SQUARES} | change
    np.savez(tmp_path / "x.npz", **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=f"{told}.*run stage1 again"):
        read_structure(tmp_path / "x.npz", 16)


@pytest.mark.parametrize("data", [b"", b"PK", b"a picture"])
def test_a_damaged_file_is_refused(tmp_path: Path, data: bytes) -> None:
    whole = io.BytesIO()
    np.savez(whole, coords=COORDS)
    (tmp_path / "x.npz").write_bytes(data or whole.getvalue()[:-40])
    with pytest.raises(InputError, match="run stage1 again"):
        read_structure(tmp_path / "x.npz", 16)


def test_the_preview_is_a_closed_model_also_of_many_voxels() -> None:
    grid = np.argwhere(np.ones((22, 22, 22), bool)).astype(np.int32)
    for coords in (COORDS, grid):
        report = inspect_glb(Structure(coords, 64, SQUARES).preview())
        assert report.watertight and report.consistent and report.volume > 0
    assert report.triangles == 12 * 11 * 11, "at half the resolution, outer sides alone"
