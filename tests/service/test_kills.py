"""kill -9 of every process while a job runs: nothing is lost, nothing is published twice or half."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.server import connect
from maquette_client import Job, MaquetteClient, MaquetteError
from maquette_client.service import ROOT, LocalService
from storage.keys import STRUCTURE
from tests.conftest import PLUGIN
from tests.waiting import until

pytestmark = pytest.mark.service

SETTINGS = {
    "MAQUETTE_PLUGINS": PLUGIN,
    "MAQUETTE_PIPELINES": "probe,staged",
    "MAQUETTE_DEVICES": "cpu",
    "MAQUETTE_LEASE_S": "3",
    "MAQUETTE_STOP_GRACE_S": "0.5",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("service"), SETTINGS) as found:
        yield found
    assert found.processes() == [], "stopped means that nothing is left"


@pytest.fixture
def client(service: LocalService) -> MaquetteClient:
    until(lambda: service.client().ready())
    return service.client()


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory, png: bytes) -> Path:
    path = tmp_path_factory.mktemp("picture") / "cat.png"
    path.write_bytes(png)
    return path


def running(client: MaquetteClient, picture: Path, pipeline: str = "probe", stage: str = "work", **params: Any) -> Job:
    """A job that has come to a stage of its run."""
    job = client.submit(picture, pipeline=pipeline, **params)
    until(lambda: client.job(job.id).stage == stage)
    return job


def ended(client: MaquetteClient, job: Job, timeout_s: float = 30) -> Job:
    """The job at its end, whatever dies meanwhile."""

    def look() -> Job | None:
        try:
            now = client.job(job.id)
        except MaquetteError as error:
            assert error.status in (0, 503), f"the service said {error.status}: {error}"
            return None
        return now if now.ended else None

    found: Job = until(look, timeout_s)
    return found


def check_output(service: LocalService, client: MaquetteClient, job: Job, seed: int) -> None:
    """The job is complete, its files are those of the manifest, and they stand in one place."""
    assert job.status == "complete", job.error
    manifest = json.loads(client.read(job, "manifest.json"))
    assert manifest["params"]["seed"] == seed and set(job.files) == {*manifest["files"], "manifest.json"}
    for name, about in manifest["files"].items():
        assert hashlib.sha256(client.read(job, name)).hexdigest() == about["sha256"]
    folders = list(service.data_dir.glob(f"outputs/*/{job.id}"))
    assert len(folders) == 1 and not list(folders[0].rglob(".*"))


@pytest.mark.parametrize("part", ["workers.child", "workers.worker", "ai_worker.py", "gunicorn", "redis"])
def test_a_killed_process_loses_no_job(service: LocalService, client: MaquetteClient, picture: Path, part: str) -> None:
    jobs = [running(client, picture, seconds=1.5, seed=1)]
    jobs += [client.submit(picture, pipeline="probe", seed=seed) for seed in (2, 3)]
    victims = service.pids(part)
    assert victims, f"no process runs {part}"
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    for seed, job in enumerate(jobs, 1):
        check_output(service, client, ended(client, job), seed)
    entered = [json.loads(client.read(client.job(job.id), "manifest.json"))["entered_at"] for job in jobs]
    assert entered == sorted(entered), "first come, first served, also after a crash"
    until(lambda: client.ready())


@pytest.mark.parametrize("part", ["workers.child", "workers.worker"])
def test_a_stage_that_was_done_is_not_done_again(
    service: LocalService, client: MaquetteClient, picture: Path, part: str
) -> None:
    job = running(client, picture, "staged", "surface", seconds=2, steps=20)
    (kept,) = service.data_dir.glob(f"extras/*/{job.id}/kept/*")
    token = kept.read_text()
    for pid in service.pids(part):
        os.kill(pid, signal.SIGKILL)
    found = ended(client, job)
    assert found.status == "complete" and found.told["attempts"] == 2
    assert client.read(found, "result.txt").decode() == f"{token}, first stage run 0 times in this process\n"
    assert client.read(found, STRUCTURE).decode() == token
    until(lambda: not kept.parent.exists(), 2)  # the worker removes it when the client knows the end already


def test_the_second_stage_alone_goes_on_from_an_earlier_job_whatever_dies(
    service: LocalService, client: MaquetteClient, picture: Path, tmp_path: Path
) -> None:
    first = client.wait(client.submit(picture, pipeline="staged", stage="stage1").id)
    assert STRUCTURE in first.files and "result.txt" not in first.files
    token = client.read(first, STRUCTURE).decode()
    job = client.submit(stage="stage2", job_id=first.id, deed=f"crash_once:{tmp_path}")
    found = ended(client, job)
    assert found.status == "complete" and found.told["attempts"] == 2
    assert client.read(found, "result.txt").decode() == f"{token}, first stage run 0 times in this process\n"


def test_a_killed_web_worker_is_replaced_and_answers_again(service: LocalService, client: MaquetteClient) -> None:
    killed, *others = service.web_workers()
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(set(service.web_workers()) - {killed}) == 1 + len(others))
    assert client.ready() and set(others) < set(service.web_workers())


def test_a_paused_worker_that_wakes_up_late_changes_nothing(
    service: LocalService, client: MaquetteClient, picture: Path
) -> None:
    job = running(client, picture, seconds=1.5, seed=9)
    (paused,) = service.pids("workers.worker")
    os.kill(paused, signal.SIGSTOP)
    with connect(f"unix://{service.data_dir}/redis/redis.sock") as redis:
        until(lambda: redis.hget(f"maquette:job:{job.id}", "status") == "queued")  # the reaper has taken it
        os.kill(paused, signal.SIGCONT)
    found = ended(client, job)
    check_output(service, client, found, 9)
    assert found.told["attempts"] == 2


def test_a_job_that_kills_its_process_ends_after_three_attempts_and_takes_no_other_with_it(
    service: LocalService, client: MaquetteClient, picture: Path
) -> None:
    poison = client.submit(picture, pipeline="probe", deed="crash")
    good = client.submit(picture, pipeline="probe", seed=4)
    found = ended(client, poison)
    assert found.status == "error" and "attempt 3 of 3" in found.error and found.told["error_kind"] == "crashed"
    check_output(service, client, ended(client, good), 4)
    assert not list(service.data_dir.glob(f"outputs/*/{poison.id}"))


@pytest.mark.parametrize("deed", ["", "hang"])
def test_cancel_frees_the_device_within_two_seconds(
    service: LocalService, client: MaquetteClient, picture: Path, deed: str
) -> None:
    job = client.submit(picture, pipeline="probe", deed=deed, seconds=30, steps=300)
    until(lambda: client.job(job.id).status == "processing")
    started = time.monotonic()
    client.cancel(job.id)
    follower = client.submit(picture, pipeline="probe", seed=5)
    until(lambda: client.job(job.id).status == "cancelled", 2)
    assert time.monotonic() - started < 2.5
    check_output(service, client, ended(client, follower), 5)
    assert not list(service.data_dir.glob(f"outputs/*/{job.id}"))


def test_everything_killed_at_once_comes_back_with_every_job(tmp_path: Path, picture: Path) -> None:
    service = LocalService(tmp_path / "data", SETTINGS).start()
    client = service.client()
    jobs = [running(client, picture, seconds=1, seed=1), client.submit(picture, pipeline="probe", seed=2)]
    for pid in service.processes():
        os.kill(pid, signal.SIGKILL)
    service.stop()
    with LocalService(tmp_path / "data", SETTINGS) as again:
        for seed, job in enumerate(jobs, 1):
            check_output(again, again.client(), ended(again.client(), job), seed)


def test_told_to_stop_a_worker_gives_its_job_back_uncounted(tmp_path: Path, picture: Path) -> None:
    with LocalService(tmp_path / "data", SETTINGS) as service:
        job = running(service.client(), picture, seconds=8, seed=6)
    assert service.processes() == []
    with LocalService(tmp_path / "data", SETTINGS) as again:
        found = ended(again.client(), job)
        check_output(again, again.client(), found, 6)
        assert found.told["attempts"] == 1


def test_kill_9_of_the_outermost_process_takes_all_of_them_with_it(tmp_path: Path, picture: Path) -> None:
    service = LocalService(tmp_path / "data", SETTINGS).start()
    job = running(service.client(), picture, seconds=5, seed=8)
    (outermost,) = service.pids("api.py")
    os.kill(outermost, signal.SIGKILL)
    service.stop()
    until(lambda: all(pid in service.pids("redis") for pid in service.processes()))
    with LocalService(tmp_path / "data", SETTINGS) as again:  # and takes over the Redis that stayed
        check_output(again, again.client(), ended(again.client(), job), 8)
    assert again.processes() == []


@pytest.mark.parametrize("delay_s", [0.05, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path, signum: signal.Signals, delay_s: float) -> None:
    env = {**os.environ, **SETTINGS, "MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_BIND": "127.0.0.1:0"}
    process = subprocess.Popen([sys.executable, str(ROOT / "api.py"), "--production"], env=env, stderr=subprocess.PIPE)
    time.sleep(delay_s)
    process.send_signal(signum)
    process.communicate(timeout=20)
    assert LocalService(tmp_path / "data").processes() == []


def test_an_address_that_cannot_be_used_stops_the_start_and_is_named(tmp_path: Path) -> None:
    for address in ("127.0.0.1:99999", "abc", "203.0.113.1:80"):
        env = {**os.environ, **SETTINGS, "MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_BIND": address}
        answer = subprocess.run(
            [sys.executable, str(ROOT / "api.py")], env=env, capture_output=True, text=True, timeout=60
        )
        assert answer.returncode == 1 and repr(address) in answer.stderr and "MAQUETTE_BIND" in answer.stderr
        assert "Traceback" not in answer.stderr
    assert LocalService(tmp_path / "data").processes() == []
