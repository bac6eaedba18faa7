"""The page in a real browser. With EARMARK_SCREENSHOTS=1 it also takes the pictures in `docs/images/`."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.support.clips import clipped
from tests.support.local_mesh import REPOSITORY, SAMPLES, LocalMesh, questions

pytestmark = pytest.mark.timeout(400)
SAMPLE = "brewing-better-coffee.mp4"
QUESTION = "carbon dioxide from roasting"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
]
IMAGES = REPOSITORY / "docs" / "images"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium is installed (apt install chromium)")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        except Error as error:
            pytest.skip(f"{found} does not start here: {error.message.splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(params=[pytest.param(1280, id="wide"), pytest.param(390, id="phone")])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def page(browser: Browser, mesh: LocalMesh, width: int) -> Iterator[Page]:
    """The page; the test fails when it logs an error or asks for anything outside."""
    problems: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 844}, base_url=mesh.url) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((mesh.url, "blob:", "data:")) else problems.append(request.url)
            ),
        )
        yield page
    assert problems == []


@pytest.fixture(scope="module")
def coffee(mesh: LocalMesh) -> str:
    """Id of a sample that is ready."""
    title = next(row["title"] for row in questions() if row["video"] == SAMPLE)
    with mesh.client() as client:
        video = client.upload(SAMPLES / SAMPLE, title=title, duplicate=True)
    assert mesh.until_settled(video.video_id) == "ready"
    return video.video_id


def test_search_opens_the_video_at_the_second(page: Page, mesh: LocalMesh, coffee: str, width: int) -> None:
    with mesh.client() as client:
        expected = client.search(QUESTION).hits[0]
    assert expected.video_id == coffee
    page.goto("/")
    page.get_by_role("searchbox").fill(QUESTION)
    page.keyboard.press("Enter")
    hit = page.locator("#hits .hit").first
    expect(hit.get_by_role("heading")).to_have_text("Brewing better coffee")
    expect(hit.locator("mark").first).to_be_visible()
    picture(page, "results", width)
    hit.get_by_role("link", name=re.compile("play from")).click()
    expect(page).to_have_url(re.compile(rf"/v/{coffee}\?.*t="))
    video = page.locator("video")
    expect(video).to_be_visible()
    page.wait_for_function(
        "() => { const video = document.querySelector('video'); return video.readyState >= 2 && !video.seeking; }"
    )
    page.wait_for_function(
        "at => Math.abs(document.querySelector('video').currentTime - at) < 5", arg=expected.match_time
    )
    expect(page.locator(".transcript")).to_contain_text("carbon dioxide")
    picture(page, "player", width)


def test_shared_link_opens_the_second(page: Page, coffee: str) -> None:
    page.goto(f"/v/{coffee}?t=61")
    page.wait_for_function("document.querySelector('video')?.readyState >= 1")
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 61) < 5")
    expect(page.locator("#player-title")).to_have_text("Brewing better coffee")


def test_upload_shows_progress_until_the_video_can_be_searched(
    page: Page, mesh: LocalMesh, tmp_path: Path, width: int
) -> None:
    name = f"a short talk {width}"
    clip = clipped(SAMPLES / "how-bees-make-honey.mp4", tmp_path / f"{name}.mp4", seconds=15)
    page.goto("/")
    page.locator("#files").set_input_files(clip)
    expect(page.locator("#tray")).to_contain_text(clip.name)
    picture(page, "upload", width)
    card = page.locator("#videos > li", has_text=name)
    expect(card).to_be_visible(timeout=30_000)
    with mesh.client() as client:
        video = next(video for video in client.list() if video.source.filename == clip.name)
    assert mesh.until_settled(video.video_id) == "ready"
    page.get_by_role("searchbox").fill("most patient production lines in nature")
    page.keyboard.press("Enter")
    expect(page.locator(f'#hits .hit[data-video-id="{video.video_id}"]')).to_be_visible(timeout=15_000)
    with mesh.client() as client:
        client.delete(video.video_id)


def test_library_lists_the_videos(page: Page, coffee: str, width: int) -> None:
    page.goto("/")
    expect(page.locator("#videos")).to_contain_text("Brewing better coffee")
    picture(page, "library", width)


def picture(page: Page, name: str, width: int) -> None:
    """Takes a picture for the documentation when asked to."""
    if os.environ.get("EARMARK_SCREENSHOTS") == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"page-{name}-{'wide' if width > 600 else 'phone'}.png")
