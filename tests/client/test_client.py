"""The typed client against a real service, over connections that break."""

import json
import os
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from maquette_client import Job, MaquetteClient, MaquetteError
from maquette_client.service import LocalService
from tests.client.wire import Wire, server

pytestmark = pytest.mark.service

EVERY_WAY = [0, 40]  # the connection breaks before the first byte of the answer, and within its headers


@pytest.mark.parametrize("cut", EVERY_WAY)
def test_a_submit_whose_answer_is_lost_makes_one_job(
    remote: MaquetteClient, wire: Wire, picture: Path, cut: int
) -> None:
    before = {job.id for job in remote.jobs()}
    wire.cuts = [cut, cut]
    job = MaquetteClient(wire.url).submit(picture, pipeline="probe")
    assert len(wire.passed) == 3, "two answers were lost"
    assert {found.id for found in remote.jobs()} - before == {job.id}
    remote.wait(job.id)


def test_a_key_of_ones_own_finds_the_job_again(remote: MaquetteClient, picture: Path) -> None:
    first = remote.submit(picture, "key of mine", pipeline="probe")
    assert remote.submit(picture, "key of mine", pipeline="probe").id == first.id
    assert remote.submit(picture, pipeline="probe").id != first.id
    remote.wait(first.id)


def test_waiting_outlives_every_web_worker(service: LocalService, remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=8, steps=40)
    seen: list[Job] = []
    done: list[Job] = []
    thread = threading.Thread(target=lambda: done.append(remote.wait(job.id, seen.append, timeout_s=60)))
    thread.start()
    deadline = time.monotonic() + 20
    while not any(found.progress > 0.2 for found in seen) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed = service.pids("gunicorn")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    before = len(seen)
    thread.join(60)
    assert done and done[0].status == "complete" and "result.txt" in done[0].files
    progress = [found.progress for found in seen]
    assert progress == sorted(progress) and len(set(progress[before + 1 : -1])) > 1, "it saw the work go on"
    assert killed and not set(killed) & set(service.pids("gunicorn"))


def test_waiting_tells_how_a_job_failed(remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", deed="bad_input")
    with pytest.raises(MaquetteError, match="nothing in this picture") as caught:
        remote.wait(job.id)
    assert caught.value.code == "bad_input" and caught.value.status == 0


def test_waiting_too_long_leaves_the_job_alone(remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=3)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        remote.wait(job.id, timeout_s=0.5)
    assert time.monotonic() - started < 2
    assert remote.wait(job.id).status == "complete"


def test_nobody_answering_is_an_error_in_words() -> None:
    with pytest.raises(MaquetteError, match="does not answer: Connection refused") as caught:
        MaquetteClient("http://127.0.0.1:1", retry_s=0).jobs()
    assert caught.value.transient


@pytest.fixture
def complete(remote: MaquetteClient, picture: Path) -> Job:
    return remote.wait(remote.submit(picture, pipeline="relief", texture_size=256).id)


def test_a_download_is_what_the_manifest_says(remote: MaquetteClient, complete: Job, tmp_path: Path) -> None:
    paths = remote.download(complete, tmp_path / "out")
    assert {path.relative_to(tmp_path / "out").as_posix() for path in paths} == set(complete.files)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for name, about in manifest["files"].items():
        assert (tmp_path / "out" / name).stat().st_size == about["bytes"]
    assert not list(tmp_path.rglob("*.part"))


def test_only_what_is_asked_for_comes(remote: MaquetteClient, complete: Job, tmp_path: Path) -> None:
    remote.download(complete, tmp_path, ["output.glb", "stage1_output/color_*"])
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"output.glb", *(f"stage1_output/color_{number}.png" for number in range(5))}
    with pytest.raises(MaquetteError, match="no file 'output.fbx'; it has .*output.glb"):
        remote.download(complete, tmp_path, ["output.fbx"])


def test_a_broken_download_goes_on_where_it_broke(
    remote: MaquetteClient, complete: Job, wire: Wire, tmp_path: Path
) -> None:
    whole = remote.read(complete, "output.glb")
    came = 0

    def count(more: int) -> None:
        nonlocal came
        came += more

    client = MaquetteClient(wire.url)
    wire.cuts = [None, 200_000, 100_000]
    manifest = client.job(complete.id)  # over the first connection, which stays
    wire.passed.clear()
    wire.cuts = [len(whole) // 2 + 400, len(whole) // 4 + 400]
    # A fresh client, so that the file comes over the breaking connections; the manifest's came before.
    (path,) = MaquetteClient(wire.url).download(
        Job(manifest.id, "complete", "relief", files={"output.glb": manifest.files["output.glb"]}),
        tmp_path,
        on_bytes=count,
    )
    assert path.read_bytes() == whole and came == len(whole)
    ranges = [line for sent in wire.passed for line in bytes(sent).split(b"\r\n") if line.startswith(b"Range:")]
    assert len(wire.passed) == 3 and len(ranges) == 2, "no byte was fetched twice"


def test_a_file_that_is_not_what_the_manifest_says_is_refused(
    service: LocalService, remote: MaquetteClient, complete: Job, tmp_path: Path
) -> None:
    (stored,) = service.data_dir.glob(f"outputs/*/{complete.id}/thumbnail.png")
    stored.write_bytes(stored.read_bytes()[:-1] + b"X")
    with pytest.raises(MaquetteError, match="thumbnail.png came damaged") as caught:
        remote.download(complete, tmp_path)
    assert caught.value.code == "damaged"
    assert not (tmp_path / "thumbnail.png").exists() and not (tmp_path / "manifest.json").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_there_already_is_not_fetched_again(
    remote: MaquetteClient, complete: Job, wire: Wire, tmp_path: Path
) -> None:
    remote.download(complete, tmp_path)
    (tmp_path / "preview.glb").write_bytes(b"harmed")
    MaquetteClient(wire.url).download(complete, tmp_path)
    asked = [line for line in bytes(wire.passed[0]).split(b"\r\n") if line.startswith(b"GET ")]
    assert [line.split()[1].rpartition(b"/")[2] for line in asked] == [
        b"manifest.json",
        b"preview.glb",
        b"manifest.json",
    ]
    assert (tmp_path / "preview.glb").stat().st_size > 1000


@pytest.mark.parametrize("status", [404, 503])
def test_a_service_without_a_stream_for_us_is_polled(picture: Path, status: int) -> None:
    """An older one knows neither events nor ?wait=; one with too many who wait tells us to ask without waiting."""
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        asked.append(request.path)
        full = status == 503 and query == "wait=1"
        polled = sum(one.startswith("/jobs/1") for one in asked if not one.endswith("events")) - (status == 503)
        good = path == "/jobs/1" and not full
        told: dict[str, Any] = {"request_id": "1", "pipeline": "relief", "urls": {}, "progress": min(polled / 4, 1)}
        told["status"] = "complete" if polled >= 4 else "processing"
        code = "too_many_waiting" if status == 503 else "not_found"
        body = json.dumps(told if good else {"error": "none for you", "code": code}).encode()
        request.send_response(200 if good else status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    started = time.monotonic()
    with server(answer) as url:
        job = MaquetteClient(url).wait("1")
    assert job.status == "complete" and time.monotonic() - started < 5
    assert asked[:3] == ["/jobs/1", "/jobs/1/events", "/jobs/1?wait=1"]
    assert asked[-1] == ("/jobs/1" if status == 503 else "/jobs/1?wait=1")


def test_events_tell_a_job_from_end_to_end(remote: MaquetteClient, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=1)
    told = list(remote.events(job.id))
    names = [event.name for event in told]
    assert names[0] == "status" and names[-1] == "done" and "progress" in names
    assert told[-1].data["status"] == "complete" and "result.txt" in told[-1].data["urls"]["files"]
    assert list(remote.events(job.id, told[-1].id)) == [], "all of it was told"


def test_broken_event_streams_go_on_where_they_broke(remote: MaquetteClient, wire: Wire, picture: Path) -> None:
    job = remote.submit(picture, pipeline="probe", seconds=3, steps=60)
    wire.cuts = [700, 700, 700]
    told = list(MaquetteClient(wire.url).events(job.id))
    marks = [(event.id, event.name) for event in told if event.id]
    assert told[-1].name == "done" and len(marks) == len(set(marks)), "nothing is told twice"
    steps = [event.data["step"] for event in told if event.name == "progress"]
    assert steps == sorted(steps)
    asked = [bytes(sent) for sent in wire.passed]
    assert len(asked) == 4 and all(b"Last-Event-ID: " in one for one in asked[1:])


def test_a_service_behind_a_proxy_that_finds_nobody_is_not_ready() -> None:
    def bad_gateway(request: BaseHTTPRequestHandler) -> None:
        request.send_response(502)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with server(bad_gateway) as url:
        assert MaquetteClient(url).ready() is False


def test_a_service_that_does_not_convert_is_found_out(tmp_path: Path) -> None:
    def same(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "4")
        request.end_headers()
        request.wfile.write(b"glTF")

    job = Job("1", "complete", "relief", files={"output.glb": "/outputs/x/1/output.glb"})
    with server(same) as url, pytest.raises(MaquetteError, match="does not convert to stl"):
        MaquetteClient(url).convert(job, tmp_path / "output.stl", "stl")
    assert list(tmp_path.iterdir()) == []
