"""A file comes whole or not at all, however the connection behaves."""

import fcntl
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from configs.hub import Hub
from pipelines.weights.catalog import Family
from pipelines.weights.download import PART, download
from pipelines.weights.errors import Refused, Unreachable, WrongContent
from tests.pipelines.weights.conftest import ENCODER, MODEL, PUBLISHED, REVISION
from tests.pipelines.weights.publisher import Publisher

Get = Callable[..., list[tuple[int, int]]]

FLOW = PUBLISHED["ckpts/flow.safetensors"]
FLOW_URL = f"{MODEL}/resolve/{REVISION}/ckpts/flow.safetensors"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "flow.safetensors"


@pytest.fixture
def get(published: Family, hub: Hub, target: Path) -> Get:
    """Downloads one file of the hub's repository."""

    def call(path: str = "ckpts/flow.safetensors", hub: Hub = hub) -> list[tuple[int, int]]:
        model, told = published.repositories[0], []
        file = next(file for file in model.files if file.path == path)
        download(model, file, target, hub, lambda done, total: told.append((done, total)), pause_s=0.01)
        return told

    return call


def test_a_file_comes_by_the_hubs_redirect(get: Get, target: Path, server: Publisher) -> None:
    told = get()
    assert target.read_bytes() == FLOW and not target.with_name(target.name + PART).exists()
    assert told[-1] == (len(FLOW), len(FLOW)) and told == sorted(told)
    assert [path for path, _, _ in server.asked] == [FLOW_URL, f"cdn/{FLOW_URL}"]


def test_a_broken_connection_is_taken_up_where_it_broke(get: Get, target: Path, server: Publisher) -> None:
    server.breaks = [2_000_000, 500_000]
    get()
    assert target.read_bytes() == FLOW
    ranges = [given for path, given, _ in server.asked if path.startswith("cdn/")]
    starts = [int(given.removeprefix("bytes=").removesuffix("-")) for given in ranges if given]
    assert ranges[0] is None and len(starts) == 2 and 0 < starts[0] < starts[1] <= 2_500_000


def test_the_next_call_goes_on_after_the_last_gave_up(get: Get, target: Path, server: Publisher) -> None:
    server.breaks = [2_500_000, 0, 0, 0, 0, 0]
    with pytest.raises(Unreachable, match="breaks off.*calling this again resumes"):
        get()
    part = target.with_name(target.name + PART)
    had = part.stat().st_size
    assert 1_000_000 <= had <= 2_500_000 and not target.exists()
    server.asked.clear()
    get()
    assert target.read_bytes() == FLOW and server.asked[-1][1] == f"bytes={had}-"


def test_a_server_without_ranges_sends_it_all_again(get: Get, target: Path, server: Publisher) -> None:
    server.ranges, server.breaks = False, [2_000_000]
    get()
    assert target.read_bytes() == FLOW


def test_a_whole_part_is_only_checked(get: Get, target: Path, server: Publisher) -> None:
    target.parent.mkdir()
    target.with_name(target.name + PART).write_bytes(FLOW)
    get()
    assert target.read_bytes() == FLOW


def test_a_part_longer_than_the_file_is_thrown_away(get: Get, target: Path) -> None:
    target.parent.mkdir()
    target.with_name(target.name + PART).write_bytes(FLOW + b"more")
    get()
    assert target.read_bytes() == FLOW


def test_a_wrong_byte_keeps_a_file_out(get: Get, target: Path, server: Publisher) -> None:
    server.files[FLOW_URL] = FLOW[:-1] + b"x"
    with pytest.raises(WrongContent, match="flow.safetensors came with sha256 .*removed, try again"):
        get()
    assert list(target.parent.iterdir()) == []


def test_another_length_is_refused_before_it_has_come(get: Get, target: Path, server: Publisher) -> None:
    server.files[FLOW_URL] = FLOW + b"x"
    with pytest.raises(WrongContent, match=f"{len(FLOW) + 1:,} bytes .*{len(FLOW):,} were published"):
        get()
    assert not target.exists()


def test_without_a_checksum_of_ours_the_hubs_counts(get: Get, target: Path, server: Publisher) -> None:
    name, data = f"{MODEL}/resolve/{REVISION}/pipeline.json", PUBLISHED["pipeline.json"]
    git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    server.etags[name] = git
    get("pipeline.json")
    assert target.read_bytes() == data
    server.etags[name] = git[::-1]
    with pytest.raises(WrongContent, match=f"git object {git} instead of"):
        get("pipeline.json")


def test_a_gated_file_says_what_to_do(get: Get, hub: Hub, server: Publisher, target: Path) -> None:
    server.token = "hf_right"
    with pytest.raises(Refused, match=r"\(401\): accept it at https://hub.example/org/model; set HF_TOKEN"):
        get()
    with pytest.raises(Refused, match=r"\(403\).*the token in HF_TOKEN may not read it") as refused:
        get(hub=replace(hub, token="hf_wrong"))
    assert "hf_wrong" not in str(refused.value)
    get(hub=replace(hub, token="hf_right"))
    assert target.read_bytes() == FLOW
    assert {given for path, _, given in server.asked if path.startswith("cdn/")} == {None}, "told to nobody else"


def test_what_is_not_there_is_not_asked_for_again(get: Get, server: Publisher) -> None:
    server.files.clear()
    with pytest.raises(Refused, match=rf"has no ckpts/flow.safetensors of org/model {REVISION} \(404\)"):
        get()
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(get: Get, target: Path, server: Publisher) -> None:
    server.answers = [503, 429]
    get()
    assert target.read_bytes() == FLOW


def test_a_server_that_is_away_is_named(get: Get, hub: Hub) -> None:
    with pytest.raises(Unreachable, match="127.0.0.1:9 cannot be reached"):
        get(hub=replace(hub, endpoint="http://127.0.0.1:9"))


def test_two_processes_do_not_write_one_file(get: Get, server: Publisher, target: Path) -> None:
    target.parent.mkdir()
    with open(target.with_name(target.name + PART), "ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another process downloads flow.safetensors"):
            get()
    assert server.asked == []


def test_a_plain_address_gets_no_token(published: Family, hub: Hub, target: Path, server: Publisher) -> None:
    encoder = published.repositories[1]
    download(encoder, encoder.files[0], target, replace(hub, token="hf_right"))
    assert target.read_bytes() == ENCODER and server.asked == [("plain/encoder.pth", None, None)]
