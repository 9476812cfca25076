"""Uploaded bytes: what passes, what is refused with which words, and that nothing else ever happens."""

import base64
import contextlib
import io
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from web import images
from web.images import (
    BadImage,
    BadImageField,
    CheckedImage,
    ImageError,
    ImageTooLarge,
    NotAnImage,
    check_image,
    decode_base64_image,
    sniff,
)

MIB = 1 << 20
PICTURE = Image.effect_noise((48, 32), 80).convert("RGB")
LARGE = Image.effect_noise((640, 480), 80).convert("RGB")  # its pixels unpack to more than images._INFLATE_BYTES


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def check(data: bytes, **changes: int) -> CheckedImage:
    return check_image(data, name="front", **({"max_bytes": 20 * MIB, "max_pixels": 50_000_000} | changes))


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*chunks: bytes, width: int = 16, height: int = 16, tail: tuple[int, ...] = (8, 0, 0, 0, 0)) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *tail))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


PIXELS = chunk(b"IDAT", zlib.compress(bytes(17 * 16)))
END = chunk(b"IEND")
SOUND = {
    "png": encode(PICTURE, "PNG"),
    "jpeg": encode(PICTURE, "JPEG"),
    "webp": encode(PICTURE, "WEBP"),
}


# --- what passes


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_picture_passes_unchanged(kind: str) -> None:
    data = SOUND[kind]
    found = check(data)
    assert found.data is data and found.format == sniff(data) == kind
    assert (found.width, found.height) == (48, 32)
    assert found.suffix == {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}[kind]
    assert found.media_type == f"image/{kind}"
    assert found.has_alpha is False
    assert len(repr(found)) < 300


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(48, 32), (400, 300)])
def test_every_kind_of_png(mode: str, size: tuple[int, int]) -> None:
    picture = Image.effect_noise(size, 80)
    found = check(encode(picture.convert("I;16") if mode == "I;16" else picture.convert(mode), "PNG"))
    assert (found.width, found.height) == size
    assert found.has_alpha is (mode in ("LA", "RGBA"))


def test_a_palette_with_transparency_has_alpha() -> None:
    assert check(encode(PICTURE.convert("P"), "PNG", transparency=0)).has_alpha is True


def adam7(width: int, height: int) -> bytes:
    """An interlaced grey PNG, which Pillow reads but does not write."""
    rows = b""
    for x, y, step_x, step_y in images._PNG_PASSES:
        columns, lines = len(range(x, width, step_x)), len(range(y, height, step_y))
        rows += (b"\0" + bytes(columns)) * lines if columns else b""
    return png(chunk(b"IDAT", zlib.compress(rows)), END, width=width, height=height, tail=(8, 0, 0, 0, 1))


@pytest.mark.parametrize("width", range(8, 18))
@pytest.mark.parametrize("height", [8, 9, 13])
def test_interlaced_pixels_are_counted_as_pillow_counts_them(width: int, height: int) -> None:
    data = adam7(width, height)
    Image.open(io.BytesIO(data)).load()
    assert check(data).width == width


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_with_transparency_has_alpha(lossless: bool) -> None:
    picture = PICTURE.convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    found = check(encode(picture, "WEBP", lossless=lossless))
    assert found.has_alpha is True and (found.width, found.height) == (48, 32)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"quality": 5}, {"subsampling": 0}, {"comment": b"c" * 9000}]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg(mode: str, options: dict[str, object]) -> None:
    assert check(encode(PICTURE.convert(mode), "JPEG", **options)).format == "jpeg"


def test_pictures_of_phones_pass() -> None:
    two_frames = encode(PICTURE, "MPO", save_all=True, append_images=[PICTURE])
    assert Image.open(io.BytesIO(two_frames)).format == "MPO"
    assert check(two_frames).format == "jpeg"
    film = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 400 + b"\xff\xda" * 200
    assert check(SOUND["jpeg"] + film).data.endswith(film)
    assert check(encode(PICTURE, "JPEG", progressive=True) + film).width == 48


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    data = encode(PICTURE, kind, save_all=True, append_images=[PICTURE.rotate(180)], duration=50)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    assert (check(data).width, check(data).height) == (48, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(0, 10))
def test_width_and_height_are_as_displayed(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(PICTURE, kind, exif=exif.tobytes())
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (check(data).width, check(data).height) == shown.size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # what Pillow says about it on opening
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_a_broken_exif_block_does_not_spoil_the_picture(exif: bytes) -> None:
    assert check(encode(PICTURE, "JPEG", exif=exif)).width == 48
    assert check(png(chunk(b"eXIf", exif[6:] or b"x"), PIXELS, END)).width == 16


# --- limits


def test_limits_hold_to_the_byte_and_to_the_pixel() -> None:
    data = SOUND["png"]
    assert check(data, max_bytes=len(data), max_pixels=48 * 32)
    with pytest.raises(ImageTooLarge, match="front is .* MiB; at most"):
        check(data, max_bytes=len(data) - 1)
    with pytest.raises(
        ImageTooLarge, match="front is 48 x 32 px, .* megapixels; at most 0.001535 megapixels"
    ) as caught:
        check(data, max_pixels=48 * 32 - 1)
    assert caught.value.status == 413


def bombs() -> dict[str, bytes]:
    jpeg = bytearray(SOUND["jpeg"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    canvas = (49_999).to_bytes(3, "little") * 2
    webp = b"VP8X\x0a\0\0\0\x10\0\0\0" + canvas + b"VP8L\0\0\0\0"
    lossless = bytearray(encode(PICTURE, "WEBP", lossless=True))
    lossless[21:25] = b"\xff\xff\xff\x0f"
    return {
        "png": png(PIXELS, END, width=50_000, height=50_000),
        "jpeg": bytes(jpeg),
        "webp": b"RIFF" + struct.pack("<I", len(webp) + 4) + b"WEBP" + webp,
        "webp lossless": bytes(lossless),
    }


@pytest.mark.parametrize("kind", bombs())
def test_a_bomb_is_refused_by_its_header(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "Image", None)  # no decoder may be asked
    with pytest.raises(ImageTooLarge, match="megapixels"):
        check(bombs()[kind])


@pytest.mark.parametrize("size", [(3, 3), (7, 800), (800, 7)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_tiny_picture_is_refused(kind: str, size: tuple[int, int]) -> None:
    with pytest.raises(BadImage, match=f"front is {size[0]} x {size[1]} px; at least 8 x 8") as caught:
        check(encode(Image.new("RGB", size), kind))
    assert caught.value.status == 400


# --- other things than pictures


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "front is empty; send PNG, JPEG or WebP"),
        (encode(PICTURE, "GIF"), "starts with 'GIF8.*' \\(GIF\\); send PNG, JPEG or WebP"),
        (encode(PICTURE, "BMP"), "\\(BMP\\)"),
        (encode(PICTURE, "TIFF"), "\\(TIFF\\)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "\\(HEIC\\)"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "\\(AVIF\\)"),
        (b"%PDF-1.7\n", "\\(PDF\\)"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "\\(SVG, a drawing without pixels\\)"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html></html>", "\\(HTML\\)"),
        (b"PK\x03\x04rest", "\\(ZIP\\)"),
        (base64.b64encode(SOUND["png"]), "\\(base64 text; decode it first"),
        (b"data:image/png;base64,iVBO", "\\(base64 text; decode it first"),
        (b"hello", "starts with 'hello'; send"),
        (b"\x00\xff\n'", r"starts with '\\x00\\xff\\x0a''; send"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match=words) as caught:
        check(data)
    assert caught.value.status == 415


# --- damage


@pytest.mark.parametrize("kind", SOUND)
def test_a_file_cut_anywhere_is_refused(kind: str) -> None:
    data = SOUND[kind]
    for length in range(1, len(data) - (kind == "webp" and len(data) % 2)):
        with pytest.raises(NotAnImage):
            check(data[:length])


def test_a_large_jpeg_cut_or_closed_early_is_refused_or_decodes() -> None:
    data = encode(LARGE, "JPEG", quality=95)
    for length in (len(data) - 2, len(data) // 2, 700):
        with pytest.raises(NotAnImage, match="front is a damaged JPEG file: it is cut short"):
            check(data[:length])


def test_every_flipped_bit_of_a_png_is_found() -> None:
    data = SOUND["png"]
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1 << place % 8
        with pytest.raises(ImageError):
            check(bytes(broken))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png(), "it is cut short"),
        (png(PIXELS), "it is cut short"),
        (png(END), "it has no pixels"),
        (png(chunk(b"tEXt", b"a\0b"), END), "it has no pixels"),
        (png(chunk(b"IDAT", b"\x78"), chunk(b"tEXt"), chunk(b"IDAT"), END), "not in one run"),
        (png(PIXELS, END, tail=(8, 3, 0, 0, 0)), "no palette"),
        (png(PIXELS, chunk(b"PLTE", bytes(3)), END, tail=(8, 3, 0, 0, 0)), "no palette"),
        (png(PIXELS, END, tail=(3, 0, 0, 0, 0)), "bit depth 3 with colour type 0"),
        (png(PIXELS, END, tail=(16, 3, 0, 0, 0)), "bit depth 16 with colour type 3"),
        (png(PIXELS, END, tail=(8, 5, 0, 0, 0)), "colour type 5"),
        (png(PIXELS, END, tail=(8, 0, 1, 0, 0)), "makes no sense"),
        (png(PIXELS, END, tail=(8, 0, 0, 0, 2)), "makes no sense"),
        (png(PIXELS, END, width=0), "makes no sense"),
        (png(PIXELS, END, height=1 << 31), "makes no sense"),
        (png(PIXELS, END, height=17), "too few pixels"),
        (png(chunk(b"IDAT", b"not a zlib stream"), END), "cannot be unpacked"),
        (png(PIXELS, END, width=5000, height=5000), "too few pixels"),
        (png(chunk(b"\0\0\0\0"), PIXELS, END), "is no kind of chunk"),
        (b"\x89PNG\r\n\x1a\n" + END + PIXELS, "IHDR"),
        (b"\x89PNG\r\n\x1a\n", "ends within its header"),
        (png(*[chunk(b"tEXt")] * 30_000, PIXELS, END), "more than 20000 chunks"),
        (b"\xff\xd8\xff\xd9\0\0", "no frame header"),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x10\x01\x01\x11\0\xff\xda\0\0", "says 0 pixels"),
        (b"\xff\xd8" + b"\xff\xfe\0\x02" * 30_000, "more than 20000 segments"),
        (b"\xff\xd8" + b"\xff" * 100_000, "more than 20000 segments"),
        (b"RIFF\x20\0\0\0WEBPJUNK" + bytes(30), "makes no sense"),
    ],
)
def test_damage_is_named(data: bytes, words: str) -> None:
    with pytest.raises(NotAnImage, match="front is a damaged (PNG|JPEG|WEBP) file: ") as caught:
        check(data)
    assert words in str(caught.value) and str(caught.value).endswith("export it again and resend it")


def test_a_jpeg_cannot_ask_for_endless_scans() -> None:
    data = encode(PICTURE, "JPEG", progressive=True)
    scan = data.index(b"\xff\xda")
    body = data[scan:-2]
    with pytest.raises(NotAnImage, match="more than 100 scans"):
        check(data[:scan] + body * 40 + b"\xff\xd9")


def test_a_jpeg_cannot_make_the_decoder_crawl() -> None:
    assert check(SOUND["jpeg"][:-2] + b"\xff" * 100 + b"\xff\xd9").width == 48
    with pytest.raises(NotAnImage, match="padded"):
        check(SOUND["jpeg"][:-2] + b"\xff" * MIB + b"\xff\xd9")


def test_a_jpeg_that_only_its_decoder_can_refuse() -> None:
    data = bytearray(SOUND["jpeg"])
    table = data.index(b"\xff\xc4")
    data[table + 5 : table + 21] = b"\xff" * 16
    with pytest.raises(NotAnImage, match="cannot be decoded"):
        check(bytes(data))


def test_a_jpeg_with_two_sizes_is_refused() -> None:
    data = SOUND["jpeg"]
    frame = data.index(b"\xff\xc0")
    second = bytearray(data[frame : frame + 19])
    second[5:9] = b"\xff\xff\xff\xff"
    with pytest.raises(NotAnImage, match="two frame headers"):
        check(data[: frame + 19] + bytes(second) + data[frame + 19 :])


# --- anything at all


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x40\0\0\0WEBPVP8 "])
)
def test_random_bytes_are_refused_and_nothing_else_happens(rest: bytes, start: bytes) -> None:
    with pytest.raises(ImageError):
        check(start + rest)


@given(st.sampled_from(sorted(SOUND)), st.data())
def test_a_flipped_byte_passes_or_is_refused(kind: str, draw: st.DataObject) -> None:
    data = bytearray(SOUND[kind])
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    with contextlib.suppress(ImageError):
        found = check(bytes(data))
        assert found.format == kind and found.width * found.height <= 50_000_000


def test_a_300_kb_png_takes_less_than_two_milliseconds() -> None:
    """It takes about 0.3 ms; the bound leaves room for a busy machine and none for a decoder."""
    data = encode(Image.effect_noise((560, 560), 80), "PNG")
    assert 250_000 < len(data) < 400_000
    times = []
    for _ in range(20):
        began = time.perf_counter()
        check(data)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.002


# --- base64


def decode(text: str, max_bytes: int = MIB) -> bytes:
    return decode_base64_image(text, name="image_data", max_bytes=max_bytes)


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text,
        lambda text: text.rstrip("="),
        lambda text: "  " + text + "\n",
        lambda text: "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: "data:image/png;base64," + text,
        lambda text: "DATA:IMAGE/PNG;charset=utf-8;BASE64," + text.rstrip("="),
        lambda text: "data:;base64," + text,
        lambda text: "data:image/png;base64," + text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    ],
)
@pytest.mark.parametrize("extra", [b"", b"a", b"ab"])
def test_every_spelling_of_base64(write: Callable[[str], str], extra: bytes) -> None:
    data = SOUND["png"] + extra
    assert decode(write(base64.b64encode(data).decode())) == data


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "image_data is empty"),
        (" \n", "image_data is empty"),
        ("data:image/png;base64,", "image_data is empty"),
        ("====", "image_data is empty"),
        ("data:image/png,abc", "without ';base64,'"),
        ("data:image/png;base64", "without ';base64,'"),
        ("abcde", "not valid base64"),
        ("ab!c", "not valid base64"),
        ("ab=c", "not valid base64"),
        ("http://example.com/a.png", "not valid base64"),
        ("abcé", "holds 'é'"),
    ],
)
def test_what_is_not_base64_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadImageField) as caught:
        decode(text)
    assert words in str(caught.value) and caught.value.status == 400


def test_too_much_base64_is_refused_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    text = base64.b64encode(bytes(1000)).decode()
    assert len(decode(text, max_bytes=1000)) == 1000
    monkeypatch.setattr(images, "binascii", None)  # nothing may be decoded
    for long in (text, "A" * 100_000, " " * 100_000):
        with pytest.raises(ImageTooLarge, match="image_data is ") as caught:
            decode(long, max_bytes=999)
        assert caught.value.status == 413


@given(st.text(max_size=60), st.sampled_from(["", "data:", "data:image/png;base64,"]))
def test_any_text_is_base64_or_refused(text: str, start: str) -> None:
    with contextlib.suppress(ImageError):
        assert isinstance(decode(start + text), bytes)


@given(st.binary(min_size=1, max_size=100))
def test_what_was_encoded_comes_back(data: bytes) -> None:
    assert decode(base64.urlsafe_b64encode(data).decode().rstrip("=")) == data
