"""Softmax attention within segments of rows, and between rows and the context of their segment.

`backend` names what computes it, everywhere with the same signature and result:
    plain     torch's scaled_dot_product_attention over padded buckets; anywhere, and what the others are tested against
    varlen    torch's own variable-length kernel; CUDA, half precision
    xformers  its block-diagonal memory-efficient attention; CUDA
`auto` is the first of varlen and xformers that a probe shows to run and agree with plain, else plain.

Letters: N rows, S segments, M rows of context, H heads, D head size.
"""

import logging
from functools import cache
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from networks.ops.backends import agrees
from networks.ops.segments import Segments

Backend = Literal["auto", "plain", "varlen", "xformers"]
_HALVES = (torch.float16, torch.bfloat16)


def attention(q: Tensor, k: Tensor, v: Tensor, valid: Tensor | None = None) -> Tensor:
    """Attention of (B, L, H, D) queries to (B, M, H, D) keys; `valid` (B, M) hides padding."""
    mask = None if valid is None else valid[:, None, None, :]
    mixed = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=mask)
    return mixed.transpose(1, 2)


def segment_attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments, backend: Backend = "auto") -> Tensor:
    """Attention of every row to the rows of its own segment: (N, H, D).

    Raises:
        RuntimeError: the backend named outright cannot run here.
    """
    if segments.uniform and backend in ("auto", "plain"):
        shape = (len(segments), segments.uniform, *q.shape[1:])
        return attention(q.view(shape), k.view(shape), v.view(shape)).reshape(q.shape)
    chosen = best_backend(q) if backend == "auto" else backend
    if chosen == "varlen":
        return _varlen(q, k, v, segments)
    if chosen == "xformers":
        return _xformers(q, k, v, segments)
    return _padded(q, k, v, segments)


def context_attention(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    """Attention of the rows of segment s to the context s: queries (N, H, D), keys and values (S or 1, M, H, D)."""
    count = len(segments)
    k, v = k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)
    if segments.uniform:
        return attention(q.view(count, segments.uniform, *q.shape[1:]), k, v).reshape(q.shape)
    parts = [attention(q[rows][None], k[i : i + 1], v[i : i + 1])[0] for i, rows in enumerate(segments.spans())]
    return torch.cat(parts)


def _padded(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    result = torch.empty_like(q)
    for bucket in segments.buckets:
        mixed = attention(q[bucket.rows], k[bucket.rows], v[bucket.rows], bucket.valid)
        if bucket.valid is None:
            result[bucket.rows] = mixed
        else:
            result[bucket.rows[bucket.valid]] = mixed[bucket.valid]
    return result


@cache
def _agrees(backend: Backend, dtype: torch.dtype) -> bool:
    if find_spec("torch.nn.attention.varlen" if backend == "varlen" else "xformers") is None:
        return False
    segments = Segments((3, 17, 1, 40), "cuda")
    q, k, v = torch.randn(3, segments.rows, 2, 32, generator=torch.Generator().manual_seed(0)).to("cuda", dtype)
    return agrees(
        f"{backend} attention",
        lambda: segment_attention(q, k, v, segments, backend),
        lambda: segment_attention(q, k, v, segments, "plain"),
    )


def best_backend(q: Tensor) -> Backend:
    """What `auto` means for queries of this type on this device."""
    if q.is_cuda and q.dtype in _HALVES:
        if _agrees("varlen", q.dtype):
            return "varlen"
        if _agrees("xformers", q.dtype):
            return "xformers"
    return "plain"


def _varlen(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    if not (q.is_cuda and q.dtype in _HALVES):
        raise RuntimeError(f"attention=varlen wants half precision on CUDA, not {q.dtype} on {q.device}; use plain")
    from torch.nn.attention.varlen import varlen_attn

    logging.getLogger("torch.nn.attention.varlen").setLevel(logging.WARNING)  # it tells of itself in every call
    longest = max(segments.lengths)
    result = varlen_attn(q, k, v, segments.bounds, segments.bounds, longest, longest)
    return result[0] if isinstance(result, tuple) else result


def _xformers(q: Tensor, k: Tensor, v: Tensor, segments: Segments) -> Tensor:
    if not (q.is_cuda and find_spec("xformers")):
        raise RuntimeError("attention=xformers wants CUDA and xformers; `./setup.sh --gpu` installs it, or use plain")
    from xformers.ops import memory_efficient_attention
    from xformers.ops.fmha import BlockDiagonalMask

    mask = BlockDiagonalMask.from_seqlens(list(segments.lengths), device=q.device)
    result: Tensor = memory_efficient_attention(q[None], k[None], v[None], attn_bias=mask)[0]
    return result
