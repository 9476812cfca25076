"""The page's document, its policy, and the files it is made of."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from configs.settings import load_settings
from web import create_app
from web.resources.page import EXAMPLES, SAMPLES, STATIC

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}
VENDOR = STATIC / "vendor"


@pytest.fixture
def html(client: FlaskClient) -> str:
    return client.get("/", headers=BROWSER).get_data(as_text=True)


@pytest.mark.parametrize("accept", [BROWSER["Accept"], "text/html"])
def test_a_browser_gets_the_page(client: FlaskClient, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert answer.mimetype == "text/html" and "<title>Maquette</title>" in answer.text
    assert "Accept" in answer.headers["Vary"] and answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "application/json, text/html;q=0.5"])
def test_everybody_else_gets_the_listing(client: FlaskClient, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})
    assert answer.mimetype == "application/json" and "POST /image_to_3d" in answer.get_json()["endpoints"]
    assert "Accept" in answer.headers["Vary"]


def test_the_policy_allows_this_server_and_the_one_inline_script_alone(client: FlaskClient, html: str) -> None:
    header = client.get("/", headers=BROWSER).headers["Content-Security-Policy"]
    policy = {name: sources for name, *sources in (rule.split() for rule in header.split(";"))}
    allowed = {"'self'", "'none'", "blob:", "'wasm-unsafe-eval'"}
    inline = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", html, re.S)
    assert len(inline) == 1
    mark = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
    assert policy["default-src"] == ["'none'"] and f"'sha256-{mark}'" in policy["script-src"]
    assert {source for sources in policy.values() for source in sources} - {f"'sha256-{mark}'"} <= allowed
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", html)


def test_everything_the_page_names_is_there(client: FlaskClient, html: str) -> None:
    (import_map,) = re.findall(r'<script type="importmap">(.*?)</script>', html)
    named = set(re.findall(r'(?:src|href)="(/static/[^"]+)"', html))
    named |= {path for path in json.loads(import_map)["imports"].values() if not path.endswith("/")}
    for module in STATIC.glob("*.js"):
        named |= {f"/static/{name}" for name in re.findall(r'(?:from|import\()\s*"\./([^"]+)"', module.read_text())}
    assert len(named) > 15
    for path in named:
        assert client.get(path).status_code == 200, path


def test_nothing_of_the_page_names_another_server(html: str) -> None:
    sources = [html, *(path.read_text() for path in STATIC.glob("*.*"))]
    addresses = {found for text in sources for found in re.findall(r"https?://[^\s\"')]+", text)}
    assert addresses <= {"http://www.w3.org/2000/svg"}


def test_static_files_are_asked_after_each_time(client: FlaskClient) -> None:
    answer = client.get("/static/app.js")
    assert answer.mimetype == "text/javascript" and answer.headers["Cache-Control"] == "no-cache"
    again = client.get("/static/app.js", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304 and not again.data


def test_a_library_is_kept_since_its_folder_names_its_version(client: FlaskClient) -> None:
    answer = client.get("/static/vendor/three-0.183.2/three.module.min.js")
    assert answer.status_code == 200 and answer.headers["ETag"]
    assert answer.cache_control.immutable and (answer.cache_control.max_age or 0) > 30_000_000


@pytest.mark.parametrize(
    "path", ["../page.py", "%2e%2e/page.py", "examples/draw.py", "examples/..%2fREADME.md", "nothing.js", "vendor"]
)
def test_only_the_page_s_own_files_are_served(client: FlaskClient, path: str) -> None:
    answer = client.get(f"/static/{path}")
    assert answer.status_code == 404 and answer.get_json()["code"] == "not_found"


def test_every_sample_is_one_of_the_examples(client: FlaskClient, html: str) -> None:
    for name in SAMPLES:
        assert client.get(f"/static/examples/{name}").data == (EXAMPLES / name).read_bytes()
        assert f'data-sample="{name}"' in html


def test_the_page_is_there_for_whoever_has_no_key_yet(environ: dict[str, str], redis_url: str, tmp_path: Any) -> None:
    app = create_app(load_settings(environ | {"MAQUETTE_API_KEYS": "secret"}, tmp_path), redis_url)
    with app.test_client() as client:
        for path in ("/", "/static/app.js", "/static/examples/mug.png"):
            assert client.get(path, headers=BROWSER, buffered=True).status_code == 200, path
        assert client.get("/jobs").status_code == 401


def test_the_libraries_are_what_their_makers_published() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `[^`]+` \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M)
    there = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()} - {"README.md"}
    assert {name for name, _ in rows} == there
    for name, checksum in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == checksum, name
    for folder in VENDOR.iterdir():
        assert folder.is_file() or (folder / "LICENSE").is_file(), f"{folder.name} has no licence"
