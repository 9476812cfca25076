"""Small screens, keyboards, themes, and people who do not want things to move."""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from maquette_client.service import LocalService
from tests.browser.conftest import differing, open_job, pixels, submit, until

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}


@pytest.mark.parametrize("options", [PHONE])
def test_nothing_is_wider_than_a_phone(page: Page, made: dict[str, Any], service: LocalService) -> None:
    page.click("summary >> text=All settings")
    assert page.evaluate("probes.overflowing()") == []
    for name in ("fox.png", "apple.jpg"):
        page.click(f"[data-sample='{name}']")
    expect(page.locator(".picture img")).to_be_visible()
    assert page.evaluate("probes.overflowing()") == []
    open_job(page, made["job_id"])
    page.click("summary >> text=/All .* files/")
    expect(page.locator(".facts")).to_contain_text("Watertight")
    assert page.evaluate("probes.overflowing()") == []
    page.evaluate("location.hash = '#service'")
    expect(page.locator(".devices li")).to_have_count(1)
    assert page.evaluate("probes.overflowing()") == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("options", [PHONE])
def test_a_finger_turns_the_model_and_its_targets_are_large_enough(page: Page, made: dict[str, Any]) -> None:
    open_job(page, made["job_id"])
    assert page.evaluate("probes.small(32)") == []
    assert page.evaluate("getComputedStyle(document.querySelector('#stage canvas')).touchAction") == "pan-y"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("chosen", [False, True])
def test_every_theme_has_enough_contrast(page: Page, scheme: Any, chosen: bool) -> None:
    """Chosen by the system, or by the button while the system says the opposite."""
    opposite: Any = "dark" if scheme == "light" else "light"
    page.emulate_media(color_scheme=opposite if chosen else scheme)
    while chosen and page.evaluate("document.documentElement.dataset.theme") != scheme:
        page.click("#theme")
    bright = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert (bright > 200) == (scheme == "light")
    told = page.evaluate("probes.contrasts()")
    assert [f"{name}: {ratio:.2f}" for name, ratio, least in told if ratio < least] == []


def test_every_style_that_is_named_is_understood(page: Page) -> None:
    """A mistake in a custom property breaks no rule; it makes every rule that uses it say nothing."""
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontFamily").startswith('"DIN Alternate"')
    assert page.evaluate("probes.undefinedStyles()") == []


def test_a_chosen_theme_is_kept(page: Page) -> None:
    for _ in range(2):
        page.click("#theme")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.locator("#theme")).to_have_attribute("aria-label", "Colours: dark")


def test_nothing_moves_for_those_who_asked_for_that(page: Page, made: dict[str, Any], service: LocalService) -> None:
    open_job(page, made["job_id"])
    expect(page.locator("[aria-label='Turn by itself']")).to_have_attribute("aria-pressed", "false")
    slow = submit(service, "mug.png", pipeline="probe", seconds=20)
    page.evaluate(f"location.hash = '#job={slow}'")
    expect(page.locator(".waiting img")).to_be_visible()
    assert page.evaluate("document.getAnimations().filter((one) => one.playState === 'running').length") == 0
    page.click("#job-actions >> text=Cancel")
    expect(page.locator("#job-status")).to_have_text("Cancelled")


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.outerHTML.slice(0, 90)"))


def tab_to(page: Page, wanted: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("what => document.activeElement.matches(what)", wanted):
            return
    raise AssertionError(f"{wanted} is not reached by the Tab key; it ended at {focused(page)}")


def test_everything_can_be_done_by_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")
    assert focused(page) == "skip" and page.locator("#skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert focused(page) == "main"
    tab_to(page, "#file")
    assert page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle") == "solid"
    tab_to(page, "[data-sample='fox.png']")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#submit")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#job-title")).to_be_focused()
    page.wait_for_selector("#stage[data-state=shown]")
    canvas = page.locator("#stage canvas")
    page.locator("#job-title").focus()
    tab_to(page, "#stage canvas")
    before = pixels(canvas)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    until(lambda: differing(before, pixels(canvas)) > 0.05, page, "turning")
    tab_to(page, "input[name=look]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#stage")).to_have_attribute("data-look", "clay")
    tab_to(page, ".view")
    page.keyboard.press("Enter")
    expect(page.locator("#lightbox")).to_be_visible()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || !!document.activeElement.closest('dialog')")
    page.keyboard.press("Escape")
    page.locator("[data-page=service]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#service-title")).to_be_visible()


def test_everything_has_a_name(page: Page, made: dict[str, Any]) -> None:
    open_job(page, made["job_id"])
    assert page.evaluate("probes.nameless()") == []
    page.evaluate("location.hash = '#new'")
    page.click("summary >> text=All settings")
    assert page.evaluate("probes.nameless()") == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(ids) == len(set(ids))
