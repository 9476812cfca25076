"""What every backend promises; each entry of BACKENDS goes through all of it."""

import os
import threading
from pathlib import Path

import pytest

from storage import BACKENDS, Storage, open_storage
from storage.errors import BadKey, ObjectNotFound, StorageFull


@pytest.fixture(params=sorted(BACKENDS))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(f"{request.param}://{tmp_path}/store")


def test_what_was_put_can_be_read_listed_and_deleted(storage: Storage) -> None:
    storage.put("outputs/c/job/stage1_output/color_0.png", b"0123456789")
    storage.put("outputs/c/job/output.glb", b"glb")
    with (found := storage.open("outputs/c/job/stage1_output/color_0.png")).stream as stream:
        assert found.size == 10 and stream.read() == b"0123456789"
        stream.seek(3)
        assert stream.read(2) == b"34"
    assert storage.names("outputs/c/job") == ["output.glb", "stage1_output/color_0.png"]
    assert [name for name, _ in storage.folders("outputs/c")] == ["job"]
    assert storage.exists("outputs/c/job/output.glb") and not storage.exists("outputs/c/job")
    storage.delete("outputs/c/job")
    assert storage.names("outputs/c/job") == [] and storage.folders("outputs") == []
    storage.delete("outputs/c/job")


def test_a_new_version_has_a_new_etag(storage: Storage) -> None:
    etags = set()
    for content in (b"a", b"bb"):
        storage.put("inputs/job/00.png", content)
        found = storage.open("inputs/job/00.png")
        found.stream.close()
        etags.add(found.etag)
    assert len(etags) == 2


@pytest.mark.parametrize("key", ["outputs/c/none", "outputs", "outputs/c/job/output.glb/more"])
def test_what_is_not_there_is_not_found(storage: Storage, key: str) -> None:
    storage.put("outputs/c/job/output.glb", b"glb")
    with pytest.raises(ObjectNotFound):
        storage.open(key)


@pytest.mark.parametrize(
    "key", ["../secret", "a/../b", "/etc/passwd", "a//b", "", ".", "a/.hidden", "a\\b", "a/\0", "a/b\n", "a/"]
)
def test_a_key_that_could_leave_the_storage_is_refused(storage: Storage, key: str) -> None:
    for deed in (storage.open, storage.exists, storage.names, storage.delete, lambda key: storage.put(key, b"")):
        with pytest.raises(BadKey):
            deed(key)


def test_publish_moves_everything_at_once_and_only_once(storage: Storage) -> None:
    for content in (b"first", b"second"):
        source = storage.scratch() / "out"
        (source / "stage1_output").mkdir(parents=True)
        (source / "stage1_output" / "input.png").write_bytes(content)
        (source / "manifest.json").write_bytes(content)
        assert storage.publish(source, "outputs/c/job") == (content == b"first")
    assert storage.names("outputs/c/job") == ["manifest.json", "stage1_output/input.png"]
    with storage.open("outputs/c/job/manifest.json").stream as stream:
        assert stream.read() == b"first"


def test_of_many_racing_publishes_exactly_one_wins(storage: Storage) -> None:
    sources = []
    for number in range(8):
        sources.append(storage.scratch() / "out")
        sources[-1].mkdir()
        (sources[-1] / "manifest.json").write_text(str(number))
    wins: list[bool] = []
    threads = [
        threading.Thread(target=lambda source=source: wins.append(storage.publish(source, "outputs/c/job")))  # type: ignore[misc]
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == [False] * 7 + [True]


def test_a_reader_never_sees_half_of_a_new_version(storage: Storage) -> None:
    versions = [bytes([number]) * 200_000 for number in range(20)]
    storage.put("inputs/job/00.png", versions[0])
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with storage.open("inputs/job/00.png").stream as stream:
                seen.add(stream.read())

    reader = threading.Thread(target=read)
    reader.start()
    for version in versions:
        storage.put("inputs/job/00.png", version)
    done.set()
    reader.join()
    assert seen <= set(versions)


def test_fetch_gives_a_local_file_with_the_same_bytes(storage: Storage) -> None:
    storage.put("inputs/job/00.png", b"picture")
    scratch = storage.scratch()
    assert storage.fetch("inputs/job/00.png", scratch).read_bytes() == b"picture"
    with pytest.raises(ObjectNotFound):
        storage.fetch("inputs/job/01.png", scratch)


def test_a_full_disk_is_said_so_and_leaves_nothing(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageFull, match="full"):
        storage.put("inputs/job/00.png", b"picture")
    assert storage.names("inputs/job") == []


def test_scratch_folders_are_swept_by_age(storage: Storage) -> None:
    old, young = storage.scratch(), storage.scratch()
    os.utime(old, (1, 1))
    storage.sweep_scratch(60)
    assert not old.exists() and young.is_dir()


def test_puts_and_deletes_do_not_get_in_each_others_way(storage: Storage) -> None:
    failures: list[BaseException] = []

    def work(name: int) -> None:
        try:
            for number in range(200):
                storage.put(f"inputs/{name}x{number}/00.png", b"x")
                storage.delete(f"inputs/{name}x{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_storage_knows_itself(storage: Storage, tmp_path: Path) -> None:
    names = {storage.identity() for _ in range(3)}
    assert len(names) == 1 and len(names.pop()) == 32


def test_the_scratch_of_one_job_is_cleared_alone(storage: Storage) -> None:
    mine, other = storage.scratch("mine"), storage.scratch("other")
    storage.clear_scratch("mine")
    assert not mine.exists() and other.exists()
