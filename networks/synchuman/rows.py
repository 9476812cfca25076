"""In which order pictures lie in the batch of the 2D network.

Letters: D domains (normals, colours), B guidance halves, V views (front, right, back, left, face).
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """D B V rows, the view running fastest. The last view is the face, those before it show the body.

    Attributes:
        halves: 2 with guidance (without and with the picture), 1 without or when they come one after the other.
        at_once: how many rows a transformer works on at a time; None is all. What is attended to is the same, fewer
            take less memory.
    """

    halves: int
    views: int = 5
    domains: int = 2
    at_once: int | None = None

    def __post_init__(self) -> None:
        if min(self.halves, self.domains, self.views - 1, 1 if self.at_once is None else self.at_once) < 1:
            raise ValueError(f"{self}: at least 1 of everything, and 2 views, one of the body and the face")

    @property
    def count(self) -> int:
        return self.domains * self.halves * self.views

    @property
    def body(self) -> slice:
        """The views of the body."""
        return slice(0, self.views - 1)

    @property
    def face(self) -> int:
        """The view of the face."""
        return self.views - 1

    def split(self, x: Tensor) -> Tensor:
        """(D, B, V, …) of (D B V, …), without a copy.

        Raises:
            ValueError: x has another number of rows.
        """
        if len(x) != self.count:
            raise ValueError(
                f"{len(x)} rows; {self.domains} domains of {self.halves} halves of {self.views} views are {self.count}"
            )
        return x.unflatten(0, (self.domains, self.halves, self.views))

    def groups_at_once(self, size: int) -> int | None:
        """How many groups of `size` rows are worked on at a time, None for all."""
        return None if self.at_once is None else max(1, self.at_once // size)
