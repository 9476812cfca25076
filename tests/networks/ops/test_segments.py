"""Rows of several items: every one is found again, wherever it is sorted to."""

import pytest
import torch

from networks.ops.segments import Segments
from tests.networks.drawing import normal

LENGTHS = (3, 200, 1, 129, 16, 200, 17, 128, 190)


def test_spans_bounds_and_items_say_the_same() -> None:
    segments = Segments((3, 1, 4))
    assert (len(segments), segments.rows) == (3, 8)
    assert list(segments.spans()) == [slice(0, 3), slice(3, 4), slice(4, 8)]
    assert segments.bounds.tolist() == [0, 3, 4, 8] and segments.bounds.dtype == torch.int32
    assert segments.item.tolist() == [0, 0, 0, 1, 2, 2, 2, 2]


def test_buckets_cover_every_row_once_and_never_mix_segments() -> None:
    segments = Segments(LENGTHS)
    seen = []
    for bucket in segments.buckets:
        valid = torch.ones_like(bucket.rows, dtype=torch.bool) if bucket.valid is None else bucket.valid
        assert (segments.item[bucket.rows] == segments.item[bucket.rows[:, :1]]).all()
        for rows, own in zip(bucket.rows, valid, strict=True):
            assert own.sum() == segments.lengths[int(segments.item[rows[0]])]
            assert rows[own].diff().eq(1).all()
        seen.append(bucket.rows[valid])
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(segments.rows))


def test_padding_stays_small_and_is_named_only_where_there_is_some() -> None:
    segments = Segments(LENGTHS)
    for bucket in segments.buckets:
        for item in segments.item[bucket.rows[:, 0]].tolist():
            length = LENGTHS[item]
            assert 0 <= bucket.rows.shape[1] - length < (16 if length <= 128 else 64)
    alike = Segments((40, 40, 40)).buckets
    assert len(alike) == 1 and alike[0].valid is None and alike[0].rows.shape == (3, 40)


@pytest.mark.parametrize("lengths", [(3, 1, 4), (5,), (2, 2)])
def test_spread_gives_every_row_the_vector_of_its_segment(lengths: tuple[int, ...]) -> None:
    segments, vectors = Segments(lengths), normal(len(lengths), 6)
    wanted = torch.cat([vectors[i].repeat(length, 1) for i, length in enumerate(lengths)])
    assert torch.equal(segments.spread(vectors), wanted)


def test_segments_of_one_length_are_known_as_such() -> None:
    assert [Segments(lengths).uniform for lengths in ((4, 4, 4), (4,), (4, 5))] == [4, 4, 0]


def test_the_first_and_the_repeated_are_those_built_anew() -> None:
    segments = Segments((3, 1, 4))
    assert segments.repeated(2).lengths == (3, 1, 4, 3, 1, 4) and segments.repeated(1) is segments
    assert torch.equal(segments.repeated(2).item[8:], segments.item + 3)
    assert segments.first(2).lengths == (3, 1) and segments.first(3) is segments


@pytest.mark.parametrize("lengths", [(), (3, 0, 1), (-1,)])
def test_a_segment_without_rows_is_refused(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="every one needs at least one row"):
        Segments(lengths)
