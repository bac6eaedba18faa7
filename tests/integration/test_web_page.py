"""The page in a real browser, against answers written here: what is shown, what is dropped, where the player goes."""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "services" / "gateway" / "web"
MEDIA = ROOT / "samples" / "how-bees-make-honey.mp4"
ORIGIN = "http://earmark.test"
VIDEO = "vid_00000000000000000000000001"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

Answer = dict[str, Any]


def video(**changes: Any) -> Answer:
    links = {name: f"/videos/{VIDEO}/{name}" for name in ("status", "events", "transcript", "media")}
    progress = {
        "slices_known": 1,
        "slicing_done": True,
        "slices_done": 1,
        "slices_failed": 0,
        "seconds_searchable": 120,
        "seconds_known": 120,
        "fraction": 1,
    }
    return {
        "video_id": VIDEO,
        "title": "Bees <img src=x onerror=alert(1)>",
        "url": None,
        "status": "ready",
        "duration": 120.0,
        "source": {"filename": "bees.mp4", "content_type": "video/mp4", "bytes": 1, "sha256": ""},
        "metadata": {"uploaded_at": "2026-01-02T03:04:05Z", "processed_at": None, "language": "en"},
        "progress": progress,
        "error": None,
        "warnings": [],
        "revision": 1,
        "links": links,
        **changes,
    }


def moment(text: str, match_time: float, **changes: Any) -> Answer:
    return {
        "video_id": VIDEO,
        "title": video()["title"],
        "language": "en",
        "chunk_id": f"{VIDEO}/00000/0000",
        "text": text,
        "highlights": [],
        "start_time": match_time - 3,
        "end_time": match_time + 20,
        "match_time": match_time,
        "score": 0.03,
        "scores": {"semantic": {"score": 0.5, "rank": 1}, "keyword": None},
        "links": {},
        "more": [],
        **changes,
    }


def answer(*hits: Answer, **coverage: Any) -> Answer:
    full = {"shards_total": 2, "shards_answered": 2, "complete": True, "legs": ["semantic", "keyword"], "missing": []}
    timing = {"total_ms": 3.2, "embed_ms": 2.0, "shards_ms": 1.0, "fuse_ms": 0.2}
    return {"hits": list(hits), "next_cursor": None, "coverage": {**full, **coverage}, "timing": timing}


TRANSCRIPT = {
    "video_id": VIDEO,
    "language": "en",
    "complete": True,
    "segments": [
        {"start": at, "end": at + 5.0, "text": f"Line at {at}.", "words": [], "speaker": "Ann"}
        for at in range(0, 120, 6)
    ],
}


class Gateway:
    """Answers the page's requests inside the browser; `search` is called with the query."""

    def __init__(self) -> None:
        self.videos: list[Answer] = [video()]
        self.search: Callable[[str, Route], Answer | None] = lambda _query, _route: answer()
        self.requests: list[str] = []
        self.media_status = 206
        self.key = ""
        """Needed by every call, but for links with `signature=good`."""

    def __call__(self, route: Route) -> None:
        address = urlsplit(route.request.url)
        path = address.path
        self.requests.append(f"{route.request.method} {path}")
        if path == "/" or path.startswith("/v/"):
            headers = {"Content-Security-Policy": "default-src 'self'", "Content-Type": "text/html"}
            route.fulfill(body=(WEB / "index.html").read_text(), headers=headers)
        elif path.startswith("/web/"):
            file = WEB / path.removeprefix("/web/")
            route.fulfill(path=file, content_type=mimetypes.guess_type(file)[0])
        elif self.key and not self._admitted(route, address.query):
            refused = {"code": 401, "status": "UNAUTHENTICATED", "message": "a key is needed", "details": []}
            self.json(route, {"error": refused}, 401)
        elif path == "/search":
            asked = parse_qs(address.query)
            found = self.search(asked["q"][0], route)
            if found is not None:
                self.json(route, {**found, "query": asked["q"][0], "mode": asked["mode"][0]})
        elif path == "/videos" and route.request.method == "GET":
            self.json(route, {"videos": self.videos, "next_cursor": None})
        elif path == f"/videos/{VIDEO}" and route.request.method == "GET" and self.videos:
            self.json(route, self.videos[0])
        elif path.endswith("/media") and self.media_status == 206:
            self._media(route)
        elif path.endswith("/transcript"):
            self.json(route, TRANSCRIPT)
        elif route.request.method == "DELETE":
            self.videos = []
            self.json(route, video(status="deleting", revision=2), 202)
        else:
            self.json(
                route, {"error": {"code": 404, "status": "NOT_FOUND", "message": "there is none", "details": []}}, 404
            )

    def _admitted(self, route: Route, query: str) -> bool:
        given = route.request.headers.get("authorization", "")
        return given == f"Bearer {self.key}" or parse_qs(query).get("signature") == ["good"]

    @staticmethod
    def json(route: Route, body: Answer, status: int = 200) -> None:
        route.fulfill(status=status, body=json.dumps(body), content_type="application/json")

    @staticmethod
    def _media(route: Route) -> None:
        data = MEDIA.read_bytes()
        found = re.match(r"bytes=(\d+)-(\d*)", route.request.headers.get("range", "bytes=0-"))
        assert found is not None
        start, end = int(found[1]), int(found[2] or len(data) - 1)
        headers = {"Content-Range": f"bytes {start}-{end}/{len(data)}", "Accept-Ranges": "bytes"}
        route.fulfill(status=206, body=data[start : end + 1], content_type="video/mp4", headers=headers)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def page(browser: Browser, gateway: Gateway) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.route("**/*", gateway)
    opened = context.new_page()
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda line: broken.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    context.close()
    assert broken == []


def test_marks_are_counted_in_code_points_and_text_stays_text(page: Page, gateway: Gateway) -> None:
    text = "🐝🍯 <b>bees</b> make honey"
    hit = moment(text, 83.4, highlights=[{"start": 6, "end": 10}, {"start": 20, "end": 25}])
    gateway.search = lambda _query, _route: answer(hit)
    page.goto(f"{ORIGIN}/?q=bees")
    expect(page.locator(".said")).to_have_text(text)
    assert page.locator("mark").all_inner_texts() == ["bees", "honey"]
    expect(page.locator(".hit h3")).to_have_text("Bees <img src=x onerror=alert(1)>")
    assert page.locator(".hit b, .hit img").count() == 0


def test_an_answer_that_comes_too_late_is_dropped(page: Page, gateway: Gateway) -> None:
    held: list[Route] = []

    def search(query: str, route: Route) -> Answer | None:
        if query == "slow":
            held.append(route)
            return None
        return answer(moment("the quick one", 10))

    gateway.search = search
    page.goto(f"{ORIGIN}/")
    page.locator("#q").fill("slow")
    expect(page.locator("#results")).to_have_attribute("aria-busy", "true")
    page.locator("#q").fill("quick")
    expect(page.locator(".said")).to_have_text("the quick one")
    gateway.json(held[0], answer(moment("the slow one", 10)))
    expect(page.locator(".said")).to_have_text("the quick one")
    assert page.url == f"{ORIGIN}/?q=quick"


def plays(page: Page, *, from_second: float, line: int) -> None:
    """Asserts that the player went to a second; on a busy machine it may be a line further by the time we look."""
    expect(page.locator(".line[aria-current]")).to_contain_text(re.compile(rf"Line at ({line}|{line + 6})\."))
    assert from_second <= page.locator("video").evaluate("video => video.currentTime") < from_second + 10


def test_a_hit_opens_the_player_at_its_second_and_a_link_shares_it(page: Page, gateway: Gateway) -> None:
    gateway.search = lambda _query, _route: answer(moment("here", 83.4, more=[moment("there", 40.0)]))
    page.goto(f"{ORIGIN}/?q=bees")
    page.locator(".hit .cover").click()
    plays(page, from_second=83.4, line=78)
    assert page.url.startswith(f"{ORIGIN}/v/{VIDEO}?t=83.4")
    page.locator(".found .chip").first.click()
    plays(page, from_second=40, line=36)
    page.locator(".line").nth(15).click()
    plays(page, from_second=90, line=90)
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator(".hit .cover")).to_be_focused()

    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60")
    plays(page, from_second=60, line=60)
    expect(page).to_have_title("Bees <img src=x onerror=alert(1)> · Earmark")


def test_a_partial_answer_says_so(page: Page, gateway: Gateway) -> None:
    gateway.search = lambda _query, _route: answer(
        moment("half", 5), complete=False, shards_answered=1, legs=["keyword"]
    )
    page.goto(f"{ORIGIN}/?q=bees")
    expect(page.locator("#notice")).to_contain_text("1 of 2 parts of the index did not answer")
    expect(page.locator("#notice")).to_contain_text("Searching by meaning did not work")


def test_nothing_found_says_what_to_try(page: Page) -> None:
    page.goto(f"{ORIGIN}/?q=%22zebra%22&mode=keyword")
    expect(page.locator(".nothing")).to_contain_text("quotation marks")
    page.get_by_role("button", name="switch to Both").click()
    expect(page.get_by_label("Both")).to_be_checked()


def test_an_empty_library_says_how_to_start(page: Page, gateway: Gateway) -> None:
    gateway.videos = []
    page.goto(f"{ORIGIN}/")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_a_video_made_of_a_transcript_says_that_there_is_nothing_to_play(page: Page, gateway: Gateway) -> None:
    links = {**video()["links"], "media": None}
    gateway.videos = [video(links=links, url="https://example.org/talk")]
    gateway.media_status = 404
    gateway.search = lambda _query, _route: answer(moment("Line at 84.", 84.0))
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=84")
    expect(page.locator(".nothing-to-play")).to_contain_text("There is nothing to play")
    expect(page.locator(".nothing-to-play a")).to_have_attribute("href", "https://example.org/talk")
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 84.")
    expect(page.locator(".line-speaker").first).to_have_text("Ann:")
    assert page.locator("video, .notice").count() == 0
    assert page.get_by_role("link", name="Original").count() == 0
    page.locator(".line").nth(2).click()
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 12.")
    # Known from the library by now: not even asked for.
    gateway.requests.clear()
    page.goto(f"{ORIGIN}/?q=line")
    page.locator(".hit a.cover").click()
    expect(page.locator(".nothing-to-play")).to_be_visible()
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 84.")
    assert not [request for request in gateway.requests if request.endswith("/media")]


def test_a_failed_video_says_why_and_delete_asks_first(page: Page, gateway: Gateway) -> None:
    gateway.videos = [video(status="failed", title="Broken", error={"message": "the file is text"})]
    page.goto(f"{ORIGIN}/")
    expect(page.locator(".video .state")).to_have_text("The file is text.")
    expect(page.get_by_role("button", name="Retry Broken")).to_be_visible()
    page.get_by_role("button", name="Delete Broken").click()
    page.get_by_role("button", name="Keep it").click()
    assert f"DELETE /videos/{VIDEO}" not in gateway.requests
    page.get_by_role("button", name="Delete Broken").click()
    page.locator("#delete-confirm").click()
    expect(page.locator(".video")).to_have_count(0, timeout=15_000)


def test_where_a_key_is_needed_it_is_asked_for_once_and_the_player_follows_signed_links(
    page: Page, gateway: Gateway
) -> None:
    gateway.key = "earmark_right"
    names = ("events", "transcript", "media")
    links = {name: f"/videos/{VIDEO}/{name}?signature=good" for name in names}
    gateway.videos = [video(links=links)]
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60")
    dialog = page.locator("#key-dialog")
    expect(dialog).to_be_visible()
    page.locator("#key").fill("earmark_wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-error")).to_contain_text("not one of this gateway")
    page.locator("#key").fill("earmark_right")
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    plays(page, from_second=60, line=60)
    assert page.locator("video").get_attribute("src") == links["media"]
    assert page.locator("track").get_attribute("src") == f"{links['transcript']}&format=vtt"
    page.reload()
    plays(page, from_second=60, line=60)
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0, "another tab asks again"


def test_who_gives_no_key_is_not_asked_again_until_they_do_something(page: Page, gateway: Gateway) -> None:
    gateway.key = "earmark_right"
    page.goto(f"{ORIGIN}/")
    expect(page.locator("#key-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#library-notice")).to_contain_text("A key is needed")
    expect(page.locator("#key-dialog")).to_be_hidden()
    page.locator("#library-notice button").click()
    expect(page.locator("#key-dialog")).to_be_visible()
    page.locator("#key").fill("earmark_right")
    page.keyboard.press("Enter")
    expect(page.locator("#videos .video")).to_have_count(1)
