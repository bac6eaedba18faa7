"""A process is killed in the middle of an ingest; the video ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from earmark.client import ConnectionFailed, Unavailable, VideoStatus
from tests.support import eventually_sync
from tests.support.clips import clipped
from tests.support.local_mesh import SAMPLES, LocalMesh

pytestmark = pytest.mark.timeout(600)
SECONDS = 48


@dataclass(frozen=True)
class Ingested:
    """What an ingest left, without the video's own id."""

    transcript: tuple[Any, ...]
    chunks: tuple[Any, ...]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clipped(SAMPLES / "how-bees-make-honey.mp4", tmp_path_factory.mktemp("clip") / "bees.mp4", seconds=SECONDS)


@pytest.fixture(scope="module")
def undisturbed(mesh: LocalMesh, clip: Path) -> Ingested:
    video_id = upload(mesh, clip)
    assert mesh.until_settled(video_id) == "ready"
    result = ingested(mesh, video_id)
    assert len(result.chunks) >= 3
    assert len({chunk_id.split("/")[0] for chunk_id, *_ in result.chunks}) >= 2, "the sample should have several slices"
    return result


def cut(status: VideoStatus) -> bool:
    """The first slice is being transcribed."""
    return any(part.attempts > 0 for part in status.slices)


def transcribed(status: VideoStatus) -> bool:
    """A slice is transcribed, and on its way through embedder and indexer."""
    return any(part.state != "cut" for part in status.slices)


def accepted(status: VideoStatus) -> bool:
    """At once, while it is being cut."""
    return True


@pytest.mark.parametrize(
    ("child", "moment"),
    [
        pytest.param(child, moment, id=f"{child}-{moment.__name__}")
        for child, moments in {
            "transcriber": (accepted, cut, transcribed),
            "embedder": (cut, transcribed),
            "indexer-0": (transcribed,),
            "indexer-1": (transcribed,),
            "gateway": (cut,),
            "nats": (accepted, transcribed),
            "mongo": (cut, transcribed),
        }.items()
        for moment in moments
    ],
)
def test_killed_part_starts_again_and_nothing_is_lost_or_doubled(
    mesh: LocalMesh, clip: Path, undisturbed: Ingested, child: str, moment: Callable[[VideoStatus], bool]
) -> None:
    video_id = upload(mesh, clip)
    reached(mesh, video_id, moment)
    mesh.kill(child)
    assert mesh.until_settled(video_id) == "ready"
    everything_serves(mesh)
    assert ingested(mesh, video_id) == undisturbed


@pytest.mark.parametrize("moment", [accepted, transcribed], ids=lambda moment: moment.__name__)
def test_killed_mesh_goes_on_where_it_was(
    mesh: LocalMesh, clip: Path, undisturbed: Ingested, moment: Callable[[VideoStatus], bool]
) -> None:
    video_id = upload(mesh, clip)
    reached(mesh, video_id, moment)
    url = mesh.url
    mesh.kill_all()
    mesh.up()
    assert mesh.url == url  # links that people have keep working
    assert mesh.until_settled(video_id) == "ready"
    assert ingested(mesh, video_id) == undisturbed


def upload(mesh: LocalMesh, clip: Path) -> str:
    with mesh.client() as client:
        return client.upload(clip, title="Bees", duplicate=True).video_id


def reached(mesh: LocalMesh, video_id: str, moment: Callable[[VideoStatus], bool]) -> None:
    """Waits for a moment in the video's way."""

    def now() -> bool:
        with mesh.client() as client:
            return moment(client.status(video_id))

    eventually_sync(now, 120, retry_on=(ConnectionFailed, Unavailable), message=f"{video_id} {moment.__name__}")


def everything_serves(mesh: LocalMesh) -> None:
    def now() -> bool:
        with mesh.client() as client:
            return not mesh.state.waiting_for() and client.is_ready()

    eventually_sync(now, 120, retry_on=(ConnectionFailed,), message="every part serving again")


def ingested(mesh: LocalMesh, video_id: str) -> Ingested:
    """What is there of a video; also proves that document and index hold the same chunks, each once."""
    with mesh.client() as client:
        transcript = client.transcript(video_id)
    assert transcript.complete
    chunks = [
        (chunk["chunk_id"].removeprefix(f"{video_id}/"), chunk["text"], chunk["start_time"], chunk["end_time"])
        for chunk in mesh.stored_chunks(video_id)
    ]
    stored = [chunk_id for chunk_id, *_ in chunks]
    assert stored == sorted(set(stored)), "a chunk is stored twice or out of order"
    indexed = [chunk_id.removeprefix(f"{video_id}/") for chunk_id in mesh.indexed_chunk_ids(video_id)]
    assert sorted(indexed) == stored, "the index does not hold just the chunks of the document"
    words = tuple(
        (s.start, s.end, s.text, tuple((w.start, w.end, w.text) for w in s.words)) for s in transcript.segments
    )
    return Ingested(transcript=words, chunks=tuple(chunks))
