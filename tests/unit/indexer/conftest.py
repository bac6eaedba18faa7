"""Fixtures of the indexer's unit tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.indexer.replicas import RunningReplica, running_replica


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningReplica]:
    """An empty replica, open and holding no slot."""
    async with running_replica(tmp_path) as one:
        one.replica.begin_anew()
        yield one
