"""A person fills the body's picture, the face's is its top centre, and what cannot work is told with a remedy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipelines.errors import InputError
from pipelines.foreground import Pixels
from pipelines.synchuman.preparation import FACE_BOX, SIDE, body_and_face, prepare, published

Save = Callable[..., Path]
RED = (200, 30, 20)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def write(image: Image.Image | Pixels, name: str = "in.png") -> Path:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(tmp_path / name)
        return tmp_path / name

    return write


def person(width: int = 90, height: int = 200) -> Pixels:
    """A red rectangle with a margin of 20 around; without its last row and column 40 x 100 pixels are left."""
    rgba = np.zeros((height, width, 4), np.uint8)
    rgba[20:121, 20:61] = (*RED, 255)
    return rgba


def test_the_body_is_as_large_as_fits_and_in_the_middle() -> None:
    body, _ = body_and_face(person())
    assert body.shape == (SIDE, SIDE, 3) and body.dtype == np.float32
    width = int(SIDE / 100 * 40)
    left = (SIDE - width) // 2
    red = np.array(RED, np.float32) / 255
    assert np.array_equal(body[:, left : left + width], np.broadcast_to(red, (SIDE, width, 3)))
    assert (body[:, :left] == 1).all() and (body[:, left + width :] == 1).all()


def test_the_face_is_the_middle_of_the_bodys_top_third() -> None:
    rgba = person()
    rgba[20:50, 36:44, :3] = (0, 0, 255)
    body, face = body_and_face(rgba)
    left, top, right, bottom = FACE_BOX
    assert np.abs(face[1::3, 1::3] - body[top:bottom, left:right]).mean() < 0.01
    assert (face[300, SIDE // 2] * 255).round().tolist() == [0, 0, 255]


def test_half_transparent_colours_are_mixed_with_white() -> None:
    rgba = person()
    rgba[20:121, 20:61, 3] = 102
    body, _ = body_and_face(rgba)
    assert np.allclose(body[400, 400], np.array(RED) / 255 * 0.4 + 0.6, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (60, 1), (2, 2)])
def test_specks_and_lines_are_pictures_too(shape: tuple[int, int]) -> None:
    rgba = np.zeros((70, 70, 4), np.uint8)
    rgba[: shape[0], : shape[1]] = (*RED, 255)
    body, face = body_and_face(rgba)
    assert (body < 1).any() and np.isfinite(face).all()


@pytest.mark.parametrize("longest", [740, 100])
def test_a_smaller_body_has_a_margin(longest: int) -> None:
    body, _ = body_and_face(person(), longest)
    rows = np.flatnonzero((body < 1).any(axis=(1, 2)))
    assert (rows[0], rows[-1]) == ((SIDE - longest) // 2, (SIDE - longest) // 2 + longest - 1)


def test_everything_is_made_of_one_picture(save: Save) -> None:
    made = prepare(save(person()))
    assert np.array_equal(made.cutout.rgba, person()) and made.cutout.matte == "alpha"
    assert made.square.shape == (518, 518, 3) and (made.square[0] == 0).all()
    assert tuple(made.square[259, 259]) == RED
    assert np.array_equal(made.body, body_and_face(person())[0])


def test_a_palettes_transparency_counts(save: Save) -> None:
    image = Image.new("P", (64, 64), 0)
    image.putpalette([0, 0, 0, *RED])
    ImageDraw.Draw(image).rectangle((20, 10, 40, 60), fill=1)
    image.info["transparency"] = 0
    assert tuple(prepare(save(image)).square[259, 259]) == RED


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_opaque_picture_is_refused_with_the_remedy(save: Save, mode: str) -> None:
    path = save(Image.new(mode, (64, 64), "white"))
    with pytest.raises(InputError, match=r"Input must include transparency.*remove_background=true"):
        prepare(path)


def test_the_background_is_removed_on_demand(save: Save) -> None:
    image = Image.new("RGB", (160, 200), (230, 230, 235))
    ImageDraw.Draw(image).ellipse((50, 20, 110, 180), fill=RED)
    made = prepare(save(image, "in.jpg"), remove_background=True)
    assert made.cutout.matte == "grabcut" and (made.cutout.rgba[:15, :15, 3] == 0).all()
    assert (made.body[SIDE // 2, :150] == 1).all() and made.body[SIDE // 2, SIDE // 2, 1] < 0.3
    assert np.array_equal(prepare(save(person()), remove_background=True).body, body_and_face(person())[0])


@pytest.mark.parametrize(("alpha", "told"), [(0, "fully transparent"), (200, "more than 204 of 255 opaque")])
def test_a_picture_of_nothing_is_refused(save: Save, alpha: int, told: str) -> None:
    rgba = person()
    rgba[..., 3] = np.minimum(rgba[..., 3], alpha)
    with pytest.raises(InputError, match=told):
        prepare(save(rgba))


def test_the_published_picture_has_the_person_in_the_middle_with_some_room() -> None:
    rgba = np.zeros((60, 200, 4), np.uint8)
    rgba[10:50, 120:140] = (200, 30, 30, 255)
    picture = published(rgba)
    assert picture.shape == (768, 768, 4)
    rows, columns = (np.flatnonzero((picture[..., 3] > 127).any(axis=axis)) for axis in (1, 0))
    assert abs(len(rows) - 768 / 1.1) < 3 and abs(len(columns) - 768 / 2.2) < 3
    assert abs(rows.mean() - 383.5) < 1 and abs(columns.mean() - 383.5) < 1
