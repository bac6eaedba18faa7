"""The page in a real Chromium, against a gateway that a test fills."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.page_gateway import FLAGS, PageGateway


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def gateway() -> PageGateway:
    return PageGateway()


@pytest.fixture
def page(browser: Browser, gateway: PageGateway) -> Iterator[Page]:
    """A page; the test fails when it raises, or breaks the policy that the gateway sends."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.route("**/*", gateway)
    opened = context.new_page()
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    opened.on("console", lambda line: broken.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    context.close()
    assert broken == []
