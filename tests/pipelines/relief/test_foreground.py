"""Whatever file comes in, upright RGBA pixels come out, and the object without its background."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pipelines.errors import InputError
from pipelines.foreground import bounds, cut_out, fit_square, read_picture


def drawing(size: tuple[int, int] = (200, 160)) -> Image.Image:
    """A red disc left of the middle with a green bar on top, transparent around."""
    image = Image.new("RGBA", size)
    pen = ImageDraw.Draw(image)
    pen.ellipse((30, 40, 130, 140), fill=(210, 40, 40, 255))
    pen.rectangle((70, 15, 90, 60), fill=(40, 170, 60, 255))
    return image


def photo(background: tuple[int, int, int] = (205, 200, 190), size: int = 400) -> tuple[Image.Image, np.ndarray]:
    """An opaque picture on a gradient with noise, and the true mask."""
    y, x = np.mgrid[0:size, 0:size] / size
    ground = np.array(background) + 40 * (x[..., None] - 0.5) - 30 * y[..., None] ** 2
    mask = ((x - 0.5) / 0.28) ** 2 + ((y - 0.52) / 0.33) ** 2 < 1
    picture = np.where(mask[..., None], [60, 110, 190] + 50 * (y - 0.5)[..., None], ground)
    picture += np.random.default_rng(0).normal(0, 2, picture.shape)
    image = Image.fromarray(picture.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    return image, mask


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "RGBA"), ("a.webp", "RGBA"), ("a.png", "LA"), ("a.tiff", "RGBA"), ("a.gif", "RGBA"), ("a.png", "P")],
)
def test_pictures_with_alpha_keep_it(tmp_path: Path, name: str, mode: str) -> None:
    image = drawing().quantize(32) if mode == "P" else drawing().convert(mode)
    pixels = read_picture(saved(tmp_path, image, name))
    assert pixels.shape == (160, 200, 4)
    assert pixels[90, 80, 3] == 255
    assert pixels[150, 190, 3] == 0


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "RGB"), ("a.jpg", "CMYK"), ("a.jpg", "L"), ("a.png", "1"), ("a.png", "I;16"), ("a.tiff", "F")],
)
def test_pictures_without_alpha_are_opaque_and_as_bright(tmp_path: Path, name: str, mode: str) -> None:
    image, _ = photo()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.float32) / 255)
    else:
        image = image.convert(mode)
    pixels = read_picture(saved(tmp_path, image, name))
    assert pixels.shape == (400, 400, 4)
    assert (pixels[..., 3] == 255).all()
    if mode != "1":
        assert abs(pixels[30, 200, :3].mean() - 198) < 8


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_the_camera_was_held_sideways(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (64, 48), (255, 255, 255))
    image.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_picture(saved(tmp_path, image, "a.jpg", exif=exif, quality=95))
    assert pixels.shape[:2] == ((64, 48) if orientation in (6, 8) else (48, 64))
    assert pixels[corner][0] > 200 > 90 > pixels[corner][1]


def test_huge_pictures_are_reduced_without_dark_fringes(tmp_path: Path) -> None:
    image = Image.new("RGBA", (5000, 2500), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((1003, 501, 4001, 2001), fill=(255, 255, 255, 255))
    pixels = read_picture(saved(tmp_path, image, "a.png"))
    assert pixels.shape[:2] == (1024, 2048)
    assert pixels[pixels[..., 3] > 8, :3].min() > 245


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a picture.*send"):
        read_picture(path)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, photo()[0], "a.jpg")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read"):
        read_picture(path)


def test_a_speck_is_too_small(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 x 1 pixels; send"):
        read_picture(saved(tmp_path, Image.new("RGB", (1, 1)), "a.png"))


def test_alpha_is_taken_as_it_is_without_dust() -> None:
    rgba = np.asarray(drawing()).copy()
    rgba[2, 2, 3] = 255
    rgba[95, 80, 3] = 0
    result = cut_out(rgba)
    assert result.matte == "alpha"
    assert result.residual is None
    assert result.rgba[2, 2, 3] == 0
    assert result.rgba[95, 80, 3] == 255
    assert np.array_equal(result.rgba[..., 3] > 127, np.asarray(drawing())[..., 3] > 127)


def test_faint_alpha_is_scaled_up_and_said() -> None:
    rgba = np.asarray(drawing()).copy()
    rgba[..., 3] //= 3
    result = cut_out(rgba)
    assert result.rgba[90, 80, 3] == 255
    assert "alpha reaches 85" in result.warnings[0]


@pytest.mark.parametrize("background", [(205, 200, 190), (90, 130, 80), (250, 250, 250)])
def test_a_plain_background_is_cut_away_closely(background: tuple[int, int, int]) -> None:
    image, mask = photo(background)
    result = cut_out(np.asarray(image.convert("RGBA")))
    found = result.rgba[..., 3] > 127
    assert result.matte == "grabcut"
    assert result.residual is not None and result.residual < 3
    assert (found & mask).sum() / (found | mask).sum() > 0.98
    assert result.warnings == []


def test_clutter_is_tried_and_reported() -> None:
    blocks = np.random.default_rng(2).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((400, 400), Image.Resampling.NEAREST)
    image.paste((250, 210, 30), (120, 100, 290, 320))
    result = cut_out(np.asarray(image.convert("RGBA")))
    assert result.residual is not None and result.residual > 5
    assert "not plain" in result.warnings[0]
    assert (result.rgba[150:280, 160:250, 3] > 127).mean() > 0.9


@pytest.mark.parametrize(
    ("pixel", "words"),
    [((0, 0, 0, 0), "fully transparent"), ((90, 120, 150, 255), "no object stands out"), ((9, 9, 9, 70), "no object")],
)
def test_nothing_to_see_is_refused_with_a_remedy(pixel: tuple[int, int, int, int], words: str) -> None:
    with pytest.raises(InputError, match=f"{words}.*send a PNG"):
        cut_out(np.full((64, 64, 4), pixel, np.uint8))


def test_a_lost_speck_is_refused() -> None:
    rgba = np.zeros((300, 300, 4), np.uint8)
    rgba[10:14, 10:14] = 255
    with pytest.raises(InputError, match="crop it closer"):
        cut_out(rgba)


def test_cutting_out_repeats_to_the_bit() -> None:
    pixels = np.asarray(photo()[0].convert("RGBA"))
    first = cut_out(pixels).rgba
    assert all(np.array_equal(first, cut_out(pixels).rgba) for _ in range(3))


@pytest.mark.parametrize("size", [64, 512])
def test_the_object_is_centred_with_its_margins_and_true_colours(size: int) -> None:
    canvas = fit_square(np.asarray(drawing()), size, 0.06)
    left, top, right, bottom = bounds((canvas[..., 3] * 255).astype(np.uint8))
    assert abs(top - 0.06 * size) <= 1.5
    assert abs(size - bottom - 0.06 * size) <= 1.5
    assert abs((left + right) / 2 - size / 2) <= 1.5
    middle = canvas[size // 2 + size // 8, size // 2]
    assert np.allclose(middle[:3] / middle[3], np.array([210, 40, 40]) / 255, atol=0.01)


def test_height_can_be_shared_between_pictures() -> None:
    canvas = fit_square(np.asarray(drawing()), 256, height=0.5)
    _, top, _, bottom = bounds((canvas[..., 3] * 255).astype(np.uint8))
    assert abs((bottom - top) - 128) <= 2
