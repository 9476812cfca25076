"""The SyncHuman dialect: what it takes, how it waits, what it answers, what it refuses."""

import base64
import io
import json
import socket
import ssl
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from PIL import Image
from pydantic import Field

import pipelines
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobStatus
from jobs.transitions import Transitions
from pipelines.base import Params
from pipelines.synchuman.params import SyncHumanParams
from storage import Storage, keys
from web.waiting import hung_up

STAGE1 = [f"stage1_output/{kind}_{number}.png" for kind in ("color", "normal") for number in range(5)]
STAGE1 += ["stage1_output/input.png", keys.STRUCTURE]
MODEL1 = [*STAGE1, "stage1_output/concat.png", "stage1_output/voxel.ply"]  # which SyncHuman itself writes
STAGE2 = ["stage2_output/output.glb", "stage2_output/output_mesh.ply"]
TOP = ["output.glb", "preview.glb", "thumbnail.png", "turntable.webp"]
REMEDY = "python -m pipelines.weights get synchuman"
Ending = Callable[[JobRecord], None]


def picture(background: tuple[int, ...] = (0, 0, 0, 0), mode: str = "RGBA", kind: str = "PNG") -> bytes:
    """A red square that covers a quarter of the picture."""
    image = Image.new("RGBA", (64, 64), background)
    image.paste((200, 30, 30, 255), (16, 16, 48, 48))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind)
    return buffer.getvalue()


def post(
    client: FlaskClient, data: bytes | None = None, path: str = "/generate", headers: Any = None, **fields: Any
) -> Any:
    form = {"image": (io.BytesIO(data or picture()), "ann.png"), **fields}
    return client.post(path, data=form, headers=headers)


def refusal(answer: Any, status: int, code: str) -> str:
    told = answer.get_json()
    assert (answer.status_code, told["code"]) == (status, code), told
    assert told["error"] == told["detail"]
    return str(told["error"])


def assert_described(client: FlaskClient, answer: Any, path: str = "/generate", method: str = "post") -> None:
    """The answer is one that the document describes, and says nothing that it does not."""
    document = client.get("/openapi.json").get_json()
    told = document["paths"][path][method]["responses"][str(answer.status_code)]
    closed = document["components"]["schemas"]
    for one in closed.values():
        if "properties" in one:
            one["additionalProperties"] = False
    schema = {**told["content"][answer.mimetype]["schema"], "components": {"schemas": closed}}
    Draft202012Validator(schema).validate(answer.get_json())


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environ | getattr(request, "param", {})


@pytest.fixture
def work(redis: Any, transitions: Transitions, queue: JobQueue) -> Iterator[Callable[[Ending], None]]:
    """Carries out whatever is handed in, in the way one says, as a worker would."""
    over, threads = threading.Event(), []

    def serve(ending: Ending) -> None:
        while not over.wait(0.01):
            for job_id in redis.zrange("maquette:waiting:cpu", 0, -1):
                transitions.claim(job_id, job_id, "w1", 60)
                ending(queue.get(job_id))

    def begin(ending: Ending) -> None:
        threads.append(threading.Thread(target=serve, args=[ending]))
        threads[-1].start()

    yield begin
    over.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def complete(transitions: Transitions, storage: Storage) -> Ending:
    """Ends a job with the files of the stages it was asked for, and those beside them."""

    def end(record: JobRecord) -> None:
        stage = record.params.get("stage", "both")
        first = MODEL1 if record.pipeline == "synchuman" else STAGE1
        names = ["manifest.json", *(first if stage != "stage2" else [])]
        names += [*STAGE2, *TOP] if stage != "stage1" else []
        for name in names:
            storage.put(keys.output_key(record.client, record.id, name), f"{record.id} {name}".encode())
        transitions.complete(record.id, record.id, names, record.warnings)

    return end


@pytest.fixture
def model(client: FlaskClient, worker: WorkerInfo, redis: Any) -> None:
    """A worker offers SyncHuman."""
    Fleet(redis).publish(replace(worker, pipelines=["relief", "probe", "synchuman"]), 600)


def test_the_model_answers_with_what_both_documents_show(
    client: FlaskClient, model: None, work: Any, complete: Ending, queue: JobQueue
) -> None:
    work(complete)
    answer = post(client)
    assert answer.status_code == 200
    assert_described(client, answer)
    told = answer.get_json()
    place = f"127.0.0.1/{told['job_id']}"
    assert told["approach"] == "Official SyncHuman two-stage pipeline (MAXIMUM QUALITY)"
    assert told["status"] == "completed" and told["alpha_coverage"] == 0.25 and told["warnings"] == []
    assert told["stage1"] == {
        "status": "completed",
        "steps": 50,
        "parameters": {
            "seed": 43,
            "guidance_scale": 3.0,
            "num_inference_steps": 50,
            "mv_img_wh": [768, 768],
            "num_views": 5,
            "background_color": "white",
        },
        "output_dir": f"{place}/stage1_output",
        "files": {
            **{f"{kind}_{number}": f"{kind}_{number}.png" for kind in ("color", "normal") for number in range(5)},
            "input": "input.png",
            "latent": "latent.npz",
            "concat": "concat.png",
            "voxel": "voxel.ply",
        },
    }
    assert told["stage2"] == {
        "status": "completed",
        "parameters": {
            "num_steps": 25,
            "cfg_strength": 5.0,
            "cfg_interval": [0.5, 1.0],
            "texture_size": 1024,
            "simplify": 0.7,
            "up_size": 896,
        },
        "output_dir": f"{place}/stage2_output",
        "files": {"output.glb": "output.glb", "output_mesh.ply": "output_mesh.ply"},
    }
    for stage in ("stage1", "stage2"):
        for name in told[stage]["files"].values():
            address = f"/outputs/{told[stage]['output_dir']}/{name}"
            assert address in told["urls"]["files"].values()
            assert client.get(address).data == f"{told['job_id']} {stage}_output/{name}".encode()
    record = queue.get(told["job_id"])
    assert (record.dialect, record.pipeline, record.image_name) == ("synchuman", "synchuman", "ann.png")


def test_every_field_reaches_the_model_and_the_answer(
    client: FlaskClient, model: None, work: Any, complete: Ending, queue: JobQueue
) -> None:
    work(complete)
    fields = {"stage1_steps": 30, "stage2_steps": 12, "seed": 7, "guidance_scale": 2.5, "cfg_strength": 4}
    fields |= {"cfg_interval": "0.25,0.75", "texture_size": 512, "simplify": 0.9}
    told = post(client, **{name: str(value) for name, value in fields.items()}).get_json()
    wanted = {**fields, "cfg_interval": [0.25, 0.75], "stage": "both", "remove_background": False}
    assert queue.get(told["job_id"]).params == wanted
    assert told["stage1"]["steps"] == 30 and told["stage1"]["parameters"]["guidance_scale"] == 2.5
    assert told["stage2"]["parameters"] == {
        "num_steps": 12,
        "cfg_strength": 4,
        "cfg_interval": [0.25, 0.75],
        "texture_size": 512,
        "simplify": 0.9,
        "up_size": 896,
    }
    assert "differ from the official ones" in told["approach"]


def test_a_stage_alone_is_told_alone_and_the_second_goes_on_from_the_first(
    client: FlaskClient, model: None, work: Any, complete: Ending, queue: JobQueue
) -> None:
    work(complete)
    first = post(client, stage="stage1").get_json()
    assert "stage2" not in first and first["stage1"]["files"]["latent"] == "latent.npz"
    assert first["approach"] == "SyncHuman, stage 1 alone"
    answer = client.post("/generate", data={"stage": "stage2", "job_id": first["job_id"], "stage2_steps": "30"})
    assert_described(client, answer)
    second = answer.get_json()
    assert "stage1" not in second and "alpha_coverage" not in second and second["urls"]["inputs"] == []
    assert second["stage2"]["parameters"]["num_steps"] == 30
    record = queue.get(second["job_id"])
    assert record.made_from == first["job_id"] and record.inputs == [f"inputs/{record.id}/00.npz"]


def test_relief_answers_with_the_same_files_and_says_so(client: FlaskClient, work: Any, complete: Ending) -> None:
    work(complete)
    answer = post(client, stage1_steps="50", stage2_steps="25", texture_size="256")
    assert_described(client, answer)
    told = answer.get_json()
    assert told["pipeline"] == "relief" and told["approach"].startswith("Geometric reconstruction")
    assert "no learned model was used" in told["approach"] and "no learned model was used" in told["warnings"][0]
    assert told["warnings"][1] == "'relief' has no use for stage1_steps, stage2_steps"
    assert told["stage1"]["steps"] == told["stage1"]["parameters"]["num_inference_steps"] == 0
    assert told["stage1"]["parameters"]["seed"] == 43, "the documents' default"
    assert not {"guidance_scale", "background_color"} & set(told["stage1"]["parameters"])
    assert told["stage2"]["parameters"]["texture_size"] == 256 and "up_size" not in told["stage2"]["parameters"]
    assert told["stage2"]["files"] == {"output.glb": "output.glb", "output_mesh.ply": "output_mesh.ply"}


def test_relief_does_as_if_it_had_stages_and_says_so(
    client: FlaskClient, work: Any, complete: Ending, storage: Storage, queue: JobQueue
) -> None:
    work(complete)
    first = post(client, stage="stage1").get_json()
    assert "stage2" not in first and len(first["stage1"]["files"]) == 12
    assert "makes all of the asset, and the answer tells of stage1" in first["warnings"][1]
    second = client.post("/generate", data={"stage": "stage2", "job_id": first["job_id"], "seed": "9"}).get_json()
    assert "stage1" not in second and second["stage2"]["parameters"]["seed"] == 9
    record = queue.get(second["job_id"])
    with storage.open(record.inputs[0]).stream as stream:
        assert stream.read() == picture(), "made anew from the picture"
    assert record.image_name == "ann.png" and not record.made_from and second["alpha_coverage"] == 0.25


@pytest.mark.parametrize("form", ["image", "image_data", "urlencoded"])
def test_a_picture_may_come_as_base64(client: FlaskClient, work: Any, complete: Ending, form: str) -> None:
    work(complete)
    text = base64.b64encode(picture()).decode()
    if form == "urlencoded":
        answer = client.post(
            "/generate", data={"image": text, "stage": "stage1"}, content_type="application/x-www-form-urlencoded"
        )
    else:
        answer = client.post("/synchuman/generate", json={form: text, "stage": "stage1", "download": False})
    assert answer.status_code == 200 and answer.get_json()["alpha_coverage"] == 0.25


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (picture(mode="RGB"), "Input must include transparency"),
        (picture(mode="RGB", kind="JPEG"), "Input must include transparency"),
        (picture((9, 9, 9, 255)), "Input must include transparency"),
        (picture(mode="L"), "Input must include transparency"),
    ],
)
def test_an_opaque_picture_is_refused_in_the_documents_words(client: FlaskClient, data: bytes, words: str) -> None:
    for pipeline in ("auto", "relief"):
        message = refusal(post(client, data, pipeline=pipeline), 400, "bad_image")
        assert message.startswith(words) and "remove_background=true" in message
    assert client.get("/jobs").get_json() == {"jobs": []}


def test_an_opaque_picture_passes_when_its_background_is_to_go(
    client: FlaskClient, model: None, work: Any, complete: Ending, queue: JobQueue
) -> None:
    work(complete)
    told = post(client, picture(mode="RGB"), remove_background="true").get_json()
    assert told["alpha_coverage"] == 1.0 and queue.get(told["job_id"]).params["remove_background"] is True


def test_an_invisible_picture_is_refused_in_any_case(client: FlaskClient) -> None:
    nothing = io.BytesIO()
    Image.new("RGBA", (64, 64), (200, 10, 10, 0)).save(nothing, "PNG")
    for wish in ("true", "false"):
        message = refusal(post(client, nothing.getvalue(), remove_background=wish), 400, "bad_image")
        assert "fully transparent" in message


@pytest.mark.parametrize("prefer", [False, True])
def test_who_does_not_want_to_wait_is_answered_at_once(
    client: FlaskClient, work: Any, complete: Ending, prefer: bool
) -> None:
    headers = {"Idempotency-Key": "k"} | ({"Prefer": "respond-async; x=1, wait=5"} if prefer else {})
    fields = {} if prefer else {"async": "true"}
    answer = post(client, headers=headers, **fields)
    assert answer.status_code == 202
    assert_described(client, answer)
    told = answer.get_json()
    assert told["status"] == "queued" and told["position"] == 1 and told["job_id"] == told["request_id"]
    assert answer.headers["Location"] == told["urls"]["job"] and int(answer.headers["Retry-After"]) > 0
    assert answer.headers.get("Preference-Applied") == ("respond-async" if prefer else None)
    assert client.get(answer.headers["Location"]).get_json()["dialect"] == "synchuman"
    work(complete)
    again = client.post("/generate", headers={"Idempotency-Key": "k"})
    assert again.status_code == 200 and again.get_json()["job_id"] == told["job_id"]
    polled = post(client, headers=headers, **fields)
    assert polled.status_code == 200 and polled.get_json() == again.get_json()
    assert len(client.get("/jobs").get_json()["jobs"]) == 1


@pytest.mark.parametrize("stage", ["both", "stage1", "stage2"])
def test_the_files_come_in_a_zip(client: FlaskClient, model: None, work: Any, complete: Ending, stage: str) -> None:
    work(complete)
    fields = {"stage": stage, "download": "true"}
    if stage == "stage2":
        first = post(client, stage="stage1").get_json()["job_id"]
        answer = client.post("/generate", data=fields | {"job_id": first})
    else:
        answer = post(client, **fields)
    assert answer.status_code == 200 and answer.mimetype == "application/zip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="results.zip"'
    names = set(zipfile.ZipFile(io.BytesIO(answer.data)).namelist())
    wanted = {"both": {*MODEL1, *STAGE2}, "stage1": set(MODEL1), "stage2": set(STAGE2)}[stage]
    assert names == wanted | {"manifest.json"}


def test_of_a_job_without_stages_the_zip_of_one_has_no_files_of_the_other(
    client: FlaskClient, work: Any, complete: Ending
) -> None:
    work(complete)
    answer = post(client, stage="stage1", download="true")
    assert set(zipfile.ZipFile(io.BytesIO(answer.data)).namelist()) == {*STAGE1, "manifest.json"}


@pytest.mark.parametrize(("stage", "firsts"), [("both", STAGE1[-2:]), ("stage1", STAGE1[-2:]), ("stage2", [])])
def test_of_a_pipeline_without_folders_the_zip_of_the_second_stage_has_all_the_rest(
    client: FlaskClient, work: Any, transitions: Transitions, storage: Storage, stage: str, firsts: list[str]
) -> None:
    names = ["manifest.json", *STAGE1[-2:], *TOP, "gaussian.ply"]

    def end(record: JobRecord) -> None:
        for name in names:
            storage.put(keys.output_key(record.client, record.id, name), b"a file")
        transitions.complete(record.id, record.id, names, [])

    work(end)
    made = post(client, pipeline="staged").get_json()["job_id"]
    source = {"job_id": made} if stage == "stage2" else {"image": (io.BytesIO(picture()), "a.png")}
    answer = client.post("/generate", data=source | {"pipeline": "staged", "stage": stage, "download": "1"})
    rest = {*TOP, "gaussian.ply"} if stage != "stage1" else set()
    assert set(zipfile.ZipFile(io.BytesIO(answer.data)).namelist()) == {"manifest.json", *firsts} | rest


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [("bad_input", 400, "bad_input"), ("internal", 500, "job_failed"), ("timeout", 500, "job_failed")],
)
def test_a_job_that_fails_says_whose_fault_it_was(
    client: FlaskClient, work: Any, transitions: Transitions, kind: str, status: int, code: str
) -> None:
    work(lambda record: transitions.fail(record.id, record.id, kind, "there is nothing in this picture"))
    answer = post(client)
    assert refusal(answer, status, code) == "there is nothing in this picture"
    assert_described(client, answer)
    told = answer.get_json()
    assert told["status"] == "error" and told["request_id"] == told["job_id"]
    assert client.get(f"/jobs/{told['job_id']}").get_json()["error_kind"] == kind


def test_a_job_that_is_cancelled_meanwhile_is_a_conflict(
    client: FlaskClient, work: Any, transitions: Transitions
) -> None:
    def stop(record: JobRecord) -> None:
        transitions.cancel(record.id)
        transitions.release(record.id, record.id, counted=False, max_attempts=3)

    work(stop)
    answer = post(client)
    refusal(answer, 409, "cancelled")
    assert_described(client, answer)
    assert answer.get_json()["status"] == "cancelled"


@pytest.mark.parametrize("environ", [{"MAQUETTE_WEB_WAITING": "1"}], indirect=True)
def test_who_finds_no_place_to_wait_has_submitted_nothing(client: FlaskClient) -> None:
    slots = client.application.extensions["maquette"].slots
    with slots.place():
        answer = post(client)
        refusal(answer, 503, "too_many_waiting")
        assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/jobs").get_json() == {"jobs": []}
        assert post(client, **{"async": "true"}).status_code == 202, "this takes no place"
    with slots.place():
        pass  # given back


@pytest.mark.parametrize("environ", [{"MAQUETTE_WEB_THREADS": "1"}], indirect=True)
def test_who_waits_keeps_nobody_from_working(client: FlaskClient, queue: JobQueue, transitions: Transitions) -> None:
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(post(client.application.test_client())))
    waiting.start()
    while not (jobs := client.get("/jobs").get_json()["jobs"]):  # the one working thread is free for this
        assert waiting.is_alive()
    transitions.claim(jobs[0]["job_id"], "a", "w1", 60)
    assert waiting.is_alive() and client.get("/health").status_code == 200
    transitions.complete(jobs[0]["job_id"], "a", [], [])
    waiting.join(10)
    assert answers[0].status_code == 200


def test_the_job_of_a_client_that_hangs_up_goes_on(client: FlaskClient, queue: JobQueue) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert not hung_up({}) and not hung_up({"gunicorn.socket": ours})
        theirs.sendall(b"GET /next HTTP/1.1")
        assert not hung_up({"gunicorn.socket": ours}), "its next request is no end"
        assert ours.recv(100) == b"GET /next HTTP/1.1"
        theirs.close()
        form = {"image": (io.BytesIO(picture()), "a.png")}
        answer = client.post("/generate", data=form, environ_overrides={"gunicorn.socket": ours})
    assert answer.status_code == 202, "nobody reads this"
    assert queue.get(answer.get_json()["job_id"]).status is JobStatus.QUEUED


def test_who_speaks_through_tls_to_gunicorn_itself_is_waited_for() -> None:
    """Its socket refuses to be looked into; that is no reason to lose the answer."""
    ours, theirs = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with theirs, context.wrap_socket(ours, server_side=True, do_handshake_on_connect=False) as wire:
        with pytest.raises(ValueError, match="flags"):
            wire.recv(1, socket.MSG_PEEK)
        assert not hung_up({"gunicorn.socket": wire})


def test_a_process_that_leaves_lets_go_of_those_who_wait(client: FlaskClient) -> None:
    client.application.extensions["maquette"].queue.changes.close()
    answer = post(client)
    assert answer.status_code == 202 and answer.headers["Location"] == f"/jobs/{answer.get_json()['job_id']}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("stage1_steps", value) for value in ("0", "1001", "x", "2.5")),
        *(("stage2_steps", value) for value in ("0", "1001")),
        *(("guidance_scale", value) for value in ("-1", "nan", "101")),
        *(("cfg_strength", value) for value in ("-1", "inf")),
        *(("cfg_interval", value) for value in ("1,0", "0.5", "a,b", "0,2", "0.1,0.2,0.3", "nan,1")),
        *(("texture_size", value) for value in ("63", "1000", "8192")),
        *(("simplify", value) for value in ("-0.1", "0.99", "nan")),
        *((("stage"), value) for value in ("stage3", "1")),
        *((name, "perhaps") for name in ("download", "async", "remove_background")),
        ("seed", "-1"),
        ("pipeline", "magic"),
    ],
)
def test_a_field_that_cannot_work_is_named(client: FlaskClient, field: str, value: str) -> None:
    message = refusal(post(client, **{field: value}), 400, "bad_parameter")
    assert message.startswith(f"{field} is {value!r}") and len(message) > len(f"{field} is {value!r}") + 5


@pytest.mark.parametrize("form", ["multipart", "json"])
def test_an_empty_field_means_its_default(
    client: FlaskClient, model: None, work: Any, complete: Ending, queue: JobQueue, form: str
) -> None:
    """As an HTML form, and a client that fills in every field, sends it."""
    work(complete)
    told = client.get("/openapi.json").get_json()["paths"]["/generate"]["post"]["requestBody"]["content"]
    empty = dict.fromkeys(set(told["multipart/form-data"]["schema"]["properties"]) - {"image"}, "")
    if form == "json":
        answer = client.post("/generate", json=empty | {"image": base64.b64encode(picture()).decode()})
    else:
        answer = post(client, **empty)
    assert answer.status_code == 200, answer.get_json()
    assert answer.get_json()["warnings"] == [] and answer.get_json()["pipeline"] == "synchuman"
    assert queue.get(answer.get_json()["job_id"]).params == SyncHumanParams().model_dump(mode="json")
    second = client.post("/generate", data=empty | {"stage": "stage2", "job_id": answer.get_json()["job_id"]})
    assert second.status_code == 200, second.get_json()


class Small(Params):
    """Of a plug-in whose bounds are narrower than the documents' defaults."""

    seed: int = Field(5, ge=0, le=9)
    texture_size: int = Field(256, ge=64, le=512)


class Seeded(Small):
    """Of one that takes the documents' seed."""

    seed: int = Field(5, ge=0)


@pytest.mark.parametrize("path", ["/generate", "/image_to_3d"])
@pytest.mark.parametrize("params", [Small, Seeded])
def test_of_the_documents_defaults_the_seeds_alone_is_passed_on_where_it_fits(
    client: FlaskClient, queue: JobQueue, worker: WorkerInfo, redis: Any, path: str, params: type[Params]
) -> None:
    pipelines.PIPELINES["small"] = pipelines.Entry(f"{__name__}:{params.__name__}", "nowhere:Small", "cpu")
    Fleet(redis).publish(replace(worker, pipelines=["small"]), 600)
    seed = {"/image_to_3d": 0, "/generate": 5 if params is Small else 43}[path]
    for fields, wanted in (({}, (seed, 256)), ({"seed": 7}, (7, 256)), ({"texture_size": 512}, (seed, 512))):
        answer = post(client, path=path, pipeline="small", **fields, **{"async": "true"})
        record = queue.get(answer.get_json()["request_id"])
        assert (record.params["seed"], record.params["texture_size"]) == wanted
    refused = post(client, path=path, pipeline="small", texture_size="1024", **{"async": "true"})
    assert "texture_size is '1024'" in refusal(refused, 400, "bad_parameter")
    if params is Small:
        refused = post(client, path=path, pipeline="small", seed="43", **{"async": "true"})
        assert "seed is '43'" in refusal(refused, 400, "bad_parameter")


def test_an_unknown_field_is_a_warning_with_a_guess(client: FlaskClient) -> None:
    told = post(client, stage1_step="5", asynch="1", **{"async": "true"}).get_json()
    assert told["warnings"][1:] == [
        "unknown field 'asynch'; did you mean 'async'?",
        "unknown field 'stage1_step'; did you mean 'stage1_steps'?",
    ]


def test_a_submit_without_a_picture_and_two_for_the_model_are_refused(client: FlaskClient, model: None) -> None:
    assert "image is missing" in refusal(client.post("/generate"), 400, "bad_parameter")
    two = [(io.BytesIO(picture()), "a.png"), (io.BytesIO(picture()), "b.png")]
    message = refusal(client.post("/generate", data={"image": two}), 400, "bad_parameter")
    assert "image is given 2 times; SyncHuman takes one picture" in message


def test_the_second_stage_needs_a_job_and_the_others_none(client: FlaskClient, model: None) -> None:
    assert "job_id is missing" in refusal(client.post("/generate", data={"stage": "stage2"}), 400, "bad_parameter")
    assert "goes with stage=stage2" in refusal(post(client, job_id="0" * 32), 400, "bad_parameter")
    nobody = client.post("/generate", data={"stage": "stage2", "job_id": "0" * 32})
    refusal(nobody, 404, "not_found")
    waiting = post(client, **{"async": "1"}).get_json()["job_id"]
    refusal(client.post("/generate", data={"stage": "stage2", "job_id": waiting}), 409, "not_complete")


@pytest.fixture
def lacking(client: FlaskClient, model: None, worker: WorkerInfo, redis: Any) -> None:
    """The only worker says that it lacks the model's weights."""
    reason = f"its weights are not there; fetch them with: {REMEDY}"
    told = {"pipelines": ["relief"], "unavailable": {"synchuman": reason}, "weights": {"synchuman": "absent"}}
    Fleet(redis).publish(replace(worker, **told), 600)  # type: ignore[arg-type]


def test_a_model_without_weights_is_unavailable_with_the_command(client: FlaskClient, lacking: None) -> None:
    answer = post(client, pipeline="synchuman")
    assert REMEDY in refusal(answer, 503, "pipeline_unavailable") and int(answer.headers["Retry-After"]) > 0
    told = post(client, **{"async": "true"}).get_json()
    assert told["pipeline"] == "relief" and REMEDY in told["warnings"][0]


@pytest.mark.parametrize("environ", [{"MAQUETTE_FALLBACK": "off"}], indirect=True)
def test_without_the_fallback_nothing_answers(client: FlaskClient, lacking: None) -> None:
    assert REMEDY in refusal(post(client), 503, "pipeline_unavailable")
    info, health = client.get("/info").get_json(), client.get("/health").get_json()
    assert info["pipeline"] is None and "nothing answers" in info["approach"] == health["approach"]


def test_the_info_of_a_machine_without_weights_names_the_command(client: FlaskClient, lacking: None) -> None:
    answer = client.get("/info")
    assert_described(client, answer, "/info", "get")
    told = answer.get_json()
    assert set(told["stages"]) == {"stage1", "stage2"} and told["pipeline"] == "relief"
    for stage in told["stages"].values():
        assert stage["available"] is False and stage["remedy"] == REMEDY and stage["requires_kaolin"] is False
        assert stage["description"] and stage["time_estimate"] and "weights are not there" in stage["note"]
        assert stage["note"].endswith(f"{REMEDY}; then start the AI workers again"), "they look when they start"
    assert told["gpu_info"] == {"available": False, "device": "cpu", "memory_mb": 0}
    assert told["configuration"]["stage1"]["num_inference_steps"] == 50
    assert {"repository", "paper", "model_weights"} <= set(told["links"])


def test_the_info_names_what_else_is_missing(client: FlaskClient, model: None, worker: WorkerInfo, redis: Any) -> None:
    there = replace(worker, pipelines=["relief"], weights={"synchuman": "complete"})
    Fleet(redis).publish(there, 600)
    remedy = "MAQUETTE_PIPELINES=relief,synchuman python ai_worker.py"
    assert client.get("/info").get_json()["stages"]["stage1"]["remedy"] == remedy
    redis.flushall()
    client.application.extensions["maquette"].queue._fleet_seen = (0.0, [])
    told = client.get("/info").get_json()
    assert told["stages"]["stage2"]["remedy"] == "python ai_worker.py" and told["pipeline"] is None


def test_where_the_model_runs_info_and_health_say_so(
    client: FlaskClient, model: None, worker: WorkerInfo, redis: Any
) -> None:
    card = replace(worker, name="w2", device="cuda:0", queue="cuda", pipelines=["synchuman"], memory_total_mb=46068)
    Fleet(redis).publish(card, 600)
    told = client.get("/info").get_json()
    assert all(stage["available"] and "remedy" not in stage for stage in told["stages"].values())
    assert told["gpu_info"] == {"available": True, "device": "cuda:0", "memory_mb": 46068}
    redis.hset("maquette:usual", "synchuman", 80.4)
    for one, estimate in ((told, "not measured on this machine yet"), (client.get("/info").get_json(), "80 s a job")):
        assert all(stage["time_estimate"].startswith(estimate) for stage in one["stages"].values())
    for path in ("/health", "/synchuman/health"):
        answer = client.get(path)
        assert_described(client, answer, path, "get")
        health = answer.get_json()
        assert health["status"] == "ok" and health["stage1"] is health["stage2"] is True
        assert health["approach"] == "Full two-stage pipeline for maximum quality" and health["version"]


def test_the_listing_is_that_of_the_document_and_more(client: FlaskClient) -> None:
    for path in ("/", "/synchuman/"):
        told = client.get(path).get_json()
        assert told["title"] == "SyncHuman Complete API"
        assert {"GET /health", "GET /info", "POST /generate", "POST /synchuman/generate"} <= set(told["endpoints"])


def test_the_documents_defaults_stand_in_the_description(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    content = document["paths"]["/generate"]["post"]["requestBody"]["content"]
    for kind in ("multipart/form-data", "application/json"):
        fields = content[kind]["schema"]["properties"]
        for name, field in SyncHumanParams.model_fields.items():
            default = json.loads(json.dumps(field.default))
            assert fields[name]["default"] == default and fields[name]["description"], name
        assert {"async", "download", "job_id", "pipeline", "webhook_url"} <= set(fields)
        assert not {"async", "download", "pipeline"} & {name for name in fields if "x-pipelines" in fields[name]}
    assert content["multipart/form-data"]["encoding"]["cfg_interval"] == {"style": "form", "explode": False}
