"""Jobs, outputs, health, and who may see what."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from configs.settings import load_settings
from jobs.fleet import Fleet
from jobs.queue import JobQueue
from jobs.records import JobRequest
from jobs.transitions import Transitions
from storage import Storage
from web import create_app
from web.clients import canonical


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environ | getattr(request, "param", {})


@pytest.fixture
def done(client: FlaskClient, png: bytes, transitions: Transitions, storage: Storage) -> str:
    """A complete job of 127.0.0.1 with two files."""
    job_id: str = post(client, png)
    files = {"output.glb": b"glTF" + bytes(range(256)), "stage1_output/color_0.png": png}
    for name, data in files.items():
        storage.put(f"outputs/127.0.0.1/{job_id}/{name}", data)
    transitions.claim(job_id, "a", "w1", 60)
    transitions.complete(job_id, "a", list(files), [])
    return job_id


def post(client: FlaskClient, png: bytes, **more: Any) -> str:
    answer = client.post("/image_to_3d", data={"image": (io.BytesIO(png), "cat.png")}, **more)
    return str(answer.get_json()["request_id"])


def from_address(address: str) -> dict[str, Any]:
    return {"environ_overrides": {"REMOTE_ADDR": address}}


@pytest.mark.parametrize("route", ["outputs", "output"])
def test_files_come_with_type_length_and_validators(client: FlaskClient, done: str, route: str, png: bytes) -> None:
    answer = client.get(f"/{route}/127.0.0.1/{done}/output.glb")
    assert answer.status_code == 200 and answer.mimetype == "model/gltf-binary" and answer.content_length == 260
    assert answer.headers["ETag"] and answer.headers["Accept-Ranges"] == "bytes" and answer.last_modified
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    nested = client.get(f"/{route}/127.0.0.1/{done}/stage1_output/color_0.png")
    assert nested.data == png and nested.mimetype == "image/png"
    head = client.head(f"/{route}/127.0.0.1/{done}/output.glb")
    assert head.status_code == 200 and head.content_length == 260 and head.data == b""


def test_parts_of_a_file_and_unchanged_files(client: FlaskClient, done: str) -> None:
    url = f"/outputs/127.0.0.1/{done}/output.glb"
    whole = client.get(url)
    for given, start, stop in (("bytes=0-3", 0, 4), ("bytes=250-", 250, 260), ("bytes=-5", 255, 260)):
        part = client.get(url, headers={"Range": given})
        assert part.status_code == 206 and part.data == whole.data[start:stop]
        assert part.headers["Content-Range"] == f"bytes {start}-{stop - 1}/260"
    beyond = client.get(url, headers={"Range": "bytes=999-"})
    assert beyond.status_code == 416 and beyond.headers["Content-Range"] == "bytes */260"
    assert client.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert client.get(url, headers={"If-Modified-Since": whole.headers["Last-Modified"]}).status_code == 304
    stale = client.get(url, headers={"Range": "bytes=0-3", "If-Range": '"other"'})
    assert stale.status_code == 200 and stale.data == whole.data


@pytest.mark.parametrize(
    "path",
    [
        "../../../redis/redis.log",
        "..%2f..%2f..%2fredis%2fredis.log",
        "%2e%2e/%2e%2e/redis/redis.log",
        "....//....//redis/redis.log",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "..\\..\\redis",
        "output.glb%00.png",
        ".hidden",
        "stage1_output",
        "stage1_output/",
        "none.glb",
        "output.glb/more",
        "%ff",
        "a" * 5000,
    ],
)
def test_nothing_but_the_jobs_own_files_is_served(client: FlaskClient, done: str, path: str) -> None:
    answer = client.get(f"/outputs/127.0.0.1/{done}/{path}")
    assert answer.status_code in (404, 308) and b"Traceback" not in answer.data
    if answer.status_code == 404:
        assert answer.get_json()["error"] == answer.get_json()["detail"]


@pytest.mark.parametrize("owner", ["..", ".", "10.0.0.1", "%2e%2e", "a/b", "redis", "127.0.0.1%2f.."])
def test_another_clients_folder_is_not_there(client: FlaskClient, done: str, owner: str) -> None:
    assert client.get(f"/outputs/{owner}/{done}/output.glb").status_code == 404


def test_the_address_of_a_file_is_enough_to_fetch_it(client: FlaskClient, done: str) -> None:
    answer = client.get(f"/outputs/127.0.0.1/{done}/output.glb", **from_address("10.9.9.9"))
    assert answer.status_code == 200


@pytest.mark.parametrize("environ", [{"MAQUETTE_OUTPUTS_ACCESS": "owner"}], indirect=True)
def test_unless_the_operator_wants_the_owner(client: FlaskClient, done: str) -> None:
    url = f"/outputs/127.0.0.1/{done}/output.glb"
    assert client.get(url).status_code == 200
    assert client.get(url, **from_address("10.9.9.9")).status_code == 404


def test_a_job_is_told_to_its_owner_and_to_nobody_else(client: FlaskClient, done: str) -> None:
    told = client.get(f"/jobs/{done}").get_json()
    assert told["status"] == "complete" and told["progress"] == 1.0 and told["attempts"] == 1
    assert told["urls"]["files"]["output.glb"] == f"/outputs/127.0.0.1/{done}/output.glb"
    stranger = from_address("10.9.9.9")
    for answer in (
        client.get(f"/jobs/{done}", **stranger),
        client.delete(f"/jobs/{done}", **stranger),
        client.get(f"/queue/status?request_id={done}", **stranger),
    ):
        assert answer.status_code == 404 and answer.get_json()["code"] == "not_found"
    assert client.get("/jobs", **stranger).get_json() == {"jobs": []}
    assert client.get("/my_requests", **stranger).get_json() == {"requests": []}
    assert client.get(f"/jobs/{done}").status_code == 200


def test_delete_cancels_what_waits_and_removes_what_ended(
    client: FlaskClient, done: str, png: bytes, storage: Storage, transitions: Transitions
) -> None:
    waiting, running = post(client, png), post(client, png)
    transitions.claim(running, "b", "w1", 60)
    assert client.delete(f"/jobs/{waiting}").get_json()["status"] == "cancelled"
    answer = client.delete(f"/jobs/{running}")
    assert answer.status_code == 202 and answer.get_json()["cancelling"]
    assert client.get(f"/jobs/{running}").get_json()["cancelling"]
    assert client.delete(f"/jobs/{done}").get_json() == {
        "job_id": done,
        "request_id": done,
        "status": "complete",
        "deleted": True,
    }
    assert client.get(f"/jobs/{done}").status_code == client.delete(f"/jobs/{done}").status_code == 404
    assert storage.names(f"outputs/127.0.0.1/{done}") == []


@pytest.mark.parametrize("method", ["get", "delete"])
@pytest.mark.parametrize("job_id", ["nobody", "*", "a:b", "%00", "é" * 100, "x" * 3000])
def test_a_job_that_does_not_exist_is_not_found(client: FlaskClient, method: str, job_id: str) -> None:
    answer = getattr(client, method)(f"/jobs/{job_id}")
    assert answer.status_code == 404 and answer.get_json()["error"] == answer.get_json()["detail"]


def test_a_forged_forwarded_for_changes_nothing(client: FlaskClient, done: str) -> None:
    headers = {"X-Forwarded-For": "127.0.0.1"}
    assert client.get(f"/jobs/{done}", headers=headers, **from_address("10.9.9.9")).status_code == 404
    assert client.get(f"/jobs/{done}", headers={"X-Forwarded-For": "10.9.9.9"}).status_code == 200


@pytest.mark.parametrize("environ", [{"MAQUETTE_TRUSTED_PROXIES": "1"}], indirect=True)
@pytest.mark.parametrize(
    ("header", "owner"),
    [
        (None, "127.0.0.1"),
        ("10.1.1.1", "10.1.1.1"),
        ("10.2.2.2, 10.1.1.1", "10.1.1.1"),  # only the last was written by the proxy we trust
        ("2001:db8::5", "2001-0db8-0000-0000-0000-0000-0000-0005"),
        ("::ffff:10.1.1.1", "10.1.1.1"),
        ("../../etc", "127.0.0.1"),
        ("10.1.1.1:5678", "10.1.1.1"),
        ("[2001:db8::5]:5678", "2001-0db8-0000-0000-0000-0000-0000-0005"),
    ],
)
def test_behind_one_proxy_the_client_is_who_it_saw(
    client: FlaskClient, png: bytes, header: str | None, owner: str
) -> None:
    headers = {"X-Forwarded-For": header} if header else {}
    answer = client.post("/image_to_3d", data={"image": (io.BytesIO(png), "a.png")}, headers=headers).get_json()
    assert answer["urls"]["outputs"] == f"/outputs/{owner}/{answer['request_id']}"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "0000-0000-0000-0000-0000-0000-0000-0001"),
        ("[::1]", "0000-0000-0000-0000-0000-0000-0000-0001"),
        ("fe80::1%eth0", "fe80-0000-0000-0000-0000-0000-0000-0001"),
        ("key-0123", "key-0123"),
    ],
)
def test_an_address_has_one_spelling(address: str, name: str) -> None:
    assert canonical(address) == name and re.fullmatch(r"[\w.-]+", name)


@pytest.mark.parametrize("environ", [{"MAQUETTE_API_KEYS": "sesame,opensaysme"}], indirect=True)
def test_with_keys_the_key_is_the_client(client: FlaskClient, png: bytes) -> None:
    assert client.get("/my_requests").status_code == 401
    assert client.get("/my_requests", headers={"X-API-Key": "wrong"}).get_json()["code"] == "api_key_required"
    mine = {"Authorization": "Bearer sesame"}
    job_id = post(client, png, headers=mine)
    assert client.get(f"/jobs/{job_id}", headers={"X-API-Key": "sesame"}, **from_address("10.9.9.9")).status_code == 200
    assert client.get(f"/jobs/{job_id}", headers={"X-API-Key": "opensaysme"}).status_code == 404
    assert client.options("/image_to_3d").status_code == 200, "a browser asks before it sends the key"


def test_health_is_the_union_of_what_two_apis_say(client: FlaskClient) -> None:
    told = client.get("/health").get_json()
    assert told["status"] == "ok" and told["service"] and told["stage1"] is False and told["stage2"] is False
    assert told["loaded_models"] == [] and told["available_memory_gb"] == 2.0 and told["gpu_available"] is False
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200


def test_without_workers_or_redis_the_service_says_when_to_come_back(
    client: FlaskClient, png: bytes, redis: Any, settings: Any
) -> None:
    redis.flushall()
    client.application.extensions["maquette"].queue._fleet_seen = (0.0, [])
    for answer in (
        client.get("/health/ready"),
        client.post("/image_to_3d", data={"image": (io.BytesIO(png), "a.png")}),
    ):
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0 and answer.get_json()["error"]
    lonely = create_app(settings, "unix:///nowhere/redis.sock").test_client()
    for route in ("/my_requests", "/queue/status", "/jobs/x", "/health/ready", "/workers"):
        answer = lonely.get(route)
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0, route
    assert lonely.get("/health/live").status_code == 200


def test_workers_show_what_they_do_but_not_whose(client: FlaskClient, worker: Any, redis: Any, png: bytes) -> None:
    job_id = post(client, png)
    Fleet(redis).publish(replace(worker, job_id=job_id, state="busy"), 600)
    client.application.extensions["maquette"].queue._fleet_seen = (0.0, [])
    (mine,) = client.get("/workers").get_json()["workers"]
    assert mine["device"] == "cpu" and mine["current_job"]["request_id"] == job_id
    (theirs,) = client.get("/workers", **from_address("10.9.9.9")).get_json()["workers"]
    assert theirs["current_job"]["pipeline"] == "relief" and job_id not in str(theirs)


def test_an_unknown_route_and_method_are_told_in_json(client: FlaskClient) -> None:
    missing = client.get("/nowhere")
    assert missing.status_code == 404 and missing.get_json()["error"] == missing.get_json()["detail"]
    wrong = client.put("/jobs")
    assert wrong.status_code == 405 and "GET" in wrong.headers["Allow"] and wrong.get_json()["code"]


def test_a_browser_may_call_from_anywhere_unless_told_otherwise(client: FlaskClient, app: Flask) -> None:
    answer = client.get("/health", headers={"Origin": "https://shop.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_a_bug_is_told_without_its_insides(app: Flask, client: FlaskClient, caplog: Any) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    app.view_functions["health.live"] = broken
    answer = client.get("/health/live")
    assert answer.status_code == 500 and "secret" not in answer.get_data(as_text=True)
    assert answer.get_json()["code"] == "internal"
    assert "secret" in caplog.text, "the operator sees it"


def test_the_listing_names_every_route(client: FlaskClient) -> None:
    told = client.get("/", headers={"Accept": "application/json"}).get_json()
    assert told["service"] == "Maquette"
    assert {"POST /image_to_3d", "GET /my_requests", "DELETE /jobs/<job_id>", "GET /workers"} <= set(told["endpoints"])
    assert all(told["endpoints"].values()), "each with a word about it"


def test_settings_reach_the_app(tmp_path: Any, redis_url: str, worker: Any) -> None:
    settings = load_settings(
        {"MAQUETTE_DATA_DIR": str(tmp_path), "MAQUETTE_CORS_ORIGINS": "https://a.example"}, tmp_path
    )
    answer = create_app(settings, redis_url).test_client().get("/health", headers={"Origin": "https://b.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_cancelling_never_deletes(client: FlaskClient, queue: JobQueue, transitions: Transitions) -> None:
    job = queue.submit(JobRequest("127.0.0.1", "trellis", "probe", {}), [], "cpu").record.id
    transitions.claim(job, "a", "w1", 60)
    answer = client.post(f"/jobs/{job}/cancel")
    assert answer.status_code == 202 and answer.json["cancelling"] is True
    transitions.release(job, "a", counted=False, max_attempts=3)
    other = queue.submit(JobRequest("127.0.0.1", "trellis", "probe", {}), [], "cpu").record.id
    assert client.post(f"/jobs/{other}/cancel").json["status"] == "cancelled"
    done = queue.submit(JobRequest("127.0.0.1", "trellis", "probe", {}), [], "cpu").record.id
    transitions.claim(done, "a", "w1", 60)
    transitions.complete(done, "a", [], [])
    answer = client.post(f"/jobs/{done}/cancel")
    assert answer.status_code == 200 and answer.json["status"] == "complete" and answer.json["deleted"] is False
    assert client.get(f"/jobs/{done}").json["status"] == "complete"
    theirs = queue.submit(JobRequest("10.0.0.9", "trellis", "probe", {}), [], "cpu").record.id
    assert client.post(f"/jobs/{theirs}/cancel").status_code == 404
