"""Requests made up from the OpenAPI document against a running service: it must answer what the document says.

No answer may be a 5xx but the documented 503 with its Retry-After; statuses, media types, headers and bodies must be
those of the document, and a body may name nothing that the document does not. Jobs in every state are there to be
asked about.

    python -m benchmarks.fuzz --seconds 600 --seed 7
"""

import argparse
import base64
import copy
import io
import itertools
import json
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from PIL import Image
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.engine import events, from_schema
from schemathesis.hooks import unregister_all

from maquette_client.service import LocalService

KEY = "sesame"
SETTINGS = {
    "MAQUETTE_PLUGINS": "tests.plugin_pipelines",
    "MAQUETTE_PIPELINES": "probe",
    "MAQUETTE_DEVICES": "cpu",
    "MAQUETTE_JOB_TIMEOUT_S": "5",
    "MAQUETTE_HISTORY_LIMIT": "100",  # so that ended jobs stay while others are made
    "MAQUETTE_TRUSTED_PROXIES": "1",  # so that a request can say which client it is
}
# Lenient on purpose: an unknown field is a warning, "7" is a number, and a header nobody knows is passed over.
# That what was deleted is gone, we see to ourselves: a DELETE of a job that has not ended only cancels it.
_LENIENT = ("negative_data_rejection", "positive_data_acceptance", "missing_required_header", "use_after_free")
_STREAM = "/jobs/{job_id}/events"
_OWNER = "10.0.0.1"
_ME = "job-owner"
_ENDED = ("complete", "error", "cancelled")
_STATES = (*_ENDED, "processing", "queued")
_DEEDS: dict[str, dict[str, Any]] = {  # what the probe does meanwhile, so that a job can be seen in that state
    "error": {"deed": "bad_input"},
    "processing": {"seconds": 3},
    "cancelled": {"seconds": 3},
    "queued": {"seconds": 0.5},
}
_MARK = "job-"


def picture(kind: str = "PNG", side: int = 16) -> bytes:
    """A red square on nothing."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    image.paste((200, 30, 30, 255), (side // 4, side // 4, side // 2, side // 2))
    buffer = io.BytesIO()
    (image.convert("RGB") if kind == "JPEG" else image).save(buffer, kind)
    return buffer.getvalue()


class Jobs:
    """Real jobs of one client, made when they are asked for and made anew when they are no longer in that state."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.headers.update({**headers, "X-Forwarded-For": _OWNER})
        self._ids: dict[str, str] = {}
        self._lock = threading.Lock()
        self.owner_of: dict[str, str] = {}  # of those that the fuzzer itself submitted

    def one(self, state: str) -> str:
        """The id of a job in this state."""
        with self._lock:
            known = self._ids.get(state)
            if known is None or self._status(known) != state:
                known = self._ids[state] = self._make(state)
            return known

    def owner(self) -> str:
        """What the jobs' client is called in addresses."""
        job = self._session.get(f"{self._url}/jobs/{self.one('cancelled')}", timeout=30).json()
        return str(job["urls"]["outputs"].split("/")[2])

    def _status(self, job_id: str) -> str:
        answer = self._session.get(f"{self._url}/jobs/{job_id}", timeout=30)
        return str(answer.json().get("status", "")) if answer.ok else ""

    def _make(self, state: str) -> str:
        deed = _DEEDS.get(state, {})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            job_id = self._submit(deed, deadline)
            if state == "cancelled":
                self._session.post(f"{self._url}/jobs/{job_id}/cancel", timeout=30).raise_for_status()
            while (now := self._status(job_id)) not in (state, "", *_ENDED) and time.monotonic() < deadline:
                time.sleep(0.02)
            if now == state or state == "queued":  # that one may have been taken already
                return job_id
        raise TimeoutError(f"no job came to be {state} within a minute")

    def _submit(self, fields: dict[str, Any], deadline: float) -> str:
        while True:
            files = {"image": ("a.png", picture(), "image/png")}
            answer = self._session.post(
                f"{self._url}/image_to_3d", data={"pipeline": "probe", **fields}, files=files, timeout=30
            )
            # On a busy machine even a worker's lease may run out.
            if answer.status_code not in (429, 503) or time.monotonic() > deadline:
                answer.raise_for_status()
                return str(answer.json()["request_id"])
            time.sleep(0.2)


@dataclass
class Report:
    """What was sent, and what was wrong with what came back."""

    statuses: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, event: Any) -> None:
        if isinstance(event, events.NonFatalError):
            self.failures.setdefault(f"{event.label}: {event.info.title}", str(event.value))
        if isinstance(event, events.FatalError):
            raise event.exception
        if not isinstance(event, events.ScenarioFinished):
            return
        recorder = event.recorder
        for case_id, told in recorder.interactions.items():
            label = recorder.cases[case_id].value.operation.label
            self.operations.add(label)
            self.statuses[str(told.response.status_code) if told.response else "no answer"] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                label = recorder.cases[case_id].value.operation.label
                sample = check.failure_info.code_sample
                self.failures.setdefault(f"{label}: {check.name}", f"{check.failure_info.failure}\n{sample}")


def visit(schema: Any, report: Report, headers: dict[str, str]) -> None:
    """Asks about a job in every state all that can be asked, each answer checked as the made-up requests' are."""

    def ask(method: str, path: str, status: int, **given: Any) -> Any:
        if isinstance(given.get("body"), dict):
            given.setdefault("media_type", "application/json")
        case = schema[path][method].Case(**given)
        report.operations.add(case.operation.label)
        label = f"{method} {path} {given}"[:200]
        try:
            answer = case.call_and_validate(headers=headers)
        except FailureGroup as failures:
            report.failures[label] = "\n".join(map(str, failures.exceptions))
            return None
        report.statuses[str(answer.status_code)] += 1
        if answer.status_code != status:
            report.failures[label] = f"{answer.status_code} instead of {status}: {answer.text[:500]}"
        return answer

    image = base64.b64encode(picture()).decode()
    form = {"image": [picture("JPEG")], "pipeline": "probe"}
    for path in ("/image_to_3d", "/trellis/image_to_3d"):
        ask("POST", path, 200, body=form, media_type="multipart/form-data", headers={"Idempotency-Key": path})
        ask("POST", path, 200, body={"image": image, "pipeline": "probe"}, media_type="application/json")
        ask("POST", path, 404, body={"stage": "stage2", "job_id": "0" * 32}, media_type="application/json")
    sound = {"image": [picture()], "pipeline": "probe"}
    for path in ("/generate", "/synchuman/generate"):
        for wish, status in (({}, 200), ({"download": True}, 200), ({"async": True}, 202), ({"stage": "stage1"}, 200)):
            ask("POST", path, status, body=sound | wish, media_type="multipart/form-data")
        ask("POST", path, 202, body={"image": image, "pipeline": "probe"}, headers={"Prefer": "respond-async"})
        ask("POST", path, 400, body=form, media_type="multipart/form-data")  # it is opaque
        ask("POST", path, 400, body={"image": image, "pipeline": "probe", "deed": "bad_input"})
        ask("POST", path, 404, body={"stage": "stage2", "job_id": "0" * 32})
    for state in _STATES:
        job = {"job_id": _MARK + state}
        ask("GET", "/jobs/{job_id}", 200, path_parameters=dict(job))
        ask("GET", "/jobs/{job_id}", 200, path_parameters=dict(job), query={"wait": 0.1})
        ask("GET", "/queue/status", 200, query={"request_id": _MARK + state})
        ask("GET", "/jobs/{job_id}/inputs/{index}", 200, path_parameters=job | {"index": 0})
        ask("GET", "/jobs/{job_id}/inputs/{index}", 404, path_parameters=job | {"index": 1})
        file = job | {"owner": _ME, "filename": "result.txt"}
        ask("GET", "/outputs/{owner}/{job_id}/{filename}", 200 if state == "complete" else 404, path_parameters=file)
    file = {"owner": _ME, "job_id": _MARK + "complete", "filename": "result.txt"}
    for name, value, status in (("Range", "bytes=0-0", 206), ("Range", "bytes=99-", 416), ("If-None-Match", "*", 304)):
        for path in ("/outputs/{owner}/{job_id}/{filename}", "/output/{owner}/{job_id}/{filename}"):
            ask("GET", path, status, path_parameters=dict(file), headers={name: value})
    folder = {name: value for name, value in file.items() if name != "filename"}
    for path in ("/outputs/{owner}/{job_id}", "/output/{owner}/{job_id}"):
        ask("GET", path, 200, path_parameters=dict(folder), query={"as": "zip"})
        ask("GET", path + "/{filename}", 200, path_parameters=dict(file), query={"as": "zip"})
        ask("GET", path + "/{filename}", 400, path_parameters=dict(file), query={"as": "stl", "size_mm": 5})
    for state in _ENDED:
        events = ask("GET", _STREAM, 200, path_parameters={"job_id": _MARK + state})
        last = re.findall(r"^id: (.*)$", events.text if events else "", re.M)[-1:]
        ask("GET", _STREAM, 204, path_parameters={"job_id": _MARK + state}, headers={"Last-Event-ID": "".join(last)})
    for path in ("/", "/jobs", "/my_requests", "/workers", "/stats", "/metrics", "/health", "/health/ready", "/info"):
        ask("GET", path, 200)
    for state in _STATES:
        status = 202 if state == "processing" else 200
        ask("DELETE", "/jobs/{job_id}", status, path_parameters={"job_id": _MARK + state})


def prepared(document: dict[str, Any]) -> dict[str, Any]:
    """The document, stricter about answers and with the jobs of `Jobs` for parameters."""
    told = copy.deepcopy(document)
    for schema in told["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    ids = {"enum": [_MARK + state for state in _STATES]}
    ended = {"enum": [_MARK + state for state in _ENDED]}  # whose stream ends at once
    likely = {
        "job_id": ids,
        "request_id": ids,
        "owner": {"enum": [_ME]},
        "filename": {"enum": ["result.txt", "manifest.json", "none.glb", "stage1_output/color_0.png"]},
        "index": {"enum": [0]},
        "Last-Event-ID": {"enum": ["0-0", "1-1", "9999999999999-9"]},
        "last_event_id": {"enum": ["0-0", "9999999999999-9"]},
        "name": {"enum": ["swagger.js", "icon.svg", "page.css"]},
        "Range": {"enum": ["bytes=0-0", "bytes=-1", "bytes=1-", "bytes=99999-", "bytes=0-0,2-2", "lines=1-2"]},
        "If-None-Match": {"enum": ["*", '"x"', 'W/"x"']},
        "If-Modified-Since": {"enum": ["Sat, 01 Jan 2000 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT", "yesterday"]},
    }
    for path, methods in told["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                if name == "wait":
                    parameter["schema"] = {"enum": [0, 0.1, 1]}
                elif name in likely:
                    values = ended if name == "job_id" and path == _STREAM else likely[name]
                    parameter["schema"] = {"anyOf": [values, parameter["schema"]]}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                _tame(content["schema"])
    return told


def _tame(form: dict[str, Any]) -> None:
    """Jobs that run here and end soon, pictures that are some, and no address outside this machine."""
    fields = form["properties"]
    form["required"] = ["image", "pipeline"]
    fields["pipeline"] = {"anyOf": [{"const": "probe"}, fields["pipeline"]]}
    text = [schema for schema in (fields.get("image_data"),) if schema is not None]
    if "seconds" in fields:
        fields["seconds"] |= {"maximum": 0.05}
        fields["steps"] |= {"maximum": 5}
        fields["deed"] |= {"enum": ["", "bad_input"]}  # the others leave a traceback on purpose
    if "anyOf" in fields["image"]:
        text.append(fields["image"])
    for schema in text:
        schema.pop("anyOf", None)
        schema |= {"type": "string", "format": "picture"}
    fields["image_url"].pop("anyOf", None)
    fields["image_url"] |= {"type": "string", "format": "address"}


@schemathesis.check
def refusal(ctx: Any, response: Any, case: Any) -> None:
    """Every refusal has the error body, and says when to come back where that helps."""
    if response.status_code < 400:
        return
    told = response.json()
    assert told["error"] == told["detail"] and told["code"] and "Traceback" not in told["error"]
    if response.status_code in (429, 503):
        assert int(response.headers["retry-after"][0]) > 0


def _strategies() -> None:
    sound = [picture("PNG"), picture("JPEG"), picture("WEBP"), picture("PNG", 64)]
    broken = [b"", sound[0][:60], b"GIF89a", picture("PNG", 4)]
    bytes_of = st.one_of(st.sampled_from(sound), st.sampled_from(broken), st.binary(max_size=50))
    texts = [base64.b64encode(data).decode() for data in sound + broken]
    schemathesis.openapi.format("binary", bytes_of)
    schemathesis.openapi.format(
        "picture", st.one_of(st.sampled_from([*texts, "data:image/png;base64," + texts[0]]), st.text(max_size=50))
    )
    hosts = ["http://127.0.0.1/a.png", "http://localhost:1/", "https://[::1]/", "file:///etc/passwd", "http://", "x"]
    schemathesis.openapi.format("address", st.sampled_from(hosts))


def _is_archive(response: Any) -> bool:
    return "application/zip" in response.headers["content-type"]


def fuzz(url: str, seconds: float, seed: int, headers: dict[str, str] | None = None) -> Report:
    """Sends made-up requests to every operation of the service for about so long.

    Args:
        headers: what every request needs, such as an API key.
    """
    headers = headers or {}
    _strategies()
    document = requests.get(f"{url}/openapi.json", timeout=30).json()
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "max-time": max(int(seconds), 1),
            "base-url": url,
            "headers": headers,
            "continue-on-failure": True,
            "request-timeout": 30,
            "generation": {"database": "none", "no-shrink": False},
            "checks": {
                **{name: {"enabled": False} for name in _LENIENT},
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            },
            "warnings": False,
        }
    )
    schema = schemathesis.openapi.from_dict(prepared(document), config=config)
    jobs, turns, deleted, report = Jobs(url, headers), itertools.count(), set[str](), Report()

    @schemathesis.hook
    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        case.headers = dict(case.headers or {})
        client = f"10.0.1.{next(turns) % 6}" if case.method == "POST" else _OWNER
        for values in (case.path_parameters, case.query):
            for name in ("job_id", "request_id"):
                given = str((values or {}).get(name, ""))
                if given.startswith(_MARK) and given.removeprefix(_MARK) in _STATES:
                    values[name] = jobs.one(given.removeprefix(_MARK))
                client = jobs.owner_of.get(given, client)
        if (case.path_parameters or {}).get("owner") == _ME:
            case.path_parameters["owner"] = jobs.owner()
        case.headers["X-Forwarded-For"] = client

    @schemathesis.hook
    def after_call(context: Any, case: Any, response: Any) -> None:
        if case.method == "POST" and response.status_code in (200, 202) and not _is_archive(response):
            jobs.owner_of[response.json()["request_id"]] = case.headers["X-Forwarded-For"]
        asked = {str(value) for values in (case.path_parameters, case.query) for value in (values or {}).values()}
        if case.method == "GET" and response.status_code < 400 and asked & deleted:
            report.failures.setdefault(f"{case.operation.label}: deleted", f"{asked & deleted} is still there")
        if case.method == "DELETE" and response.status_code == 200 and response.json()["deleted"]:
            deleted.add(case.path_parameters["job_id"])

    started = time.monotonic()
    try:
        visit(schema, report, headers)
        for event in from_schema(schema).execute():
            report.add(event)
    finally:
        unregister_all()
    report.seconds = time.monotonic() - started
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keys", action="store_true", help="against a service that wants an API key")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of words")
    args = parser.parse_args()
    settings = SETTINGS | ({"MAQUETTE_API_KEYS": KEY} if args.keys else {})
    with tempfile.TemporaryDirectory() as folder, LocalService(Path(folder, "fuzz"), settings) as service:
        report = fuzz(service.url, args.seconds, args.seed, {"X-API-Key": KEY} if args.keys else {})
        traces = re.findall(r"^Traceback.*?^\w[^\n]*$", service.log.read_text(), re.M | re.S)
    found = {
        "requests": report.statuses.total(),
        "seconds": round(report.seconds, 1),
        "operations": len(report.operations),
        "statuses": dict(sorted(report.statuses.items())),
        "tracebacks": len(traces),
        "failures": len(report.failures),
    }
    print(*(f"{name}\n{about}\n" for name, about in report.failures.items()), *traces, sep="\n", file=sys.stderr)
    print(json.dumps(found) if args.json else "\n".join(f"{name:<12} {value}" for name, value in found.items()))
    return 1 if report.failures or traces else 0


if __name__ == "__main__":
    sys.exit(main())
