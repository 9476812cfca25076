"""ZIP files whose bytes depend on their contents alone."""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL_HEADER = 30
_PADDING_ID = 0x1986  # the one Pixar's own writer uses


def entry(name: str, compressed: bool = False) -> zipfile.ZipInfo:
    """A file of an archive, without the time and the machine it was made on."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = 3
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    return info


def archive(files: Mapping[str, bytes], compressed: bool = False, alignment: int = 1) -> bytes:
    """A ZIP file.

    Args:
        alignment: every file's data begins at a multiple of this many bytes.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, data in files.items():
            info = entry(name, compressed)
            info.extra = _padding(stream, name, alignment)
            packed.writestr(info, data)
    return stream.getvalue()


def _padding(stream: IO[bytes], name: str, alignment: int) -> bytes:
    missing = -(stream.tell() + _LOCAL_HEADER + len(name.encode())) % alignment
    if missing == 0:
        return b""
    while missing < 4:  # an extra field begins with four bytes of its own
        missing += alignment
    return struct.pack("<HH", _PADDING_ID, missing - 4) + bytes(missing - 4)
