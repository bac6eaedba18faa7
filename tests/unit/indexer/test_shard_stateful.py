"""Any interleaving of changes, seals, merges, snapshots, crashes and replays, against a plain dictionary."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.common.ids import slot_of
from services.indexer.chunks import (
    Change,
    Chunk,
    DescribeVideo,
    DropSlots,
    Filter,
    PutChunks,
    Query,
    RemoveVideo,
    ReplaceSlice,
    VideoInfo,
)
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder
from tests.unit.indexer.builders import (
    ALL_SLOTS,
    MODEL,
    Building,
    batch,
    chunk,
    digest,
    found_chunk,
    put,
    replace,
    vector_of,
    write_snapshot,
)

ORIGIN = Origin(0, "stream")
WORDS = ["apple", "pear", "plum", "quince", "medlar", "sloe"]
TAGS = st.lists(st.sampled_from(["red", "green"]), unique=True, max_size=2).map(tuple)
INFOS = st.builds(
    VideoInfo,
    st.sampled_from(["A talk", "Another"]),
    st.sampled_from(["", "garden"]),
    TAGS,
    st.sampled_from([0.0, 1e9, 2e9]),
    st.sampled_from([None, 10.0, 600.0]),
)
EVERY_SLICE = [(video, part) for video in ("vid_a", "vid_b", "vid_c") for part in ("00000", "00001")]
VIDEOS = st.sampled_from(["vid_a", "vid_b", "vid_c"])
SLICES = st.sampled_from(["00000", "00001"])
SAID = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join), max_size=3)
CHANGES = st.one_of(
    st.builds(lambda video, part, said, info: replace(video, *said, slice_id=part, info=info),
              VIDEOS, SLICES, SAID, INFOS),
    st.builds(
        lambda video, part, number, word, speaker: put(
            chunk(video, word, slice_id=part, number=number, speaker=speaker)
        ),
        VIDEOS, SLICES, st.integers(0, 3), st.sampled_from(WORDS), st.sampled_from(["", "Ann"]),
    ),
    st.builds(RemoveVideo, VIDEOS),
    st.builds(DescribeVideo, VIDEOS, INFOS),
    st.builds(lambda video: DropSlots(frozenset({slot_of(video)})), VIDEOS),
)  # fmt: skip


class ShardAgainstDictionary(RuleBasedStateMachine):
    """`chunks` is what the shard must hold; `stream` is every change ever made, which a crash replays."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(
            tempfile.mkdtemp(prefix="earmark-shard-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        )
        self.folder = SnapshotFolder(self.root, ORIGIN)
        self.shard = Shard()
        self.chunks: dict[str, Chunk] = {}
        self.infos: dict[str, VideoInfo] = {}
        self.stream: list[list[Change]] = []
        self.building: Building | None = None

    def teardown(self) -> None:
        self.shard.close()
        shutil.rmtree(self.root)

    @initialize(sealed=st.booleans())
    def begin_with_something(self, sealed: bool) -> None:
        """Else most runs would spend most of their steps on nothing."""
        self.apply([replace(video, "apple pear", "plum", "pear", slice_id=part) for video, part in EVERY_SLICE])
        if sealed:
            self.begin_to_build(merge=False)
            self.take_over()

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def apply(self, changes: list[Change]) -> None:
        self.stream.append(changes)
        assert self.shard.apply(changes, sequence=len(self.stream)).refused == {}
        for change in changes:
            self._expect(change)

    def _expect(self, change: Change) -> None:
        match change:
            case RemoveVideo(video_id):
                self._keep(lambda item: item.video_id != video_id)
            case DropSlots(slots):
                self._keep(lambda item: slot_of(item.video_id) not in slots)
            case ReplaceSlice(video_id, slice_id, info, new):
                self._keep(lambda item: (item.video_id, item.slice_id) != (video_id, slice_id))
                self.chunks.update({item.chunk_id: item for item in new.chunks})
                self.infos[video_id] = info
            case PutChunks(infos, new):
                self.chunks.update({item.chunk_id: item for item in new.chunks})
                self.infos.update(infos)
            case DescribeVideo(video_id, info):
                self.infos[video_id] = info

    def _keep(self, wanted) -> None:  # noqa: ANN001
        self.chunks = {key: item for key, item in self.chunks.items() if wanted(item)}

    @rule(merge=st.booleans())
    @precondition(lambda self: self.building is None)
    def begin_to_build(self, merge: bool) -> None:
        """Seals the head, or merges segments; changes may come before it takes over."""
        if merge and self.shard.segments:
            self.building = Building(self.shard, self.shard.segments, self.folder)
        else:
            self.shard.freeze()
            if self.shard.frozen:
                self.building = Building(self.shard, self.shard.frozen, self.folder)

    @rule()
    @precondition(lambda self: self.building is not None)
    def take_over(self) -> None:
        assert self.building is not None
        self.building.finish()
        self.building = None

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=3), merge=st.booleans())
    @precondition(lambda self: self.building is None)
    def build_while_changes_come(self, changes: list[Change], merge: bool) -> None:
        self.begin_to_build(merge)
        self.apply(changes)
        if self.building is not None:
            self.take_over()

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=2))
    @precondition(lambda self: self.building is None)
    def restart(self, changes: list[Change]) -> None:
        """In good order, with the latest changes in the snapshot."""
        self.snapshot()
        self.apply(changes)
        self.snapshot()
        self.crash("")

    @rule()
    @precondition(lambda self: self.building is None)
    def snapshot(self) -> None:
        write_snapshot(self.folder, self.shard)

    @rule(damage=st.sampled_from(["", "state", "segment"]))
    def crash(self, damage: str) -> None:
        """Starts again from what is on disk and follows the stream from there, as after kill -9."""
        self.building = None
        damaged = sorted((self.root / "snapshots").glob("*.state"))[-1:] if damage == "state" else []
        if damage == "segment":
            damaged = [folder / "records.bin" for folder in sorted(self.folder.segments.iterdir())[:1]]
        for path in damaged:
            if path.exists():
                path.write_bytes(b"not what was written")
        self.shard.close()
        self.folder = SnapshotFolder(self.root, ORIGIN)
        loaded = self.folder.load()
        self.shard = loaded.shard if loaded is not None else Shard()
        # What a damaged segment held is filled in from the documents, which are as they are now.
        for video_id in loaded.damaged if loaded is not None else ():
            changes: list[Change] = [RemoveVideo(video_id)]
            if mine := [item for item in self.chunks.values() if item.video_id == video_id]:
                changes.append(PutChunks({video_id: self.infos[video_id]}, batch(mine)))
            self.shard.apply(changes)
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
        assert {found_chunk(hit).chunk_id: found_chunk(hit) for hit in found.hits} == self.chunks
        for hit in found.hits:
            item = found_chunk(hit)
            expected = float(vector_of("question") @ vector_of(item.text))
            assert np.isclose(hit.semantic_score or 0.0, expected, atol=2e-3)
            assert hit.title == self.infos[item.video_id].title

    @invariant()
    def every_chunk_is_in_the_keyword_leg_once(self) -> None:
        for word in WORDS[:3]:
            found = self.shard.search(Query(None, "", word, 1000)).hits
            expected = {key for key, item in self.chunks.items() if word in item.text.split()}
            assert sorted(found_chunk(hit).chunk_id for hit in found) == sorted(expected)

    @invariant()
    def filters_are_exact(self) -> None:
        infos = self.infos
        cases = [
            (Filter(frozenset({"vid_a"})), lambda item: item.video_id == "vid_a"),
            (Filter(collections=frozenset({"garden"})), lambda item: infos[item.video_id].collection == "garden"),
            (Filter(tags=frozenset({"red"})), lambda item: "red" in infos[item.video_id].tags),
            (Filter(speakers=frozenset({"Ann"})), lambda item: item.speaker == "Ann"),
            (Filter(uploaded_since=1e9, uploaded_before=2e9), lambda item: infos[item.video_id].uploaded_at == 1e9),
            (Filter(max_duration=60.0), lambda item: infos[item.video_id].duration == 10.0),
        ]
        for chosen, passes in cases:
            mine = {key for key, item in self.chunks.items() if passes(item)}
            for k in (2, 1000):
                found = self.shard.search(Query(vector_of("question"), MODEL, "", k, chosen)).hits
                assert len(found) == min(k, len(mine)), chosen
                assert {found_chunk(hit).chunk_id for hit in found} <= mine, chosen
        mine = {key for key, item in self.chunks.items() if slot_of(item.video_id) != slot_of("vid_b")}
        slots = ALL_SLOTS - {slot_of("vid_b")}
        found = self.shard.search(Query(vector_of("question"), MODEL, "apple", 1000, slots=slots)).hits
        assert {found_chunk(hit).chunk_id for hit in found} == mine

    @invariant()
    def agrees_with_a_fresh_one(self) -> None:
        if self.chunks and len(self.stream) % 4 == 0:
            fresh = Shard()
            fresh.apply([PutChunks(self.infos, batch(list(self.chunks.values())))])
            assert digest(fresh) == digest(self.shard)
            fresh.close()


# Without shrinking, which takes minutes: a failure prints what repeats it.
SHORT = settings(
    max_examples=12,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    print_blob=True,
)


class TestShardAgainstDictionary(ShardAgainstDictionary.TestCase):
    settings = SHORT


@pytest.mark.slow
class TestShardAgainstDictionaryAtLength(ShardAgainstDictionary.TestCase):
    settings = settings(SHORT, max_examples=60, stateful_step_count=25)
