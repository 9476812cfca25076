"""What our JSON answers look like, for the OpenAPI document. The views build plain dicts; the tests compare the two."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from jobs.records import JobStatus
from web.errors import codes

Absent = SkipJsonSchema[None]  # of a key that is not always there; it is never null
Time = Annotated[float, Field(description="Unix seconds")]


class _Answer(BaseModel):
    """Base of all: a class's docstring says what its fields cannot, and fields describe themselves."""

    model_config = ConfigDict(frozen=True)


class Error(_Answer):
    """What every refusal looks like."""

    error: str = Field(description="what was given, what is allowed, what to do about it")
    detail: str = Field(description="the same again")
    code: str = Field(description="a stable word for programs", json_schema_extra={"enum": list(codes())})
    request_id: str | Absent = Field(None, description="the job asked about, or waited for")
    job_id: str | Absent = Field(None, description="the job that was waited for and did not end well")
    status: str | Absent = Field(None, description="how that job ended: error or cancelled")


class Urls(_Answer):
    """Where to look next; all are paths below this server's root."""

    job: str
    events: str = Field(description="what happens to it, as server-sent events")
    status: str
    inputs: list[str] = Field(description="the pictures as they were sent; none when it was made from another job")
    preview: str | Absent = Field(None, description="a rough shape, as soon as there is one")
    files: dict[str, str] | Absent = Field(None, description="file name to address; once the job is complete")
    outputs: str | Absent = Field(None, description="the folder the files will stand in; until then")


class Accepted(_Answer):
    """A job that will reach exactly one of complete, error and cancelled."""

    request_id: str
    status: JobStatus
    pipeline: str = Field(description="which one answers")
    position: int = Field(ge=0, description="place in the queue, 1 for the next to run; 0 when it no longer waits")
    urls: Urls
    warnings: list[str] | Absent = Field(None, description="what the client should know, such as unknown fields")


class ListedRequest(_Answer):
    """One of the client's latest requests."""

    request_id: str
    status: JobStatus
    image_name: str
    pipeline: str
    created_at: Time
    output_files: list[str] | Absent = Field(None, description="once complete")
    urls: Urls | Absent = Field(None, description="once complete")
    error: str | Absent = Field(None, description="when it ended in an error")


class RequestList(_Answer):
    """Newest first."""

    requests: list[ListedRequest]


class QueuedRequest(_Answer):
    """Where one request stands."""

    request_id: str
    status: JobStatus
    position: int = Field(ge=0)
    progress: float = Field(ge=0, le=1)
    stage: str
    step: int = Field(ge=0)
    of: int = Field(ge=0)
    eta_s: float | None = Field(description="seconds until it ends; null while nothing is known")
    error: str | Absent = None


class QueueStatus(_Answer):
    """How many jobs wait and run."""

    queue_length: int = Field(ge=0)
    processing: int = Field(ge=0)
    client_queue_length: int = Field(ge=0, description="of these, the client's own")
    client_processing: int = Field(ge=0, description="of these, the client's own")
    request: QueuedRequest | Absent = Field(None, description="when asked for with request_id")


class Webhook(_Answer):
    """How calling back went so far."""

    url: str
    state: Literal["waiting", "again", "delivered", "failed"] = Field(description="again: failed so far")
    tries: int = Field(ge=0)
    note: str = Field(description="what the last call came to")


class Job(_Answer):
    """Everything known about one job."""

    job_id: str
    request_id: str = Field(description="the same as job_id")
    status: JobStatus
    dialect: str = Field(description="the API it came in through")
    pipeline: str
    params: dict[str, Any] = Field(description="the pipeline's parameters, defaults filled in")
    image_name: str
    position: int = Field(ge=0, description="place in the queue, 1 for the next to run; 0 when it no longer waits")
    progress: float = Field(ge=0, le=1, description="of the whole job")
    stage: str = Field(description="what is being done; empty before it begins")
    step: int = Field(ge=0)
    of: int = Field(ge=0, description="steps of this stage")
    eta_s: float | None = Field(description="seconds until it ends; null while nothing is known")
    attempts: int = Field(ge=0, description="how often it was begun; more than 1 when its process died")
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    warnings: list[str]
    urls: Urls
    made_from: str | Absent = Field(None, description="the id of the earlier job whose structure it goes on from")
    output_files: list[str] | Absent = Field(None, description="once complete")
    cancelling: Literal[True] | Absent = Field(None, description="it was asked to stop and has not yet")
    webhook: Webhook | Absent = Field(None, description="when the submit named one")
    error: str | Absent = Field(None, description="why it ended in an error")
    error_kind: str | Absent = Field(None, description="a stable word for that")


class JobList(_Answer):
    """Newest first."""

    jobs: list[Job]


class Deleted(_Answer):
    """What became of the job."""

    job_id: str
    request_id: str
    status: JobStatus
    deleted: bool = Field(description="it had ended, and is gone with its files")
    cancelling: Literal[True] | Absent = Field(None, description="it runs and has been asked to stop")


class Listing(_Answer):
    """Every route with a word about it."""

    title: str = Field(description="of the one API whose document has such a listing")
    service: str
    version: str
    endpoints: dict[str, str]


class Stage(_Answer):
    """What one stage has made, in SyncHuman's words."""

    status: Literal["completed"]
    steps: int | Absent = Field(None, description="of the diffusion; 0 when no learned model was used")
    parameters: dict[str, Any] = Field(description="what the stage was done with")
    output_dir: str = Field(description="the folder of its files, below /outputs/")
    files: dict[str, str] = Field(description="what a file shows to its name in output_dir")


class Generated(_Answer):
    """A complete job in SyncHuman's words."""

    job_id: str
    request_id: str = Field(description="the same as job_id")
    approach: str = Field(description="how it was made, in a sentence")
    status: Literal["completed"]
    alpha_coverage: float | Absent = Field(
        None, ge=0, le=1, description="share of its picture's pixels that are not wholly transparent; if made of one"
    )
    pipeline: str = Field(description="which one has answered")
    warnings: list[str] = Field(description="what the client should know, such as that no learned model was used")
    stage1: Stage | Absent = Field(None, description="unless stage=stage2 was asked for")
    stage2: Stage | Absent = Field(None, description="unless stage=stage1 was asked for")
    urls: Urls


class GenerateAccepted(Accepted):
    """A job that will reach its end without anybody waiting for it."""

    job_id: str = Field(description="the same as request_id")


class StageInfo(_Answer):
    """Whether a stage can run here."""

    available: bool
    description: str
    time_estimate: str
    requires_kaolin: Literal[False]
    note: str
    remedy: str | Absent = Field(None, description="the command that makes it run here; when it cannot")


class GpuInfo(_Answer):
    """The card with the most memory."""

    available: bool
    device: str
    memory_mb: int = Field(ge=0)


class Info(_Answer):
    """What SyncHuman's API can do on this service's workers."""

    api_version: str
    approach: str = Field(description="what would answer now")
    pipeline: str | None = Field(description="the same by its name; null when nothing would")
    stages: dict[str, StageInfo]
    gpu_info: GpuInfo
    configuration: dict[str, dict[str, Any]] = Field(description="the official parameters of both stages: the defaults")
    links: dict[str, str]


class Health(_Answer):
    """The union of what the SyncHuman and the Vision API say."""

    status: Literal["ok"]
    service: str
    version: str
    stage1: bool = Field(description="SyncHuman's first stage can run")
    stage2: bool = Field(description="SyncHuman's second stage can run")
    approach: str = Field(description="what would answer SyncHuman's clients now")
    pipelines: list[str] = Field(description="what the workers offer")
    loaded_models: list[str]
    available_memory_gb: float = Field(ge=0, description="of the device with the most")
    gpu_available: bool


class Live(_Answer):
    """This process answers."""

    status: Literal["ok"]


class Ready(_Answer):
    """A submit would be accepted."""

    status: Literal["ok"]
    workers: int = Field(ge=1)


class NotReady(Error):
    """A submit would not be accepted."""

    status: Literal["unavailable"]


class CurrentJob(_Answer):
    """What a worker does; the id only to whoever submitted it."""

    pipeline: str
    stage: str
    progress: float = Field(ge=0, le=1)
    request_id: str | Absent = None


class Worker(_Answer):
    """One device's worker."""

    name: str
    host: str
    pid: int
    device: str
    queue: str = Field(description="the kind of device: cpu or cuda")
    state: str = Field(description="starting, ready, busy or stopping")
    pipelines: list[str] = Field(description="what it offers")
    unavailable: dict[str, str] = Field(description="what it cannot offer: why, and the remedy")
    weights: dict[str, str] = Field(description="family of models: complete, partial or absent")
    loaded: list[str] = Field(description="what is resident now")
    memory_total_mb: int
    memory_free_mb: int
    device_pid: int = Field(description="of the process that holds the models; 0 while there is none")
    jobs_done: int
    device_restarts: int
    busy_s: float = Field(description="spent on jobs since it started")
    utilization: float = Field(ge=0, le=1, description="the share of about the last minute")
    started_at: Time
    seen_at: Time
    current_job: CurrentJob | None


class Minute(_Answer):
    """What ended in one minute; the means are of what was complete."""

    t: int = Field(description="its start in Unix seconds")
    complete: int
    error: int
    cancelled: int
    wait_s: float | None
    run_s: float | None


class Stats(_Answer):
    """How busy the service is."""

    waiting: dict[str, int] = Field(description="by kind of device")
    processing: int
    usual_s: dict[str, float] = Field(description="how long a job of each pipeline takes, lately")
    minutes: list[Minute] = Field(description="the last sixty, oldest first")


class WorkerList(_Answer):
    """The living workers."""

    workers: list[Worker]
