"""`earmark keys`, and which key the command sends, against a stub gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earmark.cli import common
from earmark.client import PermissionDenied
from earmark.local.paths import DataDir
from earmark.local.state import MeshState, held
from tests.unit.cli.stub_gateway import StubGateway

Run = Callable[..., tuple[int, str, str]]


def key(**more: Any) -> dict[str, Any]:
    return {
        "key_id": "key1",
        "name": "Ann's [site]",
        "scopes": ["read"],
        "collections": ["talks"],
        "default_collection": "talks",
        "requests_per_second": None,
        "bytes_per_day": None,
        "videos_per_day": None,
        "created_at": "2026-11-23T06:00:00Z",
        "expires_at": None,
        "revoked_at": None,
        "holds": True,
        **more,
    }


def test_a_new_key_is_all_that_standard_output_has(earmark: Run, gateway: StubGateway) -> None:
    gateway.keys = [key()]
    code, out, err = earmark(
        "keys", "create", "Ann's", "--collection", "talks", "--scope", "read", "--scope", "upload",
        "--gib-per-day", "1.5", "--days", "30", gateway=gateway,
    )  # fmt: skip
    assert (code, out) == (0, "earmark_key1_secret\n")
    assert "cannot be shown again" in err
    (_, sent) = gateway.posted[0]
    assert (sent["scopes"], sent["collections"]) == (["read", "upload"], ["talks"])
    assert (sent["bytes_per_day"], sent["expires_in_days"]) == (3 * 2**29, 30)


def test_keys_are_listed_without_their_texts(earmark: Run, gateway: StubGateway) -> None:
    gateway.keys = [key(), key(key_id="key2", collections=None, holds=False, revoked_at="2026-11-23T07:00:00Z")]
    code, out, _ = earmark("keys", "list", gateway=gateway)
    assert code == 0
    assert "Ann's [site]" in out
    assert "read of talks" in out
    assert "read of all videos" in out
    assert "revoked 2026-11-23" in out
    assert json.loads(earmark("keys", "list", "--json", gateway=gateway)[1]) == gateway.keys


def test_a_key_is_revoked(earmark: Run, gateway: StubGateway) -> None:
    gateway.keys = [key()]
    assert "is revoked" in earmark("keys", "revoke", "key1", gateway=gateway)[1]


def test_the_command_sends_the_key_of_the_environment(
    earmark: Run, gateway: StubGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARMARK_API_KEY", "earmark_mine")
    earmark("ls", gateway=gateway)
    assert gateway.authorizations == ["Bearer earmark_mine"]


def test_the_key_of_the_own_mesh_goes_to_no_other_gateway(
    earmark: Run, gateway: StubGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EARMARK_API_KEY", raising=False)
    data = tmp_path / "data"
    data.mkdir()
    (data / "admin-key").write_text("secret\n")
    MeshState(http_url=gateway.url).save(DataDir(data))  # of a mesh that has ended, whose port somebody else has now
    earmark("ls", gateway=gateway)
    assert gateway.authorizations == [None]
    monkeypatch.delenv("EARMARK_URL")
    MeshState().save(DataDir(data))
    monkeypatch.setattr("earmark.cli.common.DEFAULT_URL", gateway.url)
    earmark("ls")
    assert gateway.authorizations == [None, "Bearer secret"]


def test_a_mesh_that_runs_here_gets_its_key_also_where_its_url_is_given(
    earmark: Run, gateway: StubGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EARMARK_API_KEY", raising=False)
    data = DataDir(tmp_path / "data")
    with held(data):
        MeshState(http_url=gateway.url).save(data)
        data.admin_key.write_text("secret\n")
        earmark("ls", gateway=gateway)
        earmark("ls", "--url", f"{gateway.url}/")
        MeshState(http_url="http://127.0.0.1:1").save(data)
        earmark("ls", gateway=gateway)
    assert gateway.authorizations == ["Bearer secret", "Bearer secret", None]


def test_a_refused_key_says_where_one_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EARMARK_DATA_DIR", str(tmp_path))
    refused = PermissionDenied("this needs a key", status="UNAUTHENTICATED", http_status=401)
    told = common.explain(refused)
    assert "EARMARK_API_KEY" in told
    assert "admin-key" in told
    (tmp_path / "admin-key").write_text("secret\n")
    assert f'export EARMARK_API_KEY="$(cat {tmp_path}/admin-key)"' in common.explain(refused)
