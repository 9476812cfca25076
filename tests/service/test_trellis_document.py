"""The TRELLIS document, line by line, against a live server on its port, with the real pipeline."""

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from geometry.inspect import inspect_glb
from maquette_client.service import ROOT, LocalService

pytestmark = pytest.mark.service

BASE = "http://127.0.0.1:6006"
FILES = {
    "manifest.json",
    "output.glb",
    "preview.glb",
    "thumbnail.png",
    "turntable.webp",
    "stage1_output/input.png",
    "stage1_output/latent.npz",
    "stage2_output/output.glb",
    "stage2_output/output_mesh.ply",
    *(f"stage1_output/{kind}_{number}.png" for kind in ("color", "normal") for number in range(5)),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("service"), {"MAQUETTE_BIND": "0.0.0.0:6006"}) as found:
        yield found


def submit(name: str = "mug.png", **fields: Any) -> dict[str, Any]:
    with open(ROOT / "examples" / name, "rb") as file:
        answer = requests.post(f"{BASE}/image_to_3d", files={"image": file}, data=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def finished(request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        listed = requests.get(f"{BASE}/my_requests", timeout=30).json()["requests"]
        (entry,) = [entry for entry in listed if entry["request_id"] == request_id]
        assert entry["status"] in ("queued", "processing", "complete"), entry
        if entry["status"] == "complete":
            found: dict[str, Any] = entry
            return found
        time.sleep(0.05)
    raise AssertionError("the request did not end")


def fetch(request_id: str, name: str) -> requests.Response:
    return requests.get(f"{BASE}/outputs/127.0.0.1/{request_id}/{name}", timeout=30)


def test_a_picture_becomes_a_sound_textured_glb(service: LocalService) -> None:
    told = submit(
        sparse_structure_sample_steps=25,
        sparse_structure_cfg_strength=8.5,
        slat_sample_steps=25,
        slat_cfg_strength=4.0,
        simplify_ratio=1.0,
        texture_size=1024,
        texture_bake_mode="pbr",
    )
    assert told["status"] == "queued" and told["pipeline"] == "relief"
    entry = finished(told["request_id"])
    assert set(entry["output_files"]) == FILES and entry["image_name"] == "mug.png"
    answer = fetch(told["request_id"], "output.glb")
    assert answer.headers["Content-Type"] == "model/gltf-binary"
    report = inspect_glb(answer.content)
    assert report.sound and report.euler_numbers == [0] and report.texture_size == (1024, 1024)


def test_the_manifest_is_honest(service: LocalService) -> None:
    request_id = submit("fox.png", seed=3)["request_id"]
    finished(request_id)
    manifest = fetch(request_id, "manifest.json").json()
    assert manifest["learned"] is False and manifest["engine"] == "geometric" and manifest["pipeline"] == "relief"
    assert manifest["seed"] == 3 and manifest["request_id"] == request_id and manifest["matte"] == "alpha"
    assert set(manifest["files"]) == FILES - {"manifest.json"} and manifest["timings"] and manifest["versions"]["numpy"]


def test_the_queue_status_has_the_four_numbers(service: LocalService) -> None:
    told = requests.get(f"{BASE}/queue/status", timeout=30).json()
    assert set(told) == {"queue_length", "processing", "client_queue_length", "client_processing"}
    assert all(isinstance(count, int) for count in told.values())


def test_settings_do_what_they_say(service: LocalService) -> None:
    request_id = submit("letter.png", simplify_ratio=0.25, texture_size=512, texture_bake_mode="fast")["request_id"]
    finished(request_id)
    report = inspect_glb(fetch(request_id, "output.glb").content)
    assert report.sound and report.triangles <= 5200 and report.texture_size == (512, 512)


def test_an_opaque_photo_is_cut_out(service: LocalService) -> None:
    request_id = submit("apple.jpg")["request_id"]
    finished(request_id)
    assert fetch(request_id, "manifest.json").json()["matte"] == "grabcut"
    assert inspect_glb(fetch(request_id, "output.glb").content).sound


def test_a_picture_of_nothing_ends_in_an_error_that_says_so(service: LocalService) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(buffer, "PNG")
    answer = requests.post(f"{BASE}/image_to_3d", files={"image": buffer.getvalue()}, timeout=30).json()
    deadline = time.monotonic() + 30
    while (job := requests.get(f"{BASE}/jobs/{answer['request_id']}", timeout=30).json())["status"] != "error":
        assert time.monotonic() < deadline and job["status"] in ("queued", "processing")
        time.sleep(0.05)
    assert job["error_kind"] == "bad_input" and len(job["error"]) > 20
    assert "Traceback" not in service.log.read_text()


def test_equal_requests_give_equal_bytes(service: LocalService) -> None:
    hashes = []
    for _ in range(2):
        request_id = submit("person.png", seed=1)["request_id"]
        finished(request_id)
        hashes.append(json.loads(fetch(request_id, "manifest.json").content)["files"])
    assert hashes[0] == hashes[1]


def test_the_log_has_no_traceback(service: LocalService) -> None:
    for data in (b"", b"nonsense", Path(ROOT / "examples" / "mug.png").read_bytes()[:1000]):
        assert requests.post(f"{BASE}/image_to_3d", files={"image": data}, timeout=30).status_code == 415
    assert "Traceback" not in service.log.read_text()
