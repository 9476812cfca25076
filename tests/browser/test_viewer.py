"""What is drawn: the model in each of its looks, the views beside it, splats, and what happens without WebGL."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright, expect

from maquette_client.service import LocalService
from tests.browser.conftest import FLAGS, Complaints, chromium, differing, middle, open_job, pixels, prepare, run, until


def look(page: Page, name: str) -> None:
    page.check(f"input[name=look][value={name}]")


def drawn(page: Page) -> Any:
    return pixels(page.locator("#stage canvas").first)


def test_the_model_has_its_picture_s_colours(finished: Page) -> None:
    picture = middle(drawn(finished))
    red, green, blue = (picture[..., channel] for channel in range(3))
    assert ((green > red + 25) & (blue > red + 25)).mean() > 0.3, "the mug is teal"
    assert ((red > 200) & (green > 180) & (blue > 150)).mean() > 0.01, "with a band of white"
    corner = drawn(finished)[:40, :40]
    assert differing(picture, np.broadcast_to(corner.mean(axis=(0, 1)).astype(np.int16), picture.shape)) > 0.5


def test_every_look_is_another_picture(finished: Page) -> None:
    looks = {}
    for name in ("textured", "clay", "normals", "wireframe"):
        look(finished, name)
        finished.wait_for_timeout(100)
        looks[name] = middle(drawn(finished))
    names = list(looks)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            assert differing(looks[one], looks[other]) > 0.3, f"{one} and {other}"
    spread = looks["clay"].max(axis=-1) - looks["clay"].min(axis=-1)
    assert np.percentile(spread, 90) < 45, "clay has no colour"
    assert (looks["normals"][..., 2] > 150).mean() > 0.3, "what faces the camera is blue"


def test_the_texture_sheet_is_shown_as_a_picture(finished: Page) -> None:
    look(finished, "texture")
    sheet = finished.locator(".sheet canvas")
    expect(sheet).to_be_visible()
    assert finished.evaluate("() => document.querySelector('.sheet canvas').width") == 1024
    red, _, blue = (pixels(sheet)[..., channel] for channel in range(3))
    assert (blue > red + 25).mean() > 0.4
    look(finished, "textured")
    expect(sheet).to_have_count(0)


def test_mouse_keys_and_reset_move_the_camera(finished: Page) -> None:
    canvas = finished.locator("#stage canvas")
    before = middle(drawn(finished))  # what is focused has an outline

    def moved() -> float:
        return differing(before, middle(drawn(finished)))

    canvas.focus()
    for _ in range(4):
        finished.keyboard.press("ArrowLeft")
    until(lambda: moved() > 0.1, finished, "turning by keys")
    finished.keyboard.press("0")
    until(lambda: moved() < 0.01, finished, "coming back by key")
    finished.keyboard.press("+")
    until(lambda: moved() > 0.1, finished, "coming closer")
    finished.click("[aria-label='View from the front']")
    until(lambda: moved() < 0.01, finished, "coming back by button")
    box = canvas.bounding_box()
    assert box
    finished.mouse.move(box["x"] + 200, box["y"] + 150)
    finished.mouse.down()
    finished.mouse.move(box["x"] + 320, box["y"] + 190, steps=4)
    finished.mouse.up()
    until(lambda: moved() > 0.1, finished, "turning by mouse")


def test_the_wheel_scrolls_the_page_until_the_model_is_chosen(finished: Page) -> None:
    canvas = finished.locator("#stage canvas")
    before = middle(drawn(finished))
    canvas.hover()
    finished.mouse.wheel(0, 200)
    until(lambda: bool(finished.evaluate("scrollY > 100")), finished, "scrolling")
    finished.evaluate("scrollTo(0, 0)")
    assert differing(before, middle(drawn(finished))) < 0.01
    canvas.click()
    finished.mouse.wheel(0, 200)
    until(lambda: differing(before, middle(drawn(finished))) > 0.1, finished, "going away from the model")
    assert finished.evaluate("scrollY") == 0


def test_a_model_at_rest_is_not_drawn_again(finished: Page) -> None:
    finished.wait_for_timeout(1500)  # until what was begun is done
    finished.evaluate("probes.countFrames()")
    finished.wait_for_timeout(700)
    assert finished.evaluate("probes.frames") == 0
    finished.click("[aria-label='Turn by itself']")
    until(lambda: finished.evaluate("probes.frames") > 3, finished, "turning by itself")
    finished.click("[aria-label='Turn by itself']")


def test_the_five_views_load_and_open_large(finished: Page) -> None:
    strip = finished.locator(".strip img")
    expect(strip).to_have_count(5)
    for kind in ("Colour", "Normals"):
        finished.locator("#views").get_by_label(kind, exact=True).check()
        for at in range(5):
            expect(strip.nth(at)).to_have_js_property("naturalWidth", 768)
    finished.click(".view >> nth=4")
    expect(finished.locator("#lightbox-caption")).to_have_text("Close up, normals (5 of 5)")
    finished.keyboard.press("ArrowRight")
    expect(finished.locator("#lightbox-caption")).to_have_text("Front, normals (1 of 5)")
    expect(finished.locator("#lightbox-image")).to_have_js_property("naturalWidth", 768)
    finished.keyboard.press("Escape")
    expect(finished.locator("#lightbox")).to_be_hidden()
    assert finished.evaluate("document.activeElement.className") == "view"


def test_a_lost_graphics_context_comes_back(finished: Page, complaints: Complaints) -> None:
    complaints.expected += ["THREE.WebGLRenderer: Context"]
    before = drawn(finished)
    finished.evaluate("probes.graphics('loseContext')")
    expect(finished.locator(".note")).to_contain_text("Waiting for it to come back")
    finished.evaluate("probes.graphics('restoreContext')")
    expect(finished.locator(".note")).to_be_hidden()
    until(lambda: differing(before, drawn(finished)) < 0.02, finished, "drawing again")


def test_gaussians_are_drawn_as_splats(page: Page, service: LocalService) -> None:
    made = run(service, "mug.png", pipeline="gaussians")
    open_job(page, made["job_id"])
    expect(page.locator("input[name=look]")).to_have_count(1)

    def red() -> bool:
        picture = middle(drawn(page), 0.25)
        return bool(((picture[..., 0] > 150) & (picture[..., 1] < 110) & (picture[..., 2] < 110)).mean() > 0.8)

    until(red, page, "drawing the splats")


def test_a_mesh_that_is_a_ply_is_not_taken_for_splats(finished: Page, made: dict[str, Any]) -> None:
    assert any(name.endswith(".ply") for name in made["output_files"])
    expect(finished.locator("input[name=look]")).to_have_count(5)
    expect(finished.locator("input[name=look][value=splats]")).to_have_count(0)


def test_without_webgl_the_turntable_is_shown(
    playwright: Playwright, service: LocalService, complaints: Complaints, made: dict[str, Any]
) -> None:
    without = [flag for flag in FLAGS if "swiftshader" not in flag]
    browser = playwright.chromium.launch(executable_path=chromium(), args=[*without, "--disable-3d-apis"])
    context = browser.new_context()
    prepare(context, complaints)
    page = context.new_page()
    page.goto(f"{service.url}/#job={made['job_id']}")
    page.wait_for_selector("#stage[data-state=still]")
    expect(page.locator(".still img")).to_have_js_property("complete", True)
    assert page.evaluate("document.querySelector('.still img').naturalWidth") > 100
    expect(page.locator(".note")).to_contain_text("no WebGL")
    browser.close()


@pytest.mark.parametrize("options", [{"color_scheme": "light", "viewport": {"width": 900, "height": 800}}])
def test_it_turns_by_itself_until_it_is_touched(finished: Page) -> None:
    button = finished.locator("[aria-label='Turn by itself']")
    expect(button).to_have_attribute("aria-pressed", "true")
    before = drawn(finished)
    until(lambda: differing(before, drawn(finished)) > 0.05, finished, "turning")
    finished.locator("#stage canvas").click()
    expect(button).to_have_attribute("aria-pressed", "false")
