"""The description: it is valid, it is complete, and what it says of the fields and answers is true."""

import io
import json
import re
from typing import Any, Literal

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel, Field

import pipelines
from jobs.transitions import Transitions
from pipelines.base import Params
from pipelines.relief.params import ReliefParams
from storage import Storage
from storage.keys import STRUCTURE
from web.conversions import TARGETS
from web.dialects.synchuman import SyncHumanForm
from web.dialects.trellis import SHORT_FORMS, TrellisForm
from web.document import describe, routes
from web.operations import operation_of
from web.resources.openapi import ASSETS


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    return environ | getattr(request, "param", {})


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    told: dict[str, Any] = client.get("/openapi.json").get_json()
    return told


def form(
    document: dict[str, Any], media_type: str = "multipart/form-data", path: str = "/image_to_3d"
) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path]["post"]["requestBody"]["content"][media_type]["schema"]
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): told for path, methods in document["paths"].items() for method, told in methods.items()}


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_says_what_it_takes_and_answers(app: Flask, document: dict[str, Any]) -> None:
    for route in routes(app):
        assert operation_of(route.view), f"{route.method} {route.path} has no @operation"
        told = document["paths"][route.path][route.method.lower()]
        assert len(told["summary"]) > 10 and told["summary"].endswith(".")
        assert set(re.findall(r"{(\w+)}", route.path)) == {
            one["name"] for one in told.get("parameters", []) if one["in"] == "path"
        }


def test_a_view_without_an_operation_is_named(app: Flask) -> None:
    app.add_url_rule("/forgotten", "forgotten", lambda: "")
    with pytest.raises(LookupError, match="GET /forgotten has no @operation"):
        describe(app, keys=False)


def test_every_operation_has_a_name_of_its_own_and_an_alias_names_the_first(document: dict[str, Any]) -> None:
    told = operations(document)
    names = [one["operationId"] for one in told.values()]
    assert len(set(names)) == len(names) and all(re.fullmatch(r"\w+", name) for name in names)
    assert not any("x-alias-of" in told["get", path] for path in ("/queue/status", "/my_requests"))
    for path in ("/queue_status", "/trellis/queue/status", "/trellis/queue_status"):
        alias, own = told["get", path], told["get", "/queue/status"]
        assert alias["x-alias-of"] == own["operationId"] and alias["tags"] == ["aliases"]
        assert all(alias[name] == own[name] for name in ("parameters", "responses", "summary"))
    assert told["post", "/trellis/image_to_3d"]["requestBody"] == told["post", "/image_to_3d"]["requestBody"]


@pytest.mark.parametrize("media_type", ["multipart/form-data", "application/json"])
def test_the_form_has_every_field_of_every_pipeline_as_its_model_has_it(
    document: dict[str, Any], media_type: str
) -> None:
    properties = form(document, media_type)["properties"]
    names = {name: pipelines.params_class(name) for name in pipelines.PIPELINES}
    assert properties["pipeline"]["enum"] == ["auto", *sorted(names)] and "probe" in names, "plug-ins too"
    for model in (TrellisForm, *names.values()):
        for name, field in model.model_fields.items():
            told = properties[name]
            assert told["title"] and told["description"] and "type" in told and "anyOf" not in told
            default = TrellisForm.model_fields.get(name, field).default  # the API's own holds, whichever answers
            assert told["default"] == (list(default) if told["type"] == "array" else default)
    for name in set(properties) - {"pipeline", "job_id", "image", "image_data", "image_url", "webhook_url"}:
        has_it = [pipeline for pipeline, model in sorted(names.items()) if name in model.model_fields]
        assert properties[name]["x-pipelines"] == (has_it or ["trellis"]), name
    for short, name in SHORT_FORMS.items():
        assert short in properties[name]["description"]


def test_a_parameter_of_the_query_is_told_with_what_it_takes(document: dict[str, Any]) -> None:
    told = operations(document)
    file = {one["name"]: one for one in told["get", "/outputs/{owner}/{job_id}/{filename}"]["parameters"]}
    assert file["as"]["schema"]["enum"] == list(TARGETS) and not file["as"]["required"]
    assert file["size_mm"]["schema"]["minimum"] == 0.01 and "100.0 unless given" in file["size_mm"]["description"]
    assert not any("default" in one["schema"] for one in file.values()), "a page would send it, also without `as`"
    (folder,) = [one for one in told["get", "/outputs/{owner}/{job_id}"]["parameters"] if one["in"] == "query"]
    assert folder["name"] == "as" and folder["required"]
    (wait,) = [one for one in told["get", "/jobs/{job_id}"]["parameters"] if one["in"] == "query"]
    assert wait["name"] == "wait" and wait["schema"]["maximum"] == 60


class Rough(Params):
    """A pipeline that means something else by depth and the same by quality."""

    depth: int = Field(3, ge=1, description="of the tree")
    quality: Literal["standard", "high"] = ReliefParams.model_fields["quality"]  # type: ignore[assignment]


def test_where_two_pipelines_differ_about_a_field_both_are_told(app: Flask) -> None:
    for name in ("rough", "rougher"):
        pipelines.PIPELINES[name] = pipelines.Entry(f"{__name__}:Rough", "nowhere:Rough", "cpu")
    told = form(describe(app, keys=False))["properties"]
    assert told["depth"]["x-pipelines"] == told["quality"]["x-pipelines"] == ["relief", "rough", "rougher"]
    assert [one["type"] for one in told["depth"]["anyOf"]] == ["number", "integer"]
    assert "anyOf" not in told["quality"]


def test_the_form_tells_the_bounds(document: dict[str, Any]) -> None:
    told = form(document)["properties"]
    size = {"type": "integer", "default": 1024, "minimum": 64, "maximum": 4096, "multipleOf": 64}
    assert size.items() <= told["texture_size"].items()
    assert {"type": "number", "exclusiveMinimum": 0, "maximum": 1}.items() <= told["simplify_ratio"].items()
    assert {"type": "string", "enum": ["pbr", "fast", "opt", "best"]}.items() <= told["texture_bake_mode"].items()
    assert told["swap_sides"]["type"] == "boolean" and told["swap_sides"]["x-pipelines"] == ["relief"]
    assert told["views"]["items"]["enum"] == ["front", "back", "left", "right"]
    assert told["image"]["items"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize(("path", "own"), [("/image_to_3d", TrellisForm), ("/generate", SyncHumanForm)])
def test_bounds_that_are_told_are_the_bounds_that_hold(
    client: FlaskClient, document: dict[str, Any], png: bytes, path: str, own: type[BaseModel]
) -> None:
    """At each numeric bound a submit passes, and just beyond it is refused."""
    for name, told in form(document, path=path)["properties"].items():
        checked = name in own.model_fields or {"probe", "relief"} & set(told.get("x-pipelines", []))
        if told.get("type") not in ("integer", "number") or not checked:
            continue
        pipeline = "probe" if "probe" in told["x-pipelines"] else "relief"
        step = told.get("multipleOf", 1 if told["type"] == "integer" else 0.125)
        for bound, sign in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0)):
            if bound not in told:
                continue
            wish = {"pipeline": pipeline, "async": "true"}
            beyond = wish | {"image": (io.BytesIO(png), "a.png"), name: told[bound] + sign * step}
            refused = client.post(path, data=beyond)
            assert refused.status_code == 400 and name in refused.get_json()["error"], (name, bound)
            if sign:
                at = wish | {"image": (io.BytesIO(png), "a.png"), name: told[bound]}
                accepted = client.post(path, data=at)
                assert accepted.status_code in (200, 202), (name, bound, accepted.get_json())
                assert client.delete(f"/jobs/{accepted.get_json()['request_id']}").status_code == 200


@pytest.mark.parametrize("path", ["/image_to_3d", "/generate"])
def test_the_example_that_the_pages_send_is_accepted_without_a_remark(
    client: FlaskClient, document: dict[str, Any], path: str
) -> None:
    example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = client.post(path, json=example, headers={"Prefer": "respond-async"})
    assert answer.status_code == {"/image_to_3d": 200, "/generate": 202}[path], answer.get_json()
    told = client.get(answer.get_json()["urls"]["job"]).get_json()
    default = form(document, path=path)["properties"]["seed"]["default"]
    assert told["params"]["seed"] == example["seed"] == default
    assert not [warning for warning in told["warnings"] if "field" in warning or "no use" in warning]


def assert_conforms(document: dict[str, Any], path: str, answer: Any, method: str = "get") -> None:
    """The answer is what the document says, and says nothing that the document does not."""
    told = document["paths"][path][method]["responses"][str(answer.status_code)]
    schema = told["content"][answer.mimetype]["schema"]
    closed = json.loads(json.dumps(document["components"]["schemas"]))
    for one in closed.values():
        if "properties" in one:
            one["additionalProperties"] = False
    Draft202012Validator({**schema, "components": {"schemas": closed}}).validate(answer.get_json())


def test_answers_are_as_described(
    client: FlaskClient, document: dict[str, Any], png: bytes, transitions: Transitions, storage: Storage, redis: Any
) -> None:
    def submit() -> str:
        answer = client.post(
            "/image_to_3d",
            data={"image": (io.BytesIO(png), "a.png"), "texturesize": 1, "webhook_url": "http://example.com"},
        )
        assert_conforms(document, "/image_to_3d", answer, "post")
        return str(answer.get_json()["request_id"])

    waiting, running, stopping, complete, wrong = (submit() for _ in range(5))
    for job_id in (running, stopping, complete, wrong):
        transitions.claim(job_id, job_id, "w1", 60)
    storage.put(f"outputs/127.0.0.1/{complete}/output.glb", b"glTF")
    transitions.complete(complete, complete, ["output.glb"], ["a warning"])
    transitions.fail(wrong, wrong, "bad_input", "there is nothing in this picture")
    assert_conforms(document, "/jobs/{job_id}", client.delete(f"/jobs/{stopping}"), "delete")
    for job_id in (waiting, running, stopping, complete, wrong, "nobody"):
        assert_conforms(document, "/jobs/{job_id}", client.get(f"/jobs/{job_id}"))
        assert_conforms(document, "/queue/status", client.get(f"/queue/status?request_id={job_id}"))
    for path in (
        "/",
        "/jobs",
        "/my_requests",
        "/queue/status",
        "/workers",
        "/stats",
        "/health",
        "/health/live",
        "/health/ready",
    ):
        assert_conforms(document, path, client.get(path))
    storage.put(f"outputs/127.0.0.1/{complete}/{STRUCTURE}", b"voxels")
    redis.hset(f"maquette:job:{complete}", mapping={"pipeline": "staged", "files": json.dumps([STRUCTURE])})
    for job_id, status in ((complete, 200), ("nobody", 404), (waiting, 400)):
        again = client.post("/image_to_3d", data={"stage": "stage2", "job_id": job_id})
        assert again.status_code == status
        assert_conforms(document, "/image_to_3d", again, "post")
        if status == 200:
            assert_conforms(document, "/jobs/{job_id}", client.get(again.get_json()["urls"]["job"]))
    for job_id in (waiting, complete):
        assert_conforms(document, "/jobs/{job_id}", client.delete(f"/jobs/{job_id}"), "delete")


def test_it_is_made_once_and_kept_until_it_changes(app: Flask, client: FlaskClient) -> None:
    first = client.get("/openapi.json")
    assert first.headers["Cache-Control"] == "no-cache" and first.mimetype == "application/json"
    known = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert known.status_code == 304 and known.data == b""
    (kept,) = app.extensions["openapi"].values()
    client.get("/openapi.json")
    assert next(iter(app.extensions["openapi"].values())) is kept


def test_without_keys_there_is_no_security(document: dict[str, Any]) -> None:
    assert "security" not in document and "securitySchemes" not in document["components"]
    assert not any("401" in told["responses"] for told in operations(document).values())


@pytest.mark.parametrize("environ", [{"MAQUETTE_API_KEYS": "sesame"}], indirect=True)
def test_with_keys_the_description_is_free_and_names_the_two_ways(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    OpenAPIV31SpecValidator(document).validate()
    schemes = document["components"]["securitySchemes"]
    assert {tuple(one) for one in document["security"]} == {(name,) for name in schemes}
    assert {(one["type"], one.get("name"), one.get("scheme")) for one in schemes.values()} == {
        ("apiKey", "X-API-Key", None),
        ("http", None, "bearer"),
    }
    for (method, path), told in operations(document).items():
        if method == "get" and "{" not in path:
            wanted = 401 if "401" in told["responses"] else 200
            assert client.get(path).status_code == wanted, path
            assert (told.get("security") == []) == (wanted == 200), path
    assert client.get("/docs/assets/icon.svg").status_code == 200
    assert client.get("/jobs").status_code == client.post("/image_to_3d").status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_loads_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200 and page.mimetype == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';") and "http" not in policy
    links = re.findall(r'(?:src|href)="([^"]*)"', page.get_data(as_text=True))
    assert len(links) >= 4 and not any("//" in link for link in links)
    for link in links:
        found = client.get(f"/{link}")
        assert found.status_code == 200 and found.data, link


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_what_the_pages_are_made_of_is_served(client: FlaskClient, name: str) -> None:
    found = client.get(f"/docs/assets/{name}")
    assert found.status_code == 200 and found.headers["X-Content-Type-Options"] == "nosniff"
    assert b"cdn.redoc.ly" not in found.data
    unchanged = client.get(f"/docs/assets/{name}", headers={"If-None-Match": found.headers["ETag"]})
    assert unchanged.status_code == 304


@pytest.mark.parametrize("name", ["nothing.js", "..%2fswagger.html", "swagger.html", "%00"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/assets/{name}").status_code == 404
