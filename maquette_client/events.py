"""Server-sent events: bytes as they come, taken apart as the HTML standard says."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from maquette_client.records import Event


class Parser:
    """Events out of a stream of bytes.

    Attributes:
        retry_s: how long the server wants us to wait before we connect again.
    """

    def __init__(self) -> None:
        self.retry_s = 2.0
        self.heard = False
        self._id = ""

    def events(self, chunks: Iterable[bytes]) -> Iterator[Event]:
        """Each event at its closing blank line; one without data is none. What is cut off at the end is dropped.

        Raises:
            ValueError: an event's data are not a JSON object.
        """
        name, data = "", list[str]()
        for line in self._lines(chunks):
            if not line:
                if data:
                    yield Event(name or "message", _object("\n".join(data)), self._id)
                name, data, self._id = "", [], ""
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id" and "\0" not in value:
                self._id = value
            elif field == "retry" and value.isascii() and value.isdigit():
                self.retry_s = int(value) / 1000

    def _lines(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """Lines end with CR, LF or both, which may come in different chunks."""
        pending, after_cr = bytearray(), False
        for chunk in chunks:
            self.heard = True
            for byte in chunk:
                if byte == 10 and after_cr:
                    after_cr = False
                    continue
                after_cr = byte == 13
                if byte in (10, 13):
                    yield pending.decode(errors="replace")
                    pending.clear()
                else:
                    pending.append(byte)


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"an event's data are {text[:80]!r} and not a JSON object")
    return found
