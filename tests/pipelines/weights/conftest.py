"""A small family in place of the large ones, a server that publishes it, and folders to keep it in."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from configs.hub import Hub
from pipelines.weights.catalog import FAMILIES, Family, File, Repository
from pipelines.weights.sources import Sources
from tests.pipelines.weights.publisher import Publisher, publishing

MODEL = "org/model"
REVISION = "1" * 40


def safetensors(size: int, fill: int = 0) -> bytes:
    """A file of one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes([fill]) * size


def pipeline_json(*stems: str) -> bytes:
    models = {f"model_{index}": stem for index, stem in enumerate(stems)}
    return json.dumps({"name": "Pipeline", "args": {"models": models}}).encode()


PUBLISHED = {
    "pipeline.json": pipeline_json("ckpts/flow", "ckpts/decoder"),
    "ckpts/flow.json": b'{"name": "Flow", "args": {}}',
    "ckpts/flow.safetensors": safetensors(3_000_000, 7),
    "ckpts/decoder.json": b'{"name": "Decoder", "args": {}}',
    "ckpts/decoder.safetensors": safetensors(1000, 8),
}
ENCODER = b"encoder" * 1000


def _file(path: str, data: bytes) -> File:
    if path.endswith(".json"):
        return File(path, 100, exact=False)
    return File(path, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture
def server() -> Iterator[Publisher]:
    with publishing() as found:
        found.files = {f"{MODEL}/resolve/{REVISION}/{path}": data for path, data in PUBLISHED.items()}
        found.files["plain/encoder.pth"] = ENCODER
        yield found


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Family:
    """A family "small" of two repositories; nothing listens where the second is published."""
    model = Repository(
        id=MODEL,
        licence="MIT",
        page="https://hub.example/org/model",
        revision=REVISION,
        index="pipeline.json",
        files=tuple(_file(path, data) for path, data in PUBLISHED.items()),
    )
    encoder = Repository(
        id="lab/encoder",
        licence="Apache-2.0",
        page="https://lab.example/encoder",
        address="http://127.0.0.1:9/plain",
        files=(_file("encoder.pth", ENCODER),),
    )
    return _registered(monkeypatch, Family("A small model", (model, encoder)))


@pytest.fixture
def published(family: Family, server: Publisher, monkeypatch: pytest.MonkeyPatch) -> Family:
    """The same, and our server publishes both."""
    model, encoder = family.repositories
    encoder = Repository(**{**vars(encoder), "address": f"{server.url}/plain"})
    return _registered(monkeypatch, Family(family.title, (model, encoder)))


def _registered(monkeypatch: pytest.MonkeyPatch, family: Family) -> Family:
    monkeypatch.setitem(FAMILIES, "small", family)
    return family


@pytest.fixture
def hub(server: Publisher, tmp_path: Path) -> Hub:
    return Hub((tmp_path / "hub",), tmp_path / "torch", endpoint=server.url)


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "weights", (tmp_path / "hub",), tmp_path / "torch")


@pytest.fixture
def put() -> Callable[[Path, dict[str, bytes]], None]:
    """Writes files below a folder."""

    def write(folder: Path, files: dict[str, bytes]) -> None:
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)

    return write
