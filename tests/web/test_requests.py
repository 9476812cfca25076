"""Every answer carries the id under which the log speaks of its request."""

import io
import logging

import pytest
from flask.testing import FlaskClient

from jobs.queue import JobQueue


def test_an_id_is_made_or_taken_over(client: FlaskClient) -> None:
    made = client.get("/health/live").headers["X-Request-Id"]
    assert len(made) == 32 and made != client.get("/health/live").headers["X-Request-Id"]
    assert client.get("/nowhere", headers={"X-Request-Id": "proxy-7"}).headers["X-Request-Id"] == "proxy-7"
    assert client.get("/health/live", headers={"X-Request-Id": "a b<"}).headers["X-Request-Id"] != "a b<"


def test_a_job_remembers_the_request_that_brought_it(client: FlaskClient, queue: JobQueue, png: bytes) -> None:
    form = {"image": (io.BytesIO(png), "a.png")}
    sent = client.post("/image_to_3d", data=form, headers={"X-Request-Id": "r-9"})
    assert queue.get(sent.json["request_id"]).submitted_by == "r-9"


def test_what_changes_something_is_logged_and_polling_is_not(
    client: FlaskClient, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "web.requests"):
        client.get("/my_requests")
        client.post("/image_to_3d", data={"image": (io.BytesIO(png), "a.png")})
    (record,) = caplog.records
    assert record.getMessage().startswith("POST /image_to_3d: 200 in ")
    assert record.fields["status"] == 200  # type: ignore[attr-defined]
