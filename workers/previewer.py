"""Makes a rough shape of each new job's picture while the job waits for its device: something to look at at once.

It promises nothing. An id is taken before it is worked on, so a picture that kills this process is met once.
"""

import argparse
import logging
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Protocol, cast

import pipelines
from configs import logs
from configs.settings import Settings, load_settings
from jobs.errors import JobNotFound, RedisUnavailable
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobStatus
from jobs.transitions import Transitions
from pipelines.base import Machine, Params
from storage import Storage, keys, open_storage
from storage.errors import StorageError
from workers.processes import follow_parent

log = logging.getLogger(__name__)

_LOOK_AFTER_S = 0.3  # a job that a free worker took at once needs no help of ours
_LONGEST_S = 60
_PATIENCE_S = 2.0
_NICE = 10  # the jobs themselves come first


class Sculptor(Protocol):
    """A pipeline that can make a preview of any picture."""

    def preview(self, images: list[Path], params: Params) -> bytes:
        """A GLB."""


class Previewer:
    """One host's previewer."""

    def __init__(self, url: str, storage: Storage, settings: Settings) -> None:
        self._queue = JobQueue(url, storage, settings)
        self._transitions = Transitions(self._queue.redis)
        self._storage = storage
        self._sculptor: Sculptor | None = None

    def sculptor(self) -> Sculptor:
        """What makes the shapes; loaded when first needed."""
        if self._sculptor is None:
            self._sculptor = cast(Sculptor, pipelines.load(pipelines.PREVIEW, Machine("cpu")))
        return self._sculptor

    def serve(self) -> None:
        """Works until a signal."""
        while True:
            try:
                if job_id := self._queue.next_to_preview(_PATIENCE_S):
                    self.serve_one(job_id)
            except RedisUnavailable:
                time.sleep(_PATIENCE_S)

    def serve_one(self, job_id: str) -> None:
        """Makes one preview, if it is still of use."""
        signal.alarm(_LONGEST_S)  # ends the process, and a new one goes on with the next
        try:
            with logs.about(job_id=job_id):
                self._consider(job_id)
        except JobNotFound:
            log.debug("job %s has gone", job_id)
        except StorageError as error:
            log.warning("job %s: no preview: %s", job_id, error)
        except Exception:
            log.exception("job %s: no preview", job_id)
        finally:
            signal.alarm(0)

    def _consider(self, job_id: str) -> None:
        record = self._queue.get(job_id)
        time.sleep(max(0.0, _LOOK_AFTER_S - (time.time() - record.created_at)))
        record = self._queue.get(job_id)
        if _is_of_use(record):
            self._make(record)

    def _make(self, record: JobRecord) -> None:
        scratch = self._storage.scratch()
        try:
            params = _params(record)
            sided = record.pipeline == pipelines.PREVIEW or "views" in params.model_fields_set
            count = len(record.inputs) if sided else 1  # else nobody knows which side the others show
            images = [self._storage.fetch(key, scratch) for key in record.inputs[:count]]
            glb = self.sculptor().preview(images, params)
            if self._queue.get(record.id).preview:
                return  # the job has shown its own meanwhile, which is nearer the truth
            self._storage.put(keys.extras_key(record.client, record.id, keys.PREVIEW), glb)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if not self._transitions.preview(record.id):
            self._drop_if_forgotten(record)

    def _drop_if_forgotten(self, record: JobRecord) -> None:
        try:
            self._queue.get(record.id)
        except JobNotFound:
            self._storage.delete(keys.extras_folder(record.client, record.id))


def _is_of_use(record: JobRecord) -> bool:
    """Whether nobody else makes one: the preview's own pipeline shows its own as soon as it runs."""
    if record.preview or record.status.final:
        return False
    return record.status is JobStatus.QUEUED or record.pipeline != pipelines.PREVIEW


def _params(record: JobRecord) -> Params:
    """What the job's own parameters say to ours."""
    ours = pipelines.params_class(pipelines.PREVIEW)
    return ours(**{name: value for name, value in record.params.items() if value and name in ours.model_fields})


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes previews; `python ai_worker.py` starts it.")
    parser.add_argument("--redis", required=True, help="where Redis is")
    args = parser.parse_args()
    follow_parent()
    os.nice(_NICE)
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    for module in settings.plugins:
        pipelines.register(module)
    Previewer(args.redis, open_storage(settings.storage), settings).serve()


if __name__ == "__main__":
    main()
