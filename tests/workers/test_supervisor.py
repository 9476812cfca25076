"""The device process: it takes jobs, reports, stops when asked, and is replaced when it dies."""

import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.base import Machine
from pipelines.weights.sources import Sources
from tests.conftest import PLUGIN
from workers.messages import Advanced, Done, Failed, Run, Saved
from workers.supervisor import Died, Interrupted, Supervisor


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    found = Supervisor(Machine("cpu"), ["probe"], [PLUGIN])
    yield found
    found.kill()


@pytest.fixture
def staged() -> Iterator[Supervisor]:
    """A supervisor whose process has begun."""
    found = Supervisor(Machine("cpu"), ["staged"], [PLUGIN])
    found.ensure()
    yield found
    found.kill()


def job(out: Path, **params: Any) -> Run:
    out.mkdir(exist_ok=True)
    return Run("id", "probe", params, [], str(out), {})


def go_on(news: Advanced | None) -> str | None:
    return None


def test_a_job_gives_its_files_with_a_manifest(supervisor: Supervisor, tmp_path: Path) -> None:
    seen: list[Advanced] = []

    def watch(news: Advanced | None) -> None:
        seen.extend([news] if news else [])

    outcome = supervisor.run(job(tmp_path / "out", seed=7, seconds=1.5), watch)
    assert isinstance(outcome, Done) and supervisor.loaded == ["probe"]
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "result.txt"]
    fractions = [news.fraction for news in seen]
    assert fractions == sorted(fractions) and fractions[-1] >= 0.9 and len(fractions) >= 5


def test_the_pipeline_finds_the_machine_its_worker_was_told_of(tmp_path: Path) -> None:
    sources = Sources(tmp_path / "weights", (tmp_path / "hub", tmp_path / "other"), tmp_path / "torch")
    supervisor = Supervisor(Machine("cpu", sources, low_vram=True), ["probe"], [PLUGIN])
    try:
        assert isinstance(supervisor.run(job(tmp_path / "out"), go_on), Done)
    finally:
        supervisor.kill()
    found = json.loads((tmp_path / "out" / "manifest.json").read_text())["machine"]
    assert found["device"] == "cpu" and found["low_vram"] is True
    assert found["weights"] == {
        "weights_dir": str(tmp_path / "weights"),
        "hub_caches": [str(tmp_path / "hub"), str(tmp_path / "other")],
        "torch_cache": str(tmp_path / "torch"),
    }


def test_the_models_stay_from_job_to_job(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.run(job(tmp_path / "a"), go_on)
    pid = supervisor.pid
    for deed in ("bad_input", "raise"):
        assert isinstance(supervisor.run(job(tmp_path / "a", deed=deed), go_on), Failed)
    assert supervisor.pid == pid and supervisor.restarts == 0


@pytest.mark.parametrize(
    ("deed", "kind", "message"),
    [
        ("bad_input", "bad_input", "there is nothing in this picture"),
        ("raise", "internal", "ZeroDivisionError: a bug"),
        ("device_error", "device_error", "out of memory"),
        ("full", "storage", "OSError: [Errno 28] No space left on device"),
        ("memory", "device_error", "the device ran out of memory"),
    ],
)
def test_a_failure_says_what_it_was(supervisor: Supervisor, tmp_path: Path, deed: str, kind: str, message: str) -> None:
    outcome = supervisor.run(job(tmp_path / "out", deed=deed), go_on)
    assert isinstance(outcome, Failed) and (outcome.kind, outcome.message) == (kind, message)


def test_a_job_that_waits_does_not_wait_for_pipelines_it_does_not_need(tmp_path: Path) -> None:
    supervisor = Supervisor(Machine("cpu"), ["relief", "probe"], [PLUGIN])
    try:
        assert isinstance(supervisor.run(job(tmp_path / "a"), go_on), Done) and supervisor.loaded == ["probe"]
        deadline = time.monotonic() + 60
        while set(supervisor.loaded) != {"relief", "probe"} and time.monotonic() < deadline:
            time.sleep(0.1)
            supervisor.ensure()
        assert set(supervisor.loaded) == {"relief", "probe"}, "with nothing to do it loads the rest"
        assert isinstance(supervisor.run(job(tmp_path / "b"), go_on), Done)
    finally:
        supervisor.kill()


def test_after_a_device_error_the_process_is_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.run(job(tmp_path / "a"), go_on)
    pid = supervisor.pid
    supervisor.run(job(tmp_path / "a", deed="device_error"), go_on)
    assert isinstance(supervisor.run(job(tmp_path / "b"), go_on), Done)
    assert supervisor.pid != pid and supervisor.restarts == 1


def test_a_process_that_dies_is_told_apart_and_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    outcome = supervisor.run(job(tmp_path / "a", deed="crash"), go_on)
    assert isinstance(outcome, Died) and "SIGKILL" in outcome.message
    assert isinstance(supervisor.run(job(tmp_path / "b"), go_on), Done)


@pytest.mark.parametrize("deed", ["", "hang"])
def test_a_stopped_job_frees_the_device_within_two_seconds(supervisor: Supervisor, tmp_path: Path, deed: str) -> None:
    supervisor.run(job(tmp_path / "warm"), go_on)
    pid, started = supervisor.pid, time.monotonic()
    outcome = supervisor.run(
        job(tmp_path / "out", deed=deed, seconds=60 if not deed else 0, steps=600),
        lambda news: "cancel" if time.monotonic() - started > 0.5 else None,
    )
    assert outcome == Interrupted("cancel") and time.monotonic() - started < 2.5
    assert (supervisor.pid == pid) == (deed == ""), "the models stay if the job stops by itself"
    assert isinstance(supervisor.run(job(tmp_path / "next"), go_on), Done)


def test_a_process_that_dies_while_idle_is_replaced(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.run(job(tmp_path / "a"), go_on)
    os.kill(supervisor.pid, signal.SIGKILL)
    time.sleep(0.1)
    supervisor.ensure()
    assert isinstance(supervisor.run(job(tmp_path / "b"), go_on), Done)


class Unlucky:
    """A pipe that is looked at last just before the process says its last words and dies."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor, self._pipe = supervisor, supervisor._pipe
        self._looked = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def poll(self, timeout: float = 0.0) -> bool:
        if timeout and not self._looked:
            self._looked = True
            assert self._supervisor._process is not None
            self._supervisor._process.wait(30)
            return False
        return self._pipe.poll(timeout)  # type: ignore[union-attr]


def test_what_a_process_says_just_before_it_dies_is_heard(staged: Supervisor, tmp_path: Path) -> None:
    staged._pipe = Unlucky(staged)  # type: ignore[assignment]
    seen: list[Any] = []
    outcome = staged.run(replace(job(tmp_path / "out", deed="crash"), pipeline="staged"), seen.append)
    assert isinstance(outcome, Died)
    assert [Path(news.path).name for news in seen if isinstance(news, Saved)] == ["latent.npz"]


def test_what_is_finished_while_the_job_is_being_stopped_is_kept(staged: Supervisor, tmp_path: Path) -> None:
    while not staged.ready:
        staged.ensure()
        time.sleep(0.05)
    staged._pipe = Unlucky(staged)  # type: ignore[assignment]
    seen: list[Any] = []

    def stop_at_once(news: Any) -> str:
        seen.append(news)
        return "shutdown"

    outcome = staged.run(replace(job(tmp_path / "out", deed="crash"), pipeline="staged"), stop_at_once)
    assert outcome == Interrupted("shutdown")
    assert [type(news) for news in seen].count(Saved) == 1
