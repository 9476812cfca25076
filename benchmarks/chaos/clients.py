"""Clients that never give up: they submit, look, read, download, cancel, and check every answer on the spot."""

import hashlib
import io
import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import requests
from PIL import Image

from benchmarks.chaos.journal import Journal, Order
from benchmarks.chaos.work import NAME, expected

_FOLLOWED = 0.03  # share of the looks at a job that open its event stream, once
_LOST_REPLY_S = 0.004  # a client as impatient as this rarely hears the answer to its submit


def picture(rng: np.random.Generator, side: int = 12) -> tuple[bytes, bytes]:
    """A small PNG like no other, and its pixels."""
    pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue(), pixels.tobytes()


def blob() -> bytes:
    """A disc on nothing: the least that relief makes an asset of."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    inside = (x**2 + y**2 < 0.6)[..., None]
    pixels = np.concatenate([np.full((64, 64, 3), 140), 255 * np.ones((64, 64, 1))], axis=2) * inside
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8), "RGBA").save(buffer, "PNG")
    return buffer.getvalue()


# Share of each kind: mostly quick work, a few that take seconds, real assets, and those that must end badly.
KINDS = {"work": 0.77, "long": 0.08, "relief": 0.03, "bad_input": 0.11, "crash": 0.01}
_CANCELLED = {"work": 0.08, "long": 0.5}


def orders(
    count: int, clients: Sequence[str], seconds: float, rng: random.Random, mix: Mapping[str, float] = KINDS
) -> list[Order]:
    """`count` jobs of several kinds and sizes by several clients, spread over `seconds`."""
    noise, disc = np.random.default_rng(rng.getrandbits(32)), blob()
    kinds = [kind for kind, share in mix.items() for _ in range(max(1, round(share * count)))][:count]
    kinds += ["work"] * (count - len(kinds))
    rng.shuffle(kinds)
    found = []
    for number, kind in enumerate(kinds):
        image, pixels = picture(noise)
        params: dict[str, Any] = {"pipeline": NAME, "seed": rng.randrange(10**6), "kilobytes": rng.choice((1, 16, 200))}
        params |= {"seconds": round(rng.uniform(0.02, 0.4), 3), "steps": rng.randint(2, 8)}
        if kind == "long":
            params |= {"seconds": round(rng.uniform(1.5, 4), 3), "steps": 20}
        elif kind == "relief":
            image, params = (
                disc,
                {"pipeline": "relief", "seed": number, "texture_size": 256, "texture_bake_mode": "fast"},
            )
        elif kind in ("crash", "bad_input"):
            params |= {"deed": kind}
        who, key = rng.choice(clients), f"order-{number}-{rng.getrandbits(64):x}"
        order = Order(number, who, key, kind, image, pixels, params, due_s=seconds * number / count)
        if rng.random() < _CANCELLED.get(kind, 0):
            order.cancel_after_s = rng.choice((0.0, rng.uniform(0, 3)))
        found.append(order)
    return found


class Client(threading.Thread):
    """One client with its own key, its own connection and its own orders. Ends when all of them are over.

    Args:
        started: time.monotonic() at which the orders' clock began.
        most_open: it hands in no more while so many of its jobs have not ended.
        pause_s: mean time between two requests; the cores are for the service.
        give_up: whether it should stop, with orders still open; those are for the checker.
    """

    def __init__(
        self,
        url: str,
        name: str,
        journal: Journal,
        wanted: Sequence[Order],
        started: float,
        give_up: Callable[[], bool],
        seed: int,
        pause_s: float = 0.12,
        most_open: int = 1000,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._url = url
        self._journal = journal
        self._clock = started
        self._give_up = give_up
        self._pause_s = pause_s
        self._most_open = most_open
        self._followers: list[threading.Thread] = []
        self._rng = random.Random(seed)
        self._session = requests.Session()
        self._session.headers["X-API-Key"] = name
        self._wanted = deque(wanted)
        self._open: list[Order] = []
        self._ended: list[Order] = []
        self._not_before = 0.0

    def run(self) -> None:
        while (self._wanted or self._open) and not self._give_up():
            if self._may_submit():
                self._submit(self._wanted[0])
            elif self._open:
                self._look_after(self._open[int(len(self._open) * self._rng.random() ** 2)])  # the oldest end first
            time.sleep(self._pause_s * self._rng.uniform(0.5, 1.5))
        for thread in self._followers:
            thread.join(60)
        for order in [] if self._journal.forgets else self._ended:  # an end is for ever, and so are the files
            self._look(order)
            if order.kind != "relief" and order.last and order.last["status"] == "complete" and not order.gone:
                self._download(order)

    def _may_submit(self) -> bool:
        if not self._wanted or len(self._open) >= self._most_open:
            return False
        return time.monotonic() >= max(self._clock + self._wanted[0].due_s, self._not_before)

    # One request each

    def _ask(self, method: str, path: str, answer_s: float = 8.0, **more: Any) -> requests.Response | None:
        """The answer; None when no connection held, or when it is a 503 or 429, which ask for patience."""
        try:
            answer = self._session.request(method, self._url + path, timeout=(2, answer_s), **more)
        except requests.RequestException as error:
            self._journal.refused(type(error).__name__)
            return None
        if answer.status_code in (429, 503):
            self._journal.refused(f"{answer.status_code} {answer.json()['code']}")
            if "Retry-After" not in answer.headers:
                self._journal.blame("server_error", path, f"{answer.status_code} without Retry-After")
            return None
        if answer.status_code >= 500:
            self._journal.blame("server_error", path, f"{method}: HTTP {answer.status_code}: {answer.text[:200]}")
            return None
        return answer

    def _submit(self, order: Order) -> None:
        sent = time.time()
        impatient = self._rng.random() < 0.1
        answer = self._ask(
            "POST",
            "/image_to_3d",
            answer_s=_LOST_REPLY_S if impatient else 8.0,
            files=[("image", ("picture.png", order.picture, "image/png"))],
            data=order.params,
            headers={"Idempotency-Key": order.key},
        )
        if answer is None:
            self._not_before = time.monotonic() + self._rng.uniform(0.05, 0.3)
        elif answer.status_code == 409 and (order.deletes or self._journal.forgets):
            order.gone = True  # a repetition of a submit whose job we have removed since
        elif answer.ok:
            again = bool(order.ids)
            self._journal.accepted(order, answer.json()["request_id"], sent)
            if not again:
                self._open.append(self._wanted.popleft())
        else:
            self._journal.blame("server_error", order.key, f"submit: HTTP {answer.status_code}: {answer.text[:200]}")
            if not order.ids:
                self._wanted.popleft()

    def _look_after(self, order: Order) -> None:
        if order.cancel_after_s is not None and not order.deletes:
            if time.time() >= order.accepted_at + order.cancel_after_s:
                return self._cancel(order)
        choice = self._rng.random()
        if choice < 0.03:
            self._submit(order)
        elif choice < 0.06:
            self._history()
        else:
            self._look(order)
        if order.over and order in self._open:
            self._open.remove(order)
            self._ended.append(order)
            if order.last and order.last["status"] == "complete" and not order.gone:
                self._download(order)
        return None

    def _look(self, order: Order) -> None:
        wait = f"?wait={self._rng.choice((0, 1, 2))}" if self._rng.random() < 0.1 else ""
        asked = time.time()
        answer = self._ask("GET", f"/jobs/{order.id}{wait}")
        if answer is None:
            return
        if answer.status_code == 404:
            self._journal.missing(order)
        elif answer.ok:
            self._journal.told(order, answer.json(), asked)
            events = answer.json()["urls"].get("events")
            if events and not order.followed and not order.over and self._rng.random() < _FOLLOWED:
                order.followed = True
                thread = threading.Thread(target=self._follow, args=[order, events], daemon=True)
                thread.start()
                self._followers.append(thread)
        else:
            self._journal.blame("server_error", order.id, f"GET: HTTP {answer.status_code}: {answer.text[:200]}")

    def _follow(self, order: Order, address: str) -> None:
        """Reads the job's event stream to its end, taking it up again where it broke."""
        headers = dict(self._session.headers) | {"Accept": "text/event-stream"}
        while not order.over and not self._give_up():
            try:
                with requests.get(self._url + address, headers=headers, stream=True, timeout=(2, 20)) as answer:
                    if answer.status_code != 200:
                        if answer.status_code == 204:
                            return
                        time.sleep(0.5)
                        continue
                    self._read_events(order, answer, headers)
            except requests.RequestException as error:
                self._journal.refused(f"stream {type(error).__name__}")
                time.sleep(0.7)

    def _read_events(self, order: Order, answer: requests.Response, headers: dict[Any, Any]) -> None:
        event = ""
        for line in answer.iter_lines(decode_unicode=True):
            name, _, value = line.partition(": ")
            if name == "id":
                headers["Last-Event-ID"] = value
            elif name == "event":
                event = value
            elif name == "data" and event in ("done", "error"):
                self._journal.streams += 1
                self._journal.told(order, json.loads(value), time.time())

    def _cancel(self, order: Order) -> None:
        order.deletes.append(time.time())
        answer = self._ask("DELETE", f"/jobs/{order.id}")
        if answer is None:
            return
        told = answer.json()
        if answer.status_code == 404:
            self._journal.blame("lost", order.id, "was accepted, and DELETE does not know it")
        elif not answer.ok:
            self._journal.blame("server_error", order.id, f"DELETE: HTTP {answer.status_code}: {answer.text[:200]}")
        elif told["deleted"]:
            order.gone = True
        elif told["status"] == "cancelled" or told.get("cancelling"):  # else it has ended in between, and stays so
            order.cancelled = True

    def _history(self) -> None:
        answer = self._ask("GET", "/my_requests")
        if answer is None or self._journal.forgets:
            return
        listed = {one["request_id"] for one in answer.json()["requests"]}
        for order in [order for order in self._open + self._ended if not order.deletes]:
            if order.id not in listed:
                self._journal.blame("lost", order.id, "was accepted, and is not in its client's history")

    def _download(self, order: Order) -> None:
        """Reads every file of a complete job; what is missing, short or wrong was published half."""
        answer = self._ask("GET", f"/jobs/{order.id}")
        if answer is None or not answer.ok:
            return
        files = {}
        for name, address in answer.json()["urls"]["files"].items():
            part = self._ask("GET", address)
            if part is None:
                return
            if not part.ok:
                if not order.deletes and not self._journal.forgets:
                    self._journal.blame("half_published", order.id, f"{name}: HTTP {part.status_code}")
                return
            files[name] = part.content
        order.downloads += 1
        for problem in problems(order, files):
            self._journal.blame("half_published", order.id, problem)


def problems(order: Order, files: dict[str, bytes]) -> list[str]:
    """What is wrong with a job's files, as downloaded or as they lie in the storage."""
    try:
        manifest = json.loads(files["manifest.json"])
        listed = manifest["files"]
    except (KeyError, ValueError) as error:
        return [f"no manifest that can be read: {error!r}"]
    found = []
    if set(files) != {*listed, "manifest.json"}:
        found.append(f"the files are {sorted(files)} and the manifest lists {sorted(listed)}")
    for name, about in listed.items():
        if name in files and hashlib.sha256(files[name]).hexdigest() != about["sha256"]:
            found.append(f"{name} is not what the manifest says")
    if manifest.get("request_id") != order.id:
        found.append(f"the manifest is of {manifest.get('request_id')}")
    if order.kind != "relief":
        for name, data in expected(order.pixels, order.params["seed"], order.params["kilobytes"]).items():
            if files.get(name) != data:
                found.append(f"{name} does not follow from the picture and the parameters")
    return found
