"""GLB files with one thing wrong in their JSON."""

import json
import struct
from collections.abc import Callable
from typing import Any


def edited(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The GLB file with its JSON changed."""
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    return struct.pack("<4sIII", b"glTF", 2, 20 + len(text) + len(rest), len(text)) + b"JSON" + text + rest
