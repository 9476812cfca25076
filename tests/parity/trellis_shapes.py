"""The units of TRELLIS that end in shapes: meshes, Gaussians, cameras."""

import re
from typing import cast

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from geometry import bvh
from geometry.axes import rotations_to_splats, to_glb, to_splats
from geometry.cameras import gl_projection, gl_view, orbit, perspective, sphere_views
from geometry.feature_field import cube_field, vertex_means
from geometry.flexicubes import dense_field, extract
from geometry.gaussians import Gaussians, activated, offset_perturbation, write_ply
from geometry.hammersley import hammersley
from geometry.simplify import simplify
from networks.ops.voxels import Voxels
from networks.trellis.slat_decoder_gs import SLatGaussianDecoder
from networks.trellis.slat_decoder_mesh import SLatMeshDecoder
from tests.meshes import Array, same_mesh
from tests.parity.network import network
from tests.parity.unit import CannotCompare, Check, Unit

_PLY_COLUMNS = 17
Shape = tuple[Array, Array]


def mesh_checks(
    unit: Unit, ours: tuple[Tensor, Tensor, Tensor | None], names: tuple[str, str, str], tolerance: float
) -> list[Check]:
    """Vertices, faces and attributes compared as sets.

    Args:
        names: of the reference's vertices, faces and attributes.
    """
    vertices, faces, attributes = ours
    wanted, wanted_faces = unit.outputs[names[0]], unit.outputs[names[1]]
    try:
        error = same_mesh(vertices.numpy(), faces.numpy(), wanted.numpy(), wanted_faces.numpy(), tolerance)
    except AssertionError as difference:
        raise CannotCompare(f"{names[0]} and {names[1]}: {difference}") from None
    checks = [Check(f"{names[0]}, {names[1]}", error, tolerance)]
    if names[2] in unit.outputs:
        if attributes is None:
            raise CannotCompare(f"{names[2]}: we have none")
        # Attributes tell apart vertices at one place, so partners are found with them.
        both = [torch.cat(pair, dim=1).numpy() for pair in ((wanted, unit.outputs[names[2]]), (vertices, attributes))]
        partner = KDTree(both[0]).query(both[1])[1]
        off = np.abs(both[1] - both[0][partner]).max()
        checks.append(Check(names[2], float(off), tolerance))
    return checks


def flexicubes(unit: Unit) -> list[Check]:
    resolution, given = unit.config["resolution"], unit.inputs
    axis = torch.arange(resolution + 1)
    grid = torch.cartesian_prod(axis, axis, axis) / resolution - 0.5
    positions = grid + given["deform"].tanh() / (2 * resolution)
    full = extract(dense_field(given["scalar_field"], positions, resolution, given["colors6"], given["weights21"]))
    plain = extract(dense_field(given["scalar_field"], grid, resolution))
    return [
        *mesh_checks(unit, full, ("vertices", "faces", "colors"), 1e-5),
        *mesh_checks(unit, plain, ("plain_vertices", "plain_faces", ""), 1e-5),
    ]


def feats2mesh(unit: Unit) -> list[Check]:
    resolution, coords = unit.config["args"]["res"], unit.inputs["coords"][:, 1:]
    means = vertex_means(coords, unit.inputs["feats"], resolution)
    fields = torch.column_stack([means.distances, means.offsets])
    mesh = extract(cube_field(coords, unit.inputs["feats"], resolution))
    return [
        *unit.checks(0, {"vert_coords": means.places}),
        *unit.checks(1e-5, {"vert_sdf_deform": fields}),
        *mesh_checks(unit, mesh, ("vertices", "faces", "vertex_attrs"), 1e-5),
    ]


def slat_dec_mesh(unit: Unit) -> list[Check]:
    model = cast(SLatMeshDecoder, network(unit))
    raw, fine = model(unit.inputs["feats"], Voxels(unit.inputs["coords"]))
    first = next(fine.segments.spans())
    means = vertex_means(fine.coords[first, 1:], raw[first], model.fine_resolution)
    mesh = extract(cube_field(fine.coords[first, 1:], raw[first], model.fine_resolution))
    return [
        *unit.checks(0, {"up_coords": fine.coords, "vertex_pos": means.places}),
        *unit.checks(2e-4, {"raw_feats": raw, "vertex_sdf_biased": means.distances}),
        *mesh_checks(unit, mesh, ("vertices", "faces", "vertex_attrs"), 2e-4),
    ]


def slat_dec_gs(unit: Unit) -> list[Check]:
    model, voxels = cast(SLatGaussianDecoder, network(unit)), Voxels(unit.inputs["coords"])
    config = model.representation_config
    raw = model(unit.inputs["feats"], voxels)
    values, made = {"raw_feats": raw}, {}
    for item, rows in enumerate(voxels.segments.spans()):
        parameters = model.parameters_of(raw[rows], voxels.coords[rows, 1:])
        values |= {f"g{item}._{name}": value for name, value in parameters._asdict().items()}
        made[item] = activated(
            *parameters, config["scaling_bias"], config["opacity_bias"], config["3d_filter_kernel_size"]
        )
        values |= {f"g{item}.{name}": value for name, value in _activations(made[item]).items()}
    return unit.checks(5e-5, values) + _ply(unit, made)


def _activations(gaussians: Gaussians) -> dict[str, Tensor]:
    turns = Rotation.from_quat(gaussians.rotations[:, [1, 2, 3, 0]]).as_matrix()
    axes = turns * gaussians.scales[:, None]
    covariance = (axes @ axes.transpose(0, 2, 1))[:, *np.triu_indices(3)]
    parts = {
        "xyz": gaussians.positions,
        "scaling": gaussians.scales,
        "rotation": gaussians.rotations,
        "opacity": gaussians.opacities[:, None],
        "covariance6": covariance,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in parts.items()}


def _ply(unit: Unit, made: dict[int, Gaussians]) -> list[Check]:
    """Against export.ply, of which the configuration says "the first N Gaussians of batch item I"."""
    path = unit.folder / "export.ply"
    if not path.is_file():
        return []
    wanted = path.read_bytes()
    told = re.search(r"first (\d+) Gaussians of batch item (\d+)", unit.config["ply"])
    if told is None:
        raise CannotCompare(f"export.ply is of {unit.config['ply']!r}, which we do not understand")
    count, whole = int(told[1]), made[int(told[2])]
    ours = write_ply(Gaussians(*(part[:count] for part in vars(whole).values())))
    start = wanted.index(b"end_header\n") + len(b"end_header\n")
    if ours[:start] != wanted[:start] or len(ours) != len(wanted):
        raise CannotCompare("export.ply has another header or size than ours")
    tables = [np.frombuffer(data[start:], "<f4").reshape(count, _PLY_COLUMNS) for data in (ours, wanted)]
    # A quaternion and its negative are one rotation.
    flip = np.sign((tables[0][:, 13:] * tables[1][:, 13:]).sum(axis=1, keepdims=True))
    tables[0] = np.concatenate([tables[0][:, :13], tables[0][:, 13:] * flip], axis=1)
    return [Check("export.ply", float(np.abs(tables[0] - tables[1]).max()), 5e-5)]


def gs_perturbation(unit: Unit) -> list[Check]:
    count, size = unit.config["num_gaussians"], unit.config["voxel_size"]
    values = {"offset_perturbation": offset_perturbation(count, size), f"hammersley3_{count}": hammersley(count, 3)}
    return unit.checks(1e-6, {name: torch.from_numpy(np.asarray(value)) for name, value in values.items()})


def cameras_axes(unit: Unit) -> list[Check]:
    config = unit.config
    points, turns = (unit.inputs[name].numpy() for name in ("points", "quat_wxyz"))
    angles = sphere_views(config["nviews"])
    extrinsics, intrinsics = orbit(angles, config["radius"]), perspective(np.radians(config["fov_deg"]))
    values = {
        "yaw_pitch": angles,
        "extrinsics": extrinsics,
        "intrinsics": intrinsics,
        "view_gl": gl_view(extrinsics),
        "projection_gl": gl_projection(intrinsics, config["near"], config["far"]),
        "M": to_glb(np.eye(3)),
        "points_glb": to_glb(points),
        "points_ply": to_splats(points),
    }
    checks = unit.checks(1e-5, {name: torch.from_numpy(np.asarray(value)) for name, value in values.items()})
    ours, theirs = rotations_to_splats(turns), unit.outputs["quat_ply"].numpy()
    off = np.minimum(np.abs(ours - theirs).max(axis=1), np.abs(ours + theirs).max(axis=1)).max()
    return [*checks, Check("quat_ply", float(off), 1e-5)]


def simplified(unit: Unit) -> list[Check]:
    """By meaning only: as many faces within 2 %, and no farther than 0.01 from the input."""
    vertices, faces = (unit.inputs[name].numpy() for name in ("vertices", "faces"))
    checks = []
    for reduction in unit.config["target_reductions"]:
        target = round((1 - reduction) * len(faces))
        few, fewer = simplify(vertices, faces, target)
        name = f"r{round(100 * reduction)}"
        checks.append(Check(f"{name}_faces", abs(len(fewer) - target) / target, 0.02))
        checks.append(Check(f"{name}_hausdorff", _hausdorff((few, fewer), (vertices, faces)), 0.01))
    return checks


def _hausdorff(ours: Shape, theirs: Shape) -> float:
    """The larger of both one-sided distances, from dense samples of one surface to the other surface itself."""
    trees = [bvh.build(vertices.astype(np.float32), faces.astype(np.int32)) for vertices, faces in (ours, theirs)]
    clouds = [_samples(*mesh).astype(np.float32) for mesh in (ours, theirs)]
    return float(max(bvh.nearest(trees[1 - i], clouds[i]).distance.max() for i in range(2)))


def _samples(vertices: Array, faces: Array) -> Array:
    """Points of every face, its corners and sides included."""
    corners = vertices[faces].astype(np.float64)
    steps = max(2, round((400_000 / len(faces)) ** 0.5))
    i, j = np.meshgrid(np.arange(steps + 1), np.arange(steps + 1))
    u, v = (axis[i + j <= steps] / steps for axis in (i, j))
    return np.einsum("kc,fcd->fkd", np.stack([u, v, 1 - u - v], axis=1), corners).reshape(-1, 3)
