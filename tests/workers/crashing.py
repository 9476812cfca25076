"""A plug-in whose jobs say at which step of their way the process at work dies, or their client cancels them.

Imported by a worker and by its device process, it wraps what has an effect on the world: RQ, the transitions, the
storage, the messages, the manifest. A process that dies before one of these has done all those before it and none
after, so the steps together are every moment at which a death can make a difference.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

import pipelines
import storage.local
import workers.supervisor
from jobs.server import connect
from jobs.transitions import PREFIX, Transitions
from pipelines import Entry
from pipelines.base import Kept, Params, Pipeline, Progress, Result
from storage import Storage
from storage.local import LocalStorage
from workers.messages import Done, Message, Run, Saved

PIPELINES = {
    name: Entry(f"{__name__}:CrashingParams", f"{__name__}:CrashingPipeline", "device")
    for name in ("crashing", "crashing_late")  # each is loaded for its first job
}


class CrashingParams(Params):
    """What is to happen to whom."""

    seed: int = Field(0, description="recorded in the files")
    redis: str = Field(description="where the steps are written down")
    cancel_at: str = Field("", description="the step before which the client cancels the job")
    die_at: str = Field("", description="the step before which the process dies, the first time it comes there")


class Way:
    """The steps of the job at hand in this process."""

    def __init__(self, process: str) -> None:
        self._process = process
        self._job = ""
        self._done = False

    def begin(self, job_id: str, params: dict[str, Any]) -> None:
        self._job, self._done, self._params = job_id, False, CrashingParams(**params)
        self._redis = connect(self._params.redis)

    def step(self, name: str) -> None:
        """Writes down that the process is about to take this step; then dies, or cancels, if the job says so."""
        if not self._job:
            return
        self._redis.rpush(f"steps:{self._process}:{self._job}", name)
        for deed in ("cancel", "die"):
            if getattr(self._params, f"{deed}_at") == name and self._redis.set(f"{deed}:{self._job}", 1, nx=True):
                getattr(self, deed)()

    def cancel(self) -> None:
        Transitions(self._redis).cancel(self._job)

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def before(self, owner: Any, name: str, word: str) -> None:
        """Makes a call of the function a step."""
        real = getattr(owner, name)

        def call(*args: Any, **more: Any) -> Any:
            self.step(word)
            return real(*args, **more)

        setattr(owner, name, call)

    # The worker

    def plant_in_worker(self, main: Any) -> None:
        self._wrap_execute_job(main.DeviceWorker)
        self._wrap_transitions()
        for name in sorted(Storage.__abstractmethods__ - {"__init__"}):
            self.before(LocalStorage, name, f"storage.{name}")
        self._wrap_messages()
        self._wrap_sync()
        self.before(os, "rename", "rename")
        self.before(shutil, "rmtree", "remove the scratch folder")

    def _wrap_execute_job(self, worker: Any) -> None:
        real = worker.execute_job

        def execute_job(device_worker: Any, job: Any, queue: Any) -> None:
            (job_id,) = job.args
            params = device_worker.connection.hget(f"{PREFIX}job:{job_id}", "params")
            if params:  # there is no record of a submit that was refused
                self.begin(job_id, json.loads(params))
            self.step("take the id from RQ")
            real(device_worker, job, queue)
            self.step("ask RQ for more")
            self._job = ""

        worker.execute_job = execute_job

    def _wrap_transitions(self) -> None:
        real = Transitions._run

        def run(transitions: Transitions, name: str, job_id: str, *args: object) -> Any:
            self.step(f"{name} once more" if self._done and name == "renew" else name)
            answer = real(transitions, name, job_id, *args)
            if name != "renew":
                self.step(f"read the answer to {name}")
            return answer

        Transitions._run = run  # type: ignore[method-assign]

    def _wrap_messages(self) -> None:
        send, receive = workers.supervisor.send, workers.supervisor.receive

        def sending(pipe: Any, message: Message) -> None:
            self.step(f"send {type(message).__name__}")
            send(pipe, message)

        def receiving(pipe: Any) -> Message:
            message = receive(pipe)
            self._done = self._done or isinstance(message, Done)
            return message

        workers.supervisor.send, workers.supervisor.receive = sending, receiving

    def _wrap_sync(self) -> None:
        real = storage.local._sync

        def sync(path: Path) -> None:
            self.step("sync the client's folder" if "outputs" in path.parts else "sync the files")
            real(path)

        storage.local._sync = sync

    # The device process

    def plant_in_child(self, main: Any) -> None:
        carry_out, send = main.DeviceProcess._carry_out, main.send

        def carrying_out(process: Any, job: Run) -> Any:
            self.begin(job.job_id, job.params)
            return carry_out(process, job)

        def sending(pipe: Any, message: Message) -> None:
            if isinstance(message, Done | Saved):
                self.step(f"send {type(message).__name__}")
            send(pipe, message)

        main.DeviceProcess._carry_out, main.send = carrying_out, sending
        self.before(pipelines, "load", "load the pipeline")
        self.before(main, "write_manifest", "write the manifest")
        self._wrap_write_text()

    def _wrap_write_text(self) -> None:
        real: Callable[..., int] = Path.write_text

        def write_text(path: Path, text: str) -> int:
            if path.name == "manifest.json":
                real(path, text[: len(text) // 2])
                self.step("write the manifest's second half")
            return real(path, text)

        Path.write_text = write_text  # type: ignore[method-assign,assignment]


class CrashingPipeline(Pipeline):
    """Two files, and a moment between them; the first is kept."""

    PLAN: ClassVar[dict[str, float]] = {"work": 1.0}

    def setup(self) -> None:
        """Nothing to load."""

    def run(self, images: Sequence[Path], params: Any, out: Path, progress: Progress, kept: Kept) -> Result:
        order = connect(params.redis).incr("entered")
        progress("work", 0, 2)
        for number, name in enumerate(("first", "second"), 1):
            WAY.step(f"write the {name} file")
            text = f"{params.seed} {images[0].read_bytes()!r}\n" * 1000
            found = kept.get(f"{name}.txt")
            assert found is None or found.read_text() == text, "whole, or not there"
            (out / f"{name}.txt").write_text(text)
            if name == "first" and not found:
                kept.keep(out / "first.txt")
            progress("work", number, 2)
        return Result(facts={"entered": order})


_MAIN = sys.modules["__main__"]
_PROCESS = getattr(_MAIN.__spec__, "name", "").removeprefix("workers.")
WAY = Way(_PROCESS)
if _PROCESS == "worker":
    WAY.plant_in_worker(_MAIN)
elif _PROCESS == "child":
    WAY.plant_in_child(_MAIN)
