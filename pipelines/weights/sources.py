"""The folders that weights are read from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sources:
    """Where weights may lie on this machine; by default nowhere.

    Attributes:
        weights_dir: our own folder; `<org>/<name>/` below it stands for that id of the hub, and wins.
        hub_caches: cache folders of the Hugging Face hub, the one that wins first.
        torch_cache: the folder of torch.hub's checkpoints.
    """

    weights_dir: Path | None = None
    hub_caches: tuple[Path, ...] = ()
    torch_cache: Path | None = None
