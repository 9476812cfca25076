"""The chaos run, short; and that its checker finds what it is there to find."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.chaos.checker import Verdict, check, read_books
from benchmarks.chaos.clients import orders, picture
from benchmarks.chaos.faults import KILLS, PAUSES, Fault, plan
from benchmarks.chaos.journal import Journal, Order
from benchmarks.chaos.recovery import percentile, recovery
from benchmarks.chaos.watcher import FolderWatch, Pulse
from benchmarks.chaos.work import WorkParams, WorkPipeline, expected
from benchmarks.soak import verdict
from configs.settings import Settings
from jobs.queue import Input, JobQueue
from jobs.records import JobRequest
from jobs.transitions import Transitions
from maquette_client.service import ROOT
from pipelines.base import Kept, Machine, Progress, Result
from pipelines.manifest import write_manifest
from storage import Storage
from web.resources.jobs import describe

SHORT = ["--jobs", "40", "--kills", "6", "--gap", "2", "--seed", "6018"]  # every level is hit once


@pytest.mark.service
def test_a_short_run_loses_doubles_and_halves_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.chaos", *SHORT, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["violations"] == [] and told["lost"] == told["duplicated"] == told["half_published"] == 0
    assert told["accepted"] == told["jobs"] == 40 and told["kills"] == 6 == sum(told["kills_by_target"].values())
    assert told["complete"] + told["error"] + told["cancelled"] + told["removed_by_client"] == 40
    assert told["recovery_unseen"] == 0 and told["recovery_p50_s"] <= told["recovery_p95_s"] <= told["recovery_max_s"]
    assert done.returncode == (0 if told["ok"] else 1)


class World:
    """Jobs that have ended as they should, one of each kind, and clients who know it."""

    def __init__(self, redis: Any, queue: JobQueue, transitions: Transitions, storage: Storage, folder: Path) -> None:
        self.redis = redis
        self.queue = queue
        self.transitions = transitions
        self.storage = storage
        self.folder = folder
        self.journal = Journal()
        self.noise = np.random.default_rng(0)
        self.complete = self._accepted("work")
        self.cancelled = self._accepted("work")
        self.failed = self._accepted("bad_input")
        self._end()
        for order in self.journal.orders:
            self.tell(order)

    def _accepted(self, kind: str) -> Order:
        number = len(self.journal.orders)
        image, pixels = picture(self.noise)
        params: dict[str, Any] = {"seed": number, "kilobytes": 2}
        order = Order(number, "c", f"order-{number}", kind, image, pixels, params, 0)
        self.journal.add(order)
        self.submit(order)
        return order

    def submit(self, order: Order, key: str | None = None) -> str:
        """Hands the job in and takes it out of RQ, as a worker does."""
        request = JobRequest(order.client, "trellis", "probe", order.params, idempotency_key=key or order.key)
        job_id = self.queue.submit(request, [Input(".png", order.picture)], "cpu").record.id
        self.redis.delete("rq:queue:maquette-cpu", f"rq:job:{job_id}")
        if key is None:
            self.journal.accepted(order, job_id, 1.0)
        return job_id

    def _end(self) -> None:
        self.transitions.claim(self.complete.id, "a", "w", 60)
        self.publish(self.complete, expected(self.complete.pixels, 0, 2))
        self.transitions.complete(self.complete.id, "a", ["large.bin", "manifest.json", "stage/about.json"], [])
        self.cancelled.deletes.append(1.0)
        self.cancelled.cancelled = True
        self.transitions.cancel(self.cancelled.id)
        self.transitions.claim(self.failed.id, "b", "w", 60)
        self.transitions.fail(self.failed.id, "b", "bad_input", "there is nothing in this picture")

    def publish(self, order: Order, files: dict[str, bytes]) -> Path:
        out = self.storage.scratch() / "out"
        (out / "stage").mkdir(parents=True)
        for name, data in files.items():
            (out / name).write_bytes(data)
        write_manifest(out, order.params, Result(), {"request_id": order.id, "started_at": 1.0})
        self.storage.publish(out, f"outputs/c/{order.id}")
        out.parent.rmdir()
        return self.output(order)

    def output(self, order: Order) -> Path:
        return self.folder / "outputs" / "c" / order.id

    def tell(self, order: Order) -> None:
        self.journal.told(order, describe(self.queue.look(order.id)), time.time())

    def verdict(self) -> Verdict:
        return check(self.journal, read_books(self.redis), self.folder)


@pytest.fixture
def world(redis: Any, queue: JobQueue, transitions: Transitions, storage: Storage, settings: Settings) -> World:
    return World(redis, queue, transitions, storage, settings.data_dir)


def test_a_world_in_order_has_no_violations(world: World) -> None:
    found = world.verdict()
    assert found.violations == [] and found.facts == {
        "went_on": 0,
        "orphan_inputs": 0,
        "kept_left": 0,
        "scratch_left": 0,
    }


def test_who_went_on_from_what_was_kept_is_counted(world: World) -> None:
    path = world.output(world.complete) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "went_on": True}))
    found = world.verdict()
    assert found.violations == [] and found.facts["went_on"] == 1


def _record_deleted(world: World) -> None:
    world.redis.delete(f"maquette:job:{world.complete.id}")


def _never_ended(world: World) -> None:
    world._accepted("work")


def _forgotten_by_the_service(world: World) -> None:
    world.journal.missing(world.complete)


def _picture_gone(world: World) -> None:
    world.storage.delete(f"inputs/{world.failed.id}")


def _outputs_gone(world: World) -> None:
    world.storage.delete(f"outputs/c/{world.complete.id}")


def _two_ids_for_one_key(world: World) -> None:
    world.journal.accepted(world.complete, "f" * 32, 2.0)


def _two_records_for_one_key(world: World) -> None:
    other = world.submit(world.complete, key="another")
    world.redis.hset(f"maquette:job:{other}", "idempotency_key", f"maquette:client:c:idempotency:{world.complete.key}")


def _file_truncated(world: World) -> None:
    path = world.output(world.complete) / "large.bin"
    path.write_bytes(path.read_bytes()[:-1])


def _file_missing(world: World) -> None:
    (world.output(world.complete) / "stage" / "about.json").unlink()


def _file_nobody_lists(world: World) -> None:
    (world.output(world.complete) / ".large.bin.part").touch()


def _another_jobs_files(world: World) -> None:
    world.storage.delete(f"outputs/c/{world.complete.id}")
    world.publish(world.complete, expected(world.complete.pixels, 1, 2))


def _outputs_of_a_cancelled_job(world: World) -> None:
    world.publish(world.cancelled, expected(world.cancelled.pixels, 1, 2))


def _end_changed_in_the_record(world: World) -> None:
    world.redis.hset(f"maquette:job:{world.complete.id}", mapping={"status": "cancelled"})


def _end_told_twice_and_differently(world: World) -> None:
    world.redis.hset(f"maquette:job:{world.failed.id}", "error", "something else")
    world.tell(world.failed)
    world.redis.hset(f"maquette:job:{world.failed.id}", "error", "there is nothing in this picture")


def _running_again_after_its_end(world: World) -> None:
    told = describe(world.queue.look(world.complete.id))
    world.journal.told(world.complete, told | {"status": "processing"}, time.time())


def _in_two_places(world: World) -> None:
    world.redis.zadd("maquette:processing", {world.complete.id: 1})


def _an_id_of_nothing(world: World) -> None:
    world.redis.zadd("maquette:waiting:cpu", {"e" * 32: 1})


def _still_counted_as_active(world: World) -> None:
    world.redis.sadd("maquette:client:c:processing", world.failed.id)


def _left_in_rq(world: World) -> None:
    world.redis.lpush("rq:queue:maquette-cpu", world.failed.id)


def _failed_without_a_reason(world: World) -> None:
    world.complete.last = None
    world.redis.hset(
        f"maquette:job:{world.complete.id}", mapping={"status": "error", "error": "a bug", "error_kind": "internal"}
    )
    world.tell(world.complete)
    world.storage.delete(f"outputs/c/{world.complete.id}")


def _not_cancelled_after_all(world: World) -> None:
    world.complete.deletes.append(1.0)
    world.complete.cancelled = True


def _unheard_of_by_its_client(world: World) -> None:
    world.complete.last = None


def _a_key_of_no_job(world: World) -> None:
    world.redis.set(f"maquette:job:{'d' * 32}:events", "x")


def _an_event_stream_that_stays(world: World) -> None:
    world.redis.persist(f"maquette:events:{world.failed.id}")


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (_record_deleted, "lost"),
        (_never_ended, "lost"),
        (_forgotten_by_the_service, "lost"),
        (_picture_gone, "lost"),
        (_outputs_gone, "lost"),
        (_two_ids_for_one_key, "duplicated"),
        (_two_records_for_one_key, "duplicated"),
        (_file_truncated, "half_published"),
        (_file_missing, "half_published"),
        (_file_nobody_lists, "half_published"),
        (_another_jobs_files, "half_published"),
        (_outputs_of_a_cancelled_job, "half_published"),
        (_end_changed_in_the_record, "changed"),
        (_end_told_twice_and_differently, "changed"),
        (_running_again_after_its_end, "changed"),
        (_in_two_places, "books"),
        (_an_id_of_nothing, "books"),
        (_still_counted_as_active, "books"),
        (_left_in_rq, "leftover"),
        (_failed_without_a_reason, "unexpected_end"),
        (_not_cancelled_after_all, "unexpected_end"),
        (_unheard_of_by_its_client, "unavailable"),
        (_a_key_of_no_job, "stray"),
        (_an_event_stream_that_stays, "leftover"),
    ],
)
def test_the_checker_finds_a_planted_fault(world: World, plant: Callable[[World], None], kind: str) -> None:
    plant(world)
    found = world.verdict()
    assert found.count(kind) == 1, [str(violation) for violation in found.violations]


def test_a_job_that_its_client_removed_is_not_missed(world: World) -> None:
    world.complete.deletes.append(1.0)
    world.queue.delete(world.queue.get(world.complete.id))
    world.journal.missing(world.complete)
    assert world.complete.gone and world.verdict().violations == []


def test_a_job_worn_out_by_kills_may_end_in_an_error(world: World) -> None:
    order = world._accepted("work")
    world.transitions.claim(order.id, "c", "w", 0.0)
    world.transitions.expire(order.id, 1, "crashed", "the worker died")
    world.tell(order)
    assert [violation.kind for violation in world.verdict().violations] == ["unexpected_end"], "this was the first try"
    error = "the worker died (attempt 3 of 3)"
    world.redis.hset(f"maquette:job:{order.id}", "error", error)
    order.last = None
    world.tell(order)
    assert world.verdict().violations == []


@pytest.fixture
def watch(world: World) -> FolderWatch:
    found = FolderWatch(world.folder)
    found.look()
    assert found.violations == [] and list(found.seen) == [world.complete.id]
    return found


def test_the_watch_sees_a_folder_that_is_not_whole_yet(world: World, watch: FolderWatch) -> None:
    half = world.output(world.cancelled)
    half.mkdir()
    (half / "large.bin").write_bytes(b"begun")
    watch.look()
    assert [violation.kind for violation in watch.violations] == ["half_published"]


def test_the_watch_sees_a_second_publication(world: World, watch: FolderWatch) -> None:
    world.storage.delete(f"outputs/c/{world.complete.id}")
    world.publish(world.complete, expected(world.complete.pixels, 0, 2))
    for _ in range(50):
        watch.look()
    assert [violation.kind for violation in watch.violations] == ["duplicated"]


def test_the_watch_sees_a_file_that_changes(world: World, watch: FolderWatch) -> None:
    (world.output(world.complete) / "large.bin").write_bytes(b"another")
    for _ in range(50):
        watch.look()
    assert [violation.kind for violation in watch.violations] == ["duplicated"]


def test_the_watch_does_not_mind_a_removal(world: World, watch: FolderWatch) -> None:
    world.storage.delete(f"outputs/c/{world.complete.id}")
    for _ in range(50):
        watch.look()
    assert watch.violations == []


def test_a_seed_gives_the_same_plan_and_the_same_orders() -> None:
    for make in (lambda rng: plan(40, 100, 3, True, rng), lambda rng: orders(300, ["a", "b"], 100, rng)):
        assert make(random.Random(5)) == make(random.Random(5)) != make(random.Random(6))


def test_every_kind_of_fault_comes_before_any_comes_again() -> None:
    kinds = len(KILLS) + len(PAUSES) + 1
    found = plan(kinds, 60, 3, True, random.Random(1))
    assert len({fault.name for fault in found}) == kinds and sorted(found, key=lambda fault: fault.due_s) == found
    assert all(fault.seconds > 3 for fault in found if fault.action == "pause"), "longer than the lease"


def test_recovery_lasts_until_all_three_have_happened() -> None:
    journal, pulse = Journal(), Pulse("redis://nowhere")
    journal.submits = [(99.0, 107.0), (101.0, 103.0)]
    records = {"hit": {"status": "complete", "ended_at": "120"}, "other": {"status": "complete", "ended_at": "100.5"}}
    pulse.running = [(90.0, frozenset({"hit"})), (101.0, frozenset())]
    pulse.moves = {"hit": [95.0, 104.5]}
    fault = Fault(0, "kill", "worker", at=100.0)
    found = recovery(fault, journal, records, pulse)
    assert (found.submit_s, found.work_s, found.moved_s, found.seconds) == (3.0, 0.5, 4.5, 4.5)
    pulse.moves, records["hit"] = {"hit": [95.0]}, {"status": "processing"}
    assert recovery(fault, journal, records, pulse).seconds is None, "it was never seen to move again"
    fault = Fault(0, "pause", "redis", at=100.0, lifted=102.0)
    assert recovery(fault, journal, {}, pulse).submit_s is None, "while Redis stood still nothing could recover"


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 41)]
    assert percentile(values, 0.5) == 21 and percentile(values, 0.95) == 39 and percentile([7.0], 0.95) == 7


def test_the_work_writes_what_the_checker_expects(tmp_path: Path) -> None:
    image, pixels = picture(np.random.default_rng(3))
    (tmp_path / "picture.png").write_bytes(image)
    out = tmp_path / "out"
    out.mkdir()
    params, progress = WorkParams(seed=4, kilobytes=3, steps=7), Progress(lambda step: None, WorkPipeline.PLAN)
    WorkPipeline(Machine("cpu")).run([tmp_path / "picture.png"], params, out, progress, Kept())
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()} == (
        expected(pixels, 4, 3)
    )


@pytest.mark.parametrize(
    ("name", "series", "grows"),
    [
        ("a leak", [100 + 0.05 * sample for sample in range(400)], True),
        ("a heap that wobbles", [100 + 15 * (sample // 50 % 2) for sample in range(400)], False),
        ("a beginning", [100 - 80 / (1 + sample / 10) for sample in range(400)], False),
        ("work in progress", [100 + 70 * (sample % 9 == 0) for sample in range(400)], False),
        ("a leak below work in progress", [100 + 0.05 * s + 70 * (s % 9 == 0) for s in range(400)], True),
    ],
)
def test_the_soak_tells_a_leak_from_what_comes_and_goes(name: str, series: list[float], grows: bool) -> None:
    assert verdict({("worker", "MiB"): series})["worker: MiB"]["grows"] is grows, name
