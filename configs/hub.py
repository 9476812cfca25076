"""What the environment says of model hubs, under the names that their own tools have given it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from configs.settings import ROOT, env_file

ENDPOINT = "https://huggingface.co"
_YES = {"1", "on", "yes", "true"}


@dataclass(frozen=True)
class Hub:
    """Where the Hugging Face hub and torch's keep what they have downloaded, and how the former is reached.

    Attributes:
        caches: the hub's cache folders, the one that wins first.
        torch_cache: the folder of torch.hub's checkpoints.
        token: opens gated models; never shown.
        offline: the network is not to be used.
    """

    caches: tuple[Path, ...]
    torch_cache: Path
    endpoint: str = ENDPOINT
    token: str = field(default="", repr=False)
    offline: bool = False


def load_hub(environ: Mapping[str, str] | None = None, folder: Path = ROOT) -> Hub:
    """HF_ROOT_FOLDER, HF_HUB_CACHE, HF_HOME, TORCH_HOME, XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE.

    Args:
        environ: the environment; the process's own by default.
        folder: where `.env` is looked for; the environment wins over it.
    """
    environ = os.environ if environ is None else environ
    said = env_file(folder / ".env") | {name: value for name, value in environ.items() if value}

    def place(name: str, otherwise: Path) -> Path:
        return Path(said.get(name) or otherwise).expanduser().absolute()

    cache = place("XDG_CACHE_HOME", Path("~/.cache"))
    hub = place("HF_HUB_CACHE", place("HF_HOME", cache / "huggingface") / "hub")
    root = [place("HF_ROOT_FOLDER", hub)] if said.get("HF_ROOT_FOLDER") else []
    return Hub(
        caches=(*root, *(one / "hub" for one in root), hub),
        torch_cache=place("TORCH_HOME", cache / "torch") / "hub" / "checkpoints",
        endpoint=(said.get("HF_ENDPOINT") or ENDPOINT).rstrip("/"),
        token=said.get("HF_TOKEN", ""),
        offline=said.get("HF_HUB_OFFLINE", "").lower() in _YES,
    )
