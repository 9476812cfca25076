"""A whole service for the client's tests, and a picture to send."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from maquette_client import MaquetteClient
from maquette_client.service import LocalService
from tests.client.wire import Wire
from tests.conftest import PLUGIN

MAX_ACTIVE = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = {
        "MAQUETTE_PLUGINS": PLUGIN,
        "MAQUETTE_DEVICES": "cpu",
        "MAQUETTE_LEASE_S": "3",
        "MAQUETTE_STOP_GRACE_S": "0.5",
        "MAQUETTE_MAX_ACTIVE": str(MAX_ACTIVE),
    }
    with LocalService(tmp_path_factory.mktemp("service"), settings) as found:
        yield found


@pytest.fixture
def remote(service: LocalService) -> MaquetteClient:
    """A client of the service."""
    return service.client()


@pytest.fixture
def wire(service: LocalService) -> Iterator[Wire]:
    """A breakable way to the service."""
    parts = urlsplit(service.url)
    assert parts.hostname and parts.port
    with Wire((parts.hostname, parts.port)) as found:
        yield found


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory, png: bytes) -> Path:
    path = tmp_path_factory.mktemp("picture") / "cat.png"
    path.write_bytes(png)
    return path
