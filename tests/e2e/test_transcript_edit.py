"""A transcript is corrected with the command, and the search finds the new words and not the old ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.client import Client, TranscriptLine
from tests.support.local_mesh import LocalMesh
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.timeout(400)

LINES = [
    "Why do sourdough starters smell of vinegar?",
    "The bacteria in them make acetic acid in the cold.",
    "The old windmill stands on a hill behind the town.",
]


def found(client: Client, query: str, video_id: str) -> list[float]:
    hits = client.search(query, mode="keyword", video_ids=[video_id]).hits
    return [hit.match_time for hit in hits]


def test_corrected_words_are_found_and_the_old_ones_are_not(mesh: LocalMesh, tmp_path: Path) -> None:
    with mesh.client() as client:
        lines = [TranscriptLine(n * 300.0, n * 300.0 + 10, text) for n, text in enumerate(LINES)]
        video_id = client.import_transcript("Bread", lines, language="en").video.video_id

        def ready() -> bool:
            return client.get(video_id).status == "ready"

        eventually_sync(ready, 120)
        segment = client.transcript(video_id).segments[2].segment_id
        before = client.search("acetic acid", mode="keyword", video_ids=[video_id]).hits[0]
        edited = mesh.earmark(
            "transcript", "edit", video_id, segment, "--text", "The lighthouse keeper winds his clock."
        )
        assert edited.code == 0, edited.out + edited.err
        assert "revision 1" in edited.out
        eventually_sync(lambda: ready() and found(client, "lighthouse keeper", video_id) == [600.0], 60)
        assert found(client, "windmill", video_id) == []
        after = client.search("acetic acid", mode="keyword", video_ids=[video_id]).hits[0]
        assert (after.chunk_id, after.text) == (before.chunk_id, before.text)

        # The whole transcript goes out, is changed and comes back; what was heard is still there.
        assert mesh.earmark("transcript", video_id, "-f", "srt", "-o", str(tmp_path / "t.srt")).code == 0
        told = (tmp_path / "t.srt").read_text()
        (tmp_path / "t.srt").write_text(told.replace("vinegar", "turpentine"))
        assert mesh.earmark("transcript", "put", video_id, str(tmp_path / "t.srt")).code == 0
        eventually_sync(lambda: ready() and found(client, "turpentine", video_id) == [0.0], 60)
        assert found(client, "vinegar", video_id) == []
        assert found(client, "lighthouse", video_id) == [600.0]
        assert "windmill" in client.transcript(video_id, original=True).text
        assert "windmill" not in client.transcript(video_id).text
