"""The documentation and the page in a real browser: nothing from elsewhere, nothing the security policy refuses."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright

from tests.support.gateway import Gateway
from tests.support.page_gateway import FLAGS


@pytest.fixture
async def page(chromium: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield await browser.new_page()
        await browser.close()


@pytest.mark.parametrize(("path", "shows"), [("/docs", "/videos/upload"), ("/", "Earmark")])
async def test_a_page_needs_nothing_from_elsewhere(mesh: Gateway, page: Page, path: str, shows: str) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    base = str(mesh.http.base_url)
    await page.goto(f"{base}{path}")
    await page.get_by_text(shows).first.wait_for()
    assert complaints == []
    assert [url for url in asked if not url.startswith((base, "data:", "blob:"))] == []
