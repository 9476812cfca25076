"""A server that publishes files as the hub does: a redirect that names the bytes, then the bytes, ranges included."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Publisher(ThreadingHTTPServer):
    """Serves `files`, "<id>/resolve/<revision>/<path>" or any other path, and notes what it was asked.

    Attributes:
        breaks: after how many bytes of an answer the connection ends; one entry for each answer that does.
        token: what the hub's own addresses want, if not empty; without one they answer 401, to a wrong one 403.
        answers: HTTP errors to give before anything else.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.breaks: list[int] = []
        self.answers: list[int] = []
        self.token = ""
        self.ranges = True
        self.asked: list[tuple[str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of the test's business."""


class _Handler(BaseHTTPRequestHandler):
    server: Publisher

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        path = self.path.removeprefix("/")
        self.server.asked.append((path, self.headers["Range"], self.headers["Authorization"]))
        if self.server.answers:
            self._refuse(self.server.answers.pop(0))
        elif path.startswith("cdn/"):
            self._send(self.server.files[path.removeprefix("cdn/")])
        elif path not in self.server.files:
            self._refuse(404)
        elif "/resolve/" in path:
            self._redirect(path)
        else:
            self._send(self.server.files[path])

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, path: str) -> None:
        given = self.headers["Authorization"]
        if self.server.token and given != f"Bearer {self.server.token}":
            self._refuse(403 if given else 401)
            return
        etag = self.server.etags.get(path) or hashlib.sha256(self.server.files[path]).hexdigest()
        host = self.server.url.replace("127.0.0.1", "localhost")  # another host: the token must not go there
        self.send_response(302)
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("Location", f"{host}/cdn/{path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        asked = self.headers["Range"] if self.server.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        most = self.server.breaks.pop(0) if self.server.breaks else len(data)
        self.wfile.write(data[start : start + most])
        self.close_connection = True


@contextmanager
def publishing() -> Iterator[Publisher]:
    """A server in a thread of its own."""
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
