"""Gaussian splats: what a decoder says of them made into lengths and colours, and the PLY file that viewers read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geometry.axes import from_splats, rotations_from_splats, rotations_to_splats, to_splats
from geometry.errors import UnreadableMesh
from geometry.hammersley import hammersley
from geometry.mesh import Floats

if TYPE_CHECKING:
    from torch import Tensor

SH_DC = 0.28209479177387814  # 1 / (2 sqrt(pi)), the spherical harmonic of degree 0
_FIELDS = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
_HEADER = "ply\nformat binary_little_endian 1.0\nelement vertex {}\n{}end_header\n"
_NEARLY_ONE = np.float32(1 - 2**-24)  # its logit is finite


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Coloured ellipsoids, all float32.

    Attributes:
        positions: (N, 3) within [-0.5, 0.5]³, +Z up.
        features_dc: (N, 3) spherical harmonics of degree 0.
        scales: (N, 3) standard deviations along the ellipsoid's own axes.
        rotations: (N, 4) unit quaternions wxyz, own axes to world.
        opacities: (N,) at the centre, within [0, 1].
    """

    positions: Floats
    features_dc: Floats
    scales: Floats
    rotations: Floats
    opacities: Floats

    @property
    def colours(self) -> Floats:
        """(N, 3) sRGB, not below 0."""
        return np.maximum(np.float32(SH_DC) * self.features_dc + np.float32(0.5), 0)


def activated(
    xyz: Tensor,
    features_dc: Tensor,
    scaling: Tensor,
    rotation: Tensor,
    opacity: Tensor,
    scaling_bias: float = 4e-3,
    opacity_bias: float = 0.1,
    smallest: float = 9e-4,
) -> Gaussians:
    """The Gaussians of a decoder's numbers, on the CPU.

    Args:
        xyz: (N, 3) within [0, 1]; features_dc: (N, 1, 3); scaling: (N, 3); rotation: (N, 4); opacity: (N, 1).
        scaling_bias: the standard deviation where `scaling` is 0, before `smallest` is added.
        opacity_bias: the opacity where `opacity` is 0.
        smallest: standard deviation of the filter that every Gaussian is blurred with.
    """
    turn = _array(rotation) + np.array([1, 0, 0, 0], np.float32)
    width = np.logaddexp(_array(scaling) + np.float32(np.log(np.expm1(scaling_bias))), np.float32(0))
    return Gaussians(
        _array(xyz) - np.float32(0.5),
        _array(features_dc).reshape(-1, 3),
        np.sqrt(width**2 + np.float32(smallest**2)),
        turn / np.linalg.norm(turn, axis=1, keepdims=True),
        _sigmoid(_array(opacity)[:, 0] + np.float32(_logit(opacity_bias))),
    )


def offset_perturbation(amount: int, voxel_size: float) -> Floats:
    """(amount, 3) float32 to add to a voxel's raw offsets before tanh, so that its Gaussians start spread out in it."""
    return np.arctanh((2 * hammersley(amount, 3) - 1) / voxel_size).astype(np.float32)


def write_ply(gaussians: Gaussians) -> bytes:
    """The file that splat viewers read, in their frame."""
    opacities = gaussians.opacities.clip(1 - _NEARLY_ONE, _NEARLY_ONE)[:, None]
    columns = [
        to_splats(gaussians.positions),
        np.zeros_like(gaussians.positions),
        gaussians.features_dc,
        _logit(opacities),
        np.log(gaussians.scales),
        rotations_to_splats(gaussians.rotations),
    ]
    properties = "".join(f"property float {name}\n" for name in _FIELDS)
    header = _HEADER.format(len(opacities), properties).encode()
    return header + np.concatenate(columns, axis=1).astype("<f4").tobytes()


def read_ply(data: bytes) -> Gaussians:
    """The Gaussians of a file as `write_ply` makes it; harmonics beyond degree 0 are left out.

    Raises:
        UnreadableMesh: it is no such file.
    """
    head, _, body = data.partition(b"end_header\n")
    lines = head.decode("ascii", "replace").splitlines()
    count = next((int(match[1]) for line in lines if (match := re.fullmatch(r"element vertex (\d{1,10})", line))), 0)
    names = [line.removeprefix("property float ") for line in lines if line.startswith("property")]
    if lines[:2] != _HEADER.splitlines()[:2] or not set(_FIELDS) <= set(names):
        raise UnreadableMesh(f"not a binary little-endian PLY file of Gaussians with {', '.join(_FIELDS)}")
    if len(body) != 4 * len(names) * count:
        raise UnreadableMesh(f"{len(body)} bytes follow the header; {count} Gaussians have {4 * len(names) * count}")
    table = np.frombuffer(body, "<f4").reshape(count, len(names)).astype(np.float32)
    x, dc, opacity, scale, rotation = (names.index(name) for name in ("x", "f_dc_0", "opacity", "scale_0", "rot_0"))
    return Gaussians(
        from_splats(table[:, x : x + 3]),
        table[:, dc : dc + 3],
        np.exp(table[:, scale : scale + 3]),
        rotations_from_splats(table[:, rotation : rotation + 4]),
        _sigmoid(table[:, opacity]),
    )


def _array(values: Tensor) -> Floats:
    return values.detach().float().cpu().numpy()


def _sigmoid(values: Floats) -> Floats:
    return np.exp(-np.logaddexp(np.float32(0), -values))


def _logit(values: Floats | float) -> Floats:
    return np.log(values / (1 - values))
