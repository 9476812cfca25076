"""Log lines name the request and the job, as text and as JSON."""

import json
import logging
from collections.abc import Iterator

import pytest

from configs import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_json_line_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    with logs.about(request_id="r1", job_id=""), logs.about(job_id="j1"):
        try:
            raise ZeroDivisionError("no")
        except ZeroDivisionError:
            logging.getLogger("here").exception("it\nbroke", extra={"fields": {"status": 500}})
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert {name: told[name] for name in ("level", "logger", "message", "request_id", "job_id", "status")} == {
        "level": "ERROR",
        "logger": "here",
        "message": "it\nbroke",
        "request_id": "r1",
        "job_id": "j1",
        "status": 500,
    }
    assert "ZeroDivisionError" in told["exception"] and told["time"].endswith("+00:00")


def test_a_text_line_names_what_it_does_not_say_already(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "text")
    with logs.about(request_id="r1", job_id="j1"):
        logging.getLogger("here").info("job j1: done")
    logging.getLogger("here").info("nothing special")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO here: job j1: done [request_id=r1]")
    assert second.endswith("INFO here: nothing special")
