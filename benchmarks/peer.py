"""The no-op job for RQ's own workers, alone in a file that imports nothing: a forking worker imports it every time."""

import time


def entered(number: int) -> tuple[int, float]:
    """Says when it was entered."""
    return number, time.time()
