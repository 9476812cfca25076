"""Ways a picture gets in, and the job that comes of it, seen live to its end."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from maquette_client.service import LocalService
from tests.browser.conftest import (
    EXAMPLES,
    WAIT_MS,
    carry,
    describe,
    erase,
    example,
    middle,
    open_job,
    pixels,
    submit,
    until,
)


def seen(page: Page, kind: str) -> list[str]:
    return [value for one, value in page.evaluate("probes.seen") if one == kind]


def job_id(page: Page) -> str:
    page.wait_for_url(re.compile("#job="))
    return page.url.partition("#job=")[2]


def test_a_dropped_picture_becomes_a_model_before_one_s_eyes(page: Page) -> None:
    page.evaluate("probes.watch()")
    carry(page, "drag", example("mug.png"))
    expect(page.locator("#veil")).to_be_visible()
    carry(page, "drop", example("mug.png"))
    expect(page.locator("#veil")).to_be_hidden()
    expect(page.locator(".picture img")).to_have_count(1)
    page.click("#submit")
    page.wait_for_selector("#stage[data-state=shown]")
    assert seen(page, "state")[-1] == "shown"
    assert seen(page, "status")[-1] == "Finished" and "Working" in seen(page, "status")
    stages = {re.sub(" · .*", "", text) for text in seen(page, "line")}
    assert {"Mesh", "Turntable"} <= stages
    shares = list(map(float, seen(page, "bar")))
    assert len(set(shares)) >= 3 and shares == sorted(shares) and shares[-1] > 0.5
    assert any(text.startswith("Working: ") for text in seen(page, "said"))
    expect(page.locator(".inputs img")).to_have_js_property("naturalWidth", 640)
    assert teal(page) > 0.3


def teal(page: Page) -> float:
    """Share of the middle that has the mug's colour."""
    red, green, blue = (middle(pixels(page.locator("#stage canvas")))[..., channel] for channel in range(3))
    return float(((green > red + 25) & (blue > red + 25)).mean())


def test_the_preview_is_drawn_while_the_job_waits(page: Page, service: LocalService, made: dict[str, Any]) -> None:
    blocker = submit(service, "mug.png", pipeline="probe", seconds=300)
    waiting = submit(service, "mug.png", quality="high")
    page.evaluate(f"location.hash = '#job={waiting}'")
    page.wait_for_selector("#stage[data-state=preview]", timeout=2 * WAIT_MS)  # its process begins with this job
    expect(page.locator("#job-status")).to_have_text("Waiting")
    expect(page.locator(".badge")).to_be_visible()
    assert teal(page) > 0.3
    page.click("#job-actions button")
    expect(page.locator("#job-status")).to_have_text("Cancelled")
    erase(page, blocker)
    open_job(page, made["job_id"])
    expect(page.locator(".badge")).to_be_hidden()


def test_a_pasted_picture_is_sent_with_the_chosen_settings(page: Page, service: LocalService) -> None:
    carry(page, "paste", example("fox.png"))
    expect(page.locator(".picture")).to_have_count(1)
    page.select_option("#field-pipeline", "probe")
    page.click("summary >> text=All settings")
    page.fill("#field-seed", "7")
    with page.expect_response("**/image_to_3d") as told:
        page.click("#submit")
    assert told.value.request.headers["idempotency-key"]
    made = describe(page, job_id(page))
    assert made["pipeline"] == "probe" and made["params"]["seed"] == 7 and made["image_name"] == "fox.png"
    expect(page.locator("#job-status")).to_have_text("Finished")
    expect(page.locator(".note")).to_contain_text("none that can be turned")


def test_a_chosen_file_and_a_sample_can_be_taken_back(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.click(".drop-ask")
    chooser.value.set_files(EXAMPLES / "heron.png")
    expect(page.locator(".picture img")).to_have_attribute("alt", "heron.png")
    page.click("[data-sample='apple.jpg']")
    expect(page.locator(".picture img")).to_have_attribute("alt", "apple.jpg")
    page.click(".remove")
    expect(page.locator(".drop-ask")).to_be_visible()
    page.click("#submit")
    expect(page.locator("#compose-problem")).to_have_text("Choose a picture first.")


def test_several_pictures_say_which_side_they_show(page: Page) -> None:
    carry(page, "drop", example("views/left.png"), example("views/front.png"), example("views/back.png"))
    sides = page.locator(".side-of select")
    assert [sides.nth(at).input_value() for at in range(3)] == ["front", "back", "left"]
    sides.nth(0).select_option("left")
    page.click("#submit")
    expect(page.locator("#compose-problem")).to_contain_text("Two pictures are said to show the left")
    sides.nth(1).select_option("front")
    sides.nth(2).select_option("back")
    expect(page.locator("#compose-problem")).to_be_hidden()
    page.check("input[name=preset][value=draft]")
    page.click("#submit")
    page.wait_for_selector("#stage[data-state=shown]")
    made = describe(page, job_id(page))
    assert made["params"]["views"] == ["left", "front", "back"] and made["params"]["texture_size"] == 512
    expect(page.locator(".inputs figcaption")).to_have_text(["Left", "Front", "Back"])


@pytest.mark.parametrize("name", ["draft", "standard", "high"])
def test_a_preset_is_a_set_of_values_and_known_again(page: Page, name: str) -> None:
    page.check(f"input[name=preset][value={name}]")
    values: dict[str, Any] = {
        "draft": ("512", "fast", "standard"),
        "standard": ("1024", "pbr", "standard"),
        "high": ("2048", "pbr", "high"),
    }
    shown = tuple(page.input_value(f"#field-{field}") for field in ("texture_size", "texture_bake_mode", "quality"))
    assert shown == values[name]
    page.click("summary >> text=All settings")
    page.fill("#field-texture_size", "640")
    assert page.locator("input[name=preset]:checked").count() == 0
    page.fill("#field-texture_size", values[name][0])
    assert page.locator("input[name=preset]:checked").input_value() == name


def test_the_form_shows_the_fields_of_the_chosen_pipeline(page: Page) -> None:
    page.click("summary >> text=All settings")
    expect(page.locator("#field-texture_size")).to_be_visible()
    expect(page.locator("#field-deed")).to_be_hidden()
    page.select_option("#field-pipeline", "probe")
    expect(page.locator("#field-texture_size")).to_be_hidden()
    expect(page.locator("#field-deed")).to_be_visible()


def test_several_of_a_list_are_ticked_and_the_defaults_are_a_preset(page: Page) -> None:
    page.select_option("#field-pipeline", "trellis")
    assert page.locator("input[name=preset]:checked").input_value() == "standard"
    page.click("summary >> text=All settings")
    ticked = page.locator("#field-formats input:checked")
    assert ticked.evaluate_all("boxes => boxes.map((box) => box.value)") == ["glb", "gaussian"]
    page.check("#field-formats input[value=obj]")
    assert page.locator("input[name=preset]:checked").count() == 0
    page.uncheck("#field-formats input[value=obj]")
    assert page.locator("input[name=preset]:checked").input_value() == "standard"


def test_a_running_job_can_be_cancelled(page: Page, service: LocalService) -> None:
    running = submit(service, "mug.png", pipeline="probe", seconds=60, steps=600)
    page.evaluate(f"location.hash = '#job={running}'")
    bar = page.locator(".progress progress")
    until(lambda: float(bar.get_attribute("value") or 0) > 0, page, "progress")
    expect(page.locator(".progress .line")).to_contain_text("of 600")
    expect(page.locator(".progress .left")).to_contain_text("to go")
    page.click("#job-actions >> text=Cancel")
    expect(page.locator("#job-status")).to_have_text("Cancelled")
    expect(page.locator("#job-actions >> text=Try again")).to_be_visible()


def test_a_waiting_job_says_its_place_and_moves_up(page: Page, service: LocalService) -> None:
    first = submit(service, "mug.png", pipeline="probe", seconds=60)
    second, third = (submit(service, "mug.png", pipeline="probe") for _ in range(2))
    page.evaluate(f"location.hash = '#job={third}'")
    expect(page.locator(".progress .line")).to_have_text("In the queue · number 2")
    erase(page, second)
    expect(page.locator(".progress .line")).to_have_text("In the queue · number 1")
    erase(page, first)
    expect(page.locator("#job-status")).to_have_text("Finished")
