"""Every test here computes with small tensors; a tiny checkpoint is written once."""

from pathlib import Path

import pytest

from tests.threads import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that MAQUETTE_WEIGHTS_DIR would name."""
    from tests.tiny_synchuman import write_checkpoint  # which imports slowly, and few tests want it

    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder)
    return folder
