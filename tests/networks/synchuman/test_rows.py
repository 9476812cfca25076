"""Rows lie in the order domain, half, view."""

import pytest
import torch

from networks.synchuman.rows import Rows


def test_the_view_runs_fastest_and_the_domain_slowest() -> None:
    rows = Rows(halves=2)
    split = rows.split(torch.arange(20))
    assert rows.count == 20 and split.shape == (2, 2, 5)
    for domain in range(2):
        for half in range(2):
            for view in range(5):
                assert split[domain, half, view] == 10 * domain + 5 * half + view


def test_splitting_copies_nothing_and_keeps_what_follows() -> None:
    x = torch.zeros(10, 3, 7)
    split = Rows(halves=1).split(x)
    assert split.shape == (2, 1, 5, 3, 7) and split.data_ptr() == x.data_ptr()


def test_the_face_is_the_last_view_and_the_body_is_the_others() -> None:
    rows = Rows(halves=1)
    views = torch.arange(5)
    assert views[rows.body].tolist() == [0, 1, 2, 3] and views[rows.face] == 4


@pytest.mark.parametrize("count", [10, 19, 40])
def test_another_number_of_rows_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} rows; 2 domains of 2 halves of 5 views are 20"):
        Rows(halves=2).split(torch.zeros(count, 1))


@pytest.mark.parametrize("wrong", [{"halves": 0}, {"views": 1}, {"domains": 0}, {"at_once": 0}])
def test_rows_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1 of everything, and 2 views"):
        Rows(**{"halves": 1} | wrong)


@pytest.mark.parametrize(("at_once", "groups"), [(None, None), (1, 1), (4, 1), (9, 2), (10, 2)])
def test_groups_are_worked_on_whole(at_once: int | None, groups: int | None) -> None:
    assert Rows(halves=2, at_once=at_once).groups_at_once(4) == groups
