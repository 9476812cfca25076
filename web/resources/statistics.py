"""How busy the service is: `/stats` for people and pages, `/metrics` for Prometheus."""

from collections.abc import Iterable

from flask import Blueprint, Response, jsonify
from flask.typing import ResponseReturnValue
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from jobs.errors import RedisUnavailable
from jobs.fleet import WorkerInfo
from jobs.queue import JobQueue
from jobs.statistics import Counters, Depth, Histogram
from pipelines.manifest import VERSION
from web.answers import Stats
from web.context import context
from web.operations import Answer, operation

blueprint = Blueprint("statistics", __name__)

_MIB = 2**20


@blueprint.get("/stats")
@operation("health", Stats, raises=[RedisUnavailable])
def stats() -> ResponseReturnValue:
    """The queue's length, how long jobs usually take, and what ended in each minute of the last hour."""
    queue = context().queue
    depth = queue.depth()
    return jsonify(
        {
            "waiting": depth.waiting,
            "processing": depth.processing,
            "usual_s": queue.usual_s(),
            "minutes": queue.minutes(),
        }
    )


@blueprint.get("/metrics")
@operation("health", {200: Answer("the figures", media=("text/plain",))})
def metrics() -> ResponseReturnValue:
    """Everything there is to count, in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(context().queue))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Collector:
    """The service's figures as Prometheus wants them; they live in Redis, so any web process tells the same."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("maquette", "the running version", {"version": VERSION})
        try:
            counters, depth, workers = self._queue.counters(), self._queue.depth(), self._queue.workers()
        except RedisUnavailable:
            yield GaugeMetricFamily("maquette_redis_up", "1 while the job queue can be reached", 0)
            return
        yield GaugeMetricFamily("maquette_redis_up", "1 while the job queue can be reached", 1)
        yield from _queue(depth)
        yield from _jobs(counters)
        yield from _workers(workers)


def _queue(depth: Depth) -> Iterable[Metric]:
    waiting = GaugeMetricFamily("maquette_jobs_waiting", "jobs that wait, by kind of device", labels=["lane"])
    oldest = GaugeMetricFamily("maquette_oldest_wait_seconds", "how long the next job has waited", labels=["lane"])
    for lane, count in depth.waiting.items():
        waiting.add_metric([lane], count)
        oldest.add_metric([lane], depth.oldest_s[lane])
    yield from (waiting, oldest)
    yield GaugeMetricFamily("maquette_jobs_processing", "jobs that run", depth.processing)
    yield GaugeMetricFamily("maquette_webhooks_waiting", "webhooks not delivered yet", depth.webhooks)


def _jobs(counters: Counters) -> Iterable[Metric]:
    counted = (
        ("maquette_jobs_accepted", "submits that became jobs", ["pipeline"], counters.accepted),
        ("maquette_jobs_ended", "jobs that came to an end", ["pipeline", "status"], counters.ended),
        ("maquette_job_failures", "jobs that ended in an error, by kind", ["pipeline", "kind"], counters.failures),
        ("maquette_job_retries", "attempts that died and were repeated", ["pipeline", "kind"], counters.retries),
        ("maquette_webhook_tries", "calls to receivers, by what came of them", ["state"], counters.webhooks),
    )
    for name, words, labels, values in counted:
        family = CounterMetricFamily(name, words, labels=labels)
        for key, value in sorted(values.items()):
            family.add_metric(key, value)
        yield family
    timed = (
        ("maquette_job_wait_seconds", "from submit to the first attempt", ["pipeline"], counters.wait_seconds),
        ("maquette_job_run_seconds", "of the attempt that succeeded", ["pipeline"], counters.run_seconds),
        ("maquette_stage_seconds", "of each stage of a pipeline", ["pipeline", "stage"], counters.stage_seconds),
    )
    for name, words, labels, series in timed:
        yield _timed(HistogramMetricFamily(name, words, labels=labels), series)


def _timed(family: HistogramMetricFamily, series: dict[tuple[str, ...], Histogram]) -> Metric:
    for key, found in sorted(series.items()):
        family.add_metric(key, found.buckets, found.sum)
    return family


def _workers(workers: list[WorkerInfo]) -> Iterable[Metric]:
    labels = ["worker", "host", "device"]
    told = (
        (GaugeMetricFamily, "maquette_worker_busy", "1 while it runs a job", lambda one: float(one.state == "busy")),
        (
            GaugeMetricFamily,
            "maquette_worker_utilization",
            "busy share of the last minute",
            lambda one: one.utilization,
        ),
        (CounterMetricFamily, "maquette_worker_busy_seconds", "time spent on jobs", lambda one: one.busy_s),
        (CounterMetricFamily, "maquette_worker_jobs", "jobs taken", lambda one: one.jobs_done),
        (CounterMetricFamily, "maquette_device_restarts", "device processes replaced", lambda one: one.device_restarts),
        (GaugeMetricFamily, "maquette_device_memory_bytes", "of the device", lambda one: one.memory_total_mb * _MIB),
        (GaugeMetricFamily, "maquette_device_memory_free_bytes", "of it free", lambda one: one.memory_free_mb * _MIB),
    )
    for kind, name, words, value in told:
        family = kind(name, words, labels=labels)
        for one in workers:
            family.add_metric([one.name, one.host, one.device], value(one))
        yield family
