"""Every test here computes with small tensors."""

from tests.threads import one_thread

__all__ = ["one_thread"]
