"""`earmark import` and `earmark edit`, against a stub gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.cli.stub_gateway import StubGateway

Run = Callable[..., tuple[int, str, str]]


def bulk(folder: Path, count: int = 30) -> Path:
    """A file with a video a line."""
    lines = [{"start": 0, "end": 60, "text": "Hello."}]
    rows = [{"title": f"Talk [{n}]", "segments": lines} for n in range(count)]
    path = folder / "bulk.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_file_is_imported_once_however_often(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    path = str(bulk(tmp_path))
    code, out, _ = earmark(
        "import", path, "--collection", "talks", "--tag", "a", "--tag", "b", "--language", "en", gateway=gateway
    )
    assert code == 0, out
    assert "30 videos imported" in out
    assert "30 segments, 30:00 of speech" in out
    first = next(one for one in gateway.imports if one["title"] == "Talk [0]")
    assert (first["collection"], first["tags"], first["language"]) == ("talks", ["a", "b"], "en")
    code, out, _ = earmark("import", path, "--collection", "talks", "--language", "en", gateway=gateway)
    assert (code, len(gateway.videos)) == (0, 30)
    assert "0 videos imported" in out
    assert "30 were there already" in out
    code, out, _ = earmark("import", path, "--again", gateway=gateway)
    assert (code, len(gateway.videos)) == (0, 60)


def test_what_failed_before_is_tried_again(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    path = str(bulk(tmp_path, 3))
    earmark("import", path, gateway=gateway)
    gateway.videos["vid_2"]["status"] = "failed"
    code, out, _ = earmark("import", path, gateway=gateway)
    assert code == 0
    assert "3 were there already (1 of them had failed, and are tried again)" in out


def test_failures_are_listed_and_keep_nothing_back(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    path = bulk(tmp_path, 5)
    path.write_text(
        path.read_text() + '\nnonsense\n{"title": "Empty", "segments": []}\n{"title": "\\ud800", "segments": []}'
    )
    code, out, _ = earmark("import", str(path), gateway=gateway)
    assert code == 1
    assert "5 videos imported" in out
    assert "3 failed" in out
    assert "bulk.jsonl:8: title holds half a character" in out
    assert "bulk.jsonl:6: the line is not JSON" in out
    assert "bulk.jsonl:7: The transcript is empty." in out


def test_a_busy_gateway_is_asked_again(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    gateway.busy = 5
    code, out, _ = earmark("import", str(bulk(tmp_path, 4)), "--concurrency", "2", gateway=gateway)
    assert (code, len(gateway.videos)) == (0, 4), out


def test_a_dry_run_asks_nobody(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    path = bulk(tmp_path, 5)
    path.write_text(path.read_text() + "\nnonsense")
    code, out, _ = earmark("import", str(path), "--dry-run", gateway=gateway)
    assert (code, gateway.imports) == (1, [])
    assert "5 videos would be imported (5 segments, 5:00 of speech), 1 could not be read" in out


def test_a_folder_is_searched_for_transcripts(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>Hello.")
    (tmp_path / "notes.txt").write_text("no transcript")
    code, _, _ = earmark("import", str(tmp_path), "--wait", gateway=gateway)
    assert code == 0
    assert [(one["title"], one["segments"][0]["speaker"]) for one in gateway.imports] == [("a", "Ann")]


def test_what_is_not_there_is_told(earmark: Run, gateway: StubGateway, tmp_path: Path) -> None:
    code, _, err = earmark("import", str(tmp_path / "none.vtt"), gateway=gateway)
    assert code == 2
    assert "neither a file nor a folder" in err
    code, _, err = earmark("import", str(tmp_path), gateway=gateway)
    assert code == 2
    assert "holds no transcripts" in err


def test_no_gateway_is_told(earmark: Run, tmp_path: Path) -> None:
    code, _, err = earmark("import", str(bulk(tmp_path, 2)), "--url", "http://127.0.0.1:1")
    assert code == 3
    assert "earmark up" in err


def test_edit_changes_what_is_named(earmark: Run, gateway: StubGateway) -> None:
    video: dict[str, Any] = gateway.add("ready", tags=["old"])
    code, out, _ = earmark("edit", "vid_1", "--title", "New [title]", "--tag", "a", "--tag", "b", gateway=gateway)
    assert code == 0
    assert (video["title"], video["tags"]) == ("New [title]", ["a", "b"])
    assert "New [title]" in out
    assert "a, b" in out
    earmark("edit", "vid_1", "--tag", "", "--collection", "", gateway=gateway)
    assert (video["title"], video["tags"], video["collection"]) == ("New [title]", [], "")
    assert earmark("edit", "vid_1", gateway=gateway)[0] == 2
