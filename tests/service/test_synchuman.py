"""SyncHuman through the whole service: the official layout, a real queue, a real worker, and its death.

The examples of the documents ask for 50 and more steps, which takes a CPU more than a minute each. They run with
`MAQUETTE_TEST_EVERYTHING=1`; what always runs asks for the same with one or two steps.
"""

import io
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from PIL import Image

from geometry.inspect import inspect_glb
from maquette_client import MaquetteClient
from maquette_client.service import ROOT, LocalService
from storage.keys import STRUCTURE
from tests.synchuman_documents import ASKING, FILES1, FILES2, MAKING, MORE1, Desk, check_archive, served, unzipped
from tests.tiny_synchuman import write_checkpoint
from tests.waiting import until

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl, which is not installed"),
]

LONG = pytest.mark.skipif(
    os.environ.get("MAQUETTE_TEST_EVERYTHING") != "1",
    reason="these take 20 minutes; MAQUETTE_TEST_EVERYTHING=1 runs them",
)
QUICK = {"seed": "8", "stage1_steps": "1", "stage2_steps": "2", "texture_size": "128"}
KEY = "Idempotency-Key: of the job from beginning to end"
SECOND = {"features", "latent", "decoding", "mesh"}
Told = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    weights = tmp_path_factory.mktemp("weights")
    write_checkpoint(weights)
    settings = {
        "MAQUETTE_PIPELINES": "relief,synchuman",
        "MAQUETTE_DEVICES": "cpu",
        "MAQUETTE_LEASE_S": "3",
        "MAQUETTE_WEIGHTS_DIR": str(weights),
        "MAQUETTE_PREVIEWS": "0",
        "MAQUETTE_ALLOW_PRIVATE_URLS": "1",
        "OMP_NUM_THREADS": "1",  # threads that wait for each other crawl where other tests run beside them
    }
    with LocalService(tmp_path_factory.mktemp("service"), settings) as found:
        yield found
        assert "Traceback" not in found.log.read_text()


@pytest.fixture(scope="module")
def desk(service: LocalService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(ROOT / "examples" / "person.png", folder / "image.png")
    with served(folder) as images:
        yield Desk(service.url, folder, images, "synchuman")


@pytest.fixture
def client(service: LocalService) -> MaquetteClient:
    return service.client()


def quick(**fields: str) -> list[str]:
    """The fields of a job with few steps."""
    return [f"{name}={value}" for name, value in (QUICK | fields).items()]


@pytest.fixture(scope="module")
def whole(desk: Desk) -> Told:
    """The answer about a job from beginning to end."""
    form = [word for field in ("image=@image.png", *quick()) for word in ("-F", field)]
    told: Told = json.loads(desk.curl("-H", KEY, f"{desk.url}/generate", *form))
    return told


@pytest.fixture(scope="module")
def first(desk: Desk) -> Told:
    """The answer about the first stage alone, of a picture that the service fetches itself."""
    return desk.generate(f"image_url={desk.images}/image.png", *quick(stage="stage1"))


def later(desk: Desk, *fields: str) -> str:
    """The id of a job that nobody has waited for."""
    told = desk.generate(*fields, "async=true")
    assert told["status"] in ("queued", "processing") and told["pipeline"] == "synchuman"
    return str(told["job_id"])


def ended(desk: Desk, job_id: str) -> Told:
    told: Told = json.loads(desk.curl(f"{desk.url}/jobs/{job_id}?wait=60"))
    assert told["status"] == "complete", told
    return told


def same(desk: Desk, stage: str, names: dict[str, str], one: Told, other: Told) -> bool:
    """Whether two jobs have the same bytes in these files of a stage."""
    return all(desk.file(one, stage, name) == desk.file(other, stage, name) for name in names.values())


@pytest.mark.parametrize("name", ASKING)
def test_a_question_of_the_documents_is_answered_as_they_say(desk: Desk, name: str) -> None:
    ASKING[name](desk)


@LONG
@pytest.mark.parametrize("name", MAKING)
def test_an_example_of_the_documents_does_what_they_say(desk: Desk, name: str) -> None:
    MAKING[name](desk)


def test_a_picture_becomes_views_and_a_glb(desk: Desk, whole: Told) -> None:
    assert whole["status"] == "completed" and whole["pipeline"] == "synchuman" and whole["warnings"] == []
    assert 0 < whole["alpha_coverage"] < 1 and "differ from the official ones" in whole["approach"]
    assert whole["stage1"]["files"] == FILES1 | MORE1 and whole["stage1"]["steps"] == 1
    assert whole["stage2"]["files"] == FILES2 and whole["stage2"]["parameters"]["num_steps"] == 2
    for name in [name for name in FILES1.values() if name.endswith(".png")]:
        with Image.open(io.BytesIO(desk.file(whole, "stage1", name))) as picture:
            assert picture.size == (768, 768)
    report = inspect_glb(desk.file(whole, "stage2", "output.glb"))
    assert report.sound and report.texture_size == (128, 128)
    assert desk.file(whole, "stage2", "output_mesh.ply").startswith(b"ply\n")


def test_the_manifest_is_honest(client: MaquetteClient, whole: Told) -> None:
    manifest = json.loads(client.read(client.job(whole["job_id"]), "manifest.json"))
    assert manifest["learned"] is True and manifest["engine"] == "xishushu/SyncHuman"
    assert manifest["params"]["stage1_steps"] == 1 and manifest["params"]["cfg_interval"] == [0.5, 1.0]
    assert manifest["views"] == 5 and manifest["voxels"] > 0 and {"views", "latent"} <= set(manifest["timings"])


def test_the_first_stage_alone_gives_the_same_views(desk: Desk, first: Told, whole: Told) -> None:
    """Of the same picture under the same seed, though the service has fetched it."""
    assert "stage2" not in first and first["job_id"] != whole["job_id"]
    assert same(desk, "stage1", FILES1 | MORE1, first, whole)


def test_the_second_stage_of_an_earlier_job_gives_the_same_asset(desk: Desk, first: Told, whole: Told) -> None:
    second = desk.generate(f"job_id={first['job_id']}", *quick(stage="stage2"))
    assert "stage1" not in second and second["stage2"]["files"] == FILES2
    assert same(desk, "stage2", FILES2, second, whole)


def test_a_job_that_is_known_by_its_key_can_be_had_as_a_zip(desk: Desk, whole: Told) -> None:
    form = [word for field in ("image=@image.png", "download=true", *quick()) for word in ("-F", field)]
    desk.curl("-H", KEY, f"{desk.url}/generate", *form, "--output", "results.zip")
    data = (desk.folder / "results.zip").read_bytes()
    check_archive(desk, unzipped(data), "stage1", "stage2")
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        assert packed.read("stage2_output/output.glb") == desk.file(whole, "stage2", "output.glb")


def test_a_zip_has_the_files_of_the_stage_that_was_asked_for(desk: Desk, first: Told) -> None:
    fields = quick(stage="stage2", simplify="0.9", cfg_interval="[0.0, 0.5]")
    check_archive(desk, desk.packed(f"job_id={first['job_id']}", *fields, "download=true"), "stage2")


def test_a_killed_device_process_goes_on_from_the_views(
    desk: Desk, service: LocalService, client: MaquetteClient, whole: Told
) -> None:
    """Nobody waits for the job meanwhile: its id is asked for at once."""
    job_id = later(desk, "image=@image.png", *quick(stage2_steps="40"))
    until(lambda: client.job(job_id).stage in SECOND, 60)
    for pid in service.pids("workers.child"):
        os.kill(pid, signal.SIGKILL)
    told = ended(desk, job_id)
    manifest = json.loads(client.read(client.job(job_id), "manifest.json"))
    assert told["attempts"] == 2 and manifest["resumed"] is True
    assert {"views", "pictures"}.isdisjoint(manifest["timings"])
    assert client.read(client.job(job_id), STRUCTURE) == desk.file(whole, "stage1", "latent.npz")
    assert inspect_glb(client.read(client.job(job_id), "output.glb")).sound


def test_relief_answers_where_it_is_asked_for(desk: Desk) -> None:
    told = desk.generate("image=@image.png", "pipeline=relief")
    assert told["pipeline"] == "relief" and "no learned model was used" in told["approach"]
    assert inspect_glb(desk.file(told, "stage2", "output.glb")).sound


def test_the_workers_say_that_the_weights_are_there(service: LocalService) -> None:
    (worker,) = requests.get(f"{service.url}/workers", timeout=30).json()["workers"]
    assert worker["weights"]["synchuman"] == "complete"
    assert {"relief", "synchuman"} <= set(worker["pipelines"])
