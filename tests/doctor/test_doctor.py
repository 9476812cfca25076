"""The doctor, looking at this machine and at machines made ill on purpose."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.settings import ROOT, load_settings
from doctor import CHECKS, devices, disk, examine, network, pipelines, python, redis, settings
from doctor.findings import LEVELS, Finding
from doctor.probes import PROBES
from jobs.server import connect, serving
from maquette_client.service import LocalService
from pipelines.weights.catalog import FAMILIES, Family, File, Repository


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours."""
    for name in [name for name in os.environ if name.startswith("MAQUETTE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MAQUETTE_DATA_DIR", str(tmp_path / "data"))


def doctor(*words: str, python: tuple[str, ...] = (sys.executable,), **env: str) -> subprocess.CompletedProcess[str]:
    command = [*python, "-m", "doctor", *words]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=200)


def levels(found: Iterator[Finding], name: str) -> list[str]:
    return [finding.level for finding in found if finding.name == name]


def one(found: Iterator[Finding], name: str) -> Finding:
    (finding,) = [finding for finding in found if finding.name == name]
    return finding


@pytest.mark.parametrize("group", [group for group in CHECKS if group != "libraries"])
def test_every_group_has_something_to_say_here(group: str) -> None:
    found = [finding for _, finding in examine([group])]
    assert found and {finding.level for finding in found} <= set(LEVELS)
    for finding in found:
        assert "the check itself failed" not in finding.said
        assert finding.remedy or finding.level in ("ok", "note"), "what hurts has a remedy"


def test_a_program_reads_one_object_and_the_exit_status_agrees() -> None:
    ran = doctor("--json", "libraries", "settings")
    told = json.loads(ran.stdout)
    assert ran.returncode == 0 and told["ok"] and told["counts"]["problem"] == 0
    assert {finding["name"] for finding in told["findings"] if finding["group"] == "libraries"} == set(PROBES) - {
        "torch"
    }
    numba = next(finding for finding in told["findings"] if finding["name"] == "numba")
    assert numba["level"] == "ok" and "compiles" in numba["said"]


def test_a_problem_is_exit_status_1() -> None:
    ran = doctor("--json", "settings", "network", MAQUETTE_LEASE_S="soon")
    told = json.loads(ran.stdout)
    assert ran.returncode == 1 and not told["ok"]
    assert any("MAQUETTE_LEASE_S is 'soon'" in one["said"] and one["level"] == "problem" for one in told["findings"])


def test_a_person_gets_lines_with_remedies() -> None:
    ran = doctor("settings", MAQUETTE_BNID="6006")
    assert ran.returncode == 0 and "\x1b" not in ran.stdout
    assert (
        " WARNING  spelling: MAQUETTE_BNID is set and means nothing\n          -> perhaps MAQUETTE_BIND?\n"
        in ran.stdout
    )


def test_it_answers_where_nothing_is_installed() -> None:
    ran = doctor("--json", python=(sys.executable, "-S", "-E"))
    told = json.loads(ran.stdout)
    assert ran.returncode == 1 and ran.stderr == ""
    packages = next(one for one in told["findings"] if one["level"] == "problem")
    assert packages["said"].startswith("not installed: flask") and packages["remedy"] == "./setup.sh"
    assert {one["group"] for one in told["findings"]} == set(CHECKS)


def test_other_versions_than_tested_are_named(tmp_path: Path) -> None:
    (tmp_path / "wanted").write_text("# a comment\nPyTest\nno-such-package>=2\nmypy==1\n")
    (tmp_path / "tested").write_text("pytest==0.1\nmypy==" + python.version("mypy") + "\n")
    missing, other = python.packages(tmp_path / "wanted", tmp_path / "tested")
    assert (missing.level, missing.said) == ("problem", "not installed: no-such-package")
    assert other.level == "warning" and "(tested: 0.1)" in other.said and "mypy" not in other.said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "it crashed (SIGSEGV)"),
        ("raise ImportError('a placeholder')", "ImportError: a placeholder"),
        ("import os; os._exit(3)", "it ended without a word"),
    ],
)
def test_a_library_that_crashes_does_not_take_the_doctor_along(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(body)
    code = "import json, doctor.libraries as l; print(json.dumps(vars(l.probe('torchvision'))))"
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert told["level"] == "warning" and said in told["said"]


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a driver's program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(body: str) -> None:
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{body}\n")
        (folder / "nvidia-smi").chmod(0o755)

    return install


@pytest.mark.parametrize(
    ("body", "level", "said"),
    [
        ("echo '0, NVIDIA L4, 580.1, 8.9, 23034, 22000'", "ok", "compute capability 8.9, 21.5 of 22.5 GiB free"),
        ("echo '0, NVIDIA L4, 580.1, 8.9, 23034, 900'", "warning", "0.9 of 22.5 GiB free"),
        ("echo '0, Tesla P4, 580.1, 6.1, 23034, 22000'", "warning", "compute capability 6.1"),
        ("echo '0, NVIDIA GB10, 580.1, 12.1, [N/A], [N/A]'", "note", "nvidia-smi says only"),
        ("echo 'Failed to initialize NVML'; exit 18", "problem", "Failed to initialize NVML"),
        ("exit 0", "problem", "it finds no card"),
    ],
)
def test_cards_are_judged(nvidia_smi: Callable[[str], None], body: str, level: str, said: str) -> None:
    nvidia_smi(body)
    (finding,) = devices._cards()
    assert finding.level == level and said in finding.said


def test_a_card_that_torch_does_not_reach_is_a_problem(nvidia_smi: Callable[[str], None]) -> None:
    finding = devices._torch(cards=True)
    if "on cuda" not in finding.said:
        assert finding.level == "problem" and "MAQUETTE_TORCH_INDEX" in finding.remedy


def test_a_device_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_DEVICES", "cuda:7")
    finding = one(devices.check(), "workers")
    assert finding.level == "problem" and "cuda:7" in finding.said


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Redis that may be spoiled."""
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path / "redis")})) as url, connect(url) as client:
        monkeypatch.setenv("MAQUETTE_REDIS_URL", url)
        yield client


def test_a_good_redis_is_good(server: Any) -> None:
    found = list(redis.check())
    assert {finding.level for finding in found} == {"ok"}
    assert one(iter(found), "persistence").said == "append-only file on, written through at once, nothing is evicted"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("appendonly", "no", "append-only file is off"), ("maxmemory-policy", "allkeys-lru", "allkeys-lru")],
)
def test_a_forgetful_redis_is_a_problem(
    server: Any, monkeypatch: pytest.MonkeyPatch, option: str, value: str, said: str
) -> None:
    server.config_set(option, value)
    finding = one(redis.check(), "persistence")
    assert finding.level == "problem" and said in finding.said and finding.remedy.startswith("CONFIG SET")
    monkeypatch.setenv("MAQUETTE_ALLOW_VOLATILE_REDIS", "1")
    assert one(redis.check(), "persistence").level == "warning"


def test_a_redis_that_is_full_or_a_replica_is_told(server: Any) -> None:
    server.config_set("maxmemory", "1000000")
    assert one(redis.check(), "memory").level == "warning"
    server.config_set("maxmemory", "0")
    server.replicaof("127.0.0.1", "1")
    assert one(redis.check(), "role").level == "problem"


def test_a_redis_that_is_away_is_a_problem_and_its_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_REDIS_URL", "redis://me:secret@127.0.0.1:1/0")
    finding = one(redis.check(), "server")
    assert finding.level == "problem" and "secret" not in finding.said and "me:***@127.0.0.1" in finding.said


def test_our_own_redis_is_found_when_it_runs(tmp_path: Path) -> None:
    assert "starts with the service" in one(redis.check(), "server").said
    with serving(load_settings()):
        assert "answers in" in one(redis.check(), "server").said


def test_a_taken_port_is_a_problem_unless_it_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("MAQUETTE_BIND", address)
        finding = one(network.check(), "address")
        assert finding.level == "problem" and f"{address} is taken" in finding.said


@pytest.mark.service
def test_a_running_service_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LocalService(tmp_path / "data", {"MAQUETTE_DEVICES": "cpu"}) as service:
        monkeypatch.setenv("MAQUETTE_BIND", service.url.removeprefix("http://"))
        assert one(network.check(), "service").said == f"{service.url} runs with 1 worker(s)"
        assert one(network.check(), "address").level == "ok"
    assert levels(network.check(), "service") == []


@pytest.mark.parametrize(
    ("bind", "proxies", "level"),
    [("0.0.0.0:0", 1, "warning"), ("127.0.0.1:0", 1, "ok"), ("127.0.0.1:0", 0, "note"), ("[::]:0", 2, "warning")],
)
def test_trust_in_proxies_is_weighed(monkeypatch: pytest.MonkeyPatch, bind: str, proxies: int, level: str) -> None:
    monkeypatch.setenv("MAQUETTE_BIND", bind)
    monkeypatch.setenv("MAQUETTE_TRUSTED_PROXIES", str(proxies))
    assert levels(network.check(), "proxies") == [level]


def test_a_proxy_for_outgoing_calls_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "")
    assert one(network.check(), "outgoing").level == "warning"
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert one(network.check(), "outgoing").level == "note"


def test_a_data_folder_that_cannot_be_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(disk.check(), "data folder").level == one(disk.check(), "promises").level == "ok"
    monkeypatch.setenv("MAQUETTE_DATA_DIR", "/dev/null/data")
    assert one(disk.check(), "data folder").level == "problem"


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    list(disk.check())
    list(redis.check())
    assert not (tmp_path / "data").exists() and not list(tmp_path.glob(".doctor-*"))


def test_weak_keys_and_open_doors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(settings.check(), "API keys").level == "note"
    monkeypatch.setenv("MAQUETTE_API_KEYS", "hunter2")
    assert one(settings.check(), "API keys").level == "warning"
    monkeypatch.setenv("MAQUETTE_API_KEYS", "a" * 48)
    assert one(settings.check(), "API keys").level == "ok"
    monkeypatch.setenv("MAQUETTE_PLUGINS", "no.such.module")
    assert one(settings.check(), "pipelines").level == "problem"


def test_what_cannot_run_is_told_with_its_own_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAQUETTE_DEVICES", "cpu")
    assert one(pipelines.check(), "relief").said == "runs on cpu"
    trellis = one(pipelines.check(), "trellis")
    assert trellis.level == "note" and "python -m pipelines.weights get trellis" in trellis.said
    monkeypatch.setenv("MAQUETTE_PIPELINES", "relief")
    assert one(pipelines.check(), "trellis").said == "is not among MAQUETTE_PIPELINES"
    monkeypatch.setenv("MAQUETTE_PIPELINES", "trellis")
    nothing = one(settings.check(), "pipelines")
    assert nothing.level == "problem" and "python -m pipelines.weights get trellis" in nothing.said
    assert "correct" not in nothing.remedy, "the setting is right: what is missing are the weights"


def test_a_familys_weights_are_complete_partial_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository("org/small", "MIT", "https://x", (File("a.pth", 2**30), File("b.pth", 1)), revision="1")
    monkeypatch.setitem(FAMILIES, "small", Family("Small", (repository,)))
    folder, label = tmp_path / "data" / "weights", "weights of small"
    absent = one(pipelines.check(), label)
    assert absent.level == "note" and f"1.00 GiB would go to {folder}" in absent.said
    assert absent.remedy == "python -m pipelines.weights get small"
    (folder / "org" / "small").mkdir(parents=True)
    (folder / "org" / "small" / "a.pth").write_bytes(b"w")
    partial = one(pipelines.check(), label)
    assert partial.level == "warning" and "org/small/b.pth is not there" in partial.said
    assert partial.remedy == absent.remedy
    (folder / "org" / "small" / "b.pth").write_bytes(b"w")
    assert one(pipelines.check(), label).said == f"complete, 0.00 GiB in {folder}/org/small"


def test_low_vram_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MAQUETTE_LOW_VRAM=1 where it is small" in one(pipelines.check(), "device memory").said
    monkeypatch.setenv("MAQUETTE_LOW_VRAM", "1")
    assert "only the network that runs" in one(pipelines.check(), "device memory").said


def test_weights_are_found_where_they_lie(tmp_path: Path) -> None:
    own, hub = tmp_path / "weights", tmp_path / "hub"
    (own / "microsoft" / "TRELLIS-image-large").mkdir(parents=True)
    (own / "microsoft" / "TRELLIS-image-large" / "a.safetensors").write_bytes(bytes(2**20))
    blobs = hub / "models--facebook--dinov2-large" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "x.incomplete").write_bytes(b"half")
    found = {finding.name: finding for finding in pipelines.weights(own, [hub])}
    assert found["microsoft/TRELLIS-image-large"].level == "ok"
    assert "broken off" in found["facebook/dinov2-large"].said
    (nothing,) = pipelines.weights(tmp_path / "no", [tmp_path / "no"])
    assert nothing.level == "note"
