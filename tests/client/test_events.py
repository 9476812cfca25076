"""Taking a stream apart, however it is cut into pieces."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maquette_client.events import Parser
from maquette_client.records import Event, Job, after

STREAM = (
    b"retry: 2500\n\n: keep-alive\n\n"
    b'id: 7\nevent: status\ndata: {"status": "queued", "position": 3, "eta_s": null}\n\n'
    b'id: 8\r\nevent: progress\r\ndata: {\r\ndata:  "stage": "caf\xc3\xa9"}\r\n\r\n'
    b'event:preview\rdata:{"url":"/x"}\r\r'
    b"event: nothing\n\n"
    b'event: cut off\ndata: {"never": "told"}\n'
)
EVENTS = [
    Event("status", {"status": "queued", "position": 3, "eta_s": None}, "7"),
    Event("progress", {"stage": "café"}, "8"),
    Event("preview", {"url": "/x"}, ""),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parser = Parser()
    chunks = [STREAM[begin:end] for begin, end in zip(places, places[1:], strict=False)]
    assert list(parser.events(chunks)) == EVENTS
    assert parser.retry_s == 2.5 and parser.heard


def test_data_that_are_not_an_object_are_refused() -> None:
    with pytest.raises(ValueError, match="not a JSON object"):
        list(Parser().events([b"data: [1]\n\n"]))


def test_a_job_follows_its_events() -> None:
    job = Job("1", "queued", "relief", position=2)
    job = after(job, Event("status", {"status": "processing", "position": 0, "eta_s": 4}))
    job = after(job, Event("progress", {"stage": "mesh", "step": 3, "of": 10, "progress": 0.5, "eta_s": 2}))
    assert (job.status, job.stage, job.step, job.of, job.progress, job.eta_s) == ("processing", "mesh", 3, 10, 0.5, 2)
    again = after(job, Event("status", {"status": "queued", "position": 1, "eta_s": None, "attempts": 1}))
    assert (again.position, again.stage, again.progress) == (1, "", 0.0), "after a crash it begins anew"
    told = {"request_id": "1", "status": "complete", "pipeline": "relief", "urls": {"files": {"a": "/a"}}}
    ended = after(again, Event("done", json.loads(json.dumps(told))))
    assert ended.ended and ended.files == {"a": "/a"}
