"""A finished job's second stage again, from the page; and a better preview in place of a rough one."""

from typing import Any

from playwright.sync_api import Page, expect

from jobs.server import connect
from jobs.transitions import Transitions
from maquette_client.service import LocalService
from storage import keys, open_storage
from tests.browser.conftest import Complaints, describe, differing, pixels, run, submit, until


def test_the_second_stage_is_run_again_on_the_same_structure(page: Page, service: LocalService) -> None:
    job = run(service, "mug.png", pipeline="staged", seed=3, slat_cfg_strength=6, steps=2)
    page.evaluate(f"location.hash = '#job={job['job_id']}'")
    form = page.get_by_role("form", name="Again from its structure")
    expect(form.locator("input[type=number]")).to_have_count(2)
    expect(form.get_by_label("Slat cfg strength")).to_have_value("6")
    form.locator("#again-seed").fill("8")
    form.get_by_role("button", name="Make it again").click()
    page.wait_for_function("id => !location.hash.includes(id)", arg=job["job_id"])
    expect(page.locator("#job-status")).to_have_text("Finished")
    again = describe(page, page.url.partition("#job=")[2])
    assert again["made_from"] == job["job_id"]
    assert again["params"] == job["params"] | {"seed": 8, "stage": "stage2"}
    expect(page.locator(".facts")).to_contain_text("the second alone")
    expect(page.locator("#side .inputs, #stage .missing")).to_have_count(0)
    expect(page.locator("#job-actions button")).to_have_text(["Delete"])
    page.click(".facts >> text=an earlier model")
    expect(page.locator("#job-actions")).to_contain_text("Make again")


def test_a_refusal_is_said_where_it_was_asked(page: Page, service: LocalService, complaints: Complaints) -> None:
    job = run(service, "mug.png", pipeline="staged", steps=2)
    page.evaluate(f"location.hash = '#job={job['job_id']}'")
    form = page.get_by_role("form", name="Again from its structure")
    form.get_by_label("Slat cfg strength").fill("1000")
    complaints.expected.append("400")
    form.get_by_role("button").last.click()
    expect(form.locator(".problem")).to_contain_text("slat_cfg_strength is")
    expect(form.get_by_role("button").last).to_be_enabled()


def test_one_without_stages_has_no_such_form(finished: Page) -> None:
    expect(finished.locator(".downloads")).to_be_visible()
    expect(finished.locator(".again")).to_have_count(0)


def test_a_better_preview_takes_the_place_of_a_rough_one_also_after_a_reload(
    page: Page, service: LocalService, made: dict[str, Any]
) -> None:
    storage, shapes = open_storage(f"file://{service.data_dir}"), (made, run(service, "heron.png"))
    job_id = submit(service, "mug.png", pipeline="probe", seconds=60)
    page.evaluate(f"location.hash = '#job={job_id}'")
    files = [service.data_dir / shape["urls"]["files"]["preview.glb"].lstrip("/") for shape in shapes]
    canvas = page.locator("#stage canvas")
    with connect(f"unix://{service.data_dir}/redis/redis.sock") as redis:
        for file in files:
            storage.put(keys.extras_key("127.0.0.1", job_id, keys.PREVIEW), file.read_bytes())
            assert Transitions(redis).preview(job_id)
            if file is files[0]:
                page.wait_for_selector("#stage[data-state=preview]")
                first = pixels(canvas)
    until(lambda: differing(first, pixels(canvas)) > 0.05, page, "showing the second")
    with page.expect_response(lambda answer: "/preview.glb" in answer.url) as caught:
        page.reload()
    assert caught.value.body() == files[1].read_bytes()
    page.wait_for_selector("#stage[data-state=preview]")
    service.client().cancel(job_id)
