"""The sparse convolution as one Triton kernel: every program sums all taps of a tile of the output.

Letters: N rows, C channels in, O channels out, K taps.
"""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _OUT, _IN = 64, 64, 32


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    x, matrices, bias, neighbours, result, rows, c_in, c_out, taps,
    ROWS: tl.constexpr, OUT: tl.constexpr, IN: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * OUT + tl.arange(0, OUT)
    inside, wide = row < rows, column < c_out
    total = tl.zeros((ROWS, OUT), tl.float32)
    for tap in range(taps):
        source = tl.load(neighbours + tap * rows + row, inside, -1).to(tl.int64)
        for start in range(0, c_in, IN):
            channel = start + tl.arange(0, IN)
            deep = channel < c_in
            found = (source[:, None] >= 0) & deep[None, :]
            values = tl.load(x + source[:, None] * c_in + channel[None, :], found, 0.0)
            place = (tap * c_in + channel[:, None]) * c_out + column[None, :]
            weights = tl.load(matrices + place, deep[:, None] & wide[None, :], 0.0)
            total += tl.dot(values, weights, input_precision="ieee" if EXACT else "tf32")
    total += tl.load(bias + column, wide, 0.0).to(tl.float32)[None, :]
    place = row[:, None].to(tl.int64) * c_out + column[None, :]
    tl.store(result + place, total.to(result.dtype.element_ty), inside[:, None] & wide[None, :])


def gathered_conv(x: Tensor, matrices: Tensor, bias: Tensor, neighbours: Tensor) -> Tensor:
    """(N, O) sum over taps of x[neighbours[k]] @ matrices[k], plus bias; products summed in float32.

    Args:
        x: (M, C); matrices: (K, C, O); bias: (O,).
        neighbours: (K, N) int32 rows of x, -1 for none.
    """
    taps, rows = neighbours.shape
    c_in, c_out = matrices.shape[1:]
    result = torch.empty(rows, c_out, device=x.device, dtype=x.dtype)
    grid = (triton.cdiv(rows, _ROWS), triton.cdiv(c_out, _OUT))
    operands = (x.contiguous(), matrices.contiguous(), bias.contiguous(), neighbours.contiguous(), result)
    exact = x.dtype == torch.float32
    # Triton launches on the current device, whatever its operands are on.
    with torch.cuda.device(x.device) if x.is_cuda else nullcontext():
        _kernel[grid](*operands, rows, c_in, c_out, taps, ROWS=_ROWS, OUT=_OUT, IN=_IN, EXACT=exact)
    return result
