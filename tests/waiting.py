"""Waiting for what other processes do."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], timeout_s: float = 20) -> Any:
    """What the condition gives, once that is something."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"it did not come true in {timeout_s:g} s")
