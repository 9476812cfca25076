"""All probes of optional kernels at once, so that none is made in the middle of a job."""

import torch

from networks.ops import attention, sparse_conv


def probe_kernels(dtype: torch.dtype) -> None:
    """Finds out, on the current CUDA device, what `auto` means for this type."""
    sample = torch.empty(0, 1, 16, device="cuda", dtype=dtype)
    attention.best_backend(sample)
    sparse_conv.best_backend(sample)
