"""What the service has done: the counters that the transitions keep, and each of the last sixty minutes."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from jobs.fleet import LANES
from jobs.transitions import BOUNDS, PREFIX

MINUTES = 60


@dataclass
class Histogram:
    """Seconds, counted by how long: `buckets` has for each bound, and at last for infinity, how many stayed below."""

    buckets: list[tuple[str, int]] = field(default_factory=list)
    sum: float = 0.0


@dataclass
class Counters:
    """Since the Redis was set up, by what stands in the labels.

    Attributes:
        accepted: (pipeline,); ended: (pipeline, status); failures, retries: (pipeline, kind).
        webhooks: (state,), of each try.
        wait_seconds, run_seconds: (pipeline,); stage_seconds: (pipeline, stage).
    """

    accepted: dict[tuple[str, ...], int] = field(default_factory=dict)
    ended: dict[tuple[str, ...], int] = field(default_factory=dict)
    failures: dict[tuple[str, ...], int] = field(default_factory=dict)
    retries: dict[tuple[str, ...], int] = field(default_factory=dict)
    webhooks: dict[tuple[str, ...], int] = field(default_factory=dict)
    wait_seconds: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    run_seconds: dict[tuple[str, ...], Histogram] = field(default_factory=dict)
    stage_seconds: dict[tuple[str, ...], Histogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Depth:
    """What there is to do just now: jobs and webhooks. `oldest_s` is how long the next of each lane has waited."""

    waiting: dict[str, int]
    oldest_s: dict[str, float]
    processing: int
    webhooks: int


class Statistics:
    """Reads them; the scripts in `jobs/lua` write them, together with the changes they count."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    def counters(self) -> Counters:
        found, series = Counters(), defaultdict[str, dict[tuple[str, ...], dict[str, str]]](lambda: defaultdict(dict))
        for name, value in self._redis.hgetall(PREFIX + "counted").items():
            kind, *labels = name.split("|")
            if kind.endswith("_seconds"):
                series[kind][tuple(labels[:-1])][labels[-1]] = value
            else:
                getattr(found, kind)[tuple(labels)] = int(value)
        for kind, by_label in series.items():
            getattr(found, kind).update({labels: _histogram(values) for labels, values in by_label.items()})
        return found

    def depth(self) -> Depth:
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zcard(PREFIX + "processing")
            pipe.zcard(PREFIX + "webhooks")
            for lane in LANES:
                pipe.zcard(f"{PREFIX}waiting:{lane}")
                pipe.zrange(f"{PREFIX}waiting:{lane}", 0, 0)
            (seconds, _), processing, webhooks, *lanes = pipe.execute()
        waiting = dict(zip(LANES, lanes[::2], strict=True))
        oldest = {lane: self._age(first, seconds) for lane, first in zip(LANES, lanes[1::2], strict=True)}
        return Depth(waiting, oldest, processing, webhooks)

    def _age(self, first: list[str], now: int) -> float:
        created = self._redis.hget(f"{PREFIX}job:{first[0]}", "created_at") if first else None
        return max(now - float(created), 0.0) if created else 0.0

    def usual_s(self) -> dict[str, float]:
        """How long a job of each pipeline takes, lately."""
        return {name: round(float(took), 2) for name, took in self._redis.hgetall(PREFIX + "usual").items()}

    def minutes(self) -> list[dict[str, Any]]:
        """The jobs that ended in each of the last sixty minutes, the oldest first; `t` is its start in Unix seconds."""
        this = self._redis.time()[0] // 60
        with self._redis.pipeline(transaction=False) as pipe:
            for minute in range(this - MINUTES + 1, this + 1):
                pipe.hgetall(f"{PREFIX}minute:{minute}")
            return [_minute(this - MINUTES + 1 + index, told) for index, told in enumerate(pipe.execute())]


def _histogram(values: dict[str, str]) -> Histogram:
    total, buckets = 0, []
    for bound in (*BOUNDS, "+Inf"):
        total += int(values.get(bound, 0))
        buckets.append((bound, total))
    return Histogram(buckets, float(values.get("sum", 0)))


def _minute(number: int, told: dict[str, str]) -> dict[str, Any]:
    done = int(told.get("complete", 0))
    means = {
        name: round(float(told[name]) / done, 3) if done and name in told else None for name in ("wait_s", "run_s")
    }
    return {"t": number * 60} | {word: int(told.get(word, 0)) for word in ("complete", "error", "cancelled")} | means
