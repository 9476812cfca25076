"""What every request gets: an id, in its answer and in every log line about it, and a line of its own."""

import logging
import re
import time
import uuid

from flask import Flask, Response, g, request

from configs import logs

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_GIVEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SLOW_S = 1.0
_READING = ("GET", "HEAD", "OPTIONS")


def install(app: Flask) -> None:
    """Registers with the app; before all else, so that refusals have an id too."""
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda error: logs.begin())  # the thread goes on to other things


def _begin() -> None:
    given = request.headers.get(HEADER, "")  # a proxy may have named it already
    logs.begin(request_id=given if _GIVEN.fullmatch(given) else uuid.uuid4().hex)
    g.began = time.monotonic()


def _end(answer: Response) -> Response:
    answer.headers[HEADER] = logs.request_id()
    took = time.monotonic() - g.get("began", time.monotonic())
    # Polling would drown everything else.
    slow = took > _SLOW_S and "wait" not in request.args
    notable = request.method not in _READING or answer.status_code >= 500 or slow
    level = logging.INFO if notable else logging.DEBUG
    if log.isEnabledFor(level):
        fields = {"method": request.method, "path": request.path, "status": answer.status_code}
        fields["ms"] = round(took * 1000, 1)
        log.log(level, "%(method)s %(path)s: %(status)d in %(ms).1f ms", fields, extra={"fields": fields})
    return answer
