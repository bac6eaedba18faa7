"""The page in a real browser on the real mesh. With EARMARK_SCREENSHOTS=1 it takes the pictures in `docs/images/`."""

from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from tests.support.cable import cable
from tests.support.clips import clipped
from tests.support.local_mesh import REPOSITORY, SAMPLES, LocalMesh
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.timeout(400)
COFFEE, BEES = "brewing-better-coffee.mp4", "how-bees-make-honey.mp4"
MEANING = "why does my drink taste acidic"
WORDS = '"carbon dioxide from roasting"'
IMAGES = REPOSITORY / "docs" / "images"
READY_MS = 240_000
PICTURES = os.environ.get("EARMARK_SCREENSHOTS") == "1"


@pytest.fixture(params=[pytest.param(1280, id="wide"), pytest.param(390, id="phone", marks=pytest.mark.slow)])
def width(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def videos(browser: Browser, mesh: LocalMesh, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Ids of two samples by their file names, put in by the page and searchable."""
    bees = SAMPLES / BEES
    if not PICTURES:  # those show all of it; to find the dance in it takes less
        bees = clipped(bees, tmp_path_factory.mktemp("clip") / BEES, seconds=48)
    with browser.new_context(viewport={"width": 1280, "height": 844}, base_url=mesh.url) as context:
        page = context.new_page()
        page.goto("/library")
        # What the bar has shown, however quickly it went by.
        page.evaluate(
            """() => {
              window.seen = new Set();
              const parts = () => document.querySelectorAll(".video[data-status=processing] .slice");
              new MutationObserver(() => {
                for (const part of parts()) seen.add(part.className);
              }).observe(document.querySelector("#videos"), {subtree: true, childList: true});
            }"""
        )
        page.locator("#files").set_input_files([SAMPLES / COFFEE, bees])
        expect(page.locator("#tray")).to_contain_text(COFFEE)
        cards = page.locator("#videos .video").filter(has_text=re.compile("brewing-better-coffee|how-bees-make-honey"))
        expect(cards).to_have_count(2, timeout=30_000)
        expect(cards.locator(".slice").first).to_be_visible(timeout=READY_MS)
        picture(page, "upload", 1280)
        ready = cards.and_(page.locator('[data-status="ready"]'))
        expect(ready).to_have_count(2, timeout=READY_MS)
        assert "slice indexed" in page.evaluate("[...seen]"), "a slice was searchable before the video was ready"
    with mesh.client() as client:
        return {video.source.filename or "": video.video_id for video in client.list()}


@pytest.fixture
def problems() -> list[str]:
    """What a page complained of."""
    return []


@pytest.fixture
def page(browser: Browser, mesh: LocalMesh, videos: dict[str, str], width: int, problems: list[str]) -> Iterator[Page]:
    """The page on a desktop and on a phone."""
    with watched(browser, mesh, width, problems) as page:
        yield page


@pytest.fixture
def wide(browser: Browser, mesh: LocalMesh, videos: dict[str, str], problems: list[str]) -> Iterator[Page]:
    """The page on a desktop only."""
    with watched(browser, mesh, 1280, problems) as page:
        yield page


def test_a_search_by_meaning_opens_the_video_at_the_second(
    page: Page, mesh: LocalMesh, videos: dict[str, str], width: int
) -> None:
    with mesh.client() as client:
        expected = client.search(MEANING).hits[0]
    assert expected.video_id == videos[COFFEE]
    page.goto("/")
    page.get_by_role("searchbox", name="Search what was said").press_sequentially(MEANING, delay=5)
    hit = page.locator("#hits .hit").first
    expect(hit.get_by_role("heading")).to_have_text("brewing-better-coffee")
    settled(page)
    accessible(page)
    picture(page, "results", width)
    hit.get_by_role("link", name=re.compile("play from")).click()
    expect(page).to_have_url(re.compile(rf"/v/{expected.video_id}\?.*t="))
    plays_from(page, expected.match_time)
    expect(page.locator(".word[data-now]")).to_have_count(1)
    accessible(page)
    picture(page, "player", width)


def test_exact_words_are_found_and_marked(wide: Page, videos: dict[str, str]) -> None:
    wide.goto("/")
    wide.get_by_role("searchbox", name="Search what was said").fill(WORDS)
    wide.get_by_text("Exact words", exact=True).click()
    hit = wide.locator("#hits .hit")
    expect(hit).to_have_count(1)
    assert hit.get_attribute("data-video-id") == videos[COFFEE]
    assert [mark.lower() for mark in hit.locator(".said mark").all_inner_texts()][:2] == ["carbon", "dioxide"]
    hit.locator(".why summary").click()
    expect(hit.locator(".why")).to_contain_text("1st of all moments, BM25")
    wide.get_by_role("searchbox", name="Search what was said").fill('"carbon dioxide zebra"')
    expect(wide.locator(".nothing")).to_contain_text("Nothing like that was said")


def test_a_shared_link_opens_the_second(page: Page, videos: dict[str, str]) -> None:
    page.goto(f"/v/{videos[COFFEE]}?t=61")
    plays_from(page, 61)
    expect(page.locator("#player-title")).to_have_text("brewing-better-coffee")
    page.wait_for_function("() => document.querySelector('track')?.track.cues?.length > 5")


def test_the_library_lists_the_videos(page: Page, width: int) -> None:
    page.goto("/")
    expect(page.locator("#videos")).to_contain_text("brewing-better-coffee")
    settled(page)
    accessible(page)
    picture(page, "library", width)


@pytest.mark.slow
def test_operations_show_the_shards_and_what_was_asked(wide: Page) -> None:
    wide.goto("/?q=zyzzyva+quokka&mode=keyword")  # said in no talk
    expect(wide.locator(".nothing")).to_be_visible()
    wide.get_by_role("link", name="Operations").click()
    rows = wide.get_by_role("region", name="Shards and replicas").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("Ready")
    expect(wide.get_by_role("region", name="Workers")).to_contain_text("Transcriber")
    expect(wide.locator(".panel", has_text="Asked and not found")).to_contain_text("zyzzyva quokka")
    accessible(wide)
    picture(wide, "operations", 1280)


@pytest.mark.slow
def test_an_upload_goes_on_after_the_network_was_away(
    browser: Browser, mesh: LocalMesh, videos: dict[str, str], tmp_path: Path
) -> None:
    clip = clipped(SAMPLES / BEES, tmp_path / "on the road.mp4", seconds=40)
    size = clip.stat().st_size
    sent: list[tuple[str, int]] = []

    def note(request: Request) -> None:
        if request.method == "PATCH":
            sent.append((urlsplit(request.url).path, int(request.headers["upload-offset"])))

    def written_down() -> int:
        page.wait_for_timeout(100)
        if not sent:
            return 0
        return int(httpx.head(mesh.url + sent[0][0], headers={"Tus-Resumable": "1.0.0"}).headers["upload-offset"])

    with cable(mesh.url) as wire, browser.new_context(base_url=wire.url) as context:
        page = context.new_page()
        page.goto("/library")
        expect(page.locator("#videos")).to_contain_text("brewing-better-coffee")
        page.on("request", note)
        wire.bytes_per_second = size / 20
        page.locator("#files").set_input_files(clip)
        before = eventually_sync(written_down, 60, message="a part of it")
        wire.pull()
        expect(page.locator("#tray")).to_contain_text("The connection is gone", timeout=30_000)
        wire.bytes_per_second = 0
        wire.plug()
        card = page.locator("#videos .video", has_text="on the road")
        expect(card).to_be_visible(timeout=60_000)
    assert len({path for path, _ in sent}) == 1, "no other upload was begun"
    assert sent[0][1] == 0
    assert before <= sent[-1][1] < size, f"what had arrived is not sent again: {sent}"
    with mesh.client() as client:
        video = next(video for video in client.list() if video.source.filename == clip.name)
        assert video.source.sha256 == hashlib.sha256(clip.read_bytes()).hexdigest()
        client.delete(video.video_id)


def test_a_deletion_is_undone(wide: Page, mesh: LocalMesh, videos: dict[str, str]) -> None:
    def found() -> bool:
        with mesh.client() as client:
            return any(hit.video_id == videos[BEES] for hit in client.search("waggle dance").hits)

    wide.goto("/library")
    assert found()
    wide.get_by_role("button", name="Delete how-bees-make-honey").click()
    expect(wide.locator("#videos")).not_to_contain_text("how-bees-make-honey")
    eventually_sync(lambda: not found(), 10, message="the search without it")
    wide.get_by_role("button", name="Undo").click()
    expect(wide.locator("#videos")).to_contain_text("how-bees-make-honey")
    eventually_sync(found, 30, message="the search with it again")
    assert mesh.until_settled(videos[BEES]) == "ready"


def test_an_answer_without_a_shard_says_that_it_is_partial(wide: Page, mesh: LocalMesh) -> None:
    wide.goto("/")
    os.kill(mesh.pid("indexer-1"), signal.SIGSTOP)
    try:
        wide.get_by_role("searchbox", name="Search what was said").fill("how hot should the water be")
        expect(wide.locator("#notice")).to_contain_text("1 of 2 parts of the index did not answer", timeout=20_000)
    finally:
        os.kill(mesh.pid("indexer-1"), signal.SIGCONT)

    def whole() -> bool:
        wide.get_by_role("button", name="Ask again").click()
        wide.wait_for_timeout(200)
        return not wide.locator("#notice").inner_text()

    eventually_sync(whole, 20, message="a whole answer")


@contextmanager
def watched(browser: Browser, mesh: LocalMesh, width: int, problems: list[str]) -> Iterator[Page]:
    """A page whose errors, and requests to anything outside, come to `problems`; there must be none at the end."""

    def look(url: str) -> None:
        if not url.startswith((mesh.url, "blob:", "data:")):
            problems.append(url)

    with browser.new_context(viewport={"width": width, "height": 844}, base_url=mesh.url) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: look(request.url))
        yield page
    assert problems == []


def plays_from(page: Page, second: float) -> None:
    """Waits until the player shows this second."""
    page.wait_for_function(
        "() => { const video = document.querySelector('video'); return video?.readyState >= 2 && !video.seeking; }"
    )
    page.wait_for_function("at => Math.abs(document.querySelector('video').currentTime - at) < 5", arg=second)


def settled(page: Page) -> None:
    """Waits until the pictures in sight are there."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.picture img[src]:not([hidden])')]"
        ".filter(image => image.getBoundingClientRect().top < innerHeight).every(image => image.complete)"
    )


def accessible(page: Page) -> None:
    """Asserts that axe finds nothing serious, in light and in dark."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # one of the two
        rules = Axe().run(page).response["violations"]
        bad = [rule for rule in rules if rule["impact"] in {"serious", "critical"}]
        assert not bad, (scheme, [(rule["id"], node["failureSummary"]) for rule in bad for node in rule["nodes"]])


def picture(page: Page, name: str, width: int) -> None:
    """Takes a picture for the documentation when asked to."""
    if PICTURES:
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"page-{name}-{'wide' if width > 600 else 'phone'}.png")
