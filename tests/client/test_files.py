"""Names and addresses a hostile service might tell."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from maquette_client import Job, MaquetteClient, MaquetteError
from maquette_client.files import target
from tests.client.wire import server


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/passwd", "a/../../evil", "a//b", "", ".", ".bashrc", "a/.ssh/key", "C:/x", "a\\b", "con:x",
        "a\nb", "a\0b", "a/", "\u202egnp.exe",
    ],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(MaquetteError) as caught:
        target(tmp_path, name)
    assert caught.value.code == "bad_name"


def test_a_link_in_the_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stage1_output").symlink_to(tmp_path)
    with pytest.raises(MaquetteError, match="is not kept below"):
        target(tmp_path / "out", "stage1_output/color_0.png")
    assert target(tmp_path / "out", "stage2_output/output.glb") == tmp_path / "out" / "stage2_output" / "output.glb"


@pytest.mark.parametrize("address", ["http://127.0.0.2:1/x", "//127.0.0.2:1/x", "file:///etc/passwd", "\\\\host\\x"])
def test_an_address_that_is_not_the_services_own_is_refused(tmp_path: Path, address: str) -> None:
    client = MaquetteClient("http://127.0.0.1:1", api_key="secret")
    job = Job("1", "complete", "relief", files={"output.glb": address})
    with pytest.raises(MaquetteError) as caught:
        client.download(job, tmp_path)
    assert caught.value.code == "bad_name" and list(tmp_path.iterdir()) == []


def test_the_api_key_does_not_follow_a_redirect_to_another_host(tmp_path: Path) -> None:
    seen: list[str | None] = []

    def elsewhere(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["X-API-Key"])
        request.send_response(200)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"ok")

    with server(elsewhere, "127.0.0.2") as other:

        def redirect(request: BaseHTTPRequestHandler) -> None:
            seen.append(request.headers["X-API-Key"])
            request.send_response(302)
            request.send_header("Location", other + "/there")
            request.end_headers()

        with server(redirect) as url:
            job = Job("1", "complete", "relief", files={"a": "/outputs/a"})
            assert MaquetteClient(url, api_key="secret").read(job, "a") == b"ok"
    assert seen == ["secret", None]


def test_something_else_at_the_address_is_said(tmp_path: Path) -> None:
    def page(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", "6")
        request.end_headers()
        request.wfile.write(b"<html>")

    with server(page) as url, pytest.raises(MaquetteError) as caught:
        MaquetteClient(url).jobs()
    assert caught.value.code == "not_maquette"


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'localhost:6006'"):
        MaquetteClient("localhost:6006")
