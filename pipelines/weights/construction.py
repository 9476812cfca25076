"""How a network is built before its weights go in: `{"name": class, "args": {…}}`, in JSON beside the weights."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.weights.errors import WrongContent


class Construction(NamedTuple):
    """The class, as its authors named it, and its arguments."""

    name: str
    args: dict[str, Any]


def construction(weights: Path, otherwise: Path | None = None) -> Construction:
    """What the JSON of the same stem beside a weights file says.

    Args:
        otherwise: read where there is none beside it, as of files that are published alone.
    Raises:
        WrongContent: there is none, or it does not have this form.
    """
    beside = weights.with_suffix(".json")
    path = beside if beside.is_file() or otherwise is None else otherwise
    try:
        told = json.loads(path.read_text())
        name, args = told["name"], told["args"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongContent(f"{path} does not tell how to build its network: {error!r}") from error
    if not isinstance(name, str) or not isinstance(args, dict):
        raise WrongContent(f'{path} does not have the form {{"name": "Class", "args": {{…}}}}')
    return Construction(name, args)
