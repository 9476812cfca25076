"""Places of voxels: neighbours, windows and grids derived from others are those found by looking at every pair."""

import pytest
import torch
from torch import Tensor

from networks.layers.sparse import pooled
from networks.ops import voxels as module
from networks.ops.voxels import Voxels, taps
from tests.networks.drawing import normal, random_coords

COUNTS = [40, 1, 75]


def brute_force(coords: Tensor) -> Tensor:
    """(27, N) the row at each tap from every voxel, by comparing all pairs; -1 for none."""
    offset = torch.cat([torch.zeros(27, 1, dtype=torch.int64), taps()], dim=1)
    wanted = coords.long() + offset[:, None]
    same = (wanted[:, :, None] == coords.long()).all(dim=3)
    return torch.where(same.any(dim=2), same.int().argmax(dim=2), -1)


@pytest.fixture(params=["table", "search"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to look up a place."""
    if request.param == "search":
        monkeypatch.setattr(module, "_DENSE_CELLS", 0)


def test_taps_run_through_the_kernel_with_z_fastest() -> None:
    assert taps().tolist() == [[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]


@pytest.mark.parametrize("side", [5, 9])
def test_neighbours_are_those_of_a_comparison_of_all_pairs(side: int) -> None:
    """At the sides of the grid and from object to object too."""
    coords = random_coords(COUNTS, side)
    voxels = Voxels(coords)
    assert torch.equal(voxels.neighbours.long(), brute_force(coords)) and voxels.neighbours.dtype == torch.int32
    assert torch.equal(voxels.neighbours[13].long(), torch.arange(len(coords)))
    for tap in (0, 13, 26):
        target, source = voxels.pairs(tap)
        assert torch.equal(brute_force(coords)[tap][target], source) and len(target) == (
            (voxels.neighbours[tap] >= 0).sum()
        )


def test_pairs_are_the_same_whether_they_are_kept_or_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Voxels(random_coords(COUNTS, 6))
    again = Voxels(kept.coords)
    assert kept.pairs(4) is kept.pairs(4)
    monkeypatch.setattr(module, "_KEPT_ROWS", 0)
    assert again.pairs(4) is not again.pairs(4)
    for ours, theirs in zip(again.pairs(4), kept.pairs(4), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shift", [0, 2])
def test_windows_hold_exactly_the_voxels_of_one_cube_of_one_object(shift: int) -> None:
    voxels = Voxels(random_coords(COUNTS, 9))
    cell = torch.cat([voxels.coords[:, :1], (voxels.coords[:, 1:] + shift) // 4], dim=1)
    ids = voxels.window_ids(4, shift)
    assert torch.equal(ids[:, None] == ids, (cell[:, None] == cell).all(dim=2))
    order, segments = voxels.windows(4, shift)
    assert torch.equal(order.sort().values, torch.arange(len(voxels)))
    for span in segments.spans():
        assert (cell[order[span]] == cell[order[span.start]]).all()
    assert len(segments) == len(cell.unique(dim=0))


def test_a_coarse_voxel_covers_its_children_and_takes_their_sum_by_one_more() -> None:
    voxels = Voxels(random_coords(COUNTS, 6))
    coarse = voxels.coarse
    halves = [(item, x // 2, y // 2, z // 2) for item, x, y, z in voxels.coords.tolist()]
    assert [tuple(row) for row in coarse.voxels.coords.tolist()] == sorted(set(halves))
    assert [tuple(row) for row in coarse.voxels.coords[coarse.parent].tolist()] == halves
    assert coarse.children.tolist() == [halves.count(half) for half in sorted(set(halves))]
    x = normal(len(voxels), 5)
    mean = pooled(x, coarse)
    for row in range(len(coarse.voxels)):
        children = x[coarse.parent == row]
        assert torch.allclose(mean[row], children.sum(dim=0) / (len(children) + 1), atol=1e-6)


def test_children_know_the_neighbours_they_would_find() -> None:
    parents = Voxels(random_coords([30, 1, 20], 4))
    children = parents.subdivided()
    assert torch.equal(children.coords[:, 1:].view(-1, 8, 3) // 2, parents.coords[:, None, 1:].expand(-1, 8, -1))
    assert children.coords[:8, 1:].sub(children.coords[0, 1:]).tolist() == [
        [x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)
    ]
    assert torch.equal(children.neighbours, Voxels(children.coords).neighbours)
    assert torch.equal(children.neighbours.long(), brute_force(children.coords))
    assert torch.equal(children.subdivided().neighbours, Voxels(children.subdivided().coords).neighbours)


def test_copies_know_what_they_would_find() -> None:
    once = Voxels(random_coords(COUNTS, 6))
    copies = once.repeated(3)
    anew = Voxels(copies.coords)
    assert once.repeated(1) is once
    assert copies.segments.lengths == tuple(COUNTS * 3) and copies.coords[:, 0].unique().tolist() == list(range(9))
    assert torch.equal(copies.neighbours, anew.neighbours)
    assert torch.equal(copies.coarse.voxels.coords, anew.coarse.voxels.coords)
    for name in ("parent", "octant", "children"):
        assert torch.equal(getattr(copies.coarse, name), getattr(anew.coarse, name))
    assert torch.equal(copies.coarse.voxels.neighbours, anew.coarse.voxels.neighbours)
    assert torch.equal(copies.windows(4, 2).order, anew.windows(4, 2).order)
    assert copies.windows(4, 2).segments.lengths == anew.windows(4, 2).segments.lengths


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros(0, 4), r"coords are \(0, 4\); give at least one row"),
        (torch.zeros(3, 3), r"coords are \(3, 3\)"),
        (torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]]), "mix up their objects"),
        (torch.tensor([[0, 0, 0, 0], [2, 0, 0, 0]]), "without a gap"),
        (torch.tensor([[1, 0, 0, 0]]), "without a gap"),
    ],
)
def test_rows_that_are_no_batch_of_voxels_are_refused(coords: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Voxels(coords)
