"""One mesh for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from earmark.local.models import ModelPaths
from tests.support.local_mesh import LocalMesh, local_mesh, models_folder
from tests.support.page_gateway import FLAGS


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_paths: ModelPaths) -> Iterator[LocalMesh]:
    """A mesh with real models and two index shards."""
    with local_mesh(tmp_path_factory.mktemp("mesh") / "data", models_folder(model_paths)) as running:
        yield running


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield started
        started.close()
