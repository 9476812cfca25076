"""One stage at a time: what goes on from an earlier job, and what cannot."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

import pipelines
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import JobQueue
from jobs.records import JobStatus
from jobs.transitions import Transitions
from storage import Storage, keys
from tests.waiting import until

ME = "127.0.0.1"
STRANGER = {"REMOTE_ADDR": "10.9.9.9"}
Make = Callable[..., str]


@pytest.fixture
def make(client: FlaskClient, png: bytes, transitions: Transitions, storage: Storage) -> Make:
    """Hands in a picture, and brings the job to its end with these files."""

    def call(pipeline: str = "staged", files: tuple[str, ...] = (keys.STRUCTURE, "output.glb"), **fields: Any) -> str:
        data = {"image": (io.BytesIO(png), "cat.png"), "pipeline": pipeline, **fields}
        job: str = client.post("/image_to_3d", data=data).get_json()["request_id"]
        transitions.claim(job, job, "w1", 60)
        for name in files:
            storage.put(keys.output_key(ME, job, name), b"voxels of " + job.encode())
        transitions.complete(job, job, list(files), [])
        return job

    return call


def again(client: FlaskClient, job: str, **fields: Any) -> Any:
    return client.post("/image_to_3d", data={"stage": "stage2", "job_id": job, **fields})


def refusal(answer: Any, status: int, code: str) -> str:
    told = answer.get_json()
    assert (answer.status_code, told["code"]) == (status, code), told
    return str(told["error"])


def test_a_job_goes_on_from_the_structure_of_an_earlier_one(
    client: FlaskClient, make: Make, queue: JobQueue, storage: Storage
) -> None:
    job = make(seed=1, seconds=0.5)
    answer = again(client, job, seed=9).get_json()
    assert answer["status"] == "queued" and answer["pipeline"] == "staged" and "warnings" not in answer
    assert answer["urls"]["inputs"] == [], "there are no pictures to show"
    record = queue.get(answer["request_id"])
    assert record.params["seed"] == 9 and record.params["stage"] == "stage2"
    assert record.params["seconds"] == 0, "the earlier job's parameters are not taken over"
    assert record.made_from == job and record.image_name == "cat.png"
    assert record.inputs == [f"inputs/{record.id}/00.npz"]
    client.delete(f"/jobs/{job}")
    with storage.open(record.inputs[0]).stream as stream:
        assert stream.read() == b"voxels of " + job.encode(), "a copy: the earlier job may go"
    told = client.get(f"/jobs/{record.id}").get_json()
    assert told["made_from"] == job and told["params"]["stage"] == "stage2"
    sent = client.get(f"/jobs/{record.id}/inputs/0")
    assert sent.data == b"voxels of " + job.encode() and sent.mimetype == "application/x-npz"


def test_where_the_model_cannot_run_the_reason_is_told(
    client: FlaskClient, make: Make, worker: WorkerInfo, redis: Any
) -> None:
    job = make()
    reason = "its weights are not there; fetch them with: GET"
    Fleet(redis).publish(replace(worker, pipelines=["relief"], unavailable={"staged": reason}), 600)
    until(lambda: again(client, job).status_code == 503)  # what workers offer is asked for once a second
    assert reason in refusal(again(client, job), 503, "pipeline_unavailable")


def test_it_may_be_asked_for_in_json_and_by_the_pipelines_name(client: FlaskClient, make: Make) -> None:
    body = {"stage": "stage2", "job_id": make(), "pipeline": "staged"}
    assert client.post("/trellis/image_to_3d", json=body).status_code == 200


def test_the_same_key_is_the_same_job(client: FlaskClient, make: Make) -> None:
    job, headers = make(), {"Idempotency-Key": "k"}
    data = {"stage": "stage2", "job_id": job}
    first, second = (client.post("/image_to_3d", data=data, headers=headers).get_json() for _ in range(2))
    assert first["request_id"] == second["request_id"] != job


def test_nobody_makes_a_preview_of_a_structure(client: FlaskClient, make: Make, queue: JobQueue) -> None:
    entry = pipelines.PIPELINES["staged"]
    pipelines.PIPELINES["staged"] = entry._replace(preview=True)
    job = make()
    assert queue.next_to_preview(1) == job
    assert again(client, job).status_code == 200
    assert queue.next_to_preview(0.1) == ""


def test_without_a_job_it_says_what_is_missing(client: FlaskClient) -> None:
    assert "job_id is missing" in refusal(client.post("/image_to_3d", data={"stage": "stage2"}), 400, "bad_parameter")


@pytest.mark.parametrize("field", ["image", "image_data", "image_url"])
def test_pictures_do_not_go_with_it(client: FlaskClient, make: Make, png: bytes, field: str) -> None:
    picture: Any = (io.BytesIO(png), "a.png") if field == "image" else "http://example.com/a.png"
    assert f"{field} does not go with stage=stage2" in refusal(
        again(client, make(), **{field: picture}), 400, "bad_parameter"
    )


@pytest.mark.parametrize("job_id", ["0" * 32, "nobody", "\ud800", "*", "0" * 100_000])
def test_a_job_that_is_not_there_is_not_found(client: FlaskClient, job_id: str) -> None:
    message = refusal(client.post("/image_to_3d", json={"stage": "stage2", "job_id": job_id}), 404, "not_found")
    assert "there is no request" in message and "of yours" in message and len(message) < 400


def test_somebody_elses_job_is_as_one_that_is_not_there(client: FlaskClient, make: Make) -> None:
    job = make()
    data = {"stage": "stage2", "job_id": job}
    theirs = client.post("/image_to_3d", data=data, environ_overrides=STRANGER)
    nobodys = client.post("/image_to_3d", data=data | {"job_id": "0" * 32}, environ_overrides=STRANGER)
    assert refusal(theirs, 404, "not_found").replace(job, "0" * 32) == refusal(nobodys, 404, "not_found")


@pytest.mark.parametrize("status", ["queued", "processing", "error", "cancelled"])
def test_a_job_that_is_not_complete_is_named_with_its_status(
    client: FlaskClient, png: bytes, transitions: Transitions, queue: JobQueue, status: str
) -> None:
    data = {"image": (io.BytesIO(png), "cat.png"), "pipeline": "staged"}
    job = client.post("/image_to_3d", data=data).get_json()["request_id"]
    if status in ("processing", "error"):
        transitions.claim(job, "a", "w1", 60)
    if status == "error":
        transitions.fail(job, "a", "internal", "a bug")
    if status == "cancelled":
        transitions.cancel(job)
    assert queue.get(job).status is JobStatus(status)
    assert f"is {status}" in refusal(again(client, job), 409, "not_complete")


def test_a_structure_of_a_pipeline_without_stages_is_refused(client: FlaskClient, make: Make) -> None:
    message = refusal(again(client, make("relief")), 400, "bad_parameter")
    assert "'relief' has made" in message and "those that have are staged" in message


def test_another_pipeline_than_the_earlier_ones_is_refused(client: FlaskClient, make: Make) -> None:
    message = refusal(again(client, make(), pipeline="probe"), 400, "bad_parameter")
    assert "pipeline is 'probe'" in message and "auto or staged" in message


def test_a_job_that_has_published_no_structure_is_refused(client: FlaskClient, make: Make) -> None:
    message = refusal(again(client, make(files=("output.glb",))), 400, "bad_parameter")
    assert "stage1_output/latent.npz" in message


def test_a_structure_removed_meanwhile_is_not_found(client: FlaskClient, make: Make, storage: Storage) -> None:
    job = make()
    storage.delete(keys.output_folder(ME, job))
    assert f"{job}/{keys.STRUCTURE}" in refusal(again(client, job), 404, "not_found")


def test_a_job_id_without_stage2_is_refused(client: FlaskClient, png: bytes) -> None:
    data = {"image": (io.BytesIO(png), "a.png"), "job_id": "0" * 32, "pipeline": "staged"}
    assert "goes with stage=stage2" in refusal(client.post("/image_to_3d", data=data), 400, "bad_parameter")


@pytest.mark.parametrize("pipeline", ["auto", "relief", "probe"])
def test_the_first_stage_of_a_pipeline_without_stages_is_refused(
    client: FlaskClient, png: bytes, pipeline: str
) -> None:
    data = {"image": (io.BytesIO(png), "a.png"), "stage": "stage1", "pipeline": pipeline}
    message = refusal(client.post("/image_to_3d", data=data), 400, "bad_parameter")
    assert message.startswith("stage is 'stage1'") and "those that have are staged" in message


def test_the_first_stage_of_one_that_has_them_and_both_of_any_are_taken(
    client: FlaskClient, png: bytes, queue: JobQueue
) -> None:
    for pipeline, stage in (("staged", "stage1"), ("staged", "both"), ("relief", "both")):
        data = {"image": (io.BytesIO(png), "a.png"), "stage": stage, "pipeline": pipeline}
        answer = client.post("/image_to_3d", data=data).get_json()
        assert "warnings" not in answer
        assert queue.get(answer["request_id"]).params.get("stage") == (stage if pipeline == "staged" else None)
    assert "use one of both, stage1, stage2" in refusal(
        client.post("/image_to_3d", data={"stage": "stage3"}), 400, "bad_parameter"
    )


@pytest.mark.parametrize("media_type", ["multipart/form-data", "application/json"])
def test_the_description_tells_of_both_fields(client: FlaskClient, media_type: str) -> None:
    document = client.get("/openapi.json").get_json()
    operation = document["paths"]["/image_to_3d"]["post"]
    properties = operation["requestBody"]["content"][media_type]["schema"]["properties"]
    assert properties["stage"]["enum"] == ["both", "stage1", "stage2"] and properties["stage"]["default"] == "both"
    assert {"staged", "trellis"} <= set(properties["stage"]["x-pipelines"])
    assert "relief" not in properties["stage"]["x-pipelines"] and "x-pipelines" not in properties["job_id"]
    assert "not_found" in operation["responses"]["404"]["description"]
    assert "not_complete" in operation["responses"]["409"]["description"]
