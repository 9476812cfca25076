"""The folders that weights are read from."""

from dataclasses import dataclass
from pathlib import Path

from configs.hub import Hub
from configs.settings import Settings


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


def sources(settings: Settings, hub: Hub) -> Sources:
    """What the operator and the hubs' own tools say."""
    return Sources(settings.weights_dir, hub.caches, hub.torch_cache)
