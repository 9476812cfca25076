"""The one process that holds a device and its models: takes jobs from a pipe, runs pipelines, reports."""

import argparse
import logging
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pipelines
from configs import logs
from pipelines.base import Kept, Machine, Pipeline, Progress, Step
from pipelines.errors import PipelineError
from pipelines.manifest import write_manifest
from storage.errors import is_full
from workers import machines
from workers.messages import Advanced, Done, Failed, Previewed, Ready, Run, Saved, Stop, Stopped, receive, send
from workers.processes import die_with_parent

log = logging.getLogger(__name__)

_REPORT_EVERY_S = 0.1
_DEVICE_WORDS = ("CUDA", "cuDNN", "CUDNN", "unable to find an engine")  # in what torch says of a device
# What torch and CUDA read when they are first used: memory that does not fragment from job to job, and devices in the
# order in which nvidia-smi, and so our settings, number them.
_CUDA = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
_IDLE_S = 1.0  # without a job for so long, the device has time to load a pipeline


class _StopRequested(BaseException):
    """Raised inside the pipeline at the step after a Stop; not an Exception, so that no pipeline swallows it."""


class DeviceProcess:
    """Pipelines kept warm on one device.

    Args:
        pipe: to the worker.
        machine: what they find here.
        names: the pipelines it may load.
    """

    def __init__(self, pipe: Connection, machine: Machine, names: list[str]) -> None:
        self._pipe = pipe
        self._machine = machine
        self._names = names
        self._loaded: dict[str, Pipeline] = {}
        self._reported = (0.0, "")

    def serve(self) -> None:
        """Works until the pipe closes. Pipelines light enough to have ready before their first job are loaded while
        nothing waits: after a crash, a job should not wait for what it does not need."""
        cold = [name for name in self._names if pipelines.entry(name).lane == "cpu"]
        while cold and not self._pipe.poll():
            self._warm(cold.pop(0))
        send(self._pipe, Ready(list(self._loaded)))
        while True:
            while cold and not self._pipe.poll(_IDLE_S):
                self._warm(cold.pop(0))
                send(self._pipe, Ready(list(self._loaded)))
            message = receive(self._pipe)
            if isinstance(message, Run):
                with logs.about(request_id=message.request_id, job_id=message.job_id):
                    send(self._pipe, self._carry_out(message))

    def _warm(self, name: str) -> None:
        """Loads a pipeline ahead of its first job. One that cannot be loaded keeps no other from working."""
        try:
            self._pipeline(name)
        except Exception:
            log.exception("the pipeline %r cannot be loaded; its jobs will fail", name)

    def _pipeline(self, name: str) -> Pipeline:
        if name not in self._loaded:
            self._loaded[name] = pipelines.load(name, self._machine)
        return self._loaded[name]

    def _carry_out(self, job: Run) -> Done | Failed | Stopped:
        try:
            return self._run(job)
        except _StopRequested:
            return Stopped()
        except PipelineError as error:
            log.warning("job %s: %s: %s", job.job_id, error.kind, error)
            return Failed(error.kind, str(error), broken=error.kind == "device_error")
        except MemoryError:
            log.exception("job %s ran out of memory", job.job_id)
            return Failed("device_error", "the device ran out of memory", broken=True)
        except Exception as error:
            log.exception("job %s failed", job.job_id)
            broken = _is_device_failure(error)
            kind = "device_error" if broken else "storage" if is_full(error) else "internal"
            return Failed(kind, f"{type(error).__name__}: {error}", broken)

    def _run(self, job: Run) -> Done:
        self._reported = (0.0, "")
        started = time.time()
        pipeline = self._pipeline(job.pipeline)
        params = pipelines.params_class(job.pipeline)(**job.params)
        progress = Progress(self._report, pipeline.plan(params), self._show)
        kept = Kept({name: Path(path) for name, path in job.kept.items()}, self._save)
        out = Path(job.out)
        result = pipeline.run([Path(image) for image in job.images], params, out, progress, kept)
        about = {**job.about, "pipeline": job.pipeline, "device": self._machine.device, "started_at": started}
        write_manifest(out, params.model_dump(mode="json"), result, about)
        return Done(list(self._loaded), result.warnings, result.timings)

    def _report(self, step: Step) -> None:
        if self._pipe.poll() and isinstance(receive(self._pipe), Stop):
            raise _StopRequested
        last, stage = self._reported
        if step.stage != stage or time.monotonic() - last >= _REPORT_EVERY_S:
            self._reported = (time.monotonic(), step.stage)
            send(self._pipe, Advanced(step.stage, step.step, step.of, step.fraction))

    def _show(self, path: Path) -> None:
        send(self._pipe, Previewed(str(path)))

    def _save(self, path: Path) -> None:
        send(self._pipe, Saved(str(path)))


def _is_device_failure(error: Exception) -> bool:
    """Whether a foreign exception means the device can no longer be trusted, told without importing torch."""
    names = {cls.__name__ for cls in type(error).__mro__}
    told = str(error)
    return bool(names & {"OutOfMemoryError", "AcceleratorError"}) or any(word in told for word in _DEVICE_WORDS)


def main() -> None:
    for name, value in _CUDA.items():
        os.environ.setdefault(name, value)
    parser = argparse.ArgumentParser(description="Holds one device and its models for a worker.")
    parser.add_argument("--pipe", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    machines.add_flags(parser)
    parser.add_argument("--pipelines", required=True)
    parser.add_argument("--plugins", default="")
    parser.add_argument("--log-level", default="INFO")
    parser.add_argument("--log-format", default="text")
    args = parser.parse_args()
    die_with_parent(signal.SIGKILL, args.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's business
    logs.configure(args.log_level, args.log_format)
    for module in filter(None, args.plugins.split(",")):
        pipelines.register(module)
    try:
        DeviceProcess(Connection(args.pipe), machines.from_flags(args), args.pipelines.split(",")).serve()
    except (EOFError, OSError):
        log.info("the worker has gone; leaving")


if __name__ == "__main__":
    main()
