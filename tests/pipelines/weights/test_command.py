"""`python -m pipelines.weights`, against a server of our own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.settings import ROOT
from pipelines.weights import fetch
from pipelines.weights.__main__ import main
from pipelines.weights.catalog import FAMILIES, Family, File, Repository
from tests.pipelines.weights.conftest import ENCODER, MODEL, PUBLISHED, safetensors
from tests.pipelines.weights.publisher import Publisher

Put = Callable[[Path, dict[str, bytes]], None]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's folders but ours."""
    for name in [name for name in os.environ if name.startswith(("MAQUETTE_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MAQUETTE_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def online(published: Family, server: Publisher, monkeypatch: pytest.MonkeyPatch) -> Publisher:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    """The object on stdout."""
    return lambda: json.loads(capsys.readouterr().out)


def test_get_brings_a_family_here_and_a_second_one_touches_no_network(
    online: Publisher, tmp_path: Path, told: Callable[[], dict[str, Any]]
) -> None:
    assert main(["get", "small", "--yes", "--json"]) == 0
    answer = told()
    assert answer["ok"] and answer["state"] == "complete" and len(answer["fetched"]) == 6
    for path, data in PUBLISHED.items():
        assert (tmp_path / "weights" / MODEL / path).read_bytes() == data
    assert (tmp_path / "weights" / "lab" / "encoder" / "encoder.pth").read_bytes() == ENCODER
    online.asked.clear()
    assert main(["get", "small", "--json"]) == 0 and told()["fetched"] == [] and online.asked == []
    assert main(["verify", "small", "--json"]) == 0 and told()["files"] == 6


def test_get_shows_the_licence_and_asks_first(
    online: Publisher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["get", "small"]) == 1
    shown = capsys.readouterr()
    assert "org/model  0.00 GiB, licence MIT: https://hub.example/org/model" in shown.out
    assert f"to {tmp_path / 'weights'}" in shown.out and "add --yes" in shown.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    for answer, status in (("", 1), ("n", 1), ("y", 0)):
        assert online.asked == []
        monkeypatch.setattr("builtins.input", lambda answer=answer: answer)
        assert main(["get", "small"]) == status


def test_get_fetches_only_what_is_missing_or_cut_short(
    online: Publisher, tmp_path: Path, put: Put, told: Callable[[], dict[str, Any]]
) -> None:
    put(tmp_path / "weights" / MODEL, {**PUBLISHED, "ckpts/flow.safetensors": b"cut"})
    put(tmp_path / "torch" / "hub" / "checkpoints", {"encoder.pth": ENCODER})
    assert main(["get", "small", "--yes", "--json"]) == 0
    assert told()["fetched"] == [f"{MODEL}/ckpts/flow.safetensors"]
    assert not (tmp_path / "weights" / "lab").exists(), "what is complete elsewhere is left there"


def test_get_mends_what_is_cut_short_also_where_another_repository_is_missing(
    online: Publisher, tmp_path: Path, put: Put, told: Callable[[], dict[str, Any]]
) -> None:
    put(tmp_path / "weights" / MODEL, {**PUBLISHED, "ckpts/flow.safetensors": b"cut"})
    assert main(["get", "small", "--yes", "--json"]) == 0
    assert told()["fetched"] == [f"{MODEL}/ckpts/flow.safetensors", "lab/encoder/encoder.pth"]


def test_an_offline_machine_is_told_what_to_copy(
    online: Publisher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["get", "small", "--yes"]) == 1 and online.asked == []
    assert "HF_HUB_OFFLINE is set and 6 file(s) are not here" in capsys.readouterr().err


def test_a_full_disk_is_told_before_the_first_byte(
    online: Publisher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "_SPARE", 2**60)
    assert main(["get", "small", "--yes"]) == 1 and online.asked == []
    assert " are needed; make room, or set MAQUETTE_WEIGHTS_DIR" in capsys.readouterr().err


def test_verify_names_the_wrong_and_the_missing(
    online: Publisher, tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = PUBLISHED["ckpts/flow.safetensors"]
    put(tmp_path / "weights" / MODEL, {**PUBLISHED, "ckpts/flow.safetensors": flow[:-1] + b"x"})
    assert main(["verify", "small", "--json"]) == 1
    wrong = json.loads(capsys.readouterr().out)["wrong"]
    assert wrong.pop("lab/encoder/encoder.pth") == "is not there"
    assert list(wrong) == [f"{MODEL}/ckpts/flow.safetensors"] and "sha256" in wrong.popitem()[1]
    assert main(["verify", "small"]) == 1
    assert f"delete {tmp_path}/weights/{MODEL}/ckpts/flow.safetensors, then: python -m" in capsys.readouterr().out


def test_verify_does_not_judge_a_checkpoint_of_ones_own(
    online: Publisher, tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = {"pipeline.json": b'{"args": {"models": {"flow": "ckpts/mine"}}}', "ckpts/mine.json": b"{}"}
    put(tmp_path / "weights" / MODEL, {**mine, "ckpts/mine.safetensors": PUBLISHED["ckpts/decoder.safetensors"]})
    put(tmp_path / "torch" / "hub" / "checkpoints", {"encoder.pth": ENCODER})
    assert main(["verify", "small"]) == 0
    assert "ok     org/model/ckpts/mine.safetensors: not in the catalogue" in capsys.readouterr().out


def test_what_no_sum_is_known_of_is_checked_by_the_hubs_while_it_comes(
    server: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"ckpts/net/config.json": b"{}", "ckpts/net/model.safetensors": safetensors(1000)}
    about = tuple(File(path, 900, exact=False) for path in files)
    repository = Repository("org/branch", "not stated", "https://hub.example/org/branch", about, revision="main")
    monkeypatch.setitem(FAMILIES, "branch", Family("On a branch", (repository,)))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.files = {f"org/branch/resolve/main/{path}": data for path, data in files.items()}
    url = "org/branch/resolve/main/ckpts/net/model.safetensors"
    server.etags[url] = "0" * 64
    assert main(["get", "branch", "--yes"]) == 1
    shown = capsys.readouterr()
    assert "licence not stated: https://hub.example" in shown.out and f"instead of {'0' * 64}" in shown.err
    del server.etags[url]
    assert main(["get", "branch", "--yes"]) == 0 and main(["verify", "branch"]) == 0
    assert "model.safetensors: its checksum is not known here; only its form" in capsys.readouterr().out
    path = tmp_path / "weights" / "org" / "branch" / "ckpts/net/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert main(["verify", "branch"]) == 1


def test_where_tells_the_file_that_would_be_read(
    family: Family, tmp_path: Path, put: Put, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "weights" / MODEL, PUBLISHED)
    assert main(["where", "small"]) == 1
    shown = capsys.readouterr().out
    assert f"{MODEL}/ckpts/flow.json: {tmp_path}/weights/{MODEL}/ckpts/flow.json\n" in shown
    assert f"lab/encoder: nothing in {tmp_path}/weights/lab/encoder, {tmp_path}/torch/hub/checkpoints\n" in shown
    assert "small is partial; python -m pipelines.weights get small\n" in shown
    put(tmp_path / "weights" / "lab" / "encoder", {"encoder.pth": ENCODER})
    assert main(["where", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"]["lab/encoder/encoder.pth"].endswith("lab/encoder/encoder.pth")


def test_a_process_of_its_own_lists_the_catalogue(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.weights", "list", "--json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    families = json.loads(ran.stdout)["families"]
    trellis, synchuman = families["trellis"], families["synchuman"]
    assert ran.returncode == 0 and trellis["state"] == "absent" and trellis["licence"] == "MIT, Apache-2.0"
    assert trellis["get"] == "python -m pipelines.weights get trellis" and 4.2e9 < trellis["size"] < 4.3e9
    assert synchuman["licence"] == "not stated, Apache-2.0" and 9.8e9 < synchuman["size"] < 10e9


def test_a_family_that_is_not_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["get", "nothing"])
    assert ended.value.code == 2 and "there are no weights named 'nothing'" in capsys.readouterr().err
