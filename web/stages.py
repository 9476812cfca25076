"""One stage at a time: which pipelines have stages, and going on from the structure that an earlier job published."""

import re
from dataclasses import dataclass

import pipelines
from jobs.errors import JobNotFound
from jobs.queue import Input, JobQueue
from jobs.records import JobRecord, JobStatus
from storage import Storage, keys
from web.errors import BadRequest, NotComplete
from web.submissions import Submission

WHOLE = "both"
LAST = "stage2"
_PICTURES = ("image", "image_data", "image_url")
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True)
class Structure:
    """The first stage's result of an earlier job, and that job."""

    record: JobRecord
    input: Input


def staged() -> list[str]:
    """The pipelines whose stages can be asked for one at a time."""
    return [name for name in sorted(pipelines.PIPELINES) if pipelines.params_class(name).stages]


def check_stage(stage: str, pipeline: str, job_id: str) -> None:
    """Raises BadRequest when the pipeline cannot run this stage by itself, or a job is named that it has no use for."""
    if job_id:
        raise BadRequest(f"job_id is {job_id[:80]!r} and stage {stage!r}; a job_id goes with stage={LAST} alone")
    if stage != WHOLE and not pipelines.params_class(pipeline).stages:
        raise BadRequest(f"stage is {stage!r}, and the pipeline {pipeline!r} has no stages; {_remedy()}")


def _remedy() -> str:
    names = staged()
    return f"those that have are {', '.join(names)}" if names else "no pipeline of this service has"


def structure(
    submission: Submission, wanted: str, job_id: str, client: str, queue: JobQueue, storage: Storage
) -> Structure:
    """What the last stage shall go on from.

    Args:
        wanted: the pipeline asked for, or "auto" for that of the earlier job.
        job_id: of the earlier job, as the client has sent it.
    Raises:
        BadRequest: nothing can come of it, whenever it is tried.
        JobNotFound: no such job, or not theirs; which of the two is not told.
        NotComplete: the earlier job has not ended well.
        ObjectNotFound: it has just been removed.
    """
    record = earlier(submission, job_id, client, queue)
    _check_pipeline(record, wanted)
    check_complete(record)
    if keys.STRUCTURE not in record.files:
        raise BadRequest(f"job_id is {record.id!r}, which has published no {keys.STRUCTURE}; name one that has")
    with storage.open(keys.output_key(record.client, record.id, keys.STRUCTURE)).stream as stream:
        return Structure(record, Input(".npz", stream.read()))


def earlier(submission: Submission, job_id: str, client: str, queue: JobQueue) -> JobRecord:
    """The job that a submit of the last stage names; it may not have ended.

    Raises:
        BadRequest, JobNotFound: as `structure`.
    """
    if not job_id:
        raise BadRequest(f"job_id is missing; stage={LAST} goes on from an earlier job's structure, so name that job")
    if sent := [name for name in _PICTURES if submission.files.get(name) or submission.fields.get(name)]:
        raise BadRequest(f"{sent[0]} does not go with stage={LAST}, which takes the structure of job_id; leave it out")
    if not _ID.fullmatch(job_id):
        raise JobNotFound(job_id)
    return queue.get(job_id, client)


def check_complete(record: JobRecord) -> None:
    """Raises NotComplete when an earlier job has not ended well."""
    if record.status is not JobStatus.COMPLETE:
        raise NotComplete(f"request {record.id!r} is {record.status}; stage={LAST} goes on from a complete one")


def _check_pipeline(record: JobRecord, wanted: str) -> None:
    made_by = f"job_id is {record.id!r}, which {record.pipeline!r} has made"
    if not pipelines.params_class(record.pipeline).stages:
        raise BadRequest(f"{made_by}, a pipeline without stages; {_remedy()}")
    if wanted not in ("auto", record.pipeline):
        raise BadRequest(f"{made_by}; pipeline is {wanted[:80]!r}, so use auto or {record.pipeline}")
