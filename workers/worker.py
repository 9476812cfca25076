"""Our RQ worker: listens to one queue for one device. No torch here; the models live in the device process.

No stock class fits: the forking ones lose CUDA and the resident models, SimpleWorker cannot be cancelled. Ours keeps
RQ's loop, its crash-safe hand-over and its bookkeeping of workers, and replaces what happens to a job.
"""

import argparse
import logging
import math
import os
import signal
import socket
import time
import uuid
from types import FrameType

import rq
from rq.exceptions import StopRequested
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker, WorkerStatus

import pipelines
from configs import logs
from configs.hub import load_hub
from configs.settings import Settings, load_settings
from jobs.fleet import Fleet, WorkerInfo
from jobs.queue import rq_push, rq_queue
from jobs.server import connect
from jobs.transitions import Transitions
from storage import open_storage
from workers import devices, machines, tasks
from workers.offers import offer
from workers.processes import follow_parent
from workers.supervisor import Supervisor

log = logging.getLogger(__name__)

_MINUTE_S = 60.0
_PATIENCE_S = 120.0  # how long Redis may be away before the worker gives up and is started anew


class Meter:
    """How busy a device is: seconds in all, and the share of about the last minute."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.share = 0.0
        self._busy = False
        self._read = time.monotonic()

    def read(self, busy: bool) -> None:
        """Counts the time since the last reading as what the device has done then, and notes what it does now."""
        now = time.monotonic()
        passed, self._read = now - self._read, now
        if self._busy:
            self.seconds += passed
        weight = math.exp(-passed / _MINUTE_S)
        self.share = self.share * weight + self._busy * (1 - weight)
        self._busy = busy


class DeviceWorker(BaseWorker):
    """One device's worker.

    Args:
        url: where Redis is.
        device: "cpu", "cuda:0", …
    """

    def __init__(self, url: str, device: str, settings: Settings) -> None:
        self._settings = settings
        self._device = device
        self._lane = devices.lane(device)
        machine = machines.machine(device, settings, load_hub())
        self._offer = offer(settings, machine)
        for pipeline, reason in self._offer.unavailable.items():
            log.info("%s cannot run on %s: %s", pipeline, device, reason)
        self._supervisor = Supervisor(
            machine, self._offer.pipelines, settings.plugins, settings.log_level, settings.log_format
        )
        raw = connect(url, decode=False, retry_s=_PATIENCE_S)
        client = connect(url, retry_s=_PATIENCE_S)
        self._queue = rq_queue(self._lane, raw)
        name = f"{socket.gethostname()}-{device.replace(':', '')}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        super().__init__([self._queue], name=name, connection=raw, serializer=JSONSerializer, worker_ttl=30)
        self.log_job_description = False
        self._fleet = Fleet(client)
        self._runner = tasks.JobRunner(
            name,
            settings,
            Transitions(client),
            open_storage(settings.storage),
            self._supervisor,
            requeue=lambda job_id: rq_push(self._queue, job_id, at_front=True),
            pass_on=lambda job_id: rq_push(self._queue, job_id),
            offered=self._offer.pipelines,
            stopping=self._out_of_grace,
            beat=self._beat,
        )
        tasks.serve_with(self._runner)
        self._published = 0.0
        self._was_ready = False
        self._told_to_stop = 0.0
        self._born = time.time()
        self._done = 0
        self._meter = Meter()

    # What RQ's loop calls

    @property
    def dequeue_timeout(self) -> int:
        return max(1, int(self._settings.lease_s / 4)) if self._supervisor.ready else 1

    @property
    def connection_timeout(self) -> int:
        return int(self._settings.lease_s) + 10

    def heartbeat(self, timeout: int | None = None, pipeline: object = None) -> None:
        """RQ's loop comes by here between waits: a good moment to look after the device process too."""
        self._supervisor.ensure()
        if self._supervisor.ready != self._was_ready:
            self._was_ready = self._supervisor.ready
            self._published = 0.0
        self._beat()
        super().heartbeat(timeout, pipeline)  # type: ignore[arg-type]

    def run_maintenance_tasks(self) -> None:
        """RQ's own rescue comes after minutes and ends jobs; the reaper's comes after seconds and requeues them."""
        rq.worker_registration.clean_worker_registry(self._queue)
        self.last_cleaned_at = rq.utils.now()  # type: ignore[assignment]

    def check_for_suspension(self, burst: bool) -> None:
        """RQ's suspension switch is not part of our contract; not asking saves a round trip a job."""

    def subscribe(self) -> None:
        """RQ's command channel cannot stop our jobs, and its thread ends with the first Redis restart."""

    def unsubscribe(self) -> None:
        """Nothing was subscribed."""

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Hands the job to `tasks.run`. RQ's own copy has then served its purpose: the claim in there is what counts,
        and if we die before it, the reaper finds a waiting job that RQ does not know and hands it over again."""
        self._state = WorkerStatus.BUSY
        self._published = 0.0
        self._meter.read(busy=True)
        with self.connection.pipeline() as pipe:
            pipe.lrem(queue.intermediate_queue_key, 1, job.id)
            pipe.delete(job.key)
            pipe.execute()
        try:
            job.func(*job.args)
            self._done += 1
        finally:
            self._state = WorkerStatus.IDLE
            self._published = 0.0
            self._meter.read(busy=False)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        self._told_to_stop = self._told_to_stop or time.monotonic()
        signal.signal(signal.SIGINT, self.request_stop)
        if self._state == WorkerStatus.BUSY:
            self._stop_requested = True
            return
        raise StopRequested

    # Our side

    def _out_of_grace(self) -> bool:
        return self._told_to_stop > 0 and time.monotonic() - self._told_to_stop > self._settings.stop_grace_s

    def _beat(self) -> None:
        """Tells the fleet that we live, a few times in each lease."""
        if time.monotonic() - self._published < self._settings.lease_s / 4:
            return
        self._published = time.monotonic()
        self._meter.read(busy=self._state == WorkerStatus.BUSY)
        total, free = devices.memory_mb(self._device)
        info = WorkerInfo(
            name=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            device=self._device,
            queue=self._lane,
            state=self._word(),
            pipelines=self._offer.pipelines,
            unavailable=self._offer.unavailable,
            weights=self._offer.weights,
            loaded=self._supervisor.loaded,
            memory_total_mb=total,
            memory_free_mb=free,
            job_id=self._runner.current_job,
            device_pid=self._supervisor.pid,
            jobs_done=self._done,
            device_restarts=max(self._supervisor.restarts, 0),
            busy_s=round(self._meter.seconds, 3),
            utilization=round(self._meter.share, 4),
            started_at=self._born,
        )
        self._fleet.publish(info, self._settings.lease_s)

    def _word(self) -> str:
        if self._told_to_stop:
            return "stopping"
        if self._runner.current_job:
            return "busy"
        return "ready" if self._supervisor.ready else "starting"

    def teardown(self) -> None:
        """The last thing RQ's loop does."""
        self._supervisor.kill()
        self._fleet.retire(self.name)
        super().teardown()  # type: ignore[no-untyped-call]


def main() -> None:
    parser = argparse.ArgumentParser(description="One AI worker for one device; `python ai_worker.py` starts them.")
    parser.add_argument("--redis", required=True, help="where Redis is")
    parser.add_argument("--device", required=True, help="cpu, cuda:0, …")
    args = parser.parse_args()
    follow_parent()
    settings = load_settings()
    logs.configure(settings.log_level, settings.log_format)
    for module in settings.plugins:
        pipelines.register(module)
    with devices.held(args.device, settings.data_dir):
        DeviceWorker(args.redis, args.device, settings).work(logging_level="WARNING")


if __name__ == "__main__":
    main()
