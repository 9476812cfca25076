"""Tells whoever asked for it that a job has ended: one signed POST, repeated until it is taken.

The signature is that of Standard Webhooks: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` "v1," with the
base64 HMAC-SHA256 of "id.timestamp.body" under the secret. A receiver may be told twice, with the same webhook-id.

`python -m jobs.webhooks` prints the secret.
"""

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import redis

from configs import logs
from configs.settings import Settings, load_settings
from jobs.errors import JobNotFound, JobsError
from jobs.queue import JobQueue
from jobs.records import JobRecord, JobStatus
from jobs.remote import INTERNET, FetchFailed, Network, UrlNotAllowed, post
from jobs.server import serving
from jobs.transitions import PREFIX, Transitions
from storage import Storage, keys, open_storage

log = logging.getLogger(__name__)

PAUSES_S = (5, 30, 120, 600, 1800, 7200)  # after each try that failed; after the last there is no other
_SECRET = PREFIX + "webhook_secret"
_LOOK_S = 0.5
_TRY_S = 10.0
_HANDS = 8
_GONE = 410  # the receiver says that it wants no more of these


def signing_secret(redis_client: Any, settings: Settings) -> str:
    """What webhooks are signed with: MAQUETTE_WEBHOOK_SECRET, else one made once and kept in Redis for all hosts."""
    if settings.webhook_secret:
        return settings.webhook_secret
    redis_client.set(_SECRET, "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(), nx=True)
    return str(redis_client.get(_SECRET))


def signed_headers(secret: str, message_id: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    text = f"{message_id}.{sent_at}.".encode() + body
    signature = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v1,{signature}",
    }


def message(record: JobRecord) -> dict[str, Any]:
    """What a receiver is told about an ended job. Addresses are paths on this service."""
    folder = keys.output_folder(record.client, record.id)
    data: dict[str, Any] = {
        "job_id": record.id,
        "request_id": record.id,
        "status": record.status,
        "pipeline": record.pipeline,
        "image_name": record.image_name,
        "created_at": record.created_at,
        "started_at": record.started_at or None,
        "ended_at": record.ended_at,
        "warnings": record.warnings,
        "urls": {"job": f"/jobs/{record.id}"},
    }
    if record.status is JobStatus.COMPLETE:
        data["urls"]["files"] = {name: "/" + quote(f"{folder}/{name}") for name in record.files}
    if record.error:
        data |= {"error": record.error, "error_kind": record.error_kind}
    ended = datetime.fromtimestamp(record.ended_at, UTC).isoformat()
    return {"type": f"job.{record.status}", "timestamp": ended, "data": data}


class Courier:
    """One host's courier, a thread of the process that starts the workers. Any number of hosts may have one."""

    def __init__(self, url: str, storage: Storage, settings: Settings, network: Network = INTERNET) -> None:
        self._jobs = JobQueue(url, storage, settings)
        self._transitions = Transitions(self._jobs.redis)
        self._settings = settings
        self._network = network
        self._closing = threading.Event()
        self._free = threading.Semaphore(_HANDS)
        self._hands = ThreadPoolExecutor(_HANDS, thread_name_prefix="courier")
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._hands.shutdown(wait=False, cancel_futures=True)  # what was not delivered is due again soon
        self._thread.join(2)

    def _work(self) -> None:
        while not self._closing.wait(_LOOK_S):
            try:
                while self._free.acquire(timeout=_TRY_S) and not self._closing.is_set() and self._begin_next():
                    pass
            except (redis.RedisError, JobsError) as error:
                log.warning("webhooks cannot be looked at just now: %s", error)
            except Exception:
                log.exception("webhooks cannot be delivered just now")

    def _begin_next(self) -> bool:
        """Hands the next call that is due to a free hand; False when none is."""
        begun = False
        try:
            if job_id := self._transitions.next_webhook(lease_s=6 * _TRY_S):
                self._hands.submit(self._carry, job_id)
                begun = True
        finally:
            if not begun:
                self._free.release()
        return begun

    def _carry(self, job_id: str) -> None:
        try:
            with logs.about(job_id=job_id):
                self.deliver(job_id)
        except Exception:
            log.exception("job %s: its webhook could not be handled; it is due again in a minute", job_id)
        finally:
            self._free.release()

    def deliver(self, job_id: str) -> str:
        """One try: "delivered", "again", "failed" for good, or "" when the job is no more."""
        try:
            record = self._jobs.get(job_id)
        except JobNotFound:
            self._transitions.webhook_tried(job_id, "failed", 0, "")
            return ""
        state, note = self._try(record)
        pause = PAUSES_S[record.webhook_tries] if record.webhook_tries < len(PAUSES_S) else None
        if state == "again" and pause is None:
            state = "failed"
        self._transitions.webhook_tried(job_id, state, pause or 0, note)
        log.info("job %s: webhook %s (%s)", job_id, state, note)
        return state

    def _try(self, record: JobRecord) -> tuple[str, str]:
        body = json.dumps(message(record)).encode()
        secret = signing_secret(self._jobs.redis, self._settings)
        headers = signed_headers(secret, f"msg_{record.id}", int(time.time()), body)
        try:
            status = post(
                record.webhook_url,
                body,
                headers,
                allow_private=self._settings.allow_private_urls,
                timeout_s=_TRY_S,
                network=self._network,
            )
        except UrlNotAllowed as error:
            return "failed", str(error)
        except FetchFailed as error:
            return "again", str(error)
        if 200 <= status < 300:
            return "delivered", f"HTTP {status}"
        return "failed" if status == _GONE else "again", f"the receiver answered HTTP {status}"


def main() -> None:
    settings = load_settings()
    with serving(settings) as url:
        print(signing_secret(JobQueue(url, open_storage(settings.storage), settings).redis, settings))


if __name__ == "__main__":
    main()
