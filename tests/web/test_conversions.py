"""`?as=`: what is asked for, who may ask, what it costs the second time."""

import io
import json
import struct
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import trimesh
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from geometry.export import EXPORTERS
from geometry.mesh import Material, Mesh
from jobs.transitions import Transitions
from storage import Storage, keys
from web import conversions

OWNER = "127.0.0.1"
MEDIA_TYPES = {
    "stl": "model/stl",
    "obj": "application/zip",
    "ply": "model/ply",
    "usdz": "model/vnd.usdz+zip",
    "glb": "model/gltf-binary",
    "zip": "application/zip",
}


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environ | getattr(request, "param", {})


@pytest.fixture
def app(app: Flask) -> Iterator[Flask]:
    """Requests at the same time open more than one connection, and those outlive the garbage collector."""
    yield app
    queue = app.extensions["maquette"].queue
    for redis in (queue.redis, queue._raw):
        redis.connection_pool.disconnect()


@pytest.fixture(scope="module")
def glb() -> bytes:
    shape = trimesh.creation.icosphere(3, 0.4)
    vertices = shape.vertices.astype(np.float32)
    stream = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(stream, "JPEG")
    uv = (vertices[:, :2] + 0.5).astype(np.float32)
    mesh = Mesh(vertices, shape.faces.astype(np.int32), uv, shape.vertex_normals.astype(np.float32))
    return EXPORTERS["glb"](mesh, Material(stream.getvalue()))


def post(client: FlaskClient, png: bytes, name: str = "cat.png") -> str:
    answer = client.post("/image_to_3d", data={"image": (io.BytesIO(png), name)})
    return str(answer.get_json()["request_id"])


@pytest.fixture
def done(client: FlaskClient, png: bytes, glb: bytes, transitions: Transitions, storage: Storage) -> str:
    """A complete job of 127.0.0.1 that was made of cat.png."""
    return finish(post(client, png), png, glb, transitions, storage)


def finish(job_id: str, png: bytes, glb: bytes, transitions: Transitions, storage: Storage) -> str:
    shape = trimesh.creation.icosphere(1)
    dense = Mesh(shape.vertices.astype(np.float32), shape.faces.astype(np.int32))
    points = b"ply\nformat binary_little_endian 1.0\nelement vertex 0\nend_header\n"
    files = {
        "output.glb": glb,
        "preview.glb": glb,
        "stage1_output/input.png": png,
        "stage2_output/output_mesh.ply": EXPORTERS["ply"](dense, None),
        "stage2_output/points.ply": points,
        "broken.glb": glb[:-7],
        "manifest.json": b"{}",
    }
    for name, data in files.items():
        storage.put(f"outputs/{OWNER}/{job_id}/{name}", data)
    transitions.claim(job_id, "a", "w1", 60)
    transitions.complete(job_id, "a", list(files), [])
    return job_id


def at(job_id: str, rest: str, route: str = "outputs") -> str:
    return f"/{route}/{OWNER}/{job_id}{rest}"


def from_address(address: str) -> dict[str, Any]:
    return {"environ_overrides": {"REMOTE_ADDR": address}}


def kept(storage: Storage, job_id: str) -> list[str]:
    return storage.names(keys.extras_folder(OWNER, job_id))


@pytest.mark.parametrize("route", ["outputs", "output"])
@pytest.mark.parametrize("word", sorted(MEDIA_TYPES))
def test_every_format_comes_with_type_name_and_validators(
    client: FlaskClient, done: str, word: str, route: str, glb: bytes
) -> None:
    answer = client.get(at(done, f"/output.glb?as={word}", route))
    assert answer.status_code == 200 and answer.mimetype == MEDIA_TYPES[word]
    assert answer.content_length == len(answer.data) > 0
    ending = "_obj.zip" if word == "obj" else f".{word}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="cat{ending}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.last_modified
    part = client.get(at(done, f"/output.glb?as={word}", route), headers={"Range": "bytes=5-8"})
    assert part.status_code == 206 and part.data == answer.data[5:9]
    same = client.get(at(done, f"/output.glb?as={word}"), headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304
    head = client.head(at(done, f"/output.glb?as={word}"))
    assert head.status_code == 200 and head.content_length == answer.content_length and head.data == b""
    if word == "glb":
        assert answer.data == glb


def test_each_format_and_option_has_its_own_etag(client: FlaskClient, done: str) -> None:
    queries = ["", *(f"?as={word}" for word in MEDIA_TYPES if word != "glb"), "?as=stl&size_mm=30"]
    queries += ["?as=glb&compression=draco", "?as=glb&texture=webp", "?as=glb&compression=meshopt&texture=webp"]
    tags = {client.get(at(done, f"/output.glb{query}")).headers["ETag"] for query in queries}
    tags.add(client.get(at(done, "/preview.glb?as=stl")).headers["ETag"])
    assert len(tags) == len(queries) + 1


def test_options_reach_the_writers(client: FlaskClient, done: str) -> None:
    small = client.get(at(done, "/output.glb?as=stl&size_mm=30")).data
    assert np.isclose(trimesh.load(io.BytesIO(small), file_type="stl").extents.max(), 30)
    usual = client.get(at(done, "/output.glb?as=stl")).data
    assert np.isclose(trimesh.load(io.BytesIO(usual), file_type="stl").extents.max(), 100)
    data = client.get(at(done, "/output.glb?as=glb&compression=draco&texture=webp")).data
    document = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    assert set(document["extensionsRequired"]) == {"KHR_draco_mesh_compression", "EXT_texture_webp"}
    assert trimesh.load(io.BytesIO(data), file_type="glb", force="mesh").is_watertight


@pytest.mark.parametrize("word", ["glb", "stl", "usdz"])
def test_a_mesh_as_ply_is_a_source_too(client: FlaskClient, done: str, word: str) -> None:
    answer = client.get(at(done, f"/stage2_output/output_mesh.ply?as={word}"))
    assert answer.status_code == 200 and answer.mimetype == MEDIA_TYPES[word]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="cat_output_mesh.{word}"'


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("/output.glb?as=fbx", ["as is 'fbx'", "glb, stl, obj, ply, usdz, zip"]),
        ("/output.glb?as=", ["as is ''", "glb, stl, obj, ply, usdz, zip"]),
        ("/output.glb?as=glb&compression=zstd", ["compression is 'zstd'", "one of none, draco, meshopt"]),
        ("/output.glb?as=glb&texture=gif", ["texture is 'gif'", "one of keep, webp, jpeg, png"]),
        ("/output.glb?as=stl&size_mm=0", ["size_mm is '0'", "from 0.01 to 100000"]),
        ("/output.glb?as=stl&size_mm=nan", ["size_mm is 'nan'", "a number"]),
        ("/output.glb?as=stl&compression=draco", ["compression does not go with as=stl", "as=glb"]),
        ("/output.glb?compression=draco", ["compression", "add as=glb"]),
        ("/stage1_output/input.png?as=stl", ["'stage1_output/input.png' is no mesh", ".glb and .ply"]),
        ("/manifest.json?as=glb&compression=draco", ["'manifest.json' is no mesh", ".glb and .ply"]),
        ("/stage2_output/points.ply?as=stl", ["no triangles"]),
        ("/broken.glb?as=stl", ["not a readable GLB file"]),
        ("?as=stl", ["as is 'stl'", "as=zip"]),
        ("", ["as is missing", "as=zip"]),
    ],
)
def test_what_cannot_be_is_refused_with_name_value_and_remedy(
    client: FlaskClient, done: str, rest: str, words: list[str]
) -> None:
    answer = client.get(at(done, rest))
    assert answer.status_code == 400
    told = answer.get_json()
    assert told["code"] == "bad_parameter" and told["error"] == told["detail"]
    assert all(word in told["error"] for word in words), told["error"]


@pytest.mark.parametrize("rest", ["/none.glb?as=stl", "/none.glb?as=zip", "/none.fbx?as=stl", "/..%2f?as=stl"])
def test_a_missing_file_is_not_found(client: FlaskClient, done: str, rest: str) -> None:
    answer = client.get(at(done, rest))
    assert answer.status_code == 404 and answer.get_json()["code"] == "not_found"


@pytest.mark.parametrize("owner", [OWNER, "10.1.1.1"])
def test_a_missing_job_has_no_archive(client: FlaskClient, owner: str) -> None:
    assert client.get(f"/outputs/{owner}/nobody?as=zip").status_code == 404


def test_the_archive_holds_every_file_and_is_the_same_each_time(
    client: FlaskClient, done: str, storage: Storage
) -> None:
    first = client.get(at(done, "?as=zip"))
    assert first.data == client.get(at(done, "?as=zip")).data == client.get(at(done, "/output.glb?as=zip")).data
    with zipfile.ZipFile(io.BytesIO(first.data)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == storage.names(f"outputs/{OWNER}/{done}")
        for name in packed.namelist():
            with storage.open(f"outputs/{OWNER}/{done}/{name}").stream as stream:
                assert packed.read(name) == stream.read()
    assert kept(storage, done) == []


def test_a_conversion_costs_nothing_the_second_time(
    client: FlaskClient, done: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = at(done, "/output.glb?as=usdz")
    first = client.get(url)
    assert kept(storage, done) == ["converted/output.glb/plain.usdz"]
    monkeypatch.setitem(conversions.READERS, "glb", lambda data: pytest.fail("read again"))
    again = client.get(url)
    assert again.data == first.data and again.headers["ETag"] == first.headers["ETag"]
    assert again.last_modified == first.last_modified


def test_a_size_of_ones_own_leaves_nothing_behind(client: FlaskClient, done: str, storage: Storage) -> None:
    for size in range(1, 5):
        assert client.get(at(done, f"/output.glb?as=stl&size_mm={size}")).status_code == 200
    assert kept(storage, done) == []


def test_deleting_a_job_removes_what_was_made_of_it(client: FlaskClient, done: str, storage: Storage) -> None:
    client.get(at(done, "/output.glb?as=stl"))
    client.get(at(done, "/stage2_output/output_mesh.ply?as=glb"))
    assert len(kept(storage, done)) == 2
    assert client.delete(f"/jobs/{done}").status_code == 200
    assert kept(storage, done) == []
    assert client.get(at(done, "/output.glb?as=stl")).status_code == 404


def test_a_job_deleted_while_it_is_converted_leaves_nothing_behind(
    client: FlaskClient, app: Flask, done: str, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = type(storage).put

    def delete_before_it_is_kept(self: Storage, key: str, data: bytes) -> None:
        app.test_client().delete(f"/jobs/{done}")
        put(self, key, data)

    monkeypatch.setattr(type(storage), "put", delete_before_it_is_kept)
    answer = client.get(at(done, "/output.glb?as=stl"))
    assert answer.status_code == 404 and answer.get_json()["code"] == "not_found"
    assert kept(storage, done) == [] == storage.names(f"outputs/{OWNER}/{done}")


def test_the_rough_shape_of_a_running_job_can_be_converted_but_is_not_kept(
    client: FlaskClient, png: bytes, glb: bytes, transitions: Transitions, storage: Storage
) -> None:
    running = post(client, png)
    transitions.claim(running, "a", "w1", 60)
    storage.put(keys.extras_key(OWNER, running, "preview.glb"), glb)
    answer = client.get(at(running, "/preview.glb?as=stl"))
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="cat_preview.stl"'
    assert kept(storage, running) == ["preview.glb"]
    assert client.get(at(running, "/output.glb?as=stl")).status_code == 404
    assert client.get(at(running, "?as=zip")).status_code == 404


def test_the_address_is_enough_but_does_not_tell_the_pictures_name(client: FlaskClient, done: str) -> None:
    stranger = from_address("10.9.9.9")
    answer = client.get(at(done, "/output.glb?as=stl"), **stranger)
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="output.stl"'
    answer = client.get(at(done, "?as=zip"), **stranger)
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{done}.zip"'


@pytest.mark.parametrize("environ", [{"MAQUETTE_OUTPUTS_ACCESS": "owner"}], indirect=True)
@pytest.mark.parametrize("rest", ["/output.glb?as=stl", "/output.glb?as=zip", "?as=zip", "", "/output.glb?as=fbx"])
def test_unless_the_operator_wants_the_owner(client: FlaskClient, done: str, rest: str) -> None:
    assert client.get(at(done, rest)).status_code in (200, 400)
    assert client.get(at(done, rest), **from_address("10.9.9.9")).status_code == 404


@pytest.mark.parametrize("environ", [{"MAQUETTE_API_KEYS": "secret"}], indirect=True)
def test_where_keys_are_switched_on_one_is_needed(client: FlaskClient) -> None:
    assert client.get("/outputs/x/y?as=zip").status_code == 401


@pytest.mark.parametrize(
    ("given", "plain", "full"),
    [
        ("my cat.v2.png", "my cat.v2.stl", None),
        ("Ä\u00df\u732b.png", "A.stl", "%C3%84%C3%9F%E7%8C%AB.stl"),
        ("\u732b.png", "model.stl", "%E7%8C%AB.stl"),
        ('a";x="b\r\nX: y.png', "a_;x=_b_X_ y.stl", None),
        ("..png", "output.stl", None),
    ],
)
def test_the_name_to_save_under_is_the_pictures_own(
    client: FlaskClient,
    png: bytes,
    glb: bytes,
    transitions: Transitions,
    storage: Storage,
    given: str,
    plain: str,
    full: str | None,
) -> None:
    header = conversions.attachment(given.removesuffix(".png") if given != "..png" else "output", ".stl")
    assert header == f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{full}" if full else "")
    job_id = finish(post(client, png, given), png, glb, transitions, storage)
    answer = client.get(at(job_id, "/output.glb?as=stl"))
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")


def test_many_who_ask_at_once_get_the_same_and_it_is_made_once(
    app: Flask, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    read = conversions.READERS["glb"]
    monkeypatch.setitem(conversions.READERS, "glb", lambda data: made.append(1) or read(data))

    def ask(_: int) -> tuple[int, bytes]:
        answer = app.test_client().get(at(done, "/output.glb?as=glb&compression=meshopt"))
        return answer.status_code, answer.get_data()

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(ask, range(4)))
    assert len(answers) == 1 and answers.pop()[0] == 200
    assert len(made) == 1


def test_whoever_waits_too_long_or_finds_a_queue_is_told_when_to_come_back(
    app: Flask, client: FlaskClient, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    read = conversions.READERS["glb"]

    def slow(data: bytes) -> Any:
        begun.set()
        assert go_on.wait(30)
        return read(data)

    monkeypatch.setitem(conversions.READERS, "glb", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: app.test_client().get(at(done, "/output.glb?as=obj")).status_code)
        assert begun.wait(30)
        try:
            monkeypatch.setattr(conversions, "PATIENCE_S", 0.05)
            answer = client.get(at(done, "/output.glb?as=usdz"))
            assert answer.status_code == 503 and answer.get_json()["code"] == "busy"
            assert int(answer.headers["Retry-After"]) > 0
            monkeypatch.setattr(conversions, "PATIENCE_S", 3600)
            monkeypatch.setattr(conversions, "_WAITING_ROOM", threading.BoundedSemaphore(1))
            conversions._WAITING_ROOM.acquire()
            answer = client.get(at(done, "/output.glb?as=usdz"))
            assert answer.status_code == 503 and "too many" in answer.get_json()["error"]
            plain = client.get(at(done, "/output.glb"))
            assert plain.status_code == 200
        finally:
            go_on.set()
        assert first.result() == 200
    monkeypatch.setitem(conversions.READERS, "glb", read)
    assert client.get(at(done, "/output.glb?as=usdz")).status_code == 200


def test_a_missing_library_is_named_with_its_remedy(
    client: FlaskClient, done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    answer = client.get(at(done, "/output.glb?as=glb&compression=draco"))
    assert answer.status_code == 503 and answer.get_json()["code"] == "conversion_unavailable"
    assert "pip install DracoPy" in answer.get_json()["error"]
    assert client.get(at(done, "/output.glb?as=glb&compression=meshopt")).status_code == 200


def test_a_huge_source_is_refused(client: FlaskClient, done: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversions, "LARGEST_SOURCE_MB", 0)
    answer = client.get(at(done, "/output.glb?as=stl"))
    assert answer.status_code == 400 and "at most 0 are converted" in answer.get_json()["error"]
