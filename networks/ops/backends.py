"""Whether an optional faster kernel can be trusted on this machine: it runs, and says what the plain one says."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)

_TOLERANCE = 2e-2  # relative L2; half precision


def agrees(name: str, fast: Callable[[], Tensor], plain: Callable[[], Tensor]) -> bool:
    """Runs both on a small problem. A kernel built for another card or torch often imports and fails when called."""
    try:
        wanted = plain().float()
        error = float((fast().float() - wanted).norm() / wanted.norm())
    except torch.OutOfMemoryError:
        raise  # it says nothing about the kernel
    except Exception as problem:  # whatever a foreign kernel raises: it is optional
        log.info("%s cannot run here (%s: %s); plain torch does its work", name, type(problem).__name__, problem)
        return False
    if not error < _TOLERANCE:
        log.warning("%s is wrong here (relative error %.2g); plain torch does its work", name, error)
        return False
    return True
