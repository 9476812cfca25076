"""TRELLIS through the whole service: the official layout, a real queue, a real worker, and its death."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from geometry.gaussians import read_ply
from geometry.inspect import inspect_glb
from maquette_client import Job, MaquetteClient
from maquette_client.service import LocalService
from storage.keys import STRUCTURE
from tests.tiny_trellis import write_checkpoint
from tests.waiting import until

pytestmark = pytest.mark.service

PICTURE = Path(__file__).parents[2] / "examples" / "heron.png"
FIELDS = {
    "ss_sample_steps": "3",
    "slat_sample_steps": "2",
    "texture_size": "128",
    "texture_bake_mode": "fast",
    "simplify_ratio": "0.1",
    "seed": "6",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    weights = tmp_path_factory.mktemp("weights")
    write_checkpoint(weights)
    settings = {
        "MAQUETTE_PIPELINES": "relief,trellis",
        "MAQUETTE_DEVICES": "cpu",
        "MAQUETTE_LEASE_S": "3",
        "MAQUETTE_WEIGHTS_DIR": str(weights),
        "MAQUETTE_PREVIEWS": "0",
        "OMP_NUM_THREADS": "1",  # threads that wait for each other crawl where other tests run beside them
    }
    with LocalService(tmp_path_factory.mktemp("service"), settings) as found:
        yield found


@pytest.fixture
def client(service: LocalService) -> MaquetteClient:
    until(lambda: service.client().ready())
    return service.client()


def post(service: LocalService, **fields: str) -> Job:
    """As a client of the original API does it, with nothing but HTTP."""
    with PICTURE.open("rb") as file:
        files = None if "job_id" in fields else {"image": file}
        answer = requests.post(f"{service.url}/image_to_3d", data=FIELDS | fields, files=files, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["pipeline"] == "trellis" and "warnings" not in answer.json()
    return service.client().job(answer.json()["request_id"])


def ended(client: MaquetteClient, job: Job) -> Job:
    found: Job = until(lambda: now if (now := client.job(job.id)).ended else None, 120)
    assert found.status == "complete", found.error
    return found


@pytest.fixture
def whole(service: LocalService, client: MaquetteClient) -> Job:
    """A job from beginning to end."""
    return ended(client, post(service))


def test_a_post_becomes_a_glb_and_splats_with_progress_by_step(service: LocalService, client: MaquetteClient) -> None:
    job = post(service)
    events = [event.data for event in client.events(job.id) if event.name == "progress"]
    told = [(data["stage"], data["step"], data["of"]) for data in events]
    job = ended(client, job)
    assert {"structure", "latent"} <= {stage for stage, _, _ in told}
    assert {of for stage, _, of in told if stage == "structure"} <= {1, 3}
    assert inspect_glb(client.read(job, "output.glb")).sound
    manifest = json.loads(client.read(job, "manifest.json"))
    assert manifest["learned"] is True and manifest["params"]["sparse_structure_sample_steps"] == 3
    assert len(read_ply(client.read(job, "gaussian.ply")).positions) == manifest["gaussians"]
    assert inspect_glb(client.read(job, "preview.glb")).triangles > 0


def test_the_same_seed_gives_the_same_bytes(service: LocalService, client: MaquetteClient, whole: Job) -> None:
    again = ended(client, post(service))
    assert set(again.files) == set(whole.files)
    for name in set(whole.files) - {"manifest.json"}:
        assert client.read(again, name) == client.read(whole, name), name


def test_a_killed_device_process_goes_on_from_the_structure(
    service: LocalService, client: MaquetteClient, whole: Job
) -> None:
    job = post(service, slat_sample_steps="60")
    until(lambda: client.job(job.id).stage == "latent", 60)
    for pid in service.pids("workers.child"):
        os.kill(pid, signal.SIGKILL)
    job = ended(client, job)
    manifest = json.loads(client.read(job, "manifest.json"))
    assert job.told["attempts"] == 2 and manifest["resumed"] is True
    assert "structure" not in manifest["timings"]
    assert client.read(job, STRUCTURE) == client.read(whole, STRUCTURE)


def test_the_second_stage_runs_again_with_other_settings(
    service: LocalService, client: MaquetteClient, whole: Job
) -> None:
    same = ended(client, post(service, stage="stage2", job_id=whole.id))
    other = ended(client, post(service, stage="stage2", job_id=whole.id, seed="7", formats="gaussian"))
    assert client.read(same, "output.glb") == client.read(whole, "output.glb")
    assert client.read(other, "gaussian.ply") != client.read(whole, "gaussian.ply")
    assert "output.glb" not in other.files
    assert client.read(other, STRUCTURE) == client.read(whole, STRUCTURE)


def test_the_workers_say_that_the_weights_are_there(service: LocalService) -> None:
    (worker,) = requests.get(f"{service.url}/workers", timeout=30).json()["workers"]
    assert worker["weights"]["trellis"] == "complete"
    assert "trellis" in worker["pipelines"]
