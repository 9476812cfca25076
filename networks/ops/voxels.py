"""Occupied voxels of a batch of objects, and everything about their places that convolutions and windows ask for.

Letters: N voxels, S objects, K = 27 taps of a 3^3 kernel in (x, y, z) order with z fastest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from networks.ops.segments import Segments

TAPS = 27
_DENSE_CELLS = 2**26  # up to so many cells a table of all of them is quicker than a search
_KEPT_ROWS = 2**19  # pairs of larger sets are found again for each convolution, to save memory


class Pairs(NamedTuple):
    """One tap's occupied neighbours: row `target` of the output takes row `source` of the input."""

    target: Tensor
    source: Tensor


def occupied(neighbour: Tensor) -> Pairs:
    """The pairs of one tap, from the row of each voxel's neighbour there, -1 for none."""
    target = torch.nonzero(neighbour >= 0).squeeze(1)
    return Pairs(target, neighbour[target].long())


class Windows(NamedTuple):
    """Voxels sorted by window: `order` (N,) is the row at each sorted place, `segments` the windows."""

    order: Tensor
    segments: Segments


@dataclass(frozen=True, eq=False)
class Coarse:
    """Half the resolution.

    Attributes:
        voxels: the M coarse ones.
        parent: (N,) the coarse row of each voxel.
        octant: (N,) which eighth of it the voxel is, 0 to 7.
        children: (M,) how many voxels each coarse one covers.
    """

    voxels: "Voxels"
    parent: Tensor
    octant: Tensor
    children: Tensor

    @cached_property
    def by_octant(self) -> list[Pairs]:
        """For each octant, which coarse rows have a child there, and which row that is."""
        rows = [torch.nonzero(self.octant == octant).squeeze(1) for octant in range(8)]
        return [Pairs(self.parent[some], some) for some in rows]


def taps(device: torch.device | str = "cpu") -> Tensor:
    """(27, 3) offsets -1 to 1 in (x, y, z), z fastest: the order of a flattened kernel."""
    step = torch.arange(-1, 2, device=device)
    return torch.cartesian_prod(step, step, step)


class Voxels:
    """A batch of sparse grids.

    Args:
        coords: (N, 4) integers (object, x, y, z), not negative, no row twice; objects in ascending runs without a gap.
    Raises:
        ValueError: the rows are of another shape, none at all, or objects are mixed up.
    """

    def __init__(self, coords: Tensor) -> None:
        if coords.ndim != 2 or coords.shape[1] != 4 or len(coords) == 0:
            raise ValueError(f"coords are {tuple(coords.shape)}; give at least one row (object, x, y, z)")
        self.coords = coords.int()
        item = self.coords[:, 0]
        counts = torch.bincount(item)
        if bool((item[1:] < item[:-1]).any()) or bool((counts == 0).any()):
            raise ValueError("coords mix up their objects; sort the rows by object, 0 and up without a gap")
        self.segments = Segments(tuple(counts.tolist()), coords.device)
        self._windows: dict[tuple[int, int], Windows] = {}
        self._pairs: dict[int, Pairs] = {}

    def __len__(self) -> int:
        return len(self.coords)

    @property
    def device(self) -> torch.device:
        return self.coords.device

    @cached_property
    def neighbours(self) -> Tensor:
        """(27, N) int32 row of each voxel's neighbour at each tap, -1 where it is empty."""
        place = self.coords.long()
        size = int(place[:, 1:].max()) + 3  # one empty cell on every side
        key = self._keys(place, size)
        row_of = _lookup(key, len(self.segments) * size**3)
        return torch.stack([row_of(key + (x * size + y) * size + z) for x, y, z in taps().tolist()])

    @staticmethod
    def _keys(place: Tensor, size: int) -> Tensor:
        return ((place[:, 0] * size + place[:, 1] + 1) * size + place[:, 2] + 1) * size + place[:, 3] + 1

    def pairs(self, tap: int) -> Pairs:
        """Which rows have a neighbour at this tap, and which row that is."""
        if tap in self._pairs:
            return self._pairs[tap]
        found = occupied(self.neighbours[tap])
        if len(self) <= _KEPT_ROWS:
            self._pairs[tap] = found
        return found

    def windows(self, size: int, shift: int) -> Windows:
        """The cubes of `size`^3 that voxels fall into when `shift` is added to their places."""
        if (size, shift) not in self._windows:
            order = torch.argsort(self.window_ids(size, shift), stable=True)
            _, counts = torch.unique_consecutive(self.window_ids(size, shift)[order], return_counts=True)
            self._windows[size, shift] = Windows(order, Segments(tuple(counts.tolist()), self.device))
        return self._windows[size, shift]

    def window_ids(self, size: int, shift: int) -> Tensor:
        """(N,) number of each voxel's window; equal exactly where object and window are."""
        place = self.coords.long()
        cell = torch.div(place[:, 1:] + shift, size, rounding_mode="floor")
        wide = int(cell.max()) + 1
        return ((place[:, 0] * wide + cell[:, 0]) * wide + cell[:, 1]) * wide + cell[:, 2]

    @cached_property
    def coarse(self) -> Coarse:
        """Half the resolution, its rows in ascending order of (object, x, y, z)."""
        place = self.coords.long()
        half = torch.cat([place[:, :1], place[:, 1:] // 2], dim=1)
        rows, parent, children = torch.unique(half, dim=0, return_inverse=True, return_counts=True)
        octant = place[:, 1] % 2 * 4 + place[:, 2] % 2 * 2 + place[:, 3] % 2
        return Coarse(Voxels(rows), parent, octant, children)

    def subdivided(self) -> "Voxels":
        """Twice the resolution: the eight children of each voxel in consecutive rows, z fastest."""
        return _Children(self)

    def repeated(self, copies: int) -> "Voxels":
        """The same objects again as further ones; what is known about their places goes with them."""
        return self if copies == 1 else _Copies(self, copies)


class _Children(Voxels):
    """The children of all voxels. Whose neighbour is whose follows from the parents' neighbours alone."""

    def __init__(self, parents: Voxels) -> None:
        corner = torch.cartesian_prod(*[torch.arange(2, device=parents.device, dtype=torch.int32)] * 3)
        place = parents.coords[:, None, 1:] * 2 + corner
        item = parents.coords[:, None, :1].expand(-1, 8, -1)
        super().__init__(torch.cat([item, place], dim=2).view(-1, 4))
        self._parents = parents

    @cached_property
    def neighbours(self) -> Tensor:
        known = self._parents.neighbours
        result = torch.empty(TAPS, known.shape[1], 8, dtype=torch.int32, device=known.device)
        for tap, offset in enumerate(taps().tolist()):
            for child in range(8):
                parent_tap, sibling = neighbour_child(child, offset)
                row = known[parent_tap]
                result[tap, :, child] = torch.where(row >= 0, row * 8 + sibling, -1)
        return result.view(TAPS, -1)


def neighbour_child(child: int, offset: list[int]) -> tuple[int, int]:
    """Where the neighbour of a voxel's child lies: the tap from its parent to that one's, and which child it is.

    Args:
        child: 0 to 7, x the highest bit.
        offset: (x, y, z) each -1 to 1.
    """
    parent_tap, sibling = 0, 0
    for axis, bit in enumerate((child >> 2 & 1, child >> 1 & 1, child & 1)):
        place = bit + offset[axis]
        parent_tap = parent_tap * 3 + place // 2 + 1
        sibling = sibling * 2 + place % 2
    return parent_tap, sibling


class _Copies(Voxels):
    """One batch several times over."""

    def __init__(self, once: Voxels, copies: int) -> None:
        moved = once.coords.repeat(copies, 1)
        moved[:, 0] += torch.arange(copies, device=once.device).repeat_interleave(len(once)).int() * len(once.segments)
        super().__init__(moved)
        self._once, self._copies = once, copies

    @cached_property
    def neighbours(self) -> Tensor:
        known = self._once.neighbours
        return torch.cat([torch.where(known >= 0, known + i * len(self._once), -1) for i in range(self._copies)], 1)

    @cached_property
    def coarse(self) -> Coarse:
        once = self._once.coarse
        parent = torch.cat([once.parent + i * len(once.voxels) for i in range(self._copies)])
        octant, children = once.octant.repeat(self._copies), once.children.repeat(self._copies)
        return Coarse(once.voxels.repeated(self._copies), parent, octant, children)


def _lookup(key: Tensor, cells: int) -> Callable[[Tensor], Tensor]:
    """What gives the int32 rows of wanted keys, -1 for those that are not there."""
    rows = torch.arange(len(key), dtype=torch.int32, device=key.device)
    if cells <= _DENSE_CELLS:
        table = torch.full((cells,), -1, dtype=torch.int32, device=key.device)
        table[key] = rows
        return table.__getitem__
    ordered, order = torch.sort(key)

    def search(wanted: Tensor) -> Tensor:
        place = torch.searchsorted(ordered, wanted).clamp(max=len(key) - 1)
        return torch.where(ordered[place] == wanted, rows[order[place]], -1)

    return search
