"""Compares three sources after a run: what clients were told, what Redis says, and what lies in the storage."""

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.clients import problems
from benchmarks.chaos.journal import FINAL, Journal, Order, Violation
from jobs.transitions import PREFIX

_ID = re.compile(r"[0-9a-f]{32}")
_MOST_ATTEMPTS = "attempt 3 of 3"


@dataclass
class Books:
    """What Redis says, read key by key and not through the service's own code.

    Attributes:
        records: job id → its hash.
        places: key of a set, sorted set or list that says where jobs stand → the ids in it.
        named: every other key of ours that has a job's id in its name, and that id.
        endless: those of them that are an event stream without a time at which it goes.
        rq: what RQ still holds: key → how much.
    """

    records: dict[str, dict[str, str]] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    endless: dict[str, str] = field(default_factory=dict)
    rq: dict[str, int] = field(default_factory=dict)


def read_books(redis: Any) -> Books:
    """Everything in this Redis that speaks of jobs."""
    books = Books()
    for key in sorted(redis.scan_iter(count=1000)):
        if key.startswith("rq:"):
            _read_rq(books, redis, key)
        elif re.fullmatch(f"{PREFIX}job:{_ID.pattern}", key):
            books.records[key.removeprefix(f"{PREFIX}job:")] = redis.hgetall(key)
        elif key.startswith((f"{PREFIX}waiting:", f"{PREFIX}processing", f"{PREFIX}ended")):
            books.places[key] = redis.zrange(key, 0, -1)
        elif re.fullmatch(f"{PREFIX}client:.*:(waiting|processing)", key):
            books.places[key] = sorted(redis.smembers(key))
        elif re.fullmatch(f"{PREFIX}client:.*:history", key):
            books.places[key] = redis.zrange(key, 0, -1)
        elif found := _ID.search(key):
            books.named[key] = found.group()
            if key.startswith(f"{PREFIX}events:") and redis.ttl(key) < 0:
                books.endless[key] = found.group()
    return books


def _read_rq(books: Books, redis: Any, key: str) -> None:
    """RQ's queues, its hashes of jobs, and its registries; not its workers."""
    kind = redis.type(key)
    if key.startswith("rq:job:"):
        books.rq[key] = 1
    elif key.startswith(("rq:worker", "rq:queues", "rq:clean")):
        return
    elif kind == "list":
        books.rq[key] = redis.llen(key)
    elif kind == "zset":
        books.rq[key] = redis.zcard(key)


@dataclass
class Verdict:
    """What was found. `facts` are counts that are no violation."""

    violations: list[Violation] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def count(self, kind: str) -> int:
        """The jobs, not the sentences, of one kind of violation."""
        return len({violation.job for violation in self.violations if violation.kind == kind})

    def blame(self, kind: str, job: str, text: str) -> None:
        self.violations.append(Violation(kind, job, text))


def check(journal: Journal, books: Books, storage: Path, disk_was_full: bool = False) -> Verdict:
    """Everything that does not fit together once the service is at rest."""
    verdict = Verdict(list(journal.violations))
    for order in journal.orders:
        _check_order(verdict, order, books, disk_was_full)
    _check_strays(verdict, journal, books)
    _check_rq(verdict, books)
    _check_storage(verdict, journal, books, storage)
    return verdict


def _check_order(verdict: Verdict, order: Order, books: Books, disk_was_full: bool) -> None:
    if not order.ids:
        verdict.blame("unavailable", order.key, "its submit was never answered")
        return
    record = books.records.get(order.id)
    if record is None:
        if not order.deletes:
            verdict.blame("lost", order.id, f"was accepted ({order.kind}), and Redis has no record of it")
        return
    status = record["status"]
    where = [key for key, ids in books.places.items() if order.id in ids and not key.endswith(":history")]
    if status not in FINAL:
        verdict.blame("lost", order.id, f"was accepted ({order.kind}) and never ended: {status}, in {where}")
        return
    if where != [PREFIX + "ended"] or books.places[where[0]].count(order.id) != 1:
        verdict.blame("books", order.id, f"is {status} and stands in {where}")
    if order.last is None:
        if not order.gone:
            verdict.blame("unavailable", order.id, f"ended as {status}, and its client never heard of it")
    elif order.last["status"] != status or (order.last["error"] or "") != record.get("error", ""):
        verdict.blame("changed", order.id, f"its client was told {order.last}, and the record says {record}")
    if problem := _unexpected(order, record, disk_was_full):
        verdict.blame("unexpected_end", order.id, problem)


def _unexpected(order: Order, record: dict[str, str], disk_was_full: bool) -> str:
    """Why this end is not one this order may have; empty when it may."""
    status, kind, error = record["status"], record.get("error_kind", ""), record.get("error", "")
    told = f"a {order.kind} job ended as {status} ({kind}: {error})"
    if order.cancelled and status != "cancelled":
        return f"{told} after its client had been told that it would be cancelled"
    if status == "cancelled":
        return "" if order.deletes else f"{told}, and nobody had asked for it"
    if status == "complete":
        return told if order.kind in ("crash", "bad_input") else ""
    if order.kind == "bad_input" and kind == "bad_input":
        return ""
    worn_out = kind in ("crashed", "device_error", "storage") and _MOST_ATTEMPTS in error
    full = disk_was_full and "No space left" in error
    return "" if worn_out or full else told


def _check_strays(verdict: Verdict, journal: Journal, books: Books) -> None:
    """Ids that no client was ever answered, and ids of nothing."""
    known = {job_id for order in journal.orders for job_id in order.ids}
    by_key = {f"{PREFIX}client:{{}}:idempotency:{order.key}".rpartition(":")[2]: order for order in journal.orders}
    for job_id, record in books.records.items():
        if job_id in known:
            continue
        order = by_key.get(record.get("idempotency_key", "").rpartition(":")[2])
        if order and order.ids:
            verdict.blame("duplicated", order.id, f"its key also brought {job_id}")
        elif not order:
            verdict.blame("stray", job_id, "a record of a job that nobody has submitted")
    for place, ids in books.places.items():
        for job_id in set(ids) - set(books.records):
            verdict.blame("books", job_id, f"has no record, and stands in {place}")
    for key, job_id in books.named.items():
        if job_id not in books.records and job_id not in known:
            verdict.blame("stray", job_id, f"the key {key} is of no known job")

    for key, job_id in books.endless.items():
        if books.records.get(job_id, {}).get("status") in FINAL:
            verdict.blame("leftover", job_id, f"has ended, and {key} never goes")


def _check_rq(verdict: Verdict, books: Books) -> None:
    for key, count in books.rq.items():
        if count:
            verdict.blame("leftover", key, f"RQ still holds {count}")


def _check_storage(verdict: Verdict, journal: Journal, books: Books, storage: Path) -> None:
    orders = {order.id: order for order in journal.orders if order.ids}
    lying = {folder.name: folder for folder in storage.glob("outputs/*/*")}
    complete = {job_id for job_id, record in books.records.items() if record["status"] == "complete"}
    for job_id in complete - set(lying):
        verdict.blame("lost", job_id, "is complete, and its outputs are not there")
    went_on = 0
    for job_id, folder in lying.items():
        if job_id not in books.records:
            verdict.blame("stray", job_id, f"{folder.relative_to(storage)} belongs to no job")
        elif job_id not in complete:
            verdict.blame("half_published", job_id, f"is {books.records[job_id]['status']}, and has outputs")
        elif order := orders.get(job_id):
            faults = problems(order, files := _files(folder))
            for problem in faults:
                verdict.blame("half_published", job_id, problem)
            went_on += not faults and bool(json.loads(files["manifest.json"]).get("went_on"))
    inputs = {folder.name for folder in storage.glob("inputs/*")}
    for job_id in set(books.records) - inputs:
        verdict.blame("lost", job_id, "its pictures are not there")
    verdict.facts["went_on"] = went_on  # from what an earlier attempt had kept
    verdict.facts["orphan_inputs"] = len(inputs - set(books.records))
    ended = {job_id for job_id, record in books.records.items() if record["status"] in FINAL}
    verdict.facts["kept_left"] = len({path.parts[-3] for path in storage.glob("extras/*/*/kept/*")} & ended)
    verdict.facts["scratch_left"] = len(list(storage.glob("scratch/*")))


def _files(folder: Path) -> dict[str, bytes]:
    paths = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
