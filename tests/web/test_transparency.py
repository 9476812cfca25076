"""What a picture's alpha says, in every form that it comes in."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from web.images import NotAnImage, check_image
from web.transparency import transparency


def encoded(image: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def square(inside: int = 255, outside: int = 0) -> Image.Image:
    """A quarter of the picture in one alpha, the rest in another."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, outside))
    image.paste((200, 30, 30, inside), (16, 16, 48, 48))
    return image


def palette() -> Image.Image:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([0, 0, 0, 200, 30, 30])
    image.paste(1, (16, 16, 48, 48))
    return image


@pytest.mark.parametrize(
    "data",
    [
        encoded(square()),
        encoded(square(inside=1)),
        encoded(square(), "WEBP", lossless=True),
        encoded(square().convert("LA")),
        encoded(palette(), transparency=0),
        encoded(palette(), transparency=bytes([0, 255])),
        encoded(square().convert("RGB"), transparency=(0, 0, 0)),
    ],
    ids=["RGBA", "faint", "WebP", "LA", "P", "P with a table", "RGB with a key"],
)
def test_a_quarter_of_the_picture_is_there(data: bytes) -> None:
    found = transparency(data)
    assert found.coverage == 0.25 and not found.opaque


@pytest.mark.parametrize(
    "data",
    [
        encoded(square().convert("RGB")),
        encoded(square().convert("RGB"), "JPEG"),
        encoded(square().convert("RGB"), "WEBP"),
        encoded(square().convert("L")),
        encoded(palette()),
        encoded(square(outside=255)),
        encoded(square(inside=128, outside=128)),
    ],
    ids=["RGB", "JPEG", "WebP", "L", "P", "RGBA", "the same everywhere"],
)
def test_an_alpha_that_tells_nothing_is_opaque(data: bytes) -> None:
    found = transparency(data)
    assert found.coverage == 1 and found.opaque


def test_half_seen_everywhere_is_not_opaque_and_nothing_is_nothing() -> None:
    found = transparency(encoded(square(inside=255, outside=128)))
    assert found.coverage == 1 and not found.opaque
    found = transparency(encoded(square(inside=0)))
    assert found.coverage == 0 and not found.opaque


def test_pixels_that_only_a_decoder_finds_broken_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 4), dtype=np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "WEBP", lossless=True))
    data[60:20_000] = bytes(20_000 - 60)
    check_image(bytes(data), name="image", max_bytes=2**20, max_pixels=10**6)  # which reads no pixels
    with pytest.raises(NotAnImage, match="image is damaged"):
        transparency(bytes(data))
