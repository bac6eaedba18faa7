"""The library, uploads and operations in a real browser, against a gateway that a test fills."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.support.page_gateway import NEW, ORIGIN, VIDEO, PageGateway, progress, video


def test_an_empty_library_says_how_to_start(page: Page, gateway: PageGateway) -> None:
    gateway.videos = []
    page.goto(f"{ORIGIN}/")
    expect(page.get_by_role("button", name="Choose files")).to_be_visible()


def test_a_bar_shows_which_minutes_can_be_searched_already(page: Page, gateway: PageGateway) -> None:
    states = ["indexed", "transcribed", "indexed", "failed"]
    slices = [
        {"slice_id": f"{n:05d}", "start_time": n * 30, "end_time": n * 30 + 28, "state": state, "attempts": 1}
        for n, state in enumerate(states)
    ]
    gateway.videos = [video(title="Bees", status="processing", progress=progress(2, 4, 56), slices=slices)]
    page.goto(f"{ORIGIN}/library")
    bar = page.get_by_role("progressbar", name="Bees: how much of it can be searched")
    expect(bar).to_have_attribute("aria-valuetext", "Searchable: 0:00 to 0:28, 1:00 to 1:28")
    expect(bar).to_have_attribute("aria-valuenow", "47")
    assert [part.get_attribute("class") for part in bar.locator(".slice").all()] == [f"slice {s}" for s in states]
    left = bar.locator(".slice").nth(2).evaluate("part => parseFloat(part.style.left)")
    assert 48 < left < 51
    expect(page.locator(".video .state")).to_contain_text("2 of 4 parts done · 56 s searchable already")


def test_a_failed_video_says_why_and_is_tried_again(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(status="failed", title="Broken", error={"message": "the file is text"})]
    page.goto(f"{ORIGIN}/")
    expect(page.locator(".video .state")).to_have_text("The file is text.")
    page.get_by_role("button", name="Retry Broken").click()
    expect(page.locator(".video .notice")).to_have_text("There is none.")
    assert f"POST /videos/{VIDEO}/retry" in gateway.requests


def test_media_that_can_never_be_read_are_not_tried_again(page: Page, gateway: PageGateway) -> None:
    not_fetched = {"filename": None, "content_type": None, "bytes": None, "sha256": None}
    page_there = {"reason": "NOT_MEDIA", "stage": "slice", "message": "the address gives a web page"}
    text = {"reason": "NOT_MEDIA", "stage": "slice", "message": "the file is text"}
    gateway.videos = [
        video(status="failed", title="Address", source=not_fetched, error=page_there),
        video(NEW, status="failed", title="Text", error=text),
    ]
    page.goto(f"{ORIGIN}/")
    expect(page.get_by_role("button", name="Retry Address")).to_be_visible()  # something else may be there by now
    expect(page.get_by_role("button", name="Retry Text")).to_be_hidden()


def test_a_video_that_turns_ready_is_shown_whole(page: Page, gateway: PageGateway) -> None:
    fresh = video(title="Bees", status="processing", progress=progress(0, 1, 0))
    fresh["metadata"] = {**fresh["metadata"], "language": None}
    gateway.videos = [video(title="Bees", revision=2)]
    gateway.statuses = [{"status": "ready", "progress": progress(1, 1, 120), "error": None, "warnings": []}]
    page.route("**/v1/videos?*", lambda route: gateway.json(route, {"videos": [fresh], "next_cursor": None}))
    page.goto(f"{ORIGIN}/library")
    expect(page.locator('.video[data-status="ready"] .facts')).to_contain_text("English")


def test_title_collection_and_tags_are_changed_and_nothing_else(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(title="Bees", tags=["insects"])]
    page.goto(f"{ORIGIN}/library")
    page.get_by_role("button", name="Edit Bees").click()
    page.locator("#edit-form").get_by_label("Title").fill("How bees make honey")
    page.locator("#edit-form").get_by_label("Tags").fill("insects, honey,  honey,")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".video h3")).to_have_text("How bees make honey")
    assert page.locator(".tags li").all_inner_texts() == ["insects", "honey"]
    assert gateway.changes == [{"title": "How bees make honey", "tags": ["insects", "honey"]}]


def test_the_library_is_sifted_and_sorted(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [
        video("vid_00000000000000000000000001", title="Bees", collection="nature", duration=60),
        video("vid_00000000000000000000000002", title="Coffee", tags=["kitchen"], duration=600),
        video("vid_00000000000000000000000003", title="Atoms", status="failed", duration=6),
    ]
    page.goto(f"{ORIGIN}/library")
    titles = page.locator(".video h3")
    expect(titles).to_have_text(["Atoms", "Coffee", "Bees"])
    page.get_by_label("Order").select_option("longest")
    expect(titles).to_have_text(["Coffee", "Bees", "Atoms"])
    page.get_by_label("State").select_option("failed")
    expect(titles).to_have_text(["Atoms"])
    page.get_by_label("State").select_option("")
    page.get_by_role("searchbox", name="Filter by title").fill("kitch")
    expect(titles).to_have_text(["Coffee"])
    expect(page.locator("#library-count")).to_have_text("1 of 3 videos")
    page.get_by_role("searchbox", name="Filter by title").fill("nothing such")
    expect(page.locator("#no-videos")).to_be_visible()


def test_a_deleted_video_comes_back_when_that_is_undone_in_time(page: Page, gateway: PageGateway) -> None:
    gateway.videos = [video(title="Bees"), video(NEW, title="Coffee")]
    page.goto(f"{ORIGIN}/library")
    page.get_by_role("button", name="Delete Bees").click()
    expect(page.locator(".video h3")).to_have_text(["Coffee"])
    expect(page.locator(".video .cover")).to_be_focused()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".video h3")).to_have_count(2)
    page.get_by_role("button", name="Delete Bees").click()
    expect(page.locator(".toast")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.locator(".video h3")).to_have_count(2)
    expect(page.locator(".toast")).to_have_count(0)


def test_an_upload_that_is_cut_goes_on_where_it_was(page: Page, gateway: PageGateway, tmp_path: Path) -> None:
    talk = tmp_path / "how-bees-dance.mp4"
    talk.write_bytes(b"x" * 5000)
    gateway.videos = []
    gateway.cut_after = 3000
    page.goto(f"{ORIGIN}/")
    page.get_by_role("button", name="Add videos").click()
    page.locator("#add-dialog summary").click()
    page.locator("#add-details").get_by_label("Tags").fill("bees, dance")
    page.locator("#add-details").get_by_label("Language").fill("EN")
    page.locator("#files").set_input_files(talk)
    expect(page.locator(".video h3")).to_have_text("how-bees-dance.mp4")
    assert gateway.metadata == {
        "filename": "how-bees-dance.mp4",
        "filetype": "video/mp4",
        "tags": "bees,dance",
        "language": "en",
    }
    sent = [request for request in gateway.requests if "/files" in request]
    assert sent == ["POST /files", "PATCH /files/upl_1", "HEAD /files/upl_1", "PATCH /files/upl_1"]
    expect(page.locator("#tray")).to_contain_text("Uploaded; now being transcribed")


def begin_and_cut(page: Page, gateway: PageGateway, address: str, file: Path) -> Page:
    """Begins an upload which is cut after 3000 bytes and can't go on; gives another tab, which is still empty."""
    file.write_bytes(b"x" * 5000)
    gateway.cut_after, gateway.away = 3000, True
    page.goto(address)
    with page.expect_event("requestfailed", lambda request: request.method == "PATCH"):
        page.locator("#files").set_input_files(file)
    return page.context.new_page()


def test_an_upload_goes_on_after_the_page_was_closed(page: Page, gateway: PageGateway, tmp_path: Path) -> None:
    talk = tmp_path / "talk.mp4"
    another = begin_and_cut(page, gateway, f"{ORIGIN}/", talk)
    page.close()
    gateway.away = False
    another.goto(f"{ORIGIN}/")
    told = another.locator("#unfinished")
    expect(told).to_contain_text("talk.mp4 is there up to 3.0 kB of 5.0 kB. Choose the file again to go on.")
    with another.expect_file_chooser() as chosen:
        another.get_by_role("button", name="Choose talk.mp4 again").click()
    chosen.value.set_files(talk)
    expect(another.locator(f'.video[data-video-id="{NEW}"]')).to_be_visible()
    expect(told).to_be_empty()
    assert gateway.requests.count("POST /files") == 1
    assert another.evaluate("localStorage.length") == 0


def test_an_upload_that_was_begun_is_given_up_but_not_while_another_tab_sends_it(
    page: Page, gateway: PageGateway, tmp_path: Path
) -> None:
    here = "http://localhost"  # the locks by which tabs know of each other are only there and by https
    another = begin_and_cut(page, gateway, f"{here}/", tmp_path / "talk.mp4")
    another.goto(f"{here}/")
    another.wait_for_function("() => window.tus !== undefined")  # by then it looks
    assert (
        another.evaluate("import('/web/js/resumable.js').then(({beingSent}) => beingSent()).then(all => all.size)") == 1
    )
    expect(another.locator("#unfinished")).to_be_empty()
    page.close()
    gateway.away = False
    another.reload()
    another.get_by_role("button", name="Give up the upload of talk.mp4").click()
    expect(another.locator("#unfinished")).to_be_empty()
    assert "DELETE /files/upl_1" in gateway.requests
    assert another.evaluate("localStorage.length") == 0


def test_an_empty_file_and_a_pasted_link_that_is_none_are_refused_in_words(
    page: Page, gateway: PageGateway, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    page.goto(f"{ORIGIN}/")
    page.locator("#files").set_input_files(empty)
    expect(page.locator("#tray")).to_contain_text("This is an empty file or a folder")
    page.get_by_role("button", name="Add videos").click()
    page.locator("#url").fill("https://example.org/none")
    page.keyboard.press("Enter")
    expect(page.locator("#url-error")).to_have_text("There is none.")
    expect(page.locator("#url")).to_have_attribute("aria-invalid", "true")


def test_operations_show_shards_queues_and_what_is_asked(page: Page) -> None:
    page.goto(f"{ORIGIN}/")
    page.get_by_role("link", name="Operations").click()
    expect(page).to_have_url(f"{ORIGIN}/ops")
    expect(page.locator("#operations-title")).to_be_focused()
    body = page.locator("#operations-body")
    expect(body).to_contain_text("p95 34 ms, p99 80 ms")
    expect(body).to_contain_text("82 %of 100 asked; 12 entries, 18 kB")
    expect(body.locator(".notice")).to_have_text("Throughput: the database does not answer")
    rows = body.get_by_role("region", name="Shards and replicas").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_contain_text("Away does not answer")
    expect(body.get_by_role("region", name="Queues")).to_contain_text("6 min")
    expect(body.get_by_role("region", name="Workers")).to_contain_text("recognizer: 2")
    expect(body).to_contain_text("38 to 40 ×")
    body.get_by_role("button", name="zebra crossing").click()
    expect(page).to_have_url(f"{ORIGIN}/?q=zebra+crossing")
