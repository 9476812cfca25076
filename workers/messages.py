"""Every message between a worker and its device process, by direction. JSON on a pipe, never a pickled object."""

import json
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any

# worker → device process


@dataclass(frozen=True)
class Run:
    """Carry out one job.

    Attributes:
        out: an empty folder for its files.
        about: copied into the manifest.
        request_id: of the submit, for the log.
        kept: name → file, of what earlier attempts have kept.
    """

    job_id: str
    pipeline: str
    params: dict[str, Any]
    images: list[str]
    out: str
    about: dict[str, Any]
    request_id: str = ""
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """End the running job at its next step."""


# device process → worker


@dataclass(frozen=True)
class Ready:
    """The process can take jobs; `loaded` names the resident pipelines."""

    loaded: list[str]


@dataclass(frozen=True)
class Advanced:
    """The running job has come this far."""

    stage: str
    step: int
    of: int
    fraction: float


@dataclass(frozen=True)
class Previewed:
    """There is a rough shape to look at: a GLB among the running job's files."""

    path: str


@dataclass(frozen=True)
class Saved:
    """A file among the running job's that another attempt shall find."""

    path: str


@dataclass(frozen=True)
class Done:
    """All files lie in `out`, the manifest among them. `timings`: stage → seconds."""

    loaded: list[str]
    warnings: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """The job ended without a result. `broken`: the device can no longer be trusted, replace this process."""

    kind: str
    message: str
    broken: bool = False


@dataclass(frozen=True)
class Stopped:
    """The job ended because of Stop; the process is ready for the next one."""


Message = Run | Stop | Ready | Advanced | Previewed | Saved | Done | Failed | Stopped
_TYPES = {cls.__name__: cls for cls in (Run, Stop, Ready, Advanced, Previewed, Saved, Done, Failed, Stopped)}


def send(pipe: Connection, message: Message) -> None:
    """Raises OSError when the other side has gone."""
    pipe.send_bytes(json.dumps([type(message).__name__, asdict(message)]).encode())


def receive(pipe: Connection) -> Message:
    """The next message; blocks. Raises EOFError or OSError when the other side has gone."""
    name, values = json.loads(pipe.recv_bytes())
    message: Message = _TYPES[name](**values)
    return message
