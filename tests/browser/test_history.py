"""One's recent requests, and coming back to them."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from maquette_client.service import LocalService
from tests.browser.conftest import Complaints, describe, run


def card(page: Page, job: dict[str, Any]) -> Any:
    return page.locator(f"#history [data-job='{job['job_id']}']")


def test_a_finished_job_is_opened_again_after_a_reload(page: Page, made: dict[str, Any]) -> None:
    page.reload()
    expect(card(page, made).locator("img")).to_have_js_property("naturalWidth", 512)
    card(page, made).locator("a").click()
    page.wait_for_selector("#stage[data-state=shown]")
    expect(page.locator("#job-title")).to_have_text("mug.png")
    assert page.url.endswith(f"#job={made['job_id']}")
    page.reload()
    page.wait_for_selector("#stage[data-state=shown]")
    expect(page.locator(".facts")).to_contain_text("Watertight")
    page.go_back()
    expect(page.locator("#page-new")).to_be_visible()


def test_it_is_sent_again_with_the_same_settings(page: Page, service: LocalService) -> None:
    sides = ("views/front.png", "views/left.png")
    job = run(service, *sides, texture_size=256, seed=5, views="front,left", quality="standard")
    page.evaluate(f"location.hash = '#job={job['job_id']}'")
    page.click("#job-actions >> text=Make again")
    expect(page.locator(".picture")).to_have_count(2)
    expect(page.locator(".side-of select").nth(1)).to_have_value("left")
    expect(page.locator("#submit")).to_be_focused()
    page.click("#submit")
    page.wait_for_selector("#stage[data-state=shown]")
    again = describe(page, page.url.partition("#job=")[2])
    assert again["job_id"] != job["job_id"] and again["params"] == job["params"]


def test_deleting_asks_first(page: Page, service: LocalService) -> None:
    job = run(service, "mug.png", pipeline="probe")
    page.reload()
    row = card(page, job)
    row.hover()
    row.get_by_role("button", name="Delete").click()
    expect(page.locator("#confirm")).to_contain_text("Delete mug.png?")
    page.click("#confirm >> text=Keep")
    expect(row).to_be_visible()
    row.locator("a").click()
    page.click("#job-actions >> text=Delete")
    page.click("#confirm-yes")
    expect(page.locator("#page-new")).to_be_visible()
    expect(row).to_have_count(0)
    assert page.evaluate(
        "id => fetch(`/jobs`).then((a) => a.json()).then((t) => t.jobs.every((j) => j.job_id !== id))", job["job_id"]
    )


def test_a_job_that_is_not_there_says_so(page: Page, complaints: Complaints) -> None:
    complaints.expected.append("status of 404")
    page.evaluate("location.hash = '#job=00000000000000000000000000000000'")
    expect(page.locator("#job-title")).to_have_text("This model is not here")
    page.click("text=Make a new one")
    expect(page.locator("#page-new")).to_be_visible()


def test_queue_and_devices_are_shown(page: Page, made: dict[str, Any]) -> None:
    page.click("nav >> text=Service")
    expect(page.locator(".numbers dd").nth(2)).to_have_text(re.compile(r"[1-9]"))
    expect(page.locator(".chart svg")).to_have_count(3)
    assert page.locator(".chart rect.good").count() >= 1
    expect(page.locator(".devices li")).to_have_count(1)
    expect(page.locator(".devices [role=meter]").first).to_have_attribute("aria-valuetext", re.compile(r"GB of .* GB"))
    expect(page.locator(".tag[data-loaded]")).to_contain_text(["relief"])
