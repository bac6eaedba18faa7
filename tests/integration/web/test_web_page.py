"""Search and player in a real browser, against answers written here: what is shown, what is dropped, where it goes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from playwright.sync_api import Page, Route, expect

from tests.support.page_gateway import ORIGIN, VIDEO, Answer, PageGateway, answer, moment, video

Asked = dict[str, list[str]]


def test_marks_are_counted_in_code_points_and_text_stays_text(page: Page, gateway: PageGateway) -> None:
    text = "🐝🍯 <b>bees</b> make honey"
    hit = moment(text, 83.4, highlights=[{"start": 6, "end": 10}, {"start": 20, "end": 25}], speaker="Ann")
    gateway.search = lambda _query, _route: answer(hit)
    page.goto(f"{ORIGIN}/?q=bees")
    expect(page.locator(".said")).to_have_text(f"Ann {text}")
    assert page.locator("mark").all_inner_texts() == ["bees", "honey"]
    expect(page.locator(".hit h3")).to_have_text("Bees <img src=x onerror=alert(1)>")
    assert page.locator(".hit h3 img, .said img, .said mark b").count() == 0
    expect(page.locator(".hit .badge")).to_have_text("1:23")
    shown = page.locator(".hit .picture img")
    expect(shown).to_have_attribute("src", f"/v1/videos/{VIDEO}/thumbnail?t=83.4&width=480")
    page.wait_for_function("() => document.querySelector('.hit .picture img').naturalWidth > 0")


def test_a_long_moment_is_shown_from_the_sentence_it_is_played_at(page: Page, gateway: PageGateway) -> None:
    sentences = [f"This is sentence number {number}, and water is in it." for number in range(20)]
    text = " ".join(sentences)
    at = text.index("This is sentence number 10")
    sentence = {"start": at, "end": at + len(sentences[10])}
    hit = moment(text, 110, sentence=sentence, highlights=[{"start": 34, "end": 39}])
    gateway.search = lambda _query, _route: answer(hit)
    page.goto(f"{ORIGIN}/?q=water")
    expect(page.locator(".said")).to_have_text(re.compile(r"^… This is sentence number 10, "))


def test_an_answer_that_comes_too_late_is_dropped(page: Page, gateway: PageGateway) -> None:
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
    page.wait_for_function("from => document.querySelector('video').currentTime >= from", arg=from_second - 0.05)
    assert page.locator("video").evaluate("video => video.currentTime") < from_second + 10


def test_a_hit_opens_the_player_at_its_second_and_a_link_shares_it(page: Page, gateway: PageGateway) -> None:
    gateway.search = lambda _query, _route: answer(moment("here", 83.4, more=[moment("there", 40.0)]))
    page.goto(f"{ORIGIN}/?q=bees")
    page.locator(".hit .cover").click()
    plays(page, from_second=83.4, line=78)
    assert page.url.startswith(f"{ORIGIN}/v/{VIDEO}?t=83.4")
    page.locator(".found .tick").first.click()
    plays(page, from_second=40, line=36)
    page.locator(".line").nth(15).locator(".line-time").click()
    plays(page, from_second=90, line=90)
    page.keyboard.press("Escape")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator(".hit .cover")).to_be_focused()

    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60")
    plays(page, from_second=60, line=60)
    expect(page).to_have_title("Bees <img src=x onerror=alert(1)> · Earmark")
    page.locator("video").evaluate("video => video.pause()")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("button", name=re.compile(r"Link to 1:0\d copied"))).to_be_visible()


def test_the_strip_has_a_mark_for_every_moment_which_arrows_reach_and_hovering_explains(
    page: Page, gateway: PageGateway
) -> None:
    more = [moment("a later one", 90.0), moment("an early one", 30.0)]
    gateway.search = lambda _query, _route: answer(moment("the best", 60.0, more=more))
    page.goto(f"{ORIGIN}/?q=bees")
    ticks = page.locator(".hit .tick")
    expect(ticks).to_have_count(3)
    expect(page.locator(".strip-end")).to_have_text("2:00")
    assert [tick.evaluate("tick => tick.style.left") for tick in ticks.all()] == ["25%", "50%", "75%"]
    ticks.nth(2).hover()
    expect(page.locator("#peek")).to_contain_text("1:30 a later one")
    page.mouse.move(0, 0)
    expect(page.locator("#peek")).to_be_hidden()
    assert page.locator('.hit .tick[tabindex="0"]').count() == 1, "the strip is one Tab stop"
    ticks.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    expect(ticks.nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    plays(page, from_second=30, line=30)


def test_a_mark_is_called_by_the_sentence_that_is_said_there(page: Page, gateway: PageGateway) -> None:
    text = " ".join(f"This is sentence number {number}, and water is in it." for number in range(20))
    at = text.index("This is sentence number 10")
    hit = moment(text, 110, sentence={"start": at, "end": at + 50})
    gateway.search = lambda _query, _route: answer(hit)
    page.goto(f"{ORIGIN}/?q=water")
    tick = page.locator(".hit .tick")
    tick.hover()
    said = page.locator("#peek p span").inner_text()
    assert said.startswith("… This is sentence number 10, ")
    expect(tick).to_have_attribute("aria-label", re.compile(rf"^1 minute 50 seconds: {re.escape(said)}$"))


def test_a_search_that_is_refused_as_wrong_is_not_offered_again(page: Page, gateway: PageGateway) -> None:
    def search(query: str, route: Route) -> None:
        code, status = (400, "INVALID_ARGUMENT") if query == "wrong" else (503, "UNAVAILABLE")
        gateway.refuse(route, code, status, f"{query} is not answered")

    gateway.search = search
    page.goto(f"{ORIGIN}/?q=late")
    expect(page.locator("#notice").get_by_role("button", name="Try again")).to_be_visible()
    page.locator("#q").fill("wrong")
    expect(page.locator("#notice")).to_have_text("Wrong is not answered.")


def test_a_slash_leads_to_the_search_and_is_a_letter_within_a_question(page: Page) -> None:
    page.goto(f"{ORIGIN}/")
    field = page.locator("#q")
    expect(field).to_be_focused()
    page.keyboard.press("/")
    expect(field).to_have_value("")
    page.locator("#library-title").focus()
    page.keyboard.type("/and/or")
    expect(field).to_have_value("and/or")


def test_a_hit_says_why_it_was_found(page: Page, gateway: PageGateway) -> None:
    scores = {"semantic": {"score": 0.512, "rank": 2}, "keyword": {"score": 2.95, "rank": 1}}
    hit = moment("bees make honey", 10, scores=scores, highlights=[{"start": 0, "end": 4}], score=0.0325)
    gateway.search = lambda _query, _route: answer(hit)
    page.goto(f"{ORIGIN}/?q=bees")
    why = page.locator(".why")
    why.locator("summary").click()
    expect(why).to_contain_text("2nd of all moments, similarity 0.51")
    expect(why).to_contain_text("1st of all moments, BM25 2.95; matched “bees”")
    expect(why).to_contain_text("1 ⁄ (60 + 2) + 1 ⁄ (60 + 1) = 0.0325")
    expect(page.locator("#player")).to_be_hidden()


def searched(page: Page, gateway: PageGateway, as_wanted: Callable[[Asked], bool]) -> Asked:
    """Waits until the last search sent is as wanted, and gives it: the page first shows, then sends."""
    deadline = time.monotonic() + 30
    while not (gateway.searched and as_wanted(gateway.searched[-1])):
        assert time.monotonic() < deadline, f"the last search is not as wanted: {gateway.searched[-1:]}"
        page.wait_for_timeout(20)
    return gateway.searched[-1]


def test_filters_narrow_the_search_stand_in_the_address_and_come_off_again(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(title="Bees", collection="nature", tags=["insects"])]
    gateway.search = lambda _query, _route: answer(moment("here", 10, speaker="Ann"))
    page.goto(f"{ORIGIN}/?q=bees")
    expect(page.locator(".hit")).to_be_visible()
    page.get_by_role("button", name="Filters").click()
    page.locator("#filters").get_by_label("Collection").select_option("nature")
    page.locator("#filters").get_by_label("Speaker").fill("Ann")
    page.locator("#filters").get_by_label("Video").fill("bees")
    page.locator("#filters").get_by_label("Added until").fill("2026-03-01")
    page.keyboard.press("Tab")
    expect(page.locator("#filter-chips li")).to_have_count(4)
    expect(page.locator("#filter-chips")).to_contain_text("VideoBees")
    page.wait_for_url(re.compile("uploaded_before=2026-03-01"))
    asked = searched(page, gateway, lambda query: "uploaded_before" in query)
    assert (asked["collection"], asked["speaker"], asked["video_id"]) == (["nature"], ["Ann"], [VIDEO])
    there = page.evaluate("new Date(2026, 2, 2).toISOString()")
    assert asked["uploaded_before"] == [there], "the last day counts whole, as the reader counts days"
    page.reload()
    expect(page.locator("#filter-chips li")).to_have_count(4)
    page.get_by_role("button", name="Remove the filter Speaker: Ann").click()
    expect(page.locator("#filter-chips li")).to_have_count(3)
    searched(page, gateway, lambda query: "speaker" not in query)


def test_search_in_the_video_that_is_open(page: Page, gateway: PageGateway) -> None:
    page.goto(f"{ORIGIN}/v/{VIDEO}")
    page.get_by_role("button", name="Search in it").click()
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("honey")
    expect(page.locator("#filter-chips")).to_contain_text("Bees")
    expect(page.locator(".nothing")).to_be_visible()
    searched(page, gateway, lambda query: query.get("video_id") == [VIDEO])


def test_the_transcript_follows_words_jumps_to_them_and_finds_them(page: Page) -> None:
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60")
    plays(page, from_second=60, line=60)
    expect(page.locator(".word[data-now]")).to_have_count(1)
    page.locator("video").evaluate("video => video.pause()")
    page.locator(".line").nth(5).locator(".word", has_text="Honey").click()
    page.wait_for_function("() => Math.abs(document.querySelector('video').currentTime - 33) < 2")
    page.locator("video").evaluate("video => { video.pause(); video.currentTime = 34.5 }")
    expect(page.locator(".word[data-now]")).to_have_text("is")
    field = page.get_by_role("searchbox", name="Find in transcript")
    field.fill("at 30. honey")
    expect(page.locator(".find-count")).to_have_text("1 of 1")
    found = "CSS.highlights.get('find-now').values().next().value.toString()"
    assert page.evaluate(found) == "at 30. Honey", "over the words' elements, large or small"
    field.fill("sweet")
    expect(page.locator(".find-count")).to_have_text("1 of 20")
    field.press("Shift+Enter")
    expect(page.locator(".find-count")).to_have_text("20 of 20")
    expect(page.locator(".line").last).to_be_in_viewport()
    field.press("Escape")
    assert page.evaluate("CSS.highlights.size") == 0
    expect(page.locator("#player")).to_be_visible()


def test_captions_are_on_until_they_are_switched_off(page: Page) -> None:
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=5")
    button = page.get_by_role("button", name="Captions")
    expect(button).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => document.querySelector('track').track.cues?.length === 1")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    page.reload()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("document.querySelector('track').track.mode") == "disabled"


def test_what_a_browser_does_not_play_plays_as_soon_as_it_is_made_playable(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(playable="preparing")]
    gateway.media_status = 404
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=60")
    expect(page.locator("#player .notice")).to_contain_text("A version that they can is being made")
    gateway.media_status = 206
    gateway.videos[0]["playable"] = "rendition"
    expect(page.locator("#player .notice")).to_have_count(0)
    # Chromium would not ask for the address again that gave it what it could not play.
    expect(page.locator("video")).to_have_attribute("src", f"/v1/videos/{VIDEO}/media?original=false")
    page.wait_for_function("() => document.querySelector('video').currentTime >= 59.9")
    plays(page, from_second=60, line=60)
    gateway.media_status = 404
    gateway.videos[0]["playable"] = "failed"
    page.reload()
    expect(page.locator("#player .notice")).to_contain_text("making a version that they can did not work")
    save = page.locator("#player .notice").get_by_role("link", name="Download")
    expect(save).to_have_attribute("href", f"/v1/videos/{VIDEO}/media?original=true&download=true")
    page.locator("#player .notice").get_by_role("button", name="Try again").click()
    expect(page.locator("#player .notice")).to_contain_text("A version that they can is being made")
    gateway.media_status = 206
    gateway.videos[0]["playable"] = "rendition"
    expect(page.locator("#player .notice")).to_have_count(0)


def test_a_partial_answer_says_so(page: Page, gateway: PageGateway) -> None:
    gateway.search = lambda _query, _route: answer(
        moment("half", 5), complete=False, shards_answered=1, legs=["keyword"]
    )
    page.goto(f"{ORIGIN}/?q=bees")
    expect(page.locator("#notice")).to_contain_text("1 of 2 parts of the index did not answer")
    expect(page.locator("#notice")).to_contain_text("Searching by meaning did not work")
    gateway.search = lambda _query, _route: answer(moment("whole", 5))
    page.get_by_role("button", name="Ask again").click()
    expect(page.locator("#notice")).to_be_empty()


def test_nothing_found_says_what_to_try(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(title="Zebra crossings")]
    page.goto(f"{ORIGIN}/?q=%22zebra%20foal%22&mode=keyword&language=de")
    expect(page.locator(".nothing")).to_contain_text("Words in quotation marks must stand next to each other")
    expect(page.locator(".nothing-named")).to_contain_text("Zebra crossings")
    page.get_by_role("button", name="switch to Both").click()
    expect(page.get_by_label("Both")).to_be_checked()
    page.get_by_role("button", name="clear the filters").click()
    expect(page.locator("#filter-chips")).to_be_hidden()
    page.get_by_role("button", name="search for zebra foal").click()
    expect(page.locator("#q")).to_have_value("zebra foal")
    expect(page).to_have_url(f"{ORIGIN}/?q=zebra+foal")


def test_a_video_made_of_a_transcript_says_that_there_is_nothing_to_play(page: Page, gateway: PageGateway) -> None:
    links = {**video()["links"], "media": None, "thumbnail": None}
    gateway.videos = [video(links=links, url="https://example.org/talk")]
    gateway.media_status = 404
    gateway.search = lambda _query, _route: answer(moment("Line at 84.", 84.0))
    page.goto(f"{ORIGIN}/v/{VIDEO}?t=84")
    expect(page.locator(".nothing-to-play")).to_contain_text("There is nothing to play")
    expect(page.locator(".nothing-to-play a")).to_have_attribute("href", "https://example.org/talk")
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 84.")
    expect(page.locator(".line-speaker").first).to_have_text("Ann:")
    assert page.locator("video, .notice").count() == 0
    page.locator(".menu summary").click()
    expect(page.get_by_role("link", name="Download the transcript as SRT")).to_be_visible()
    expect(page.get_by_role("link", name="Original file")).to_be_hidden()
    page.keyboard.press("Escape")
    page.locator(".line").nth(2).click()
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 12.")
    # Known from the library by now: not even asked for.
    gateway.requests.clear()
    page.goto(f"{ORIGIN}/?q=line")
    page.locator(".hit a.cover").click()
    expect(page.locator(".nothing-to-play")).to_be_visible()
    expect(page.locator('.line[aria-current="true"]')).to_contain_text("Line at 84.")
    assert not [request for request in gateway.requests if request.endswith(("/media", "/thumbnail"))]


def test_where_a_key_is_needed_it_is_asked_for_once_and_the_player_follows_signed_links(
    page: Page, gateway: PageGateway
) -> None:
    gateway.key = "earmark_right"
    names = ("events", "transcript", "media", "thumbnail")
    links = {name: f"/v1/videos/{VIDEO}/{name}?signature=good" for name in names}
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
    picture = page.locator("#videos .picture img")
    assert picture.get_attribute("src") == f"{links['thumbnail']}&t=12.0&width=480"
    page.reload()
    plays(page, from_second=60, line=60)
    expect(dialog).to_be_hidden()
    assert page.evaluate("localStorage.length") == 0, "another tab asks again"


def test_a_key_is_remembered_on_the_device_until_it_is_to_be_forgotten(page: Page, gateway: PageGateway) -> None:
    gateway.key = "earmark_right"
    page.goto(f"{ORIGIN}/library")
    expect(page.get_by_label("Remember on this device")).not_to_be_checked()
    page.get_by_label("Remember on this device").check()
    page.locator("#key").fill("earmark_right")
    page.keyboard.press("Enter")
    expect(page.locator("#videos .video")).to_have_count(1)
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [0, 1]
    another = page.context.new_page()
    another.goto(f"{ORIGIN}/library")
    expect(another.locator("#videos .video")).to_have_count(1)
    another.get_by_role("button", name="Forget it").click()
    expect(another.locator("#key-dialog")).to_be_visible()
    assert another.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
    expect(page.locator("#remembered")).to_be_hidden()


def test_the_player_takes_the_room_there_is(page: Page, gateway: PageGateway) -> None:
    gateway.search = lambda _query, _route: answer(moment("here", 40.0))
    for width, height, address, least in [
        (1280, 800, f"/v/{VIDEO}", 840),
        (1280, 800, f"/v/{VIDEO}?q=bees", 600),
        (1440, 900, f"/v/{VIDEO}?q=bees", 720),
        (390, 844, f"/v/{VIDEO}?q=bees", 390),
    ]:
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{ORIGIN}{address}")
        expect(page.locator(".line").first).to_be_in_viewport()
        expect(page.locator(".under")).to_be_in_viewport()
        box = page.locator("video").bounding_box()
        assert box is not None
        assert box["width"] >= least
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_who_gives_no_key_is_not_asked_again_until_they_do_something(page: Page, gateway: PageGateway) -> None:
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


def test_what_a_key_may_not_do_is_not_offered(page: Page, gateway: PageGateway) -> None:
    gateway.scopes = ["read"]
    page.goto(f"{ORIGIN}/")
    expect(page.locator("#videos .video")).to_have_count(1)
    expect(page.get_by_role("link", name="Operations")).to_be_hidden()
    expect(page.get_by_role("button", name="Add videos")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("^Delete"))).to_be_hidden()
