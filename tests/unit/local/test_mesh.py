"""What a start of the mesh finds and says, without starting anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.local import mesh
from earmark.local.models import ModelPaths
from earmark.local.paths import DataDir
from earmark.local.state import MeshState
from tests.support import free_port


@pytest.mark.parametrize(
    ("host", "told"),
    [(None, False), ("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("192.0.2.7", True)],
)
async def test_a_wish_to_listen_elsewhere_is_answered(
    host: str | None, told: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EARMARK_HTTP_HOST", raising=False)
    if host:
        monkeypatch.setenv("EARMARK_HTTP_HOST", host)
    monkeypatch.setenv("EARMARK_NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.setenv("EARMARK_MONGO_URL", "mongodb://127.0.0.1:1")
    monkeypatch.setattr(mesh, "_models", lambda data, options: ModelPaths(asr="a", embedding="b"))
    state, said = MeshState(shards=1, replicas=1), []
    await mesh._prepare(
        DataDir(tmp_path), mesh.MeshOptions(port=free_port()), state, lambda level, event: said.append((level, event))
    )
    assert state.notes == [event for _, event in said]
    assert any("EARMARK_HTTP_HOST" in note and "127.0.0.1 alone" in note for note in state.notes) == told
