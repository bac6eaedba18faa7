"""The secrets of an embedded mesh."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from earmark.local.access import admin_headers, gateway_secrets
from earmark.local.paths import DataDir


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDir:
    for name in ("EARMARK_ACCESS", "EARMARK_ADMIN_KEY", "EARMARK_URL_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return DataDir(tmp_path / "data")


def test_a_mesh_that_takes_no_keys_has_no_secrets(data: DataDir) -> None:
    assert gateway_secrets(data) == {}
    assert admin_headers({}) == {}
    assert not data.root.exists()


def test_secrets_are_made_once_and_for_their_owner_alone(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_ACCESS", "keys")
    made = gateway_secrets(data)
    assert {name: len(value) for name, value in made.items()} == {"EARMARK_ADMIN_KEY": 64, "EARMARK_URL_SECRET": 64}
    assert gateway_secrets(data) == made
    assert stat.S_IMODE(data.admin_key.stat().st_mode) == 0o600
    assert admin_headers(made) == {"Authorization": f"Bearer {made['EARMARK_ADMIN_KEY']}"}


def test_a_secret_of_the_environment_is_left_to_it(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_ACCESS", "keys")
    gateway_secrets(data)
    monkeypatch.setenv("EARMARK_ADMIN_KEY", "x" * 40)
    made = gateway_secrets(data)
    assert set(made) == {"EARMARK_URL_SECRET"}
    assert not data.admin_key.exists(), "the command would send it"
    assert admin_headers(made) == {"Authorization": f"Bearer {'x' * 40}"}
