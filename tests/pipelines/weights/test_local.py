"""Which weights are found where, and what is told of those that are not."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.settings import ROOT
from pipelines.errors import PipelineUnavailable
from pipelines.weights import Sources, find, require
from pipelines.weights.catalog import FAMILIES, Family
from pipelines.weights.errors import UnknownFamily
from tests.pipelines.weights.conftest import ENCODER, MODEL, PUBLISHED, REVISION, pipeline_json, safetensors

Put = Callable[[Path, dict[str, bytes]], None]


@pytest.fixture
def here(tmp_path: Path, put: Put) -> Path:
    """The weights folder with all of it."""
    put(tmp_path / "weights" / MODEL, PUBLISHED)
    put(tmp_path / "weights" / "lab" / "encoder", {"encoder.pth": ENCODER})
    return tmp_path / "weights"


def test_nothing_is_absent_some_is_partial_all_is_complete(
    family: Family, sources: Sources, here: Path, tmp_path: Path
) -> None:
    assert find("small", Sources()).state == "absent"
    found = find("small", sources)
    assert found.state == "complete" and not found.missing
    assert found.files[f"{MODEL}/ckpts/flow.safetensors"] == here / MODEL / "ckpts/flow.safetensors"
    assert found.folders == {MODEL: here / MODEL, "lab/encoder": here / "lab" / "encoder"}
    assert found.size == sum(map(len, PUBLISHED.values())) + len(ENCODER)
    (here / MODEL / "ckpts" / "decoder.safetensors").unlink()
    found = find("small", sources)
    assert found.state == "partial" and found.missing == {f"{MODEL}/ckpts/decoder.safetensors": "is not there"}


def test_a_checkpoint_of_ones_own_counts_by_what_its_index_names(
    family: Family, sources: Sources, here: Path, put: Put
) -> None:
    put(here / MODEL, {"pipeline.json": pipeline_json("ckpts/tiny"), "ckpts/tiny.json": b"{}"})
    assert find("small", sources).missing == {f"{MODEL}/ckpts/tiny.safetensors": "is not there"}
    put(here / MODEL, {"ckpts/tiny.safetensors": safetensors(4)})
    assert find("small", sources).state == "complete"


def test_a_network_may_lie_in_the_repository_its_path_begins_with(
    family: Family, sources: Sources, here: Path, put: Put
) -> None:
    put(here / MODEL, {"pipeline.json": pipeline_json("ckpts/flow", "other/repo/nets/deep")})
    assert set(find("small", sources).missing) == {
        f"{MODEL}/other/repo/nets/deep.json",
        f"{MODEL}/other/repo/nets/deep.safetensors",
    }
    put(here / "other" / "repo" / "nets", {"deep.json": b"{}", "deep.safetensors": safetensors(4)})
    found = find("small", sources)
    assert found.state == "complete"
    assert found.files[f"{MODEL}/other/repo/nets/deep.json"] == here / "other/repo/nets/deep.json"


def test_the_weights_folder_wins_over_the_caches_even_when_it_is_incomplete(
    family: Family, sources: Sources, here: Path, tmp_path: Path, put: Put
) -> None:
    snapshot = tmp_path / "hub" / "models--org--model" / "snapshots" / REVISION
    put(snapshot, PUBLISHED)
    put(tmp_path / "torch", {"encoder.pth": ENCODER})
    (here / MODEL / "ckpts" / "flow.json").unlink()
    (here / "lab" / "encoder" / "encoder.pth").unlink()
    found = find("small", sources)
    assert found.folders == {MODEL: here / MODEL, "lab/encoder": tmp_path / "torch"}
    assert found.state == "partial", "files of one checkpoint are not gathered from two folders"
    assert find("small", Sources(tmp_path / "no", sources.hub_caches, sources.torch_cache)).folders == {
        MODEL: snapshot,
        "lab/encoder": tmp_path / "torch",
    }


def test_the_hubs_cache_is_read_at_our_revision_else_at_its_latest(
    family: Family, sources: Sources, tmp_path: Path, put: Put
) -> None:
    cached = tmp_path / "hub" / "models--org--model"
    put(cached, {"refs/main": b"2" * 40})
    put(cached / "snapshots" / ("2" * 40), PUBLISHED)
    assert find("small", sources).folders == {MODEL: cached / "snapshots" / ("2" * 40)}
    put(cached / "snapshots" / REVISION, PUBLISHED)
    assert find("small", sources).folders == {MODEL: cached / "snapshots" / REVISION}


def test_a_copy_that_was_broken_off_is_not_whole(family: Family, sources: Sources, here: Path) -> None:
    path = here / MODEL / "ckpts" / "flow.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    whole = len(PUBLISHED["ckpts/flow.safetensors"])
    name = f"{MODEL}/ckpts/flow.safetensors"
    assert find("small", sources).missing == {name: f"has {whole - 1:,} bytes where its header tells of {whole:,}"}
    for nonsense in (b"", b"12345678", bytes(100)):
        path.write_bytes(nonsense)
        assert find("small", sources).missing == {name: "is no safetensors file, or is cut short"}
    (here / MODEL / "pipeline.json").write_text("{")
    assert find("small", sources).missing == {f"{MODEL}/pipeline.json": "names no networks"}


def test_a_pipeline_that_lacks_its_weights_is_told_the_command(family: Family, sources: Sources, here: Path) -> None:
    assert require("small", sources) == find("small", sources)
    (here / MODEL / "ckpts" / "flow.json").unlink()
    with pytest.raises(
        PipelineUnavailable, match="partial: org/model/ckpts/flow.json is not there; python -m .* small"
    ):
        require("small", sources)


def test_only_what_the_catalogue_has_can_be_asked_for() -> None:
    with pytest.raises(UnknownFamily, match="no weights named 'nothing'; there is .*trellis"):
        find("nothing", Sources())


def test_the_catalogue_pins_what_it_names() -> None:
    for family in FAMILIES.values():
        for repository in family.repositories:
            assert repository.licence and repository.page.startswith("https://")
            if repository.id == "xishushu/SyncHuman":  # of which no commit is known here
                assert repository.revision == "main" and not any(file.sha256 or file.exact for file in repository.files)
                continue
            assert len(repository.revision) == 40 or repository.address.startswith("https://")
            for file in repository.files:
                assert len(file.sha256) == 64 or file.path.endswith(".json"), f"{file.path} could be anything"
    assert sum(file.size for file in FAMILIES["trellis"].repositories[0].files if file.exact) == 3_006_922_800


def test_looking_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipelines.weights import Sources, find; find('trellis', Sources()); "
        "print([name for name in ('torch', 'numpy', 'requests', 'huggingface_hub') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[]\n", ran.stderr
