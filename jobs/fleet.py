"""What workers publish about themselves, and what the web tier reads because it has no device to ask."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from jobs.transitions import PREFIX

LANES = ("cpu", "cuda")  # one queue for each kind of device
ACCELERATED = "device"  # of a job: whichever of them is not the CPU
_WORKERS = PREFIX + "workers"


@dataclass(frozen=True)
class WorkerInfo:
    """One device's worker.

    Attributes:
        queue: the one RQ queue it listens to.
        state: starting, ready, busy or stopping.
        pipelines: names it offers; `loaded` are those resident now.
        unavailable: name → why it cannot offer that one, with the remedy.
        weights: family of models → complete, partial or absent, where it looks for them.
        memory_total_mb, memory_free_mb: of the device.
        device_pid: of the process that holds the models; 0 while there is none.
        busy_s: spent on jobs since it started; `utilization` is the share of about the last minute.
    """

    name: str
    host: str
    pid: int
    device: str
    queue: str
    state: str
    pipelines: list[str]
    loaded: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    memory_total_mb: int = 0
    memory_free_mb: int = 0
    job_id: str = ""
    device_pid: int = 0
    jobs_done: int = 0
    device_restarts: int = 0
    busy_s: float = 0.0
    utilization: float = 0.0
    started_at: float = 0.0
    seen_at: float = 0.0


class Fleet:
    """The living workers. An entry that is not renewed within its lease is gone."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def publish(self, worker: WorkerInfo, lease_s: float) -> None:
        """Says that a worker lives, for one lease more."""
        told = json.dumps(asdict(worker) | {"seen_at": time.time()})
        with self._redis.pipeline() as pipe:
            pipe.set(f"{PREFIX}worker:{worker.name}", told, px=int(lease_s * 1000))
            pipe.sadd(_WORKERS, worker.name)
            pipe.execute()

    def retire(self, name: str) -> None:
        """Says that a worker has gone."""
        with self._redis.pipeline() as pipe:
            pipe.delete(f"{PREFIX}worker:{name}")
            pipe.srem(_WORKERS, name)
            pipe.execute()

    def workers(self) -> list[WorkerInfo]:
        """The living workers, by name; forgets those whose lease ran out."""
        names = sorted(self._redis.smembers(_WORKERS))
        if not names:
            return []
        told = self._redis.mget([f"{PREFIX}worker:{name}" for name in names])
        gone = [name for name, value in zip(names, told, strict=True) if value is None]
        if gone:
            self._redis.srem(_WORKERS, *gone)
        return [_decoded(value) for value in told if value is not None]


def _decoded(told: str) -> WorkerInfo:
    """A worker's entry; what a newer version says besides is passed over."""
    known = {one.name for one in fields(WorkerInfo)}
    return WorkerInfo(**{name: value for name, value in json.loads(told).items() if name in known})
