"""The TRELLIS dialect: what it takes, what it answers, what it refuses."""

import base64
import io
import json
import struct
import time
import zlib
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from urllib3 import encode_multipart_formdata

import pipelines
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import JobQueue
from jobs.transitions import Transitions
from storage import Storage


def post(client: FlaskClient, png: bytes, **fields: Any) -> Any:
    parts = {name: str(value) for name, value in fields.items()}
    body, kind = encode_multipart_formdata({"image": ("cat.png", png, "image/png"), **parts})
    return client.post("/image_to_3d", data=body, content_type=kind)


def error(response: Any, status: int) -> str:
    """The message of a refusal, which every dialect's clients must find."""
    assert response.status_code == status, response.get_data(as_text=True)
    body = response.get_json()
    assert body["error"] == body["detail"] and body["code"] and "Traceback" not in body["error"]
    return str(body["error"])


def test_a_submit_answers_with_what_the_document_promises(client: FlaskClient, png: bytes, queue: JobQueue) -> None:
    answer = post(client, png, sparse_structure_sample_steps=25, slat_cfg_strength=4.0, simplify_ratio=0.5).get_json()
    assert answer["status"] == "queued" and answer["pipeline"] == "relief" and answer["position"] == 1
    assert answer["urls"]["job"] == f"/jobs/{answer['request_id']}"
    assert any("no learned model" in warning for warning in answer["warnings"])
    record = queue.get(answer["request_id"])
    assert record.params["simplify_ratio"] == 0.5 and record.params["texture_size"] == 1024
    assert record.params["texture_bake_mode"] == "pbr" and record.image_name == "cat.png"
    assert record.client == "127.0.0.1" and record.dialect == "trellis"


@pytest.mark.parametrize("prefix", ["", "/trellis"])
def test_every_route_stands_at_the_root_and_below_the_dialects_name(client: FlaskClient, prefix: str) -> None:
    for route in ("/my_requests", "/queue/status", "/queue_status"):
        assert client.get(prefix + route).status_code == 200
    assert client.get(prefix + "/image_to_3d").status_code == 405


@pytest.mark.parametrize("field", ["image", "image_data"])
@pytest.mark.parametrize("form", ["bare", "data url", "list"])
def test_a_picture_may_come_in_json(client: FlaskClient, png: bytes, queue: JobQueue, field: str, form: str) -> None:
    text = base64.b64encode(png).decode()
    value: Any = {"bare": text, "data url": f"data:image/png;base64,{text}", "list": [text, text]}[form]
    answer = client.post("/image_to_3d", json={field: value, "pipeline": "relief", "seed": 5}).get_json()
    record = queue.get(answer["request_id"])
    assert record.params["seed"] == 5 and len(record.inputs) == (2 if form == "list" else 1)


def test_several_pictures_keep_their_order(client: FlaskClient, png: bytes, queue: JobQueue, storage: Storage) -> None:
    parts = [(io.BytesIO(png), "front.png"), (io.BytesIO(png + b"\0" * 9), "left.png")]
    answer = client.post("/image_to_3d", data={"image": parts, "views": "front,left", "pipeline": "relief"}).get_json()
    record = queue.get(answer["request_id"])
    sizes = []
    for key in record.inputs:
        with (found := storage.open(key)).stream:
            sizes.append(found.size)
    assert sizes == [len(png), len(png) + 9] and record.params["views"] == ["front", "left"]
    assert record.image_name == "front.png"


def test_an_unknown_field_is_a_warning_with_a_guess(client: FlaskClient, png: bytes) -> None:
    warnings = post(client, png, texturesize=512, zzz=1, pipeline="relief").get_json()["warnings"]
    assert warnings == ["unknown field 'texturesize'; did you mean 'texture_size'?", "unknown field 'zzz'"]


def test_a_million_unknown_fields_cost_no_more_than_twenty(client: FlaskClient, png: bytes) -> None:
    names = {f"texture_siz{number}": 1 for number in range(50_000)} | {"texture_size" * 100_000: 1}
    started = time.perf_counter()
    answer = client.post("/image_to_3d", json={"image": base64.b64encode(png).decode(), "pipeline": "relief", **names})
    warnings = answer.get_json()["warnings"]
    assert len(warnings) == 21 and warnings[-1] == "49981 more unknown fields"
    assert time.perf_counter() - started < 5, "guessing for each took twenty"


def test_the_short_forms_are_known(client: FlaskClient, png: bytes) -> None:
    answer = post(client, png, ss_sample_steps=12, ss_cfg_strength=7.5, pipeline="relief").get_json()
    assert "warnings" not in answer
    assert "sparse_structure_sample_steps is '0'" in error(post(client, png, ss_sample_steps=0), 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(
            ("texture_size", value)
            for value in ("abc", "-1", "99999999", "NaN", "0", "1000", "1e3", "", " ", "[]")[:-3]
        ),
        *(("simplify_ratio", value) for value in ("nan", "inf", "-0.1", "0", "1.5", "half", "1e400")),
        *(("sparse_structure_sample_steps", value) for value in ("0", "2.5", "ten", "99999999999999999999")),
        *(("slat_cfg_strength", value) for value in ("nan", "-1", "x")),
        ("texture_bake_mode", "raytraced"),
        ("seed", "-1"),
        ("seed", str(2**64)),
        ("pipeline", "magic"),
        ("views", "top"),
        ("swap_sides", "perhaps"),
    ],
)
def test_a_parameter_that_cannot_work_is_named(client: FlaskClient, png: bytes, field: str, value: str) -> None:
    message = error(post(client, png, **{field: value}), 400)
    assert message.startswith(f"{field} is {value!r}"), message
    assert len(message) > len(f"{field} is {value!r}") + 5, "it also says what is allowed"


@pytest.mark.parametrize("value", [None, [], {}, True, "abc", 1e999, [1], {"a": 1}, -1])
def test_json_of_the_wrong_kind_is_refused(client: FlaskClient, png: bytes, value: Any) -> None:
    text = base64.b64encode(png).decode()
    body = json.dumps({"image": text, "texture_size": value})
    message = error(client.post("/image_to_3d", data=body, content_type="application/json"), 400)
    assert "texture_size" in message


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", "1", '"x"', '{"image": 1}', '{"image": {"a": 1}}', "\xff", "{}"]
)
def test_broken_json_is_refused(client: FlaskClient, body: str) -> None:
    message = error(client.post("/image_to_3d", data=body.encode("latin-1"), content_type="application/json"), 400)
    assert "JSON" in message or "image" in message, message


@pytest.mark.parametrize("named", ["", '; name="seed\\"', '; filename="b.png"'])
def test_a_part_without_a_name_is_refused(client: FlaskClient, png: bytes, named: str) -> None:
    body, kind = encode_multipart_formdata({"image": ("a.png", png), "pipeline": "probe", "mark": "x"})
    body = body.replace(b'; name="mark"', named.encode())
    assert "has no name" in error(client.post("/image_to_3d", data=body, content_type=kind), 400)


def test_a_submit_without_a_picture_says_what_to_send(client: FlaskClient) -> None:
    assert "image is missing" in error(client.post("/image_to_3d", data={"seed": 1}), 400)
    assert "image is missing" in error(client.post("/image_to_3d"), 400)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 415),
        (b"hello, I am not a picture", 415),
        (b"GIF89a" + b"\0" * 100, 415),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        (b"\x89PNG\r\n\x1a\n", 415),
        (b"x" * (30 * 2**20), 413),
    ],
)
def test_what_is_no_picture_is_refused(client: FlaskClient, data: bytes, status: int) -> None:
    assert error(post(client, data), status).startswith("image")


def test_a_cut_picture_and_a_bomb_are_refused(client: FlaskClient, png: bytes) -> None:
    assert "damaged" in error(post(client, png[: len(png) // 2]), 415)
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 6, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert "50000" in error(post(client, png[:8] + chunk + png[33:]), 413).replace(" ", "").replace(",", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.png",
        "http://localhost/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://2130706433/a.png",
        "http://0177.0.0.1/a.png",
        "http://0x7f.1/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://[::1]/a.png",
        "http://10.0.0.1/a.png",
        "file:///etc/passwd",
        "gopher://example.com/",
        "nonsense",
    ],
)
def test_an_address_inside_the_house_is_not_fetched(client: FlaskClient, url: str) -> None:
    assert "image_url" in error(client.post("/image_to_3d", data={"image_url": url}), 400)


def test_addresses_are_counted_before_any_is_fetched(client: FlaskClient) -> None:
    answer = client.post("/image_to_3d", json={"image_url": ["http://127.0.0.1/a.png"] * 500})
    assert "given 500 times" in error(answer, 400)


def test_an_idempotency_key_brings_the_same_job(client: FlaskClient, png: bytes) -> None:
    headers = {"Idempotency-Key": "order 66 — ✓".encode().decode("latin-1")}
    first, again = (
        client.post("/image_to_3d", data={"image": (io.BytesIO(png), "a.png")}, headers=headers).get_json()
        for _ in range(2)
    )
    assert first["request_id"] == again["request_id"]
    assert len(client.get("/my_requests").get_json()["requests"]) == 1
    assert "Idempotency-Key" in error(client.post("/image_to_3d", headers={"Idempotency-Key": "k" * 300}), 400)


def test_the_eleventh_active_job_has_to_wait(client: FlaskClient, png: bytes) -> None:
    for _ in range(10):
        assert post(client, png).status_code == 200
    refused = post(client, png)
    assert "10 is the most" in error(refused, 429) and int(refused.headers["Retry-After"]) > 0


def test_my_requests_has_the_words_of_the_document(client: FlaskClient, png: bytes, transitions: Transitions) -> None:
    good, bad, waiting = (post(client, png).get_json()["request_id"] for _ in range(3))
    transitions.claim(good, "a", "w1", 60)
    transitions.complete(good, "a", ["manifest.json", "output.glb"], [])
    transitions.claim(bad, "b", "w1", 60)
    transitions.fail(bad, "b", "bad_input", "there is nothing in this picture")
    listed = {entry["request_id"]: entry for entry in client.get("/my_requests").get_json()["requests"]}
    assert list(listed) == [waiting, bad, good]
    assert listed[good]["status"] == "complete" and listed[good]["output_files"] == ["manifest.json", "output.glb"]
    assert listed[bad]["status"] == "error" and listed[bad]["error"] == "there is nothing in this picture"
    assert listed[waiting]["status"] == "queued" and listed[waiting]["image_name"] == "cat.png"
    assert "output_files" not in listed[waiting] and "error" not in listed[good]


def test_the_queue_status_counts_and_tells_of_one_request(
    client: FlaskClient, png: bytes, transitions: Transitions
) -> None:
    first, second = (post(client, png).get_json()["request_id"] for _ in range(2))
    transitions.claim(first, "a", "w1", 60)
    told = client.get("/queue/status").get_json()
    assert told == {"queue_length": 1, "processing": 1, "client_queue_length": 1, "client_processing": 1}
    told = client.get(f"/queue/status?request_id={second}").get_json()["request"]
    assert (told["request_id"], told["status"], told["position"], told["progress"]) == (second, "queued", 1, 0)
    assert {"stage", "eta_s"} <= set(told)
    error(client.get("/queue/status?request_id=nobody"), 404)
    other = client.get("/queue/status", environ_overrides={"REMOTE_ADDR": "10.9.9.9"}).get_json()
    assert (other["queue_length"], other["client_queue_length"]) == (1, 0)


@pytest.mark.parametrize("environ", [{"MAQUETTE_FALLBACK": "off"}], indirect=True)
def test_without_the_fallback_auto_is_unavailable(client: FlaskClient, png: bytes) -> None:
    response = post(client, png)
    assert "pipeline=relief" in error(response, 503) and "Retry-After" in response.headers
    assert post(client, png, pipeline="relief").status_code == 200


def test_a_model_that_no_worker_speaks_of_is_unavailable(client: FlaskClient, png: bytes) -> None:
    assert "MAQUETTE_PIPELINES=trellis python ai_worker.py" in error(post(client, png, pipeline="trellis"), 503)


GET = "python -m pipelines.weights get trellis"


@pytest.fixture
def without_weights(monkeypatch: pytest.MonkeyPatch, client: FlaskClient, worker: WorkerInfo, redis: Any) -> None:
    """The model is registered, and the only worker says that it lacks its weights."""
    probe = ("tests.plugin_pipelines:ProbeParams", "tests.plugin_pipelines:ProbePipeline")
    monkeypatch.setitem(pipelines.PIPELINES, "trellis", pipelines.Entry(*probe, "device", weights="trellis"))
    reason = f"its weights are not there; fetch them with: {GET}"
    lacking = replace(worker, unavailable={"trellis": reason}, weights={"trellis": "absent"})
    Fleet(redis).publish(lacking, 600)


def test_a_model_without_weights_is_unavailable_with_the_command(
    client: FlaskClient, without_weights: None, png: bytes
) -> None:
    response = post(client, png, pipeline="trellis")
    assert GET in error(response, 503) and response.get_json()["code"] == "pipeline_unavailable"
    (worker,) = client.get("/workers").get_json()["workers"]
    assert worker["weights"] == {"trellis": "absent"} and GET in worker["unavailable"]["trellis"]


def test_auto_answers_with_relief_and_the_same_command(client: FlaskClient, without_weights: None, png: bytes) -> None:
    told = post(client, png).get_json()
    assert told["pipeline"] == "relief" and GET in told["warnings"][0]
    assert "no learned model was used" in told["warnings"][0]


def test_auto_takes_the_model_where_a_worker_offers_it(
    client: FlaskClient, without_weights: None, png: bytes, worker: WorkerInfo, redis: Any
) -> None:
    able = replace(worker, name="w2", device="cuda:0", queue="cuda", pipelines=["relief", "trellis"])
    Fleet(redis).publish(able, 600)
    told = post(client, png).get_json()
    assert told["pipeline"] == "trellis" and "warnings" not in told
    assert redis.hget(f"maquette:job:{told['request_id']}", "queue") == "cuda"


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environ | getattr(request, "param", {})


@pytest.mark.parametrize("url", ["ftp://x.example/", "http://127.0.0.1/", "http://10.0.0.1/x", "hello"])
def test_a_webhook_url_that_cannot_be_called_is_refused_at_once(client: FlaskClient, png: bytes, url: str) -> None:
    answer = client.post("/image_to_3d", data={"image": (io.BytesIO(png), "a.png"), "webhook_url": url})
    assert answer.status_code == 400 and "webhook_url" in answer.json["error"]
    assert client.get("/jobs").json["jobs"] == []


def test_a_webhook_is_listed_with_its_job(client: FlaskClient, png: bytes) -> None:
    form = {"image": (io.BytesIO(png), "a.png"), "webhook_url": "https://hooks.example.com/x"}
    told = client.get(client.post("/image_to_3d", data=form).json["urls"]["job"]).json
    assert told["webhook"] == {"url": "https://hooks.example.com/x", "state": "waiting", "tries": 0, "note": ""}
