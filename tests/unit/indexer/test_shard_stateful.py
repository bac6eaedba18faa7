"""Any interleaving of adding, replacing, deleting, snapshots, crashes and replays, against a plain dictionary."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.indexer.chunks import Change, Chunk, Filter, PutChunks, Query, RemoveVideo, ReplaceSlice
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder
from tests.unit.indexer.builders import MODEL, batch, chunk, put, replace, vector_of

ORIGIN = Origin(0, 1, 1, "stream")
WORDS = ["apple", "pear", "plum", "quince", "medlar", "sloe"]
VIDEOS = st.sampled_from(["vid_a", "vid_b", "vid_c"])
SLICES = st.sampled_from(["00000", "00001"])
SAID = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join), max_size=3)
CHANGES = st.one_of(
    st.builds(lambda video, part, said: replace(video, *said, slice_id=part), VIDEOS, SLICES, SAID),
    st.builds(
        lambda video, part, number, word: put(chunk(video, word, slice_id=part, number=number)),
        VIDEOS, SLICES, st.integers(0, 3), st.sampled_from(WORDS),
    ),
    st.builds(RemoveVideo, VIDEOS),
)  # fmt: skip


class ShardAgainstDictionary(RuleBasedStateMachine):
    """`chunks` is what the shard must hold; `stream` is every change ever made, which a crash replays."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="earmark-shard-"))
        self.folder = SnapshotFolder(self.root, ORIGIN)
        self.shard = self.folder.empty()
        self.chunks: dict[str, Chunk] = {}
        self.stream: list[list[Change]] = []

    def teardown(self) -> None:
        self.shard.close()
        shutil.rmtree(self.root)

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def apply(self, changes: list[Change]) -> None:
        self.stream.append(changes)
        assert self.shard.apply(changes, sequence=len(self.stream)).refused == {}
        for change in changes:
            self._expect(change)

    def _expect(self, change: Change) -> None:
        match change:
            case RemoveVideo(video_id):
                self.chunks = {key: item for key, item in self.chunks.items() if item.video_id != video_id}
            case ReplaceSlice(video_id, slice_id, _, new):
                prefix = f"{video_id}/{slice_id}/"
                self.chunks = {key: item for key, item in self.chunks.items() if not key.startswith(prefix)}
                self.chunks.update({item.chunk_id: item for item in new.chunks})
            case PutChunks(_, new):
                self.chunks.update({item.chunk_id: item for item in new.chunks})

    @rule()
    def snapshot(self) -> None:
        self.folder.write(self.shard)

    @rule(damaged=st.booleans())
    def crash(self, damaged: bool) -> None:
        """Starts again from what is on disk and follows the stream from there, as after kill -9."""
        snapshots = sorted(path for path in (self.root / "snapshots").iterdir() if path.name.isdigit())
        if damaged and snapshots:
            (snapshots[-1] / "payloads.msgpack").write_bytes(b"not what was written")
        self.shard.close()
        self.folder = SnapshotFolder(self.root, ORIGIN)
        self.shard = self.folder.load() or self.folder.empty()
        for sequence, changes in enumerate(self.stream, 1):
            if sequence > self.shard.applied_sequence:
                self.shard.apply(changes, sequence=sequence)

    @rule(again=st.integers(1, 3))
    def replay(self, again: int) -> None:
        """The last events come once more: the end is the same."""
        for changes in self.stream[-again:]:
            self.shard.apply(changes, sequence=len(self.stream))

    @invariant()
    def holds_what_it_must(self) -> None:
        assert self.shard.chunk_count == len(self.chunks)
        assert self.shard.video_count == len({item.video_id for item in self.chunks.values()})
        found = self.shard.search(Query(vector_of("question"), MODEL, "", 1000))
        assert {hit.chunk.chunk_id: hit.chunk for hit in found.hits} == self.chunks
        for hit in found.hits:
            expected = float(vector_of("question") @ vector_of(hit.chunk.text))
            assert np.isclose(hit.semantic_score or 0.0, expected, atol=1e-5)

    @invariant()
    def every_chunk_is_in_the_keyword_leg_once(self) -> None:
        for word in WORDS[:3]:
            found = self.shard.search(Query(None, "", word, 1000)).hits
            expected = {key for key, item in self.chunks.items() if word in item.text.split()}
            assert sorted(hit.chunk.chunk_id for hit in found) == sorted(expected)

    @invariant()
    def a_filter_is_exact(self) -> None:
        found = self.shard.search(Query(vector_of("question"), MODEL, "", 2, Filter(frozenset({"vid_a"})))).hits
        mine = [item for item in self.chunks.values() if item.video_id == "vid_a"]
        assert len(found) == min(2, len(mine))
        assert all(hit.chunk.video_id == "vid_a" for hit in found)

    @invariant()
    def agrees_with_a_fresh_one(self) -> None:
        if self.chunks and len(self.stream) % 4 == 0:
            fresh = Shard.empty(self.root / "fresh")
            fresh.apply([PutChunks({}, batch(list(self.chunks.values())))])
            assert fresh.digest() == self.shard.digest()
            fresh.close()


ShardAgainstDictionary.TestCase.settings = settings(
    max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestShardAgainstDictionary = ShardAgainstDictionary.TestCase
