"""Something to look at within seconds, from a whole service: while a job waits, and while it runs."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from geometry.inspect import inspect_glb
from maquette_client.service import LocalService
from tests.conftest import PLUGIN

pytestmark = pytest.mark.service
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "mug.png"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("previews"), {"MAQUETTE_PLUGINS": PLUGIN}) as found:
        yield found


def _preview(service: LocalService, job_id: str) -> bytes:
    """Follows the job's events to its preview, and fetches that."""
    with requests.get(f"{service.url}/jobs/{job_id}/events", stream=True, timeout=60) as answer:
        name = ""
        for line in answer.iter_lines(decode_unicode=True):
            word, _, value = line.partition(": ")
            name = value if word == "event" else name
            assert name not in ("done", "error"), "the end came before the preview"
            if word == "data" and name == "preview":
                return requests.get(service.url + json.loads(value)["url"], timeout=10).content
    raise AssertionError("the stream ended without a preview")


def test_a_job_shows_its_shape_while_it_waits(service: LocalService) -> None:
    client = service.client()
    blocker = client.submit(EXAMPLE, pipeline="probe", seconds=60)
    waiting = client.submit(EXAMPLE, pipeline="relief")
    started = time.monotonic()
    assert inspect_glb(_preview(service, waiting.id)).sound
    assert time.monotonic() - started < 20
    assert client.job(waiting.id).status == "queued"
    client.cancel(blocker.id)
    assert client.wait(waiting.id).status == "complete"


def test_a_running_job_shows_its_shape_before_it_is_done(service: LocalService) -> None:
    job = service.client().submit(EXAMPLE, pipeline="relief", quality="high", texture_size=2048)
    assert inspect_glb(_preview(service, job.id)).sound
    assert service.client().wait(job.id).status == "complete"
