"""The documents of SyncHuman's two servers, example by example, against a live service where relief answers."""

import shutil
from collections.abc import Iterator

import pytest
from PIL import Image

from maquette_client.service import LocalService
from tests.synchuman_documents import EXAMPLES, Desk, served

pytestmark = [
    pytest.mark.service,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples call curl, which is not installed"),
]

# Those left out differ from others in a number that relief has no use for, or only in who sends the same request.
SAME = {
    "first stage in Python": "integration",
    "first stage as ZIP in Python": "first stage as ZIP",
    "fast preview": "first stage",
    "maximum quality": "first stage",
    "first stage by address": "official by address",
    "official": "official in Python",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    image = Image.new("RGBA", (96, 96), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (36, 12, 60, 84))
    image.save(folder / "image.png")
    settings = {"MAQUETTE_ALLOW_PRIVATE_URLS": "1", "MAQUETTE_DEVICES": "cpu", "MAQUETTE_PREVIEWS": "0"}
    with served(folder) as images, LocalService(tmp_path_factory.mktemp("service"), settings) as service:
        yield Desk(service.url, folder, images, "relief")
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in SAME])
def test_an_example_of_the_documents_does_what_they_say(desk: Desk, name: str) -> None:
    EXAMPLES[name](desk)
