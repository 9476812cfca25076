"""How many threads torch may use in tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """One for small tensors: starting more takes longer than the work, they crawl where other tests run beside them,
    and sums keep one order. Import it where it is wanted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
