"""A gateway that serves all tests of a file: to start one takes longer than most tests do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.common.settings import CommonSettings
from tests.support.gateway import Gateway, gateway


@pytest.fixture(scope="module")
async def lasting_gateway(request: pytest.FixtureRequest, lasting_settings: CommonSettings) -> AsyncIterator[Gateway]:
    """The gateway of a file, with the settings that the file names as `GATEWAY`; take :func:`mesh` in a test."""
    async with gateway(lasting_settings, **getattr(request.module, "GATEWAY", {})) as running:
        yield running


@pytest.fixture
async def mesh(lasting_gateway: Gateway) -> Gateway:
    """The gateway of the file, with nothing in it."""
    await lasting_gateway.clean()
    return lasting_gateway


@pytest.fixture
async def own_mesh(request: pytest.FixtureRequest, common_settings: CommonSettings) -> AsyncIterator[Gateway]:
    """A gateway for one test alone: one that stops it, or changes which peers there are."""
    async with gateway(common_settings, **getattr(request.module, "GATEWAY", {})) as running:
        yield running
