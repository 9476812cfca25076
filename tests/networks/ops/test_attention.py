"""Rows attend to their own segment or context and to nothing else, as if the softmax were written out."""

import pytest
import torch
from torch import Tensor

from networks.ops.attention import Backend, attention, context_attention, segment_attention
from networks.ops.segments import Segments
from tests.networks.drawing import normal

RAGGED, UNIFORM = (5, 40, 1, 130, 17), (24, 24)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (L, H, D) queries to (M, H, D) keys, in float64."""
    scores = torch.einsum("lhd,mhd->hlm", q.double(), k.double()) / q.shape[-1] ** 0.5
    return torch.einsum("hlm,mhd->lhd", scores.softmax(dim=2), v.double())


@pytest.mark.parametrize("backend", ["plain", "auto"])
@pytest.mark.parametrize("lengths", [RAGGED, UNIFORM, (7,), (1, 1, 1)])
def test_rows_attend_to_all_of_their_own_segment(lengths: tuple[int, ...], backend: Backend) -> None:
    segments = Segments(lengths)
    q, k, v = normal(3, segments.rows, 2, 8)
    wanted = torch.cat([written_out(q[rows], k[rows], v[rows]) for rows in segments.spans()])
    assert (segment_attention(q, k, v, segments, backend) - wanted).abs().max() < 1e-5


def test_what_happens_in_one_segment_does_not_reach_another() -> None:
    segments = Segments(RAGGED)
    q, k, v = normal(3, segments.rows, 2, 8)
    before = segment_attention(q, k, v, segments)
    k[:5], v[:5] = 50, torch.nan
    after = segment_attention(q, k, v, segments)
    assert after[:5].isnan().all() and torch.equal(after[5:], before[5:])


@pytest.mark.parametrize("contexts", ["each", "one"])
@pytest.mark.parametrize("lengths", [RAGGED, UNIFORM])
def test_rows_attend_to_the_context_of_their_segment(lengths: tuple[int, ...], contexts: str) -> None:
    segments = Segments(lengths)
    k, v = normal(2, len(segments) if contexts == "each" else 1, 11, 2, 8, seed=1)
    q = normal(segments.rows, 2, 8)
    wanted = [written_out(q[rows], k[i % len(k)], v[i % len(k)]) for i, rows in enumerate(segments.spans())]
    assert (context_attention(q, k, v, segments) - torch.cat(wanted)).abs().max() < 1e-5


def test_padding_that_is_hidden_has_no_weight() -> None:
    q, k, v = normal(3, 2, 6, 2, 8)
    valid = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    mixed = attention(q, k, v, valid)
    assert (mixed[0] - written_out(q[0], k[0], v[0])).abs().max() < 1e-5
    assert (mixed[1] - written_out(q[1], k[1, :4], v[1, :4])).abs().max() < 1e-5


@pytest.mark.parametrize("backend", ["varlen", "xformers"])
def test_a_kernel_asked_for_outright_that_cannot_run_says_what_to_do(backend: Backend) -> None:
    segments = Segments(RAGGED)
    q, k, v = normal(3, segments.rows, 2, 8)
    with pytest.raises(RuntimeError, match=f"attention={backend} wants .*CUDA.* use plain"):
        segment_attention(q, k, v, segments, backend)
