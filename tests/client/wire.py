"""What lies between a client and a service: other servers, and connections that break."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


@contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None], host: str = "127.0.0.1") -> Iterator[str]:
    """A web server that is not ours; `answer` handles each GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer((host, 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{found.server_port}"
        finally:
            found.shutdown()
            thread.join()


class Wire:
    """A connection to a service that can be made to break.

    Args:
        target: host and port of the service.

    Attributes:
        cuts: for each connection to come, after how many bytes of answer it breaks; None: it does not.
        passed: what clients have sent, connection by connection.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts: list[int | None] = []
        self.passed: list[bytearray] = []
        self._threads: list[threading.Thread] = []
        self._closing = False

    def _accept(self) -> None:
        while True:
            client, _ = self._listening.accept()
            if self._closing:
                client.close()
                return
            cut = self.cuts.pop(0) if self.cuts else None
            self.passed.append(bytearray())
            thread = threading.Thread(target=self._carry, args=[client, cut, self.passed[-1]])
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, cut: int | None, passed: bytearray) -> None:
        with client, socket.create_connection(self._target) as service:
            while not self._closing:
                readable, _, _ = select.select([client, service], [], [], 0.1)
                for end in readable:
                    try:
                        data = end.recv(65536)
                    except ConnectionError:
                        return
                    if not data:
                        return
                    if end is client:
                        passed += data
                        service.sendall(data)
                        continue
                    if cut is not None and (cut := cut - len(data)) <= 0:
                        client.sendall(data[: len(data) + cut])
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    client.sendall(data)

    def __enter__(self) -> "Wire":
        self._threads.append(threading.Thread(target=self._accept))
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        socket.create_connection(self._listening.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._listening.close()
