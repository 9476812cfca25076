"""Gaussians and their file are those of the reference, and the file reads back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geometry.errors import UnreadableMesh
from geometry.gaussians import Gaussians, activated, offset_perturbation, read_ply, write_ply

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trellis"
WANTED = load_file(FIXTURES / "slat_dec_gs" / "outputs.safetensors")
FILE = (FIXTURES / "slat_dec_gs" / "export.ply").read_bytes()
HEADER = FILE.index(b"end_header\n") + len(b"end_header\n")


def decoded(item: int, count: int | None = None) -> Gaussians:
    names = ("xyz", "features_dc", "scaling", "rotation", "opacity")
    return activated(*(WANTED[f"g{item}._{name}"][:count] for name in names))


@pytest.mark.parametrize("item", [0, 1])
def test_activations_are_those_of_the_reference(item: int) -> None:
    ours = decoded(item)
    theirs = {name: WANTED[f"g{item}.{name}"].numpy() for name in ("xyz", "scaling", "rotation", "opacity")}
    assert np.abs(ours.positions - theirs["xyz"]).max() < 5e-5
    assert np.allclose(ours.scales, theirs["scaling"], rtol=1e-5, atol=0)
    assert np.abs(ours.rotations - theirs["rotation"]).max() < 5e-5
    assert np.allclose(ours.opacities[:, None], theirs["opacity"], rtol=1e-5, atol=0)
    assert all(part.dtype == np.float32 for part in vars(ours).values())


def test_zeros_give_the_biases_and_grey() -> None:
    ours = activated(*(torch.zeros(shape) for shape in ((1, 3), (1, 1, 3), (1, 3), (1, 4), (1, 1))))
    assert np.allclose(ours.scales, np.hypot(4e-3, 9e-4))
    assert np.allclose(ours.opacities, 0.1)
    assert ours.rotations.tolist() == [[1, 0, 0, 0]]
    assert ours.colours.tolist() == [[0.5, 0.5, 0.5]]


def test_offsets_are_those_of_the_reference() -> None:
    wanted = load_file(FIXTURES / "gs_perturbation" / "outputs.safetensors")["offset_perturbation"].numpy()
    assert np.abs(offset_perturbation(32, 1.5) - wanted).max() < 1e-6


def test_the_file_is_the_reference_to_the_byte_in_layout_and_to_rounding_in_numbers() -> None:
    written = write_ply(decoded(1, 40))
    assert len(written) == len(FILE)
    assert written[:HEADER] == FILE[:HEADER]
    ours, theirs = (np.frombuffer(data[HEADER:], "<f4").reshape(40, 17) for data in (written, FILE))
    assert np.array_equal(ours[:, :9], theirs[:, :9])  # places, normals and colours are not rounded
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_file_reads_back() -> None:
    ours = decoded(0)
    back = read_ply(write_ply(ours))
    assert np.array_equal(back.positions, ours.positions)
    assert np.array_equal(back.features_dc, ours.features_dc)
    assert np.allclose(back.scales, ours.scales, rtol=1e-5, atol=0)
    assert np.allclose(np.abs((back.rotations * ours.rotations).sum(axis=1)), 1, atol=1e-6)
    assert np.allclose(back.opacities, ours.opacities, rtol=1e-5, atol=0)


def test_full_and_vanishing_opacity_stay_finite_in_the_file() -> None:
    ours = decoded(0, 2)
    extreme = Gaussians(ours.positions, ours.features_dc, ours.scales, ours.rotations, np.array([0, 1], np.float32))
    numbers = np.frombuffer(write_ply(extreme)[HEADER - 1 :], "<f4")  # the count has one digit less
    assert np.isfinite(numbers).all()
    assert read_ply(write_ply(extreme)).opacities.tolist() == pytest.approx([0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a binary little-endian PLY"),
        (FILE.replace(b"binary_little_endian", b"ascii"), "not a binary little-endian PLY"),
        (FILE.replace(b"f_dc_2", b"f_dc_3"), "not a binary little-endian PLY"),
        (FILE[:-1], "2719 bytes follow the header; 40 Gaussians have 2720"),
    ],
)
def test_what_is_no_file_of_gaussians_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableMesh, match=message):
        read_ply(data)
