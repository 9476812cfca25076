"""Uploaded pictures, checked before anything is stored: format, size and soundness, without decoding the pixels.

ImageError (ValueError)
├── BadImage        400   a sound picture nobody can use: too small
├── BadImageField   400   the text that should hold a picture in base64 does not
├── ImageTooLarge   413   too many bytes or pixels
└── NotAnImage      415   empty, of another format, damaged or cut short

This stands on the hot path, so each format gets what finds a cut or damaged file at the least cost: PNG its
checksums, JPEG a decode at an eighth of its size, WebP the lengths of its chunks. Sizes are read by hand from the
header and compared with the limits before a decoder sees the file. What only a full decode can find (a broken pixel
stream in a sound PNG, damaged WebP pixels) is left to the worker, whose job then ends with an error.
"""

import binascii
import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote_to_bytes

from PIL import Image

MIN_SIDE = 8  # pixels

_ALLOWED = "send PNG, JPEG or WebP"
_EXPORT = "export it again and resend it"
_ORIENTATION = 0x0112  # the EXIF tag; 5 to 8 turn the picture on its side

# Far above what encoders write, low enough that a file of nothing but empty chunks is refused within milliseconds.
_MAX_CHUNKS = 20_000
_MAX_SCANS = 100

# Below these the whole pixel stream is checked: about 0.3 ms for the PNG, 40 ms for the progressive JPEG,
# which holds all its coefficients in memory and is decoded in full even for an eighth of the size.
_INFLATE_BYTES = 1 << 16
_PROGRESSIVE_PIXELS = 2_500_000

_DEFLATE_RATIO = 1032  # the most that one byte of a zlib stream can stand for
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those that have one, and EOI

_JPEG_PADDING = b"\xff" * 1024  # any marker may have some 0xFF before it; real files have a few

_SIGNATURES = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"GIF8", "gif"),
    (0, b"BM", "bmp"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"%PDF", "pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"8BPS", "photoshop"),
    (0, b"\0\0\0\x0cjP  ", "jpeg 2000"),
    (0, b"\0\0\0\x0cJXL ", "jpeg xl"),
    (0, b"iVBORw0KGgo", "base64"),
    (0, b"/9j/", "base64"),
    (0, b"data:", "base64"),
)
_BRANDS = {b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"mif1": "heif", b"msf1": "heif"}
_WORDS = {"svg": "SVG, a drawing without pixels", "base64": "base64 text; decode it first, or send it in a JSON body"}


class ImageError(ValueError):
    """Base of everything this module raises on purpose; `status` is the HTTP answer."""

    status: ClassVar[int] = 400


class BadImage(ImageError):
    status = 400


class BadImageField(ImageError):
    status = 400


class ImageTooLarge(ImageError):
    status = 413


class NotAnImage(ImageError):
    status = 415


class _Damaged(Exception):
    """What is wrong inside a file; check_image adds the name and the remedy."""


@dataclass(frozen=True)
class CheckedImage:
    """A picture that passed: the bytes as they came and what their header says.

    `width` and `height` are as displayed, after the EXIF orientation. `has_alpha` says that the format carries
    transparency, not that any pixel uses it. Of an animation the first frame counts.
    """

    data: bytes = field(repr=False)
    format: str
    suffix: str
    media_type: str
    width: int
    height: int
    has_alpha: bool


@dataclass(frozen=True)
class _Format:
    """An allowed format: `measure` reads (width, height) off the header, `inspect` (has_alpha, orientation)."""

    suffix: str
    media_type: str
    measure: Callable[[bytes], tuple[int, int]]
    inspect: Callable[[bytes], tuple[bool, int]]


def check_image(data: bytes, *, name: str, max_bytes: int, max_pixels: int) -> CheckedImage:
    """The picture in `data`, if it is a sound PNG, JPEG or WebP within the limits.

    Args:
        name: the request field it came in, for the messages.
    Raises:
        NotAnImage, ImageTooLarge, BadImage: see the top of this file.
    """
    if len(data) > max_bytes:
        raise ImageTooLarge(_too_many_bytes(name, len(data), max_bytes))
    kind = sniff(data)
    if kind not in _FORMATS:
        raise NotAnImage(_unreadable(name, kind, data))
    form = _FORMATS[kind]
    try:
        width, height = form.measure(data)
        _check_size(name, width, height, max_pixels)
        has_alpha, orientation = form.inspect(data)
    except _Damaged as problem:
        raise NotAnImage(f"{name} is a damaged {kind.upper()} file: {problem}; {_EXPORT}") from problem
    if orientation >= 5:
        width, height = height, width
    return CheckedImage(data, kind, form.suffix, form.media_type, width, height, has_alpha)


def decode_base64_image(text: str, *, name: str, max_bytes: int) -> bytes:
    """The bytes of a picture sent as text: bare base64 or a `data:…;base64,` URL.

    Line breaks, spaces, missing padding and the URL-safe alphabet are accepted. What the bytes are, check_image says.

    Raises:
        BadImageField: not base64.
        ImageTooLarge: more than `max_bytes`, told from the length alone.
    """
    # Twice the size leaves room for any sane line breaks, and what is above is not even copied.
    if len(text) > 2 * (max_bytes * 4 // 3 + 512):
        raise ImageTooLarge(_too_many_bytes(name, len(text) * 3 // 4, max_bytes))
    digits = _base64_digits(text, name)
    size = len(digits) * 3 // 4
    if size > max_bytes:
        raise ImageTooLarge(_too_many_bytes(name, size, max_bytes))
    if not digits:
        raise BadImageField(f"{name} is empty; send the picture's bytes in base64")
    try:
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    except binascii.Error as error:
        raise BadImageField(f"{name} is not valid base64 ({error}); send the whole picture in base64") from error


def sniff(data: bytes) -> str:
    """The format that the first bytes claim: `png`, `jpeg`, `webp`, another known word, `empty` or `unknown`."""
    if not data:
        return "empty"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    for offset, magic, kind in _SIGNATURES:
        if data.startswith(magic, offset):
            return kind
    return _sniff_markup(data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower())


def _sniff_markup(head: bytes) -> str:
    if not head.startswith(b"<"):
        return "unknown"
    if b"<svg" in head:
        return "svg"
    return "html" if b"<html" in head or b"<!doctype html" in head else "xml"


def _base64_digits(text: str, name: str) -> bytes:
    """The base64 digits of `text` in the standard alphabet, without prefix, white space and padding."""
    try:
        digits = text.strip().encode("ascii")
    except UnicodeEncodeError as error:
        raise BadImageField(f"{name} is not base64: it holds {text.strip()[error.start]!r}; send only base64") from None
    if digits[:5].lower() == b"data:":
        head, comma, digits = digits.partition(b",")
        if not comma or not head.lower().rstrip().endswith(b";base64"):
            raise BadImageField(f"{name} is a data: URL without ';base64,'; send data:image/png;base64,…")
        if b"%" in digits:
            digits = unquote_to_bytes(digits)
    return digits.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v").rstrip(b"=")


def _check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"{name} is {width} x {height} px, {width * height / 1e6:.1f} megapixels; "
            f"at most {max_pixels / 1e6:g} megapixels, so scale it down"
        )
    if min(width, height) < MIN_SIDE:
        raise BadImage(f"{name} is {width} x {height} px; at least {MIN_SIDE} x {MIN_SIDE}, so send a larger one")


def _too_many_bytes(name: str, size: int, max_bytes: int) -> str:
    return f"{name} is {size / 2**20:.2f} MiB; at most {max_bytes / 2**20:g} MiB, so scale it down or save it as JPEG"


def _unreadable(name: str, kind: str, data: bytes) -> str:
    if kind == "empty":
        return f"{name} is empty; {_ALLOWED}"
    word = "" if kind == "unknown" else f" ({_WORDS.get(kind, kind.upper())})"
    start = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:8])
    return f"{name} is not an image we can read: it starts with '{start}'{word}; {_ALLOWED}"


def _measure_png(data: bytes) -> tuple[int, int]:
    if len(data) < 33:
        raise _Damaged("it ends within its header")
    length, kind, width, height, depth, colour, *methods = struct.unpack_from(">I4sIIBBBBB", data, 8)
    if length != 13 or kind != b"IHDR":
        raise _Damaged("it does not begin with an IHDR chunk")
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise _Damaged(f"bit depth {depth} with colour type {colour} does not exist")
    if methods[:2] != [0, 0] or methods[2] > 1 or not (0 < width < 2**31 and 0 < height < 2**31):
        raise _Damaged("its header makes no sense")
    return width, height


def _inspect_png(data: bytes) -> tuple[bool, int]:
    chunks = _png_chunks(data)
    spans = chunks.get(b"IDAT", [])
    if not spans:
        raise _Damaged("it has no pixels (IDAT)")
    # A decoder stops at the first chunk of another kind, so pixels after it would be lost.
    if any(after[0] != before[1] + 12 for before, after in zip(spans, spans[1:], strict=False)):
        raise _Damaged("its pixels (IDAT) are not in one run")
    depth, colour, _, _, interlaced = data[24:29]
    if colour == 3 and chunks.get(b"PLTE", spans)[0] >= spans[0]:
        raise _Damaged("it has no palette (PLTE) before its pixels")
    width, height = struct.unpack_from(">II", data, 16)
    _check_png_pixels(data, spans, _png_raw_size(width, height, depth * _PNG_SAMPLES[colour], bool(interlaced)))
    orientation = _orientation(data[slice(*chunks[b"eXIf"][0])]) if b"eXIf" in chunks else 1
    return colour in (4, 6) or b"tRNS" in chunks, orientation


def _png_chunks(data: bytes) -> dict[bytes, list[tuple[int, int]]]:
    """Chunk kind → (start, end) of each one's content; every checksum is right and IEND is there."""
    chunks: dict[bytes, list[tuple[int, int]]] = {}
    view, start, read = memoryview(data), 16, struct.Struct(">I").unpack_from
    for _ in range(_MAX_CHUNKS):
        if start + 4 > len(data):
            raise _Damaged("it is cut short")
        end = start + read(data, start - 8)[0]
        if end + 4 > len(data):
            raise _Damaged("it is cut short")
        kind = data[start - 4 : start]
        if not kind.isalpha():
            raise _Damaged(f"{kind!r} is no kind of chunk")
        if zlib.crc32(view[start - 4 : end]) != read(data, end)[0]:
            raise _Damaged(f"the checksum of its chunk {kind!r} is wrong")
        chunks.setdefault(kind, []).append((start, end))
        if kind == b"IEND":
            return chunks
        start = end + 12
    raise _Damaged(f"it has more than {_MAX_CHUNKS} chunks")


def _png_raw_size(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of the unpacked pixel stream: a filter byte and the samples of each row, of each Adam7 pass."""
    total = 0
    for x, y, step_x, step_y in _PNG_PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((x - width) // step_x), -((y - height) // step_y)
        if columns > 0:
            total += max(rows, 0) * (1 + (columns * bits + 7) // 8)
    return total


def _check_png_pixels(data: bytes, spans: list[tuple[int, int]], raw_size: int) -> None:
    """What can be said of the pixel stream in well under a millisecond; all of it only where it is small."""
    if sum(end - start for start, end in spans) * _DEFLATE_RATIO < raw_size:
        raise _Damaged("it has too few pixels for its size")
    if raw_size > _INFLATE_BYTES:
        return
    stream = b"".join(data[start:end] for start, end in spans)
    try:
        pixels = zlib.decompressobj().decompress(stream, raw_size)
    except zlib.error as error:
        raise _Damaged("its pixels cannot be unpacked") from error
    if len(pixels) < raw_size:
        raise _Damaged("it has too few pixels for its size")


def _measure_jpeg(data: bytes) -> tuple[int, int]:
    _, frame, _ = _jpeg_segments(data)
    if frame + 9 > len(data):
        raise _Damaged("it ends within its header")
    height, width = struct.unpack_from(">HH", data, frame + 5)
    if not width or not height:
        raise _Damaged("its header says 0 pixels")
    return width, height


def _inspect_jpeg(data: bytes) -> tuple[bool, int]:
    marker, frame, scan = _jpeg_segments(data)
    _check_jpeg_scans(data, scan)
    height, width = struct.unpack_from(">HH", data, frame + 5)
    decode = marker not in _JPEG_PROGRESSIVE or width * height <= _PROGRESSIVE_PIXELS
    return False, _open(data, ("JPEG", "MPO"), (width, height), decode)


def _jpeg_segments(data: bytes) -> tuple[int, int, int]:
    """(kind of frame, where it starts, where the first scan starts); walks the segments before that scan."""
    start, kind, frame = 2, 0, 0
    for _ in range(_MAX_CHUNKS):
        start = data.find(b"\xff", start)
        if start < 0 or start + 4 > len(data):
            raise _Damaged("it is cut short")
        marker = data[start + 1]
        if marker in (0x00, 0xFF) or marker in _JPEG_BARE:
            start += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA and frame:
            return kind, frame, start
        if marker in (0xD9, 0xDA):
            raise _Damaged("it has no frame header before its pixels")
        if marker in _JPEG_FRAMES:
            # With two frames, ours and the decoder's idea of the size could differ.
            if frame:
                raise _Damaged("it has two frame headers")
            kind, frame = marker, start
        start += 2 + max(2, int.from_bytes(data[start + 2 : start + 4]))
    raise _Damaged(f"it has more than {_MAX_CHUNKS} segments")


def _check_jpeg_scans(data: bytes, start: int) -> None:
    """Walks from the first scan to the end marker; what follows that (a phone's film, a second picture) is free.

    Each scan may walk over all the coefficients, so a small file could ask the decoder for thousands of walks.
    """
    scans = 0
    for _ in range(_MAX_CHUNKS):
        found = _JPEG_MARKER.search(data, start)
        if found is None:
            raise _Damaged("it is cut short")
        # Pillow re-reads such padding from its start with every block: 20 MB of it would take seconds.
        if data.endswith(_JPEG_PADDING, start, found.start()):
            raise _Damaged("it is padded without end")
        marker = data[found.start() + 1]
        if marker == 0xD9:
            return
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            break
        start = found.start() + 2 + max(2, int.from_bytes(data[found.end() : found.end() + 2]))
    raise _Damaged(f"it has more than {_MAX_SCANS} scans or {_MAX_CHUNKS} segments")


def _measure_webp(data: bytes) -> tuple[int, int]:
    if len(data) < 30:
        raise _Damaged("it ends within its header")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        if width & 0x3FFF and height & 0x3FFF:
            return width & 0x3FFF, height & 0x3FFF
    raise _Damaged("its header makes no sense")


def _inspect_webp(data: bytes) -> tuple[bool, int]:
    end = 8 + int.from_bytes(data[4:8], "little")
    # An odd last chunk is padded to an even length, and some writers leave that byte out.
    if end > len(data) + 1:
        raise _Damaged("it is cut short")
    start, kinds = 12, set()
    for _ in range(_MAX_CHUNKS):
        if start + 8 > min(end, len(data)):
            break
        kinds.add(data[start : start + 4])
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8 + size + size % 2
        if start > end + 1:
            raise _Damaged("its chunks are longer than the file")
    if not kinds & {b"VP8 ", b"VP8L", b"ANMF"}:
        raise _Damaged("it has no pixels")
    has_alpha = data[12:16] == b"VP8X" and bool(data[20] & 0x10) or data[12:16] == b"VP8L" and bool(data[24] & 0x10)
    return has_alpha, _open(data, ("WEBP",), _measure_webp(data), decode=False)


def _open(data: bytes, formats: tuple[str, ...], size: tuple[int, int], decode: bool) -> int:
    """The EXIF orientation, 1 to 8, once Pillow has agreed on the size and, on request, decoded at an eighth of it."""
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            if picture.size != size:
                raise _Damaged("its headers contradict each other")
            orientation = _orientation(picture.info.get("exif", b""))
            if decode:
                picture.draft(None, (1, 1))
                picture.load()
            return orientation
    except _Damaged:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the image is larger than this server decodes ({error}); scale it down") from error
    except Exception as error:  # Pillow's readers let IndexError, struct.error, SyntaxError and others through
        raise _Damaged(f"it cannot be decoded ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    # "cannot identify image file <_io.BytesIO object at 0x…>" says nothing to a client.
    text = str(error).split("\n")[0].split("<_io")[0].strip()
    return text[:120] or type(error).__name__


def _orientation(exif: bytes) -> int:
    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif if exif.startswith(b"Exif") else b"Exif\0\0" + exif)
        value = tags.get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not spoil the picture: it is shown as it lies
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


_FORMATS = {
    "png": _Format(".png", "image/png", _measure_png, _inspect_png),
    "jpeg": _Format(".jpg", "image/jpeg", _measure_jpeg, _inspect_jpeg),
    "webp": _Format(".webp", "image/webp", _measure_webp, _inspect_webp),
}
