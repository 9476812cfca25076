"""A job's worker dies before each single step of its way, or its client cancels there, or both: nothing is lost,
doubled, half published or left behind.

The lists of steps below are compared with those a job really takes: a new step on the way has to be named here, and is
then tested like the others.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import pipelines
from configs.settings import ROOT, Settings, load_settings
from jobs import reaper as reaper_module
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import Input, JobQueue, rq_queue
from jobs.reaper import Reaper
from jobs.records import JobRecord, JobRequest, JobStatus
from jobs.server import connect, serving
from jobs.transitions import PREFIX
from storage import open_storage
from tests.workers import submitting

PLUGIN = "tests.workers.crashing"
CLIENT = "10.0.0.1"

BEFORE_THE_CLAIM = ("take the id from RQ", "claim")
PROCESSING = (
    "read the answer to claim",
    "storage.exists",
    "storage.clear_scratch",
    "storage.scratch",
    "storage.fetch",
    "send Run",
    "renew",
    "keep",
    "read the answer to keep",
    "storage.put",
    "renew once more",
    "storage.publish",
    "sync the files",
    "rename",
    "sync the client's folder",
    "storage.names",
    "finish",
)
ENDED = ("read the answer to finish", "storage.delete", "remove the scratch folder", "ask RQ for more")
WORKER = BEFORE_THE_CLAIM + PROCESSING + ENDED
CHILD = (
    "load the pipeline",
    "write the first file",
    "send Saved",
    "write the second file",
    "write the manifest",
    "write the manifest's second half",
    "send Done",
)
AFTER_A_LATE_CANCEL = ("read the answer to finish", "storage.delete", "remove the scratch folder")
DEEDS = ("die", "cancel", "both")


@dataclass
class Seen:
    """What became of one job; `acted` says which of its wishes came true."""

    record: JobRecord
    manifest: dict[str, Any] | None
    steps: dict[str, list[str]]
    acted: list[str]


class Room:
    """A data folder and a Redis of their own, in which one worker after another works and dies."""

    def __init__(self, url: str, settings: Settings, redis: Any, raw: Any) -> None:
        self.url, self.settings, self.redis, self.raw = url, settings, redis, raw
        self.storage = open_storage(settings.storage)
        self.queue = JobQueue(url, self.storage, settings)
        self.reaper = Reaper(url, self.storage, settings)
        self.jobs: dict[str, str] = {}  # name → id
        self.seen: dict[str, Seen] = {}
        self.left: list[str] = []
        self.kept: list[str] = []  # results of attempts, once every job has ended
        self.whole: set[tuple[int, int]] = set()
        self.deaths = 0

    def submit(self, name: str, pipeline: str, **wishes: str) -> None:
        params = {"seed": len(self.jobs), "redis": self.url, **wishes}
        request = JobRequest(CLIENT, "trellis", pipeline, params)
        self.jobs[name] = self.queue.submit(request, [Input(".png", b"x")], "cpu").record.id

    def work(self, timeout_s: float) -> None:
        """Until every job has ended. A worker that died is noticed, its job is given back, and the next one starts."""
        deadline = time.monotonic() + timeout_s
        while not self._all_ended():
            with self._worker() as worker:
                while worker.poll() is None and not self._idle():
                    assert time.monotonic() < deadline, f"{self._unfinished()} did not end in time"
                    self.look_at_outputs()
                    time.sleep(0.05)
                died = worker.poll() is not None
            self.look_at_outputs()
            if died:
                assert worker.returncode == -signal.SIGKILL
                self.deaths += 1
                self.reaper.died(socket.gethostname(), worker.pid)
            self.reaper.once()

    def _idle(self) -> bool:
        """Whether there is nothing to do any more, and the worker has come back to RQ to hear so."""
        return self._all_ended() and all(worker.state == "ready" for worker in Fleet(self.redis).workers())

    def _all_ended(self) -> bool:
        counts = self.queue.counts(CLIENT)
        return counts.waiting + counts.processing == 0

    def _unfinished(self) -> list[str]:
        return [name for name, job_id in self.jobs.items() if not self.queue.get(job_id).status.final]

    @contextlib.contextmanager
    def _worker(self) -> Iterator[subprocess.Popen[bytes]]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "MAQUETTE_LOG_LEVEL": "WARNING"}
        env |= {"MAQUETTE_DATA_DIR": str(self.settings.data_dir), "MAQUETTE_PLUGINS": PLUGIN}
        env |= {"MAQUETTE_PIPELINES": ",".join(self.settings.pipelines)}
        command = [sys.executable, "-m", "workers.worker", "--redis", self.url, "--device", "cpu"]
        with open(self.settings.data_dir / "worker.log", "ab") as log:
            worker = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            yield worker
        finally:
            worker.terminate()
            worker.wait(20)

    def look_at_outputs(self) -> None:
        """What is there at all is whole: the manifest, each file it names, and no other. A folder is read once."""
        for job_id, _ in self.storage.folders(f"outputs/{CLIENT}"):
            with contextlib.suppress(FileNotFoundError):  # removed while we look; then the folder went as a whole
                which = os.stat(self.settings.data_dir / "outputs" / CLIENT / job_id)
                if (which.st_ino, which.st_mtime_ns) not in self.whole:
                    self.manifest(job_id)
                    self.whole.add((which.st_ino, which.st_mtime_ns))

    def manifest(self, job_id: str) -> dict[str, Any]:
        folder = self.settings.data_dir / "outputs" / CLIENT / job_id
        assert sorted(os.listdir(folder)) == ["first.txt", "manifest.json", "second.txt"]
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        assert sorted(manifest["files"]) == ["first.txt", "second.txt"]
        for name, about in manifest["files"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == about["sha256"]
        return manifest

    def look(self, name: str) -> Seen:
        job_id = self.jobs[name]
        there = (self.settings.data_dir / "outputs" / CLIENT / job_id).exists()
        steps = {one: self.redis.lrange(f"steps:{one}:{job_id}", 0, -1) for one in ("worker", "child")}
        acted = [deed for deed in ("cancel", "die") if self.redis.exists(f"{deed}:{job_id}")]
        return Seen(self.queue.get(job_id), self.manifest(job_id) if there else None, steps, acted)

    def sweep(self) -> None:
        """What the reaper does every few minutes, with all folders of the dead as old as it takes."""
        orphans = [name for name, _ in self.storage.folders("inputs") if name not in self.jobs.values()]
        for folder in [f"scratch/{name}" for name, _ in self.storage.folders("scratch")] + [
            f"inputs/{one}" for one in orphans
        ]:
            os.utime(self.settings.data_dir / folder, (0, 0))
        self.reaper._last_sweep = float("-inf")
        self.reaper.sweep()

    def leave_nothing(self) -> list[str]:
        """What is left after every job has been deleted."""
        for job_id in self.jobs.values():
            self.queue.delete(self.queue.get(job_id))
        self.reaper.recover()
        rq = rq_queue("cpu", self.raw)
        self.redis.delete(*self.redis.scan_iter(PREFIX + "client:*:idempotency:*"), "none")  # which time would remove
        left = [*self.redis.scan_iter(PREFIX + "client:*"), *self.redis.scan_iter(PREFIX + "job:*"), *rq.job_ids]
        left += [name for name in ("processing", "ended", "waiting:cpu") if self.redis.exists(PREFIX + name)]
        left += [*self.redis.scan_iter("rq:job:*"), *self.raw.lrange(rq.intermediate_queue_key, 0, -1)]
        kinds = ("inputs", "outputs", "extras", "scratch")
        return left + [name for kind in kinds for name, _ in self.storage.folders(kind)]


def cast(deed: str) -> dict[str, dict[str, str]]:
    """The jobs of one room and what happens to each."""
    names = [f"{one}_at" for one in ("cancel", "die") if deed in (one, "both")]
    jobs = {step: dict.fromkeys(names, step) for step in WORKER + CHILD}
    if deed == "both":  # the wish came late: the files are published, and the end says that they must go
        jobs |= {f"late, {step}": {"cancel_at": "finish", "die_at": step} for step in AFTER_A_LATE_CANCEL}
    return {"plain": {}} | jobs


def play(deed: str, folder: Path) -> Room:
    """Everything that happens in one room, until all its jobs have ended."""
    environ = {
        "DATA_DIR": folder,
        "LEASE_S": 3,
        "MAX_ACTIVE": 0,
        "HISTORY_LIMIT": 1000,
        "PIPELINES": "crashing,crashing_late",
    }
    settings = load_settings({f"MAQUETTE_{name}": str(value) for name, value in environ.items()}, folder)
    with serving(settings) as url, connect(url) as redis, connect(url, decode=False) as raw:
        Fleet(redis).publish(WorkerInfo("w0", "web", 0, "cpu", "cpu", "ready", list(settings.pipelines)), 600)
        room = Room(url, settings, redis, raw)
        if deed == "die":
            submit_and_die(room)
        for name, wishes in cast(deed).items():
            room.submit(name, "crashing_late" if name == CHILD[0] else "crashing", **wishes)
        room.work(300)
        room.sweep()
        for name in room.jobs:
            room.seen[name] = room.look(name)
        room.kept = [path.as_posix() for path in folder.glob("extras/*/*/kept/*")]
        room.left = room.leave_nothing()
    return room


def submit_and_die(room: Room) -> None:
    """A web worker dies at each step of a submit; the reaper passes; the client tries again with the same key."""
    for step in submitting.STEPS:
        folder, before = str(room.settings.data_dir), set(room.redis.scan_iter(PREFIX + "job:*"))
        command = [sys.executable, "-m", "tests.workers.submitting", room.url, folder, step, step]
        assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
        accepted = {name.removeprefix(PREFIX + "job:") for name in set(room.redis.scan_iter(PREFIX + "job:*")) - before}
        assert len(accepted) == (step in ("push", "answer"))
        room.reaper.once()
        job_id = room.queue.submit(submitting.request(room.url, step), submitting.PICTURES, "cpu").record.id
        assert accepted <= {job_id}, "the same key is the same job"
        assert rq_queue("cpu", room.raw).job_ids.count(job_id) >= 1
        room.jobs[f"submit, {step}"] = job_id
    assert room.queue.counts(CLIENT).waiting == len(submitting.STEPS)


@pytest.fixture(scope="module")
def rooms(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[Room]]]:
    known = dict(pipelines.PIPELINES)
    pipelines.register(PLUGIN)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setattr(reaper_module, "_ADRIFT_AFTER_S", 0.0)  # no worker lives while the reaper looks
        patch.setattr(Reaper, "_leases_can_be_trusted", lambda reaper: False)  # deaths are seen, not waited for
        yield {deed: pool.submit(play, deed, tmp_path_factory.mktemp(deed)) for deed in DEEDS}
    pipelines.PIPELINES.clear()
    pipelines.PIPELINES.update(known)


@pytest.mark.parametrize("deed", DEEDS)
def test_the_steps_of_a_job_are_those_named_here(rooms: dict[str, Future[Room]], deed: str) -> None:
    seen = rooms[deed].result().seen["plain"]
    assert list(dict.fromkeys(seen.steps["worker"])) == list(WORKER)
    assert list(dict.fromkeys(seen.steps["child"])) == list(CHILD)
    assert seen.record.status is JobStatus.COMPLETE and seen.record.attempts == 1


@pytest.mark.parametrize("step", submitting.STEPS)
def test_a_submit_whose_web_worker_died_is_carried_out_once(rooms: dict[str, Future[Room]], step: str) -> None:
    seen = rooms["die"].result().seen[f"submit, {step}"]
    assert seen.record.status is JobStatus.COMPLETE and seen.record.attempts == 1 and seen.manifest is not None


@pytest.mark.parametrize("step", WORKER + CHILD)
def test_a_death_costs_an_attempt_and_nothing_else(rooms: dict[str, Future[Room]], step: str) -> None:
    seen = rooms["die"].result().seen[step]
    assert seen.acted == ["die"]
    assert seen.record.status is JobStatus.COMPLETE, seen.record.error
    assert seen.record.attempts == (1 if step in BEFORE_THE_CLAIM + ENDED else 2)
    assert seen.manifest is not None and sorted(seen.record.files) == ["first.txt", "manifest.json", "second.txt"]
    adopted = step in PROCESSING[PROCESSING.index("rename") + 1 :]
    assert seen.manifest["attempt"] == (1 if adopted else seen.record.attempts), "published at most once"


@pytest.mark.parametrize("step", WORKER + CHILD)
@pytest.mark.parametrize("deed", ["cancel", "both"])
def test_a_cancel_before_the_end_leaves_no_files(rooms: dict[str, Future[Room]], deed: str, step: str) -> None:
    seen = rooms[deed].result().seen[step]
    assert seen.acted == ["cancel", "die"][: 1 + (deed == "both")]
    if step in ENDED:
        assert seen.record.status is JobStatus.COMPLETE and seen.manifest is not None
    else:
        assert seen.record.status is JobStatus.CANCELLED and seen.manifest is None
    assert seen.record.attempts == (0 if step in BEFORE_THE_CLAIM else 1)


@pytest.mark.parametrize("step", AFTER_A_LATE_CANCEL)
def test_files_published_before_a_cancel_go_also_when_the_worker_dies(
    rooms: dict[str, Future[Room]], step: str
) -> None:
    seen = rooms["both"].result().seen[f"late, {step}"]
    assert seen.acted == ["cancel", "die"]
    assert seen.record.status is JobStatus.CANCELLED and seen.manifest is None


@pytest.mark.parametrize("deed", DEEDS)
def test_first_come_first_served_whoever_dies(rooms: dict[str, Future[Room]], deed: str) -> None:
    room = rooms[deed].result()
    entered = [seen.manifest["entered"] for seen in room.seen.values() if seen.manifest]
    assert entered == sorted(entered) and len(entered) == len(set(entered))
    dying = [wishes["die_at"] for wishes in cast(deed).values() if wishes.get("die_at", "") not in ("", *CHILD)]
    assert room.deaths == len(dying), "each worker died once, and no other"


@pytest.mark.parametrize("deed", DEEDS)
def test_nothing_is_kept_of_a_job_that_has_ended(rooms: dict[str, Future[Room]], deed: str) -> None:
    assert rooms[deed].result().kept == []


@pytest.mark.parametrize("deed", DEEDS)
def test_deleted_jobs_leave_nothing_behind(rooms: dict[str, Future[Room]], deed: str) -> None:
    assert rooms[deed].result().left == []
