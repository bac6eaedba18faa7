"""A video goes in, and a question finds the second at which it is answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from earmark.client import Client as EarmarkClient
from earmark.client import Hit, NotFound, SearchResult, VideoStatus
from tests.support.clips import clipped
from tests.support.local_mesh import SAMPLES, LocalMesh, questions

pytestmark = pytest.mark.timeout(400)
SAMPLE = "how-gps-finds-you.mp4"
TOLERANCE = 5.0


@pytest.fixture(scope="module")
def watched(mesh: LocalMesh) -> list[VideoStatus]:
    """Every status of one sample, from upload to ready."""
    title = next(row["title"] for row in questions() if row["video"] == SAMPLE)
    sent: list[tuple[int, int]] = []
    with mesh.client() as client:
        video = client.upload(SAMPLES / SAMPLE, title=title, duplicate=True, progress=lambda *told: sent.append(told))
        assert video.status in ("uploaded", "processing")
        assert sent[-1][0] == sent[-1][1] == (SAMPLES / SAMPLE).stat().st_size
        return list(client.watch(video.video_id))


@pytest.fixture(scope="module")
def video_id(watched: list[VideoStatus]) -> str:
    assert watched[-1].status == "ready", watched[-1]
    return watched[-1].video_id


def test_progress_only_grows_and_ends_ready(watched: list[VideoStatus]) -> None:
    assert watched[-1].status == "ready"
    done = [status.progress.slices_done for status in watched]
    assert done == sorted(done)
    assert done[-1] == watched[-1].progress.slices_known >= 1
    assert watched[-1].progress.fraction == 1
    assert all(part.state == "indexed" for part in watched[-1].slices)


ROWS = [row for row in questions() if row["video"] == SAMPLE]
STRICT = [row for row in ROWS if row.get("demo") or row["kind"] == "exact"]


@pytest.mark.parametrize("row", STRICT, ids=lambda row: row["question"].replace(" ", "-"))
def test_question_is_answered_at_the_right_second(mesh: LocalMesh, video_id: str, row: dict[str, Any]) -> None:
    with mesh.client() as client:
        found = client.search(row["question"])
    assert found.coverage.complete
    best = found.hits[0]
    assert best.video_id == video_id
    assert right_second(row, best), moments(found)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row not in STRICT], ids=lambda row: row["question"].replace(" ", "-")
)
def test_question_without_a_shared_word_finds_the_video(mesh: LocalMesh, video_id: str, row: dict[str, Any]) -> None:
    # How near the second is for such questions is what `make bench` measures.
    with mesh.client() as client:
        found = client.search(row["question"], mode="semantic")
    best = found.hits[0]
    assert best.video_id == video_id


def test_each_leg_alone_finds_it(mesh: LocalMesh, video_id: str) -> None:
    with mesh.client() as client:
        for mode in ("semantic", "keyword"):
            found = client.search("cheap quartz clock", mode=mode)
            assert found.coverage.legs == (mode,)
            assert [hit.video_id for hit in found.hits][:1] == [video_id]
            assert "quartz" in found.hits[0].text


def test_the_command_finds_it_too(mesh: LocalMesh, video_id: str) -> None:
    result = mesh.earmark("search", "cheap quartz clock", "--video", video_id)
    assert result.code == 0, result.err
    assert "quartz" in result.out
    assert f"{mesh.url}/v/{video_id}?t=" in result.out


def test_transcript_in_every_form(mesh: LocalMesh, video_id: str) -> None:
    with mesh.client() as client:
        whole = client.transcript(video_id)
        vtt, srt, txt = (client.captions(video_id, form) for form in ("vtt", "srt", "txt"))  # type: ignore[arg-type]
        duration = client.get(video_id).duration
    assert whole.complete
    assert whole.language == "en"
    times = [time for segment in whole.segments for time in (segment.start, segment.end)]
    assert times == sorted(times)
    assert duration is not None
    assert times[-1] <= duration + 1
    words = [word for segment in whole.segments for word in segment.words]
    assert len(words) > 250
    assert all(word.start <= word.end for word in words)
    assert vtt.startswith("WEBVTT\n")
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} --> \d\d:\d\d:\d\d\.\d{3}$", vtt, re.MULTILINE)
    assert re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> ", srt)
    for text in (vtt, srt, txt, whole.text):
        assert "quartz" in text


def test_media_comes_back_in_ranges(mesh: LocalMesh, video_id: str) -> None:
    content = (SAMPLES / SAMPLE).read_bytes()
    url = f"{mesh.url}/videos/{video_id}/media"
    assert httpx.get(url).content == content
    part = httpx.get(url, headers={"range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.content == content[1000:2000]
    assert part.headers["content-range"] == f"bytes 1000-1999/{len(content)}"


def test_deleted_video_leaves_nothing(mesh: LocalMesh, tmp_path: Path) -> None:
    clip = clipped(SAMPLES / SAMPLE, tmp_path / "clip.mp4", seconds=20)
    assert mesh.earmark("ingest", str(clip), "--title", "To be removed").code == 0
    with mesh.client() as client:
        video = next(video for video in client.list() if video.title == "To be removed")
        query = "your phone knows where you are"
        assert found_in(client, query, video.video_id)
        assert mesh.objects_of(video.video_id)
        assert mesh.earmark("rm", "--yes", "--now", video.video_id).code == 0
        assert not found_in(client, query, video.video_id)
        with pytest.raises(NotFound):
            client.get(video.video_id)
        assert all(one.video_id != video.video_id for one in client.list())
    assert mesh.objects_of(video.video_id) == []
    with mesh.database() as database:
        for name in database.list_collection_names():
            assert database[name].count_documents({"_id": {"$regex": f"^{video.video_id}"}}) == 0


def test_text_named_mp4_fails_with_a_reason_a_person_understands(mesh: LocalMesh, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("this is not a video\n" * 100)
    result = mesh.earmark("ingest", str(path))
    assert result.code == 1
    assert re.search(r"notes\.mp4: (failed|refused): \S", result.out), result.out
    assert "Traceback" not in result.out + result.err


def test_second_up_says_where_it_runs(mesh: LocalMesh) -> None:
    pids = [child.pid for child in mesh.state.children]
    result = mesh.earmark("up", "--detach")
    assert result.code == 0
    assert f"runs already (process {mesh.state.pid}): {mesh.url}" in result.out
    assert [child.pid for child in mesh.state.children] == pids


def test_status_shows_every_part_serving(mesh: LocalMesh) -> None:
    result = mesh.earmark("status", "--json")
    assert result.code == 0
    assert result.json["ready"] is True
    assert {child["name"] for child in result.json["mesh"]["children"]} == {
        *("nats", "mongo", "transcriber", "embedder", "indexer-0", "indexer-1", "gateway")
    }
    assert {child["state"] for child in result.json["mesh"]["children"]} == {"serving"}


def right_second(row: dict[str, Any], hit: Hit) -> bool:
    """Whether pressing play there starts within five seconds of the answer."""
    return bool(row["start"] - TOLERANCE <= hit.match_time <= row["end"] + TOLERANCE)


def found_in(client: EarmarkClient, query: str, video_id: str) -> bool:
    return any(hit.video_id == video_id for hit in client.search(query, video_ids=[video_id]).hits)


def moments(found: SearchResult) -> list[tuple[str, float, str]]:
    """What was found, for the failure."""
    return [(hit.title, hit.match_time, hit.text) for best in found.hits for hit in (best, *best.more)]
