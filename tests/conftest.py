"""A real Redis for every test that needs one, and the app over it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

import pipelines
from configs.settings import Settings, load_settings
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import JobQueue
from jobs.server import connect, serving
from jobs.transitions import Transitions
from storage import Storage, open_storage
from web import create_app

PLUGIN = "tests.plugin_pipelines"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(load_settings({"MAQUETTE_DATA_DIR": str(tmp_path_factory.mktemp("redis"))})) as url:
        yield url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    """A client of an empty Redis."""
    with connect(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The settings of a test, to add to before `settings` is asked for."""
    return {"MAQUETTE_DATA_DIR": str(tmp_path / "data"), "MAQUETTE_PLUGINS": PLUGIN, "MAQUETTE_LEASE_S": "3"}


@pytest.fixture
def settings(environ: dict[str, str], tmp_path: Path) -> Settings:
    return load_settings(environ, tmp_path)


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return open_storage(settings.storage)


@pytest.fixture
def worker(redis: Any) -> WorkerInfo:
    """A worker the fleet believes in; it never takes a job."""
    info = WorkerInfo("w1", "host", 1, "cpu", "cpu", "ready", ["relief", "probe", "staged"], memory_free_mb=2048)
    Fleet(redis).publish(info, 600)
    return info


@pytest.fixture
def queue(redis_url: str, storage: Storage, settings: Settings, worker: WorkerInfo) -> JobQueue:
    return JobQueue(redis_url, storage, settings)


@pytest.fixture
def transitions(redis: Any) -> Transitions:
    return Transitions(redis)


@pytest.fixture
def app(settings: Settings, redis_url: str, worker: WorkerInfo) -> Iterator[Flask]:
    known = dict(pipelines.PIPELINES)
    yield create_app(settings, redis_url)
    pipelines.PIPELINES.clear()
    pipelines.PIPELINES.update(known)


class BufferedClient(FlaskClient):
    """Reads every answer whole, as a client at the other end of a wire would."""

    def open(self, *args: Any, buffered: bool = True, **more: Any) -> Any:
        return super().open(*args, buffered=buffered, **more)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    app.test_client_class = BufferedClient
    return app.test_client()


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small picture of a red square on nothing."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (16, 16, 48, 48))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
