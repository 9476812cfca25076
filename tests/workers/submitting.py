"""A web tier that dies at a named step of a submit: `python -m tests.workers.submitting URL FOLDER STEP KEY`."""

import os
import signal
import sys
from typing import Any

import jobs.queue
from configs.settings import load_settings
from jobs.queue import Input, JobQueue
from jobs.records import JobRequest
from storage import open_storage
from storage.local import LocalStorage

STEPS = ("storage.put", "accept", "push", "answer")
PICTURES = [Input(".png", b"x")]


def request(url: str, key: str) -> JobRequest:
    return JobRequest("10.0.0.1", "trellis", "crashing_late", {"redis": url}, idempotency_key=key)


def main() -> None:
    url, folder, die_at, key = sys.argv[1:]

    def step(name: str) -> None:
        if name == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    put, push = LocalStorage.put, jobs.queue.rq_push

    def putting(storage: LocalStorage, name: str, data: bytes) -> None:
        step("storage.put")
        put(storage, name, data)

    def pushing(queue: Any, job_id: str, pipe: Any) -> None:
        step("accept")
        if die_at == "push":
            pipe.execute()  # the first half of the round trip arrives
        step("push")
        push(queue, job_id, pipe)

    LocalStorage.put = putting  # type: ignore[method-assign]
    jobs.queue.rq_push = pushing
    settings = load_settings({"MAQUETTE_DATA_DIR": folder})
    JobQueue(url, open_storage(settings.storage), settings).submit(request(url, key), PICTURES, "cpu")
    step("answer")


if __name__ == "__main__":
    main()
