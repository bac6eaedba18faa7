"""The page of a mesh that takes keys: what is somebody's is theirs alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from earmark.client import Client
from earmark.local.models import ModelPaths
from tests.support.clips import clipped
from tests.support.local_mesh import SAMPLES, LocalMesh, local_mesh, models_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, model_paths: ModelPaths) -> Iterator[LocalMesh]:
    """A mesh that takes keys."""
    settings = {"EARMARK_ACCESS": "keys"}
    with local_mesh(tmp_path_factory.mktemp("locked") / "data", models_folder(model_paths), settings) as running:
        yield running


def opened(browser: Browser, mesh: LocalMesh, key: str, path: str) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 844}, base_url=mesh.url).new_page()
    page.goto(path)
    page.locator("#key").fill(key)
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_be_hidden()
    return page


def test_a_key_sees_what_it_may_and_plays_it_and_another_sees_nothing(
    browser: Browser, locked: LocalMesh, tmp_path: Path
) -> None:
    with Client(locked.url, key=locked.data.admin_key.read_text().strip()) as admin:
        ours = admin.keys.create("ours", scopes=["read", "upload"], collections=["ours"]).text
        theirs = admin.keys.create("theirs", scopes=["read"], collections=["theirs"]).text
    clip = clipped(SAMPLES / "how-bees-make-honey.mp4", tmp_path / "bees.mp4", seconds=20)

    page = opened(browser, locked, ours, "/library")
    expect(page.get_by_role("link", name="Operations")).to_be_hidden()
    page.locator("#files").set_input_files(clip)
    card = page.locator('#videos .video[data-status="ready"]')
    expect(card).to_be_visible(timeout=240_000)
    video_id = card.get_attribute("data-video-id")
    card.locator("a.cover").click()
    page.wait_for_function("() => document.querySelector('video')?.readyState >= 2")
    expect(page.locator(".line").first).to_be_visible()
    page.wait_for_function("() => document.querySelector('track')?.track.cues?.length > 0")

    page = opened(browser, locked, theirs, "/")
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Add"))).to_have_count(0)
    page.get_by_role("searchbox", name="Search what was said").fill("most patient production lines in nature")
    expect(page.locator(".nothing")).to_be_visible()
    expect(page.locator(".hit")).to_have_count(0)
    page.goto(f"/v/{video_id}?t=3")
    expect(page.locator("#player-title")).to_have_text("This video is not here")
    assert page.evaluate("id => fetch(`/v1/videos/${id}/media`).then(answer => answer.status)", video_id) == 401
