"""The textures of a material: which format they are in, their pixels, and the same in another format."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from geometry.errors import UnreadableMesh
from geometry.mesh import Floats, Material, Mesh, Pixels

# For each of our words: Pillow's name, and how colours and normal maps are saved. The channels of a normal map are not
# colours, so they are never halved in size.
FORMATS: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "webp": ("WEBP", {"quality": 90, "method": 4}, {"quality": 95, "method": 4, "use_sharp_yuv": True}),
    "jpeg": ("JPEG", {"quality": 92}, {"quality": 95, "subsampling": 0}),
    "png": ("PNG", {"compress_level": 6}, {"compress_level": 6}),
}
_BEGINNINGS = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def media_type(picture: bytes) -> str:
    """The media type of a PNG, JPEG or WebP.

    Raises:
        UnreadableMesh: it is none of these.
    """
    for beginning, kind in _BEGINNINGS.items():
        if picture.startswith(beginning):
            return kind
    raise UnreadableMesh("a texture is neither PNG nor JPEG nor WebP")


def beside(mesh: Mesh, material: Material, folder: str = "") -> dict[str, tuple[str, bytes]]:
    """For a format that keeps its textures in files: `base_colour`, `normal_map` → the file's name and bytes.

    Empty where the mesh has no UV to find its way on them.
    """
    pictures = {"base_colour": material.base_colour, "normal_map": material.normal_map}
    return {
        word: (f"{folder}{word}.{_SUFFIXES[media_type(picture)]}", picture)
        for word, picture in pictures.items()
        if picture is not None and mesh.uv is not None
    }


def pixels(picture: bytes) -> Pixels:
    """(H, W, 3) the picture's RGB.

    Raises:
        UnreadableMesh: it is damaged.
    """
    return np.asarray(_opened(picture))


def recode(material: Material, word: str) -> Material:
    """The material with its pictures in another format.

    Args:
        word: one of FORMATS.
    """
    kind, colour_options, normal_options = FORMATS[word]

    def one(picture: bytes | None, options: dict[str, object]) -> bytes | None:
        if picture is None or media_type(picture) == f"image/{word}":
            return picture
        stream = io.BytesIO()
        _opened(picture).save(stream, kind, **options)
        return stream.getvalue()

    return replace(
        material,
        base_colour=one(material.base_colour, colour_options),
        normal_map=one(material.normal_map, normal_options),
    )


def widely_readable(material: Material) -> Material:
    """The material with PNG and JPEG alone, for formats that know nothing newer."""
    return replace(material, base_colour=_old(material.base_colour), normal_map=_old(material.normal_map))


def _old(picture: bytes | None) -> bytes | None:
    if picture is None or media_type(picture) != "image/webp":
        return picture
    return recode(Material(picture), "png").base_colour


def sample(picture: bytes, uv: Floats) -> Pixels:
    """(V, 3) colours of a picture at UV places, v upwards, linear between pixel centres; edges repeat."""
    image = pixels(picture).astype(np.float32)
    height, width = image.shape[:2]
    x = np.clip(uv[:, 0].astype(np.float64) * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1].astype(np.float64)) * height - 0.5, 0, height - 1)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, below = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    a, b = (x - left)[:, None], (y - top)[:, None]
    upper = image[top, left] * (1 - a) + image[top, right] * a
    lower = image[below, left] * (1 - a) + image[below, right] * a
    return np.round(upper * (1 - b) + lower * b).astype(np.uint8)


def _opened(picture: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(picture)) as image:
            return image.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableMesh(f"a texture cannot be read: {error}") from error
