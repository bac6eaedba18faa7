"""Transcripts come in by the command, are found at their second, and are there once however often they come."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httpx
import pytest

from tests.support.local_mesh import LocalMesh
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.timeout(400)

VTT = """WEBVTT

00:00:05.000 --> 00:00:09.000
<v Ann>Why do sourdough starters smell of vinegar?

00:00:09.500 --> 00:00:15.000
<v Bob>Because the bacteria in them make acetic acid when they are cold.

00:10:00.000 --> 00:10:06.000
<v Ann>And how long does the loaf rest before it is baked?
"""
SAID = "The lighthouse keeper wound the clockwork every {n} hours so that the lamp went round."


def test_transcripts_are_found_where_they_say_it_and_come_in_once(mesh: LocalMesh, tmp_path: Path) -> None:
    (tmp_path / "Sourdough.vtt").write_text(VTT)
    rows = [
        {"video": v, "title": f"Lighthouse {v}", "start": n * 40.0, "end": n * 40.0 + 39, "text": SAID.format(n=n)}
        for v in range(4)
        for n in range(20)
    ]
    (tmp_path / "bulk.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    command = ("import", str(tmp_path), "--collection", "imports", "--tag", "e2e", "--language", "en", "--wait")
    first = mesh.earmark(*command, timeout=300)
    assert first.code == 0, first.out + first.err
    assert "5 videos imported" in first.out
    again = mesh.earmark(*command)
    assert again.code == 0
    assert "0 videos imported" in again.out
    assert "5 were there already" in again.out

    with mesh.client() as client:
        videos = [video for video in client.list() if video.collection == "imports"]
        assert sorted(video.title for video in videos) == [*(f"Lighthouse {n}" for n in range(4)), "Sourdough"]
        assert {(video.status, video.tags) for video in videos} == {("ready", ("e2e",))}
        (bread,) = [video for video in videos if video.title == "Sourdough"]
        assert "media" not in bread.links
        best = client.search("what makes the starter smell sour").hits[0]
        assert (best.video_id, best.match_time) in {(bread.video_id, 5.0), (bread.video_id, 9.5)}
        assert [(s.start, s.speaker) for s in client.transcript(bread.video_id).segments] == [
            (5.0, "Ann"),
            (9.5, "Bob"),
            (600.0, "Ann"),
        ]
        chunks = mesh.stored_chunks(bread.video_id)
        assert [chunk["speaker"] for chunk in chunks] == ["Ann", "Bob", "Ann"]
        media = httpx.get(f"{mesh.url}/videos/{bread.video_id}/media")
        assert (media.status_code, media.json()["error"]["details"][0]["reason"]) == (404, "NO_MEDIA")
        said = client.search("why does it smell", collections=["imports"], speakers=["Bob"]).hits[0]
        assert (said.video_id, said.match_time) == (bread.video_id, 9.5)

        # A change of title and collection reaches the search, without a word being embedded again.
        client.update_video(bread.video_id, title="Sour bread", collection="bakery")

        def titles(collection: str) -> set[str]:
            return {hit.title for hit in client.search("sourdough starter vinegar", collections=[collection]).hits}

        eventually_sync(lambda: titles("bakery") == {"Sour bread"}, 15, message="the change in the search")
        assert "Sourdough" not in titles("imports")
        for video in videos:
            client.delete(video.video_id)
