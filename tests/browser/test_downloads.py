"""Each thing one can take away, opened as its reader would."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trimesh
from PIL import Image
from playwright.sync_api import Page, expect

from geometry.inspect import inspect_glb


def extensions(data: bytes) -> list[str]:
    """What a GLB's JSON says a reader has to know."""
    length = int.from_bytes(data[12:16], "little")
    required: list[str] = json.loads(data[20 : 20 + length]).get("extensionsRequired", [])
    return required


def is_glb(data: bytes) -> bool:
    return inspect_glb(data).triangles > 1000


def is_draco(data: bytes) -> bool:
    return data[:4] == b"glTF" and "KHR_draco_mesh_compression" in extensions(data)


def is_meshopt(data: bytes) -> bool:
    return data[:4] == b"glTF" and "EXT_meshopt_compression" in extensions(data)


def is_mesh(kind: str) -> Callable[[bytes], bool]:
    return lambda data: len(trimesh.load_mesh(io.BytesIO(data), file_type=kind).faces) > 1000


def is_obj(data: bytes) -> bool:
    """A ZIP of the mesh, its material and its texture."""
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        (name,) = [name for name in packed.namelist() if name.endswith(".obj")]
        return is_mesh("obj")(packed.read(name))


def is_usdz(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return packed.testzip() is None and packed.namelist()[0].endswith((".usd", ".usda", ".usdc"))


def is_everything(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        names = {name.rpartition("/")[2] for name in packed.namelist()}
        return packed.testzip() is None and {"output.glb", "manifest.json", "turntable.webp", "color_4.png"} <= names


def is_animation(data: bytes) -> bool:
    return getattr(Image.open(io.BytesIO(data)), "n_frames", 1) > 5


def is_manifest(data: bytes) -> bool:
    return bool(json.loads(data)["pipeline"] == "relief")


@pytest.mark.parametrize(
    ("label", "name", "opens"),
    [
        ("Download GLB", "mug.glb", is_glb),
        ("OBJ", "mug_obj.zip", is_obj),
        ("STL", "mug.stl", is_mesh("stl")),
        ("PLY", "mug.ply", is_mesh("ply")),
        ("USDZ", "mug.usdz", is_usdz),
        ("GLB Draco", r"mug.*\.glb", is_draco),
        ("GLB Meshopt", r"mug.*\.glb", is_meshopt),
        ("Turntable", "mug-turntable.webp", is_animation),
        ("Manifest", "mug-manifest.json", is_manifest),
        ("Everything, ZIP", "mug.zip", is_everything),
    ],
)
def test_a_download_has_a_sensible_name_and_opens(
    finished: Page, label: str, name: str, opens: Callable[[bytes], bool]
) -> None:
    with finished.expect_download() as started:
        finished.get_by_role("link", name=label, exact=True).click()
    assert re.fullmatch(name, started.value.suggested_filename), started.value.suggested_filename
    assert opens(Path(started.value.path()).read_bytes())


def test_every_single_file_is_listed(finished: Page, made: dict[str, Any]) -> None:
    finished.click("summary >> text=/All .* files/")
    expect(finished.locator(".files a")).to_have_text(made["output_files"])
    with finished.expect_download() as started:
        finished.click("text=stage1_output/color_0.png")
    with Image.open(started.value.path()) as picture:
        assert picture.size == (768, 768)
