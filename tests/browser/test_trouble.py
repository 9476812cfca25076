"""What goes wrong is said, in the service's own words, with a way on."""

import os
import re
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from maquette_client.service import LocalService
from tests.browser.conftest import PLUGINS, Complaints, carry, erase, example, prepare, run, submit, until

KEY = "open-sesame"


def test_a_text_file_is_not_taken(page: Page) -> None:
    carry(page, "drop", ("notes.txt", "text/plain", b"no picture at all"))
    expect(page.locator("#compose-problem")).to_have_text("Not taken: notes.txt. Pictures are PNG, JPEG or WebP.")
    expect(page.locator(".picture")).to_have_count(0)


def test_a_text_that_calls_itself_a_picture_is_refused_by_the_service(page: Page, complaints: Complaints) -> None:
    complaints.expected.append("status of 415")
    carry(page, "drop", ("notes.png", "image/png", b"no picture at all"))
    expect(page.locator(".unreadable")).to_have_text("notes.png cannot be shown")
    with page.expect_response("**/image_to_3d") as told:
        page.click("#submit")
    assert told.value.status == 415
    expect(page.locator("#compose-problem")).to_have_text(told.value.json()["error"])
    expect(page.locator("#submit")).to_be_enabled()


def test_a_setting_that_cannot_work_is_pointed_at(page: Page, complaints: Complaints) -> None:
    complaints.expected.append("status of 400")
    page.click("[data-sample='mug.png']")
    page.click("summary >> text=All settings")
    page.fill("#field-texture_size", "100")
    page.click("summary >> text=All settings")
    page.click("#submit")
    expect(page.locator("#compose-problem")).to_contain_text("texture_size is '100'; use a whole number from 64")
    expect(page.locator("#field-texture_size")).to_be_focused()
    expect(page.locator("#field-texture_size")).to_have_attribute("aria-invalid", "true")


def test_a_failed_job_says_why_and_can_be_tried_again(page: Page, service: LocalService) -> None:
    failed = submit(service, "mug.png", pipeline="probe", deed="bad_input")
    page.evaluate(f"location.hash = '#job={failed}'")
    expect(page.locator(".failed")).to_contain_text("there is nothing in this picture")
    expect(page.locator("#job-status")).to_have_text("Failed")
    page.click("#job-actions >> text=Try again")
    page.wait_for_url(re.compile(f"#job=(?!{failed})"))
    expect(page.locator(".failed")).to_contain_text("there is nothing in this picture")


def test_warnings_are_shown(page: Page, service: LocalService) -> None:
    job = run(service, "mug.png", pipeline="probe", sedd="1")
    page.evaluate(f"location.hash = '#job={job['job_id']}'")
    expect(page.locator(".warned")).to_contain_text("did you mean 'seed'?")


def test_a_service_that_is_away_is_waited_for(page: Page, context: BrowserContext, complaints: Complaints) -> None:
    complaints.expected += ["net::ERR_INTERNET_DISCONNECTED", "net::ERR_NETWORK"]
    context.set_offline(True)
    page.click("nav >> text=Service")
    expect(page.locator("#unreachable")).to_be_visible()
    expect(page.locator("#service")).to_contain_text("cannot be reached")
    context.set_offline(False)
    expect(page.locator("#unreachable")).to_be_hidden()
    expect(page.locator(".devices li")).to_have_count(1)


def test_a_stream_that_breaks_is_taken_up_again(page: Page, service: LocalService, complaints: Complaints) -> None:
    complaints.expected += ["net::ERR_"]
    slow = submit(service, "mug.png", pipeline="probe", seconds=60, steps=600)
    asked: list[str | None] = []
    page.on("request", lambda one: asked.append(one.headers.get("last-event-id")) if "/events" in one.url else None)
    page.evaluate(f"location.hash = '#job={slow}'")
    line = page.locator(".progress .line")
    expect(line).to_contain_text("step")
    further(page, line)  # the first line is of the first look at the job; what changes it comes by the stream
    for pid in service.web_workers():
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(asked) > 1 and bool(asked[-1]), page, "asking for what was missed")
    expect(page.locator("#job-status")).to_have_text("Working")
    further(page, line)
    page.click("#job-actions >> text=Cancel")
    expect(page.locator("#job-status")).to_have_text("Cancelled")


def further(page: Page, line: Locator) -> None:
    shown = line.text_content()
    until(lambda: line.text_content() != shown, page, "further progress")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that wants a key and takes one job at a time from each client."""
    settings = {"MAQUETTE_API_KEYS": KEY, "MAQUETTE_MAX_ACTIVE": "1", "MAQUETTE_OUTPUTS_ACCESS": "owner"}
    more = {"MAQUETTE_PLUGINS": PLUGINS, "MAQUETTE_WEB_WORKERS": "1"}
    with LocalService(tmp_path_factory.mktemp("strict"), settings | more) as found:
        yield found


@pytest.fixture
def locked(browser: Browser, strict: LocalService) -> Iterator[tuple[Page, Complaints]]:
    """The page of the strict service, asking for the key."""
    complaints = Complaints(strict.url)
    complaints.expected += ["status of 401"]
    context = browser.new_context(reduced_motion="reduce")
    prepare(context, complaints)
    page = context.new_page()
    page.goto(strict.url)
    expect(page.locator("#key")).to_be_visible()
    yield page, complaints
    context.close()
    assert complaints.unexpected() == [] and complaints.strangers == []


def unlock(page: Page) -> None:
    page.fill("#key-text", KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#key")).to_be_hidden()


def test_a_key_is_asked_for_kept_and_forgotten(locked: tuple[Page, Complaints]) -> None:
    page, _ = locked
    page.fill("#key-text", "guess")
    page.keyboard.press("Enter")
    expect(page.locator("#key-problem")).to_have_text("The service does not know this key.")
    unlock(page)
    page.click("[data-sample='mug.png']")
    page.check("input[name=preset][value=draft]")
    page.click("#submit")
    page.wait_for_selector("#stage[data-state=shown]")
    expect(page.locator(".strip img").first).to_have_js_property("naturalWidth", 768)
    with page.expect_download() as started:
        page.click("text=Download GLB")
    assert started.value.path().read_bytes()[:4] == b"glTF"
    page.reload()
    page.wait_for_selector("#stage[data-state=shown]")
    expect(page.locator("#key")).to_be_hidden()
    page.click("#forget-key")
    expect(page.locator("#key")).to_be_visible()


def test_too_many_jobs_are_waited_out(locked: tuple[Page, Complaints]) -> None:
    page, complaints = locked
    complaints.expected += ["status of 429"]
    unlock(page)
    page.select_option("#field-pipeline", "probe")
    page.click("summary >> text=All settings")
    page.fill("#field-seconds", "40")
    page.click("[data-sample='mug.png']")
    page.click("#submit")
    page.wait_for_url(re.compile("#job="))
    first = page.url.partition("#job=")[2]
    page.click("nav >> text=New")
    page.fill("#field-seconds", "0")
    carry(page, "drop", example("fox.png"))
    page.click("#submit")
    expect(page.locator(".countdown")).to_contain_text(re.compile(r"Trying again in \d+ s"))
    page.click(".countdown >> text=Stop")
    expect(page.locator("#submit")).to_be_enabled()
    page.click("#submit")
    erase(page, first, KEY)
    page.wait_for_url(re.compile(f"#job=(?!{first})"))
    expect(page.locator("#job-status")).to_have_text("Finished")
