"""A real browser over a real service, and nothing that a page complains about stays unnoticed."""

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from maquette_client.service import ROOT, LocalService

EXAMPLES = ROOT / "examples"
PROBES = Path(__file__).parent / "probes.js"
PLUGINS = "tests.plugin_pipelines,tests.browser.gaussian_pipeline"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
)
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)  # a busy machine draws slowly, and none of these waits is a measurement


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.service)


def chromium() -> str:
    """Where the browser is: MAQUETTE_CHROMIUM, or a usual name on the PATH."""
    named = os.environ.get("MAQUETTE_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(f"no browser: none of {', '.join(NAMES)} is on the PATH; install chromium or set MAQUETTE_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    found = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
    yield found
    found.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    settings = {"MAQUETTE_PLUGINS": PLUGINS, "MAQUETTE_WEB_WORKERS": "1", "MAQUETTE_HISTORY_LIMIT": "100"}
    with LocalService(tmp_path_factory.mktemp("browser"), settings) as found:
        yield found


class Complaints:
    """What a page said on its console, and whom it asked; `expected` are parts of messages that a test provokes."""

    def __init__(self, url: str) -> None:
        self.server = urlsplit(url).netloc
        self.said: list[str] = []
        self.strangers: list[str] = []
        self.expected: list[str] = []

    def listen(self, context: BrowserContext) -> None:
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.said.append(f"uncaught: {error.error}"))
        context.on("request", lambda request: self._on_request(request.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("blob", "data", "about") and parts.netloc != self.server:
            self.strangers.append(url)

    def unexpected(self) -> list[str]:
        return [text for text in self.said if not any(part in text for part in self.expected)]


@pytest.fixture
def complaints(service: LocalService) -> Iterator[Complaints]:
    kept = Complaints(service.url)
    yield kept
    assert kept.unexpected() == []
    assert kept.strangers == [], "a request left the server"


def prepare(context: BrowserContext, complaints: Complaints) -> None:
    context.set_default_timeout(WAIT_MS)
    context.add_init_script(path=PROBES)
    complaints.listen(context)


@pytest.fixture
def options() -> dict[str, Any]:
    """What the browser's person prefers. Nothing turns by itself here, so pictures can be compared."""
    return {"reduced_motion": "reduce", "color_scheme": "light", "viewport": {"width": 960, "height": 640}}


@pytest.fixture
def context(browser: Browser, complaints: Complaints, options: dict[str, Any]) -> Iterator[BrowserContext]:
    found = browser.new_context(**options)
    prepare(found, complaints)
    yield found
    found.close()


@pytest.fixture
def page(context: BrowserContext, service: LocalService) -> Page:
    """The page as one finds it, ready to be used."""
    found = context.new_page()
    found.goto(service.url)
    found.wait_for_selector("#field-pipeline")
    return found


@pytest.fixture(scope="session")
def made(service: LocalService) -> dict[str, Any]:
    """A finished mug."""
    return run(service, "mug.png")


@pytest.fixture
def finished(page: Page, made: dict[str, Any]) -> Page:
    """The page of the finished mug, with the mug drawn."""
    return open_job(page, made["job_id"])


def open_job(page: Page, job_id: str) -> Page:
    page.evaluate(f"location.hash = '#job={job_id}'")
    page.wait_for_selector("#stage[data-state=shown]")
    return page


def submit(service: LocalService, *names: str, **fields: Any) -> str:
    """The id of a job of this browser's own: they share an address."""
    parts = [("image", (name, (EXAMPLES / name).read_bytes())) for name in names]
    answer = requests.post(f"{service.url}/image_to_3d", files=parts, data=fields, timeout=30)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["request_id"])


def run(service: LocalService, *names: str, **fields: Any) -> dict[str, Any]:
    """A job at its end."""
    job_id = submit(service, *names, **fields)
    job: dict[str, Any] = requests.get(f"{service.url}/jobs/{job_id}?wait=60", timeout=90).json()
    assert job["status"] == "complete", job
    return job


def carry(page: Page, kind: str, *files: tuple[str, str, bytes]) -> None:
    """Drags, drops or pastes files (name, type, bytes), as a person's hand would."""
    sent = [(name, mime, base64.b64encode(data).decode()) for name, mime, data in files]
    page.evaluate("([files, kind]) => probes.carry(files, kind)", [sent, kind])


def describe(page: Page, job_id: str) -> dict[str, Any]:
    """A job in the service's own words."""
    told: dict[str, Any] = page.evaluate("id => probes.getJson(`/jobs/${id}?wait=30`)", job_id)
    return told


def erase(page: Page, job_id: str, key: str = "") -> None:
    page.evaluate("([id, key]) => probes.erase(id, key)", [job_id, key])


def example(name: str) -> tuple[str, str, bytes]:
    return Path(name).name, "image/png", (EXAMPLES / name).read_bytes()


def pixels(element: Locator) -> NDArray[np.int16]:
    """What is to be seen of an element: (height, width, 3), 0 to 255."""
    image = Image.open(BytesIO(element.screenshot())).convert("RGB")
    return np.asarray(image, np.int16)


def middle(picture: NDArray[np.int16], share: float = 0.4) -> NDArray[np.int16]:
    height, width, _ = picture.shape
    top, left = int(height * (1 - share) / 2), int(width * (1 - share) / 2)
    return picture[top : height - top, left : width - left]


def differing(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Share of pixels that are plainly another colour."""
    return float((np.abs(one - other).max(axis=-1) > 12).mean())


def until(happened: Callable[[], bool], page: Page, what: str) -> None:
    """Waits as the browser goes on."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while time.monotonic() < deadline:
        if happened():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{what} did not happen in {WAIT_MS // 1000} s")
