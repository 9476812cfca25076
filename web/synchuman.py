"""SyncHuman's words for a finished job and for what the workers can do; its dialect and /health speak them."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from configs.settings import Settings
from jobs.fleet import WorkerInfo
from jobs.queue import JobQueue
from jobs.records import JobRecord
from pipelines.synchuman.params import BACKGROUND, NUM_VIEWS, UP_SIDE, VIEW_SIDE, SyncHumanParams
from pipelines.weights import COMPLETE
from pipelines.weights.catalog import command
from storage.keys import MANIFEST
from web.submissions import FALLBACK

OWN = "synchuman"
API_VERSION = "1.0.0"  # of the document with the official parameters
OFFICIAL = "Official SyncHuman two-stage pipeline (MAXIMUM QUALITY)"
GEOMETRIC = "Geometric reconstruction from the picture's outline: no learned model was used, SyncHuman has not run"
LINKS = {
    "repository": "https://github.com/IGL-HKUST/SyncHuman",
    "code": "https://github.com/xishuxishu/SyncHuman",
    "paper": "https://arxiv.org/pdf/2510.07723",
    "project_page": "https://xishuxishu.github.io/SyncHuman.github.io/",
    "model_weights": "https://huggingface.co/xishushu/SyncHuman",
}

_FOLDERS = {"stage1": "stage1_output", "stage2": "stage2_output"}
_ABOUT = {
    "stage1": "Multi-view generation (5 color + 5 normal maps)",
    "stage2": "Refined 3D geometry (GLB mesh file)",
}
_NO_QUALITY = ("stage", "seed", "remove_background")  # what may differ while the parameters are still the official ones


def approach(record: JobRecord, stage: str) -> str:
    """How a job was carried out, in a sentence."""
    if record.pipeline == FALLBACK:
        return GEOMETRIC
    if record.pipeline != OWN:
        return f"The pipeline {record.pipeline!r}, not SyncHuman"
    if stage != "both":
        about = {"stage1": "stage 1 alone", "stage2": "stage 2 on the structure of an earlier job"}
        return f"SyncHuman, {about[stage]}"
    usual = SyncHumanParams().model_dump(mode="json", exclude=set(_NO_QUALITY))
    if any(record.params.get(name) != value for name, value in usual.items()):
        return "SyncHuman two-stage pipeline, with parameters that differ from the official ones"
    return OFFICIAL


def described(record: JobRecord, stage: str) -> dict[str, Any]:
    """The entries `stage1` and `stage2` of a complete job, as far as they were asked for.

    Args:
        stage: both, stage1 or stage2.
    """
    told: dict[str, Any] = {}
    if stage != "stage2":
        told["stage1"] = {"status": "completed"} | _steps(record) | _stage(record, "stage1")
    if stage != "stage1":
        told["stage2"] = {"status": "completed"} | _stage(record, "stage2")
    return told


def _steps(record: JobRecord) -> dict[str, int]:
    if record.pipeline == FALLBACK:
        return {"steps": 0}
    return {"steps": record.params["stage1_steps"]} if record.pipeline == OWN else {}


def _stage(record: JobRecord, stage: str) -> dict[str, Any]:
    folder, files = _files(record.files, _FOLDERS[stage])
    place = f"{record.client}/{record.id}"
    return {
        "parameters": _parameters(record)[stage],
        "output_dir": f"{place}/{folder}" if folder else place,
        "files": {PurePosixPath(name).stem if stage == "stage1" else name: name for name in files},
    }


def _files(names: list[str], folder: str) -> tuple[str, list[str]]:
    """The folder of a stage's files and their names in it. Pipelines that have no such folder put meshes at the top."""
    inside = sorted(name.partition("/")[2] for name in names if name.startswith(f"{folder}/"))
    if inside or folder == _FOLDERS["stage1"]:
        return folder, inside
    return "", sorted(name for name in names if name.endswith((".glb", ".ply")) and name != "preview.glb")


def in_archive(record: JobRecord, stage: str) -> Callable[[str], bool]:
    """Which of a job's files go into its ZIP: the folders of the stages asked for, and the manifest.

    Args:
        stage: both, stage1 or stage2, which of a pipeline without a folder for it is all but the first stage's.
    """
    asked = tuple(f"{folder}/" for name, folder in _FOLDERS.items() if stage in ("both", name))
    first, last = (f"{_FOLDERS[name]}/" for name in ("stage1", "stage2"))
    loose = stage != "stage1" and not any(name.startswith(last) for name in record.files)
    return lambda name: name == MANIFEST or name.startswith(asked) or (loose and not name.startswith(first))


def _parameters(record: JobRecord) -> dict[str, dict[str, Any]]:
    """Stage → what it was done with. Of a pipeline that is not SyncHuman only what is true of it."""
    if record.pipeline == OWN:
        return official(SyncHumanParams(**record.params))
    if record.pipeline != FALLBACK:
        return {"stage1": record.params, "stage2": record.params}
    views = {"mv_img_wh": [VIEW_SIDE, VIEW_SIDE], "num_views": NUM_VIEWS}
    return {
        "stage1": {"seed": record.params["seed"], "num_inference_steps": 0, **views},
        "stage2": {"num_steps": 0, **record.params},
    }


def official(params: SyncHumanParams) -> dict[str, dict[str, Any]]:
    """The parameters of both stages under the names of the official server."""
    return {
        "stage1": {
            "seed": params.seed,
            "guidance_scale": params.guidance_scale,
            "num_inference_steps": params.stage1_steps,
            "mv_img_wh": [VIEW_SIDE, VIEW_SIDE],
            "num_views": NUM_VIEWS,
            "background_color": BACKGROUND,
        },
        "stage2": {
            "num_steps": params.stage2_steps,
            "cfg_strength": params.cfg_strength,
            "cfg_interval": list(params.cfg_interval),
            "texture_size": params.texture_size,
            "simplify": params.simplify,
            "up_size": UP_SIDE,
        },
    }


def answering(queue: JobQueue, settings: Settings) -> str | None:
    """The pipeline that would answer SyncHuman's clients now."""
    if queue.offers(OWN):
        return OWN
    return FALLBACK if settings.fallback and queue.offers(FALLBACK) else None


def approach_now(queue: JobQueue, settings: Settings) -> str:
    """The same in a sentence."""
    sentences = {
        OWN: "Full two-stage pipeline for maximum quality",
        FALLBACK: f"SyncHuman cannot run here; the geometric pipeline {FALLBACK!r} answers, without a learned model",
    }
    return sentences.get(answering(queue, settings) or "", "SyncHuman cannot run here, and nothing answers instead")


def stage_infos(queue: JobQueue) -> dict[str, dict[str, Any]]:
    """Whether each stage can run on the workers there are, and what to do where it cannot."""
    available = queue.offers(OWN)
    told: dict[str, Any] = {"available": available, "time_estimate": _estimate(queue, available)}
    told |= {"requires_kaolin": False, "note": _note(queue, available)}
    told |= {} if available else {"remedy": _remedy(queue.workers())}
    return {stage: {"description": about, **told} for stage, about in _ABOUT.items()}


def _estimate(queue: JobQueue, available: bool) -> str:
    if not available:
        return "none: it cannot run on this service's workers"
    seconds = queue.usual_s().get(OWN)
    return f"{seconds:.0f} s a job lately, both stages together" if seconds else "not measured on this machine yet"


def _note(queue: JobQueue, available: bool) -> str:
    if available:
        return "Plain PyTorch: neither kaolin nor nvdiffrast is needed"
    if not queue.workers():
        return "Not available: no worker is running"
    reason = queue.hindrance(OWN)
    if _has_weights(queue.workers()):
        return f"Not available: {reason or 'no worker offers it'}"
    return f"Not available: {reason or 'fetch its weights'}; then start the AI workers again"  # they look once


def _has_weights(workers: list[WorkerInfo]) -> bool:
    return any(worker.weights.get(OWN) == COMPLETE for worker in workers)


def _remedy(workers: list[WorkerInfo]) -> str:
    """The command that makes the model run."""
    if not workers:
        return "python ai_worker.py"
    if not _has_weights(workers):
        return command(OWN)
    others = sorted({name for worker in workers for name in worker.pipelines})
    return f"MAQUETTE_PIPELINES={','.join([*others, OWN])} python ai_worker.py"


def gpu_info(workers: list[WorkerInfo]) -> dict[str, Any]:
    """The card with the most memory among those that the workers hold."""
    cards = [worker for worker in workers if worker.queue == "cuda"]
    if not cards:
        return {"available": False, "device": "cpu", "memory_mb": 0}
    best = max(cards, key=lambda worker: worker.memory_total_mb)
    return {"available": True, "device": best.device, "memory_mb": best.memory_total_mb}
