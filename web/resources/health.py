"""Is the service well, who works for it, and what does it answer to."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from jobs.errors import JobNotFound, RedisUnavailable
from jobs.fleet import WorkerInfo
from pipelines.manifest import VERSION
from web.answers import Health, Live, NotReady, Ready, WorkerList
from web.context import client, context
from web.errors import NOT_READY, body
from web.operations import Answer, operation
from web.synchuman import approach_now

blueprint = Blueprint("health", __name__)

_TITLE = "SyncHuman Complete API"  # of the APIs spoken here, the one whose document shows a listing at GET /


def listing() -> Response:
    """What this service is and every route it answers."""
    endpoints = {}
    for rule in sorted(current_app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = current_app.view_functions[rule.endpoint]
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            endpoints[f"{method} {rule.rule}"] = (view.__doc__ or "").strip().split("\n")[0]
    return jsonify({"title": _TITLE, "service": "Maquette", "version": VERSION, "endpoints": endpoints})


@blueprint.get("/health")
@blueprint.get("/synchuman/health")
@operation("health", Health, raises=[RedisUnavailable])
def health() -> ResponseReturnValue:
    """The union of what the SyncHuman and the Vision API say about their health."""
    workers = context().queue.workers()
    gpus = [worker for worker in workers if worker.queue == "cuda"]
    offered = {name for worker in workers for name in worker.pipelines}
    devices = gpus or workers
    return jsonify(
        {
            "status": "ok",
            "service": "Maquette",
            "version": VERSION,
            "stage1": "synchuman" in offered,
            "stage2": "synchuman" in offered,
            "approach": approach_now(context().queue, context().settings),
            "pipelines": sorted(offered),
            "loaded_models": sorted({name for worker in workers for name in worker.loaded}),
            "available_memory_gb": round(max((worker.memory_free_mb for worker in devices), default=0) / 1024, 2),
            "gpu_available": bool(gpus),
        }
    )


@blueprint.get("/health/live")
@operation("health", Live, public=True)
def live() -> ResponseReturnValue:
    """Whether this process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/health/ready")
@operation("health", {200: Answer("it would", Ready), 503: Answer("not now", NotReady, headers=("Retry-After",))})
def ready() -> ResponseReturnValue:
    """Whether a submit would be accepted just now."""
    try:
        workers = context().queue.workers() if context().queue.ping() else []
    except RedisUnavailable:
        return _not_ready("the job queue cannot be reached")
    if not workers:
        return _not_ready("no worker is running; start one with: python ai_worker.py")
    return jsonify({"status": "ok", "workers": len(workers)})


def _not_ready(reason: str) -> ResponseReturnValue:
    return jsonify({"status": "unavailable", **body(reason, NOT_READY)}), 503, {"Retry-After": "2"}


@blueprint.get("/workers")
@operation("health", WorkerList, raises=[RedisUnavailable])
def list_workers() -> ResponseReturnValue:
    """The living workers: devices, memory, resident models, what they do."""
    return jsonify({"workers": [_described(worker) for worker in context().queue.workers()]})


def _described(worker: WorkerInfo) -> dict[str, Any]:
    told = {name: value for name, value in vars(worker).items() if name != "job_id"}
    return told | {"current_job": _current_job(worker.job_id) if worker.job_id else None}


def _current_job(job_id: str) -> dict[str, Any] | None:
    """What the worker does; the id only to whoever submitted it."""
    try:
        record = context().queue.get(job_id)
    except JobNotFound:
        return None
    told = {"pipeline": record.pipeline, "stage": record.progress.stage, "progress": record.progress.fraction}
    return told | ({"request_id": job_id} if record.client == client() else {})
