"""Rows of several items laid one after the other: which rows belong together.

Letters: N rows in all, S segments, L rows of one segment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_FINE, _COARSE = 16, 64  # to what multiple a short and a long segment are padded
_SHORT = 128


@dataclass(frozen=True)
class Bucket:
    """Segments of about equal length, padded to one.

    Attributes:
        rows: (S, L) row numbers; padding repeats the segment's first row.
        valid: (S, L) bool, False on padding; None when there is none.
    """

    rows: Tensor
    valid: Tensor | None


class Segments:
    """How N rows fall into S consecutive runs. Everything derived is made once and kept.

    Args:
        lengths: rows of each segment; none is empty.
        device: where index tensors are made.
    """

    def __init__(self, lengths: tuple[int, ...], device: torch.device | str = "cpu") -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError(f"segments of {lengths[:8]} rows; every one needs at least one row")
        self.lengths = lengths
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def rows(self) -> int:
        return int(self._bounds[-1])

    @cached_property
    def _bounds(self) -> Tensor:
        return torch.tensor([0, *self.lengths]).cumsum(0)

    @cached_property
    def uniform(self) -> int:
        """The length of every segment where all are equal, else 0."""
        return self.lengths[0] if len(set(self.lengths)) == 1 else 0

    @cached_property
    def bounds(self) -> Tensor:
        """(S + 1,) int32 first row of each segment, and the end; what fused kernels ask for."""
        return self._bounds.to(self.device, torch.int32)

    @cached_property
    def item(self) -> Tensor:
        """(N,) the segment of each row."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return torch.repeat_interleave(torch.arange(len(self), device=self.device), lengths)

    def spans(self) -> Iterator[slice]:
        """The rows of each segment in turn."""
        bounds = self._bounds.tolist()
        return (slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False))

    def first(self, count: int) -> "Segments":
        """The first `count` segments alone."""
        return self if count == len(self) else Segments(self.lengths[:count], self.device)

    def repeated(self, copies: int) -> "Segments":
        """The same segments again and again."""
        return self if copies == 1 else Segments(self.lengths * copies, self.device)

    @cached_property
    def buckets(self) -> list[Bucket]:
        """All segments, those of similar length together, so that padding stays small."""
        lengths = torch.tensor(self.lengths)
        step = torch.where(lengths <= _SHORT, _FINE, _COARSE)
        padded = (lengths + step - 1) // step * step
        return [self._bucket(lengths, torch.nonzero(padded == size).squeeze(1)) for size in padded.unique().tolist()]

    def _bucket(self, lengths: Tensor, members: Tensor) -> Bucket:
        longest = int(lengths[members].max())
        column = torch.arange(longest)
        valid = column < lengths[members, None]
        rows = self._bounds[members, None] + torch.where(valid, column, 0)
        return Bucket(rows.to(self.device), None if bool(valid.all()) else valid.to(self.device))

    def spread(self, vectors: Tensor) -> Tensor:
        """(N, C) the vector of each row's segment, from (S, C)."""
        return vectors[0].expand(self.rows, -1) if len(self) == 1 else vectors[self.item]
