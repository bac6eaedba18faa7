"""axe over every screen, light and dark, wide and on a phone: nothing serious, nothing critical."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.support.page_gateway import NEW, ORIGIN, VIDEO, PageGateway, answer, moment, progress, video

BAD = {"serious", "critical"}


LEFT_BEHIND = """uploadUrl => {
  const upload = {uploadUrl, size: 5000, metadata: {filename: "what-somebody-recorded-in-the-hall-of-the-town.mp4"}};
  localStorage.setItem("tus::talk::1", JSON.stringify(upload));
  localStorage.setItem("earmark-key", "earmark_any");
}"""
"""An upload that an earlier page began, and a key that is remembered."""


def filled(gateway: PageGateway) -> None:
    slices = [{"slice_id": "00000", "start_time": 0, "end_time": 60, "state": "indexed", "attempts": 1}]
    gateway.videos = [
        video(title="Bees", tags=["insects"], collection="nature"),
        video(NEW, title="Coffee", status="processing", progress=progress(1, 2, 60), slices=slices),
        video("vid_00000000000000000000000003", title="Broken", status="failed", error={"message": "it is text"}),
    ]
    scores = {"semantic": {"score": 0.5, "rank": 1}, "keyword": {"score": 2.0, "rank": 1}}
    hit = moment("bees make honey", 60, highlights=[{"start": 0, "end": 4}], speaker="Ann", scores=scores)
    hit["more"] = [moment("and more honey", 90)]
    gateway.length, gateway.offset = 5000, 3000
    gateway.search = lambda _query, _route: answer(hit, complete=False, shards_answered=1)


def results(page: Page) -> None:
    page.goto(f"{ORIGIN}/?q=bees&language=en")
    page.locator("#filters-toggle").click()
    page.locator(".why summary").click()
    expect(page.locator(".why dl")).to_be_visible()


def player(page: Page) -> None:
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60&q=bees")
    expect(page.locator(".line[aria-current]")).to_be_visible()
    page.locator("video").evaluate("video => video.pause()")
    page.get_by_role("searchbox", name="Find in transcript").fill("honey")
    page.locator(".menu summary").click()


def library(page: Page) -> None:
    page.goto(f"{ORIGIN}/library")
    page.evaluate(LEFT_BEHIND, f"{ORIGIN}/v1/files/upl_1")
    page.reload()
    expect(page.locator(".video")).to_have_count(3)
    expect(page.locator("#unfinished .notice")).to_be_visible()
    expect(page.locator("#remembered")).to_be_visible()
    page.get_by_role("button", name="Delete Broken").click()
    expect(page.locator(".toast")).to_be_visible()


def home(page: Page) -> None:
    page.goto(f"{ORIGIN}/")
    expect(page.locator(".video")).to_have_count(3)


def nothing(page: Page) -> None:
    page.goto(f"{ORIGIN}/?q=zebra&mode=keyword")
    expect(page.locator(".nothing, .hit").first).to_be_visible()


def adding(page: Page) -> None:
    page.goto(f"{ORIGIN}/library")
    page.locator("#add").click()
    page.locator("#add-dialog summary").click()


def editing(page: Page) -> None:
    page.goto(f"{ORIGIN}/library")
    page.get_by_role("button", name="Edit Bees").click()


def operations(page: Page) -> None:
    page.goto(f"{ORIGIN}/ops")
    expect(page.locator(".tile").first).to_be_visible()


SCREENS = (
    results,
    library,
    *(pytest.param(screen, marks=pytest.mark.slow) for screen in (home, player, nothing, adding, editing, operations)),
)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.__name__)
def test_no_screen_has_a_serious_finding(
    browser: Browser, gateway: PageGateway, screen: Callable[[Page], None]
) -> None:
    found = []
    for width in (1280, 390):
        filled(gateway)
        with browser.new_context(viewport={"width": width, "height": 844}, reduced_motion="reduce") as context:
            context.route("**/*", gateway)
            page = context.new_page()
            screen(page)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{width}: too wide"
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
                found += [
                    f"{width} {scheme}: {rule['id']}: {node['target']} {node['failureSummary']}"
                    for rule in Axe().run(page).response["violations"]
                    if rule["impact"] in BAD
                    for node in rule["nodes"]
                ]
    assert not found, "\n".join(found)


def test_the_page_is_used_with_the_keyboard_alone(browser: Browser, gateway: PageGateway) -> None:
    filled(gateway)
    with browser.new_context(viewport={"width": 1280, "height": 844}) as context:
        context.route("**/*", gateway)
        page = context.new_page()
        page.goto(f"{ORIGIN}/library")
        page.keyboard.press("/")
        page.keyboard.type("bees")
        expect(page.locator(".hit")).to_be_visible()
        page.keyboard.press("ArrowDown")
        expect(page.locator(".hit .cover")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#player-title")).to_be_focused()
        expect(page.locator(".line[aria-current]")).to_contain_text("Line at 60")
        page.locator('.line[tabindex="0"]').focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator(".line[aria-current]")).to_contain_text(re.compile(r"Line at (6|12)\."))
        page.keyboard.press("n")
        expect(page.locator(".line[aria-current]")).to_contain_text("Line at 60")
        page.keyboard.press("l")
        page.keyboard.press("k")
        expect(page.locator(".line[aria-current]")).to_contain_text(re.compile(r"Line at (66|72)\."))
        assert page.locator("video").evaluate("video => video.paused")
        page.keyboard.press("Escape")
        expect(page.locator(".hit .cover")).to_be_focused()
        page.keyboard.press("ArrowUp")
        expect(page.locator("#q")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.locator("#q")).to_have_value("")
        expect(page.locator("#library")).to_be_visible()
