"""What /stats and /metrics tell after known jobs."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from jobs.queue import JobQueue
from jobs.records import JobRequest
from jobs.transitions import PREFIX, Transitions


@pytest.fixture
def done(queue: JobQueue, transitions: Transitions, redis: Any) -> None:
    """Two complete jobs, one failed at its second attempt, one cancelled, one waiting."""
    ids = [queue.submit(JobRequest("c", "trellis", "probe", {}), [], "cpu").record.id for _ in range(5)]
    for job in ids[:2]:
        redis.hincrbyfloat(f"{PREFIX}job:{job}", "created_at", -20)  # it has waited twenty seconds
        transitions.claim(job, "a", "w1", 60)
        transitions.complete(job, "a", [], [], {"mesh": 2.0, "views": 0.05})
    transitions.claim(ids[2], "a", "w1", 60)
    transitions.release(ids[2], "a", counted=True, max_attempts=3, kind="crashed", message="it died")
    transitions.claim(ids[2], "b", "w1", 60)
    transitions.fail(ids[2], "b", "input", "no object")
    transitions.cancel(ids[3])


def _samples(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200 and answer.content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.usefixtures("done")
def test_the_metrics_count_what_happened(client: FlaskClient) -> None:
    samples = _samples(client)

    def value(name: str, **labels: str) -> float:
        return samples[f"maquette_{name}", frozenset(labels.items())]

    assert value("jobs_accepted_total", pipeline="probe") == 5
    assert value("jobs_ended_total", pipeline="probe", status="complete") == 2
    assert value("jobs_ended_total", pipeline="probe", status="cancelled") == 1
    assert value("job_failures_total", pipeline="probe", kind="input") == 1
    assert value("job_retries_total", pipeline="probe", kind="crashed") == 1
    assert value("job_wait_seconds_count", pipeline="probe") == 2
    assert 40 < value("job_wait_seconds_sum", pipeline="probe") < 45
    assert value("job_wait_seconds_bucket", pipeline="probe", le="10") == 0
    assert value("job_wait_seconds_bucket", pipeline="probe", le="30") == 2
    assert value("stage_seconds_sum", pipeline="probe", stage="mesh") == 4
    assert value("stage_seconds_bucket", pipeline="probe", stage="views", le="0.1") == 2
    assert value("jobs_waiting", lane="cpu") == 1 and value("jobs_waiting", lane="cuda") == 0
    assert value("redis_up") == 1
    assert value("device_memory_free_bytes", worker="w1", host="host", device="cpu") == 2048 * 2**20


@pytest.mark.usefixtures("done")
def test_the_last_hour_minute_by_minute(client: FlaskClient) -> None:
    told = client.get("/stats").json
    assert told["waiting"] == {"cpu": 1, "cuda": 0} and told["processing"] == 0
    minutes = told["minutes"]
    assert len(minutes) == 60 and [b["t"] - a["t"] for a, b in zip(minutes, minutes[1:], strict=False)] == [60] * 59
    total = {word: sum(minute[word] for minute in minutes) for word in ("complete", "error", "cancelled")}
    assert total == {"complete": 2, "error": 1, "cancelled": 1}
    (wait,) = {minute["wait_s"] for minute in minutes[-2:]} - {None}
    assert 20 <= wait < 23


def test_counters_outlive_the_jobs(client: FlaskClient, queue: JobQueue, transitions: Transitions) -> None:
    job = queue.submit(JobRequest("c", "trellis", "probe", {}), [], "cpu").record
    transitions.cancel(job.id)
    queue.delete(queue.get(job.id))
    key = ("maquette_jobs_ended_total", frozenset({("pipeline", "probe"), ("status", "cancelled")}))
    assert _samples(client)[key] == 1
