"""A signed distance field on cubes -> triangles: FlexiCubes (Shen et al. 2023) as inference needs it.

Letters: C cubes, G grid vertices, M cubes on the surface, V dual vertices, K crossings of all cubes, A attributes.
Negative distances are inside. Corner c of a cube lies at (c & 1, c >> 1 & 1, c >> 2 & 1) along x, y, z.
"""

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

# Corners of the twelve edges. Those along y name their far end first: so one rule winds the faces of all three axes.
EDGES = ((0, 1), (1, 5), (4, 5), (0, 4), (2, 3), (3, 7), (6, 7), (2, 6), (2, 0), (3, 1), (7, 5), (6, 4))
MOST_VERTICES = 4  # in one cube
MOST_EDGES = 7  # around one vertex
WEIGHTS = 21  # of a cube: beta for 12 edges, alpha for 8 corners, gamma


@dataclass(frozen=True, eq=False)
class CubeField:
    """Signed distances at the corners of some cubes of a grid; cubes that are not given hold no surface.

    Attributes:
        corners: (C, 8) int64 rows of the grid vertices, in the order of the corners.
        cubes: (C, 3) integer places in the grid, each once.
        resolution: cubes along each side of the whole grid.
        positions: (G, 3) float32.
        sdf: (G,) float32.
        attributes: (G, A) float32 logits, or None.
        weights: (C, 21) float32 before activation: beta of the edges, alpha of the corners, gamma; None is all zeros.
    """

    corners: Tensor
    cubes: Tensor
    resolution: int
    positions: Tensor
    sdf: Tensor
    attributes: Tensor | None = None
    weights: Tensor | None = None


def dense_field(
    sdf: Tensor, positions: Tensor, resolution: int, attributes: Tensor | None = None, weights: Tensor | None = None
) -> CubeField:
    """All cubes of a grid whose (resolution + 1)³ vertices are numbered x-major, as are the cubes of `weights`."""
    axis = torch.arange(resolution, device=sdf.device)
    cubes = torch.cartesian_prod(axis, axis, axis).reshape(-1, 3)
    side = resolution + 1
    corners = grid_numbers(cubes, side)[:, None] + corner_steps(side, sdf.device)
    return CubeField(corners, cubes, resolution, positions, sdf, attributes, weights)


def grid_numbers(places: Tensor, side: int) -> Tensor:
    """(N,) int64 number of each of the places (N, 3) in a grid of side³, x-major."""
    x, y, z = places.long().unbind(dim=1)
    return (x * side + y) * side + z


def corner_steps(side: int, device: torch.device) -> Tensor:
    """(8,) how far each corner's number lies above the first one's, in a grid of side³ vertices."""
    corner = torch.arange(8, device=device)
    return ((corner & 1) * side + (corner >> 1 & 1)) * side + (corner >> 2 & 1)


def extract(field: CubeField) -> tuple[Tensor, Tensor, Tensor | None]:
    """The surface where the distances change sign: vertices (V, 3), faces (F, 3) int64, attributes (V, A) in [0, 1].

    Vertices come by ascending cube, x-major. Faces wind counter-clockwise as seen from outside; the surface is open
    where it leaves the cubes. A field of one sign gives no vertices.
    """
    surface, cases = _surface(field)
    duals = _duals(field, surface, cases)
    beta, alpha, gamma = _activated(field, surface)
    values = field.positions
    if field.attributes is not None:
        values = torch.cat([values, field.attributes.sigmoid()], dim=1)
    vertices = _dual_vertices(field, duals, values, beta, alpha)  # (V, 3 + A)
    faces = _faces(field, duals, gamma)
    return vertices[:, :3], faces, None if field.attributes is None else vertices[:, 3:]


class _Duals(NamedTuple):
    """Which vertices there will be."""

    place: Tensor  # (V,) in the list of surface cubes
    cube: Tensor  # (V,) row of the field's cubes
    edges: Tensor  # (V, 7) edges whose crossings the vertex averages, -1 behind the last


def _surface(field: CubeField) -> tuple[Tensor, Tensor]:
    """(M,) rows of the cubes with both signs, by ascending place, and (M,) their cases: bit c is set for corner c."""
    inside = (field.sdf < 0).to(torch.uint8)
    cases = torch.zeros(len(field.corners), dtype=torch.uint8, device=field.sdf.device)
    for corner in range(8):
        cases |= inside[field.corners[:, corner]] << corner
    rows = ((cases > 0) & (cases < 255)).nonzero()[:, 0]
    rows = rows[grid_numbers(field.cubes[rows], field.resolution).argsort()]
    return rows, cases[rows].long()


def _duals(field: CubeField, surface: Tensor, cases: Tensor) -> _Duals:
    tables = _tables(field.sdf.device)
    cases = _resolved(cases, field.cubes[surface], field.resolution)
    group = torch.arange(MOST_VERTICES, device=cases.device)
    place, group = (group < tables.amount[cases][:, None]).nonzero(as_tuple=True)
    return _Duals(place, surface[place], tables.edges[cases[place], group])


def _resolved(cases: Tensor, cubes: Tensor, resolution: int) -> Tensor:
    """The cases whose groups to use: two cubes that are both pinched at the face between them take the opposite ones.

    Else one mesh edge would run through that face twice, with four triangles at it.
    """
    tables = _tables(cases.device)
    pinched = (tables.across[cases] >= 0).nonzero()[:, 0]
    beyond = cubes[pinched] + tables.steps[tables.across[cases[pinched]]]
    numbers, wanted = grid_numbers(cubes[pinched], resolution), grid_numbers(beyond, resolution)
    found = torch.searchsorted(numbers, wanted).clamp(max=len(numbers) - 1)
    both = (numbers[found] == wanted) & ((beyond >= 0) & (beyond < resolution)).all(dim=1)
    resolved = cases.clone()
    resolved[pinched[both]] = 255 - cases[pinched[both]]
    return resolved


def _activated(field: CubeField, surface: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """beta (M, 12), alpha (M, 8), gamma (M,)."""
    if field.weights is None:
        raw = torch.zeros(len(surface), WEIGHTS, device=field.sdf.device)
    else:
        raw = field.weights[surface]
    return 0.99 * raw[:, :12].tanh() + 1, 0.99 * raw[:, 12:20].tanh() + 1, 0.99 * raw[:, 20].sigmoid() + 0.005


def _dual_vertices(field: CubeField, duals: _Duals, values: Tensor, beta: Tensor, alpha: Tensor) -> Tensor:
    """(V, ...) means of the values where each vertex' edges cross zero, weighted by beta."""
    ends = _tables(values.device).ends
    total = values.new_zeros(len(duals.cube), values.shape[1])
    weight = values.new_zeros(len(duals.cube), 1)
    # Slot by slot: every vertex is added to once at a time, so that the sums come out the same on every run.
    for slot in duals.edges.T:
        vertex = (slot >= 0).nonzero()[:, 0]
        edge, place = slot[vertex], duals.place[vertex]
        corner = field.corners[duals.cube[vertex, None], ends[edge]]  # (n, 2)
        distance = field.sdf[corner] * alpha[place[:, None], ends[edge]]
        first, second = distance[:, :1], distance[:, 1:]
        crossing = (values[corner[:, 0]] * second - values[corner[:, 1]] * first) / (second - first)
        share = beta[place, edge][:, None]
        total.index_add_(0, vertex, share * crossing)
        weight.index_add_(0, vertex, share)
    return total / weight


def _faces(field: CubeField, duals: _Duals, gamma: Tensor) -> Tensor:
    """Two triangles for every crossing with four cubes around it."""
    ends = _tables(gamma.device).ends
    vertex, slot = (duals.edges >= 0).nonzero(as_tuple=True)  # (K,), by ascending cube
    edge = duals.edges[vertex, slot]
    first, second = field.corners[duals.cube[vertex, None], ends[edge]].unbind(dim=1)
    axis = (ends[edge, 0] ^ ends[edge, 1]) >> 1  # 1, 2, 4 -> 0, 1, 2
    key, order = (torch.minimum(first, second) * 3 + axis).sort(stable=True)
    start = (key[3:] == key[:-3]).nonzero()[:, 0]
    quads = vertex[order][start[:, None] + torch.arange(4, device=key.device)]
    outside = field.sdf[first[order[start]]] >= 0
    quads = torch.where(outside[:, None], quads[:, [0, 1, 3, 2]], quads[:, [2, 3, 1, 0]])
    g = gamma[duals.place[quads]]
    along = (g[:, 0] * g[:, 2] > g[:, 1] * g[:, 3])[:, None]
    return torch.where(along, quads[:, [0, 1, 2, 0, 2, 3]], quads[:, [0, 1, 3, 3, 1, 2]]).reshape(-1, 3)


class _Tables(NamedTuple):
    ends: Tensor  # (12, 2) corners of the edges
    amount: Tensor  # (256,) vertices of a cube in each case
    edges: Tensor  # (256, 4, 7) edges of each vertex, -1 behind the last
    across: Tensor  # (256,) the face through which a pinched case is resolved, or -1
    steps: Tensor  # (6, 3) to the cube beyond each face


@cache
def _tables(device: torch.device) -> _Tables:
    groups = [_groups(case) for case in range(256)]
    edges = torch.full((256, MOST_VERTICES, MOST_EDGES), -1)
    for case, parts in enumerate(groups):
        for number, part in enumerate(parts):
            edges[case, number, : len(part)] = torch.tensor(part)
    steps = [[(2 * side - 1) * (axis == a) for a in range(3)] for axis in range(3) for side in range(2)]
    return _Tables(
        torch.tensor(EDGES, device=device),
        torch.tensor([len(parts) for parts in groups], device=device),
        edges.to(device),
        torch.tensor([_pinched_face(case) for case in range(256)], device=device),
        torch.tensor(steps, device=device),
    )


def _groups(case: int) -> list[list[int]]:
    """The crossing edges of a case, those in one list that one sheet of the surface passes through."""
    groups = [{edge} for edge in range(12) if _crosses(case, edge)]
    for face in range(6):
        for one, other in combinations(_crossings(case, face), 2):
            # Where all four edges cross, a sheet cuts off each inside corner by itself.
            shared = set(EDGES[one]) & set(EDGES[other])
            if len(_crossings(case, face)) == 2 or any(case >> corner & 1 for corner in shared):
                joined = [group for group in groups if group & {one, other}]
                groups = [group for group in groups if not group & {one, other}] + [set().union(*joined)]
    return sorted(sorted(group) for group in groups)


def _crosses(case: int, edge: int) -> bool:
    first, second = EDGES[edge]
    return (case >> first & 1) != (case >> second & 1)


def _crossings(case: int, face: int) -> list[int]:
    """The crossing edges of a face; face 2a lies low along axis a, face 2a + 1 high."""
    axis, side = divmod(face, 2)
    on_face = (edge for edge in range(12) if all(corner >> axis & 1 == side for corner in EDGES[edge]))
    return [edge for edge in on_face if _crosses(case, edge)]


def _pinched_face(case: int) -> int:
    """The face with four crossings where it is the only one and more than half the corners are inside, else -1."""
    faces = [face for face in range(6) if len(_crossings(case, face)) == 4]
    return faces[0] if len(faces) == 1 and case.bit_count() > 4 else -1
