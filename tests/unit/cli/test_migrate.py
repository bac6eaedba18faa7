"""`earmark migrate` finds its database; what it does there, tests/integration/test_migrations.py."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli import migrate
from earmark.cli.app import app
from earmark.local import state as states
from earmark.local.paths import DataDir
from earmark.local.state import MeshState


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EARMARK_MONGO_URL", raising=False)
    monkeypatch.setenv("EARMARK_SECRETS_DIR", str(tmp_path / "secrets"))


def test_without_one_it_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["migrate", "status", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "EARMARK_MONGO_URL" in result.output
    assert "earmark up" in result.output


def test_the_mesh_of_this_machine_is_taken_while_it_runs(tmp_path: Path) -> None:
    data = DataDir.resolve(tmp_path)
    with states.held(data):
        MeshState(state=states.SERVING, ports={"mongo": 27123}).save(data)
        assert "127.0.0.1:27123" in migrate.database_environment(tmp_path)["EARMARK_MONGO_URL"]


def test_what_the_services_are_told_is_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "earmark_mongo_url").write_text("mongodb://from-a-file")
    assert migrate.database_environment(tmp_path) == {}
    monkeypatch.setenv("EARMARK_SECRETS_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("EARMARK_MONGO_URL", "mongodb://from-the-environment")
    assert migrate.database_environment(tmp_path) == {}
