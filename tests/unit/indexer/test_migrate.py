"""A snapshot that the version of November 2026 wrote, of one FAISS file and one table, is opened and goes on."""

import json
import shutil
from pathlib import Path

import faiss
import msgpack
import numpy as np
import pytest

from services.common.ids import SLOTS
from services.indexer import migrate
from services.indexer.chunks import Chunk, DescribeVideo, Query, VideoInfo
from services.indexer.record import decode
from services.indexer.snapshot import Loaded, Origin, SnapshotFolder
from tests.unit.indexer.builders import ask, digest, found_chunk, replace, texts, write_snapshot

FIXTURE = Path(__file__).resolve().parents[2] / "fixtures" / "index_format_1"
OLD = FIXTURE / "snapshots" / "00000001"
MANIFEST = json.loads((OLD / "manifest.json").read_bytes())
ORIGIN = Origin(0, MANIFEST["stream"])
ROWS = [
    (number, Chunk(*fields))
    for number, *fields in msgpack.unpackb((OLD / "payloads.msgpack").read_bytes(), use_list=False)["rows"]
]


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    return SnapshotFolder(tmp_path, ORIGIN)


def opened(folder: SnapshotFolder) -> Loaded:
    loaded = folder.load()
    assert loaded is not None
    return loaded


def vectors() -> dict[str, np.ndarray]:
    index = faiss.read_index(str(OLD / "vectors.faiss"))
    return {chunk.chunk_id: index.reconstruct(number) for number, chunk in ROWS}


def test_all_that_it_held_is_here(folder: SnapshotFolder) -> None:
    loaded = opened(folder)
    shard = loaded.shard
    assert (shard.chunk_count, shard.video_count) == (MANIFEST["chunks"], 2) == (16, 2)
    assert (shard.applied_sequence, shard.model_revision) == (MANIFEST["applied_sequence"], MANIFEST["model_revision"])
    assert loaded.slots == frozenset(range(SLOTS // 2))  # shard 0 of 2
    assert loaded.undescribed == {"vid_01fixture00000000000000000", "vid_01fixture00000000000000002"}
    assert (loaded.damaged, loaded.repaired) == (set(), [])


def test_every_chunk_is_found_by_its_vector_whole(folder: SnapshotFolder) -> None:
    shard = opened(folder).shard
    of = vectors()
    for _, chunk in ROWS:
        query = Query(of[chunk.chunk_id], MANIFEST["model_revision"], "", 1)
        (hit,) = shard.search(query).hits
        part, row = next(
            (part, row)
            for part, alive in shard.view.parts
            for row in alive.ids.tolist()
            if part.records(np.array([row]))[0] == hit.record
        )
        assert decode(hit.record, part.sentences(np.array([row]))[0]) == chunk
        assert hit.semantic_score == pytest.approx(1.0, abs=1e-3)
        assert hit.title == {"0": "Video 0", "2": "Video 2"}[chunk.video_id[-1]]
        # Sentence vectors are there and compared with the query.
        assert len(hit.sentence_scores) == len(chunk.marks) == 2


def test_every_chunk_is_found_by_its_words(folder: SnapshotFolder) -> None:
    shard = opened(folder).shard
    for word in ("oven", "yeast", "kitchen"):
        expected = sorted(chunk.chunk_id for _, chunk in ROWS if word in chunk.text)
        assert sorted(found_chunk(hit).chunk_id for hit in ask(shard, word, k=50).hits) == expected
    phrase = '"dough warm while"'
    assert [text for text in texts(ask(shard, phrase)) if "dough warm while" not in text] == []
    assert texts(ask(shard, phrase)) != []


def test_filters_of_what_is_known_work(folder: SnapshotFolder) -> None:
    shard = opened(folder).shard
    query = next(iter(vectors().values()))
    found = shard.search(Query(query, MANIFEST["model_revision"], "", 50))
    assert len(found.hits) == 16
    german = ask(shard, "the", k=50, language="de")
    assert {found_chunk(hit).video_id for hit in german.hits} <= {"vid_01fixture00000000000000002"}
    shard.apply([DescribeVideo("vid_01fixture00000000000000002", VideoInfo("New", tags=("bread",)))])
    assert shard.videos.info("vid_01fixture00000000000000002").tags == ("bread",)


def test_the_next_snapshot_is_of_this_format(tmp_path: Path, folder: SnapshotFolder) -> None:
    loaded = opened(folder)
    write_snapshot(folder, loaded.shard)
    again = opened(SnapshotFolder(tmp_path, ORIGIN))
    assert digest(again.shard) == digest(loaded.shard)
    assert again.undescribed == set()


def test_the_earlier_version_finds_its_snapshot_as_it_wrote_it(tmp_path: Path, folder: SnapshotFolder) -> None:
    shard = opened(folder).shard
    for sequence in range(1, 4):  # as many as have those before pruned
        shard.apply([replace("vid_new", f"said since {sequence}")], sequence=shard.applied_sequence + sequence)
        write_snapshot(folder, shard)
    assert files(tmp_path / "snapshots" / "00000001") == files(OLD)
    # The reader of that format, with what is of this one out of its way, as that version sees the folder.
    earlier = migrate.read(folder.root, tmp_path / "elsewhere", shard=0, stream=ORIGIN.stream)
    assert earlier is not None
    assert earlier.applied_sequence == MANIFEST["applied_sequence"], "from here it follows the stream"


@pytest.mark.parametrize("origin", [Origin(1, ORIGIN.stream), Origin(0, "another")])
def test_one_of_another_shard_or_stream_is_not_used(tmp_path: Path, origin: Origin) -> None:
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    assert SnapshotFolder(tmp_path, origin).load() is None


@pytest.mark.parametrize("name", ["manifest.json", "vectors.faiss", "payloads.msgpack"])
def test_a_damaged_one_is_not_used_and_the_one_before_it_is(folder: SnapshotFolder, name: str) -> None:
    newer = folder.root / "00000002"
    shutil.copytree(folder.root / "00000001", newer)
    path = newer / name
    path.write_bytes(path.read_bytes()[:-7])
    assert opened(folder).shard.chunk_count == 16
    (folder.root / "00000001" / name).unlink()
    shutil.rmtree(folder.segments)
    folder.segments.mkdir()
    assert folder.load() is None


def test_one_whose_files_are_as_written_and_yet_not_right_is_not_used(folder: SnapshotFolder) -> None:
    """The hash is right: it fails only when the columns are being written; the one before it is read all the same."""
    newer = folder.root / "00000002"
    shutil.copytree(folder.root / "00000001", newer)
    manifest = json.loads((newer / "manifest.json").read_bytes())
    del manifest["model_revision"]
    (newer / "manifest.json").write_text(json.dumps(manifest))
    assert opened(folder).shard.chunk_count == 16
