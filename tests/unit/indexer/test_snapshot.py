import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.indexer import sealed_json
from services.indexer.chunks import DescribeVideo, Filter, RemoveVideo, VideoInfo
from services.indexer.shard import Shard
from services.indexer.snapshot import Loaded, Origin, SnapshotFolder, State
from tests.unit.indexer.builders import (
    ALL_SLOTS,
    MODEL,
    Building,
    ask,
    digest,
    replace,
    texts,
    write_snapshot,
)

ORIGIN = Origin(shard=0, stream="2026-01-01")
INFO = VideoInfo("Ä", "garden", ("red", "green"), 1.5e9, 612.25)


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path, ORIGIN)


@pytest.fixture
def shard() -> Iterator[Shard]:
    shard = Shard()
    shard.apply([replace("vid_a", "apple pie", "我去北京大学", info=INFO), replace("vid_b", "pear tart")], sequence=11)
    yield shard
    shard.close()


def reopened(tmp_path: Path, origin: Origin = ORIGIN) -> Loaded | None:
    return SnapshotFolder(tmp_path, origin).load()


def opened(tmp_path: Path) -> Loaded:
    loaded = reopened(tmp_path)
    assert loaded is not None
    return loaded


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


damages = pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flip", "truncate", "unlink"])


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert reopened(tmp_path) is None


def test_what_was_written_comes_back_whole(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    shard.apply([RemoveVideo("vid_b"), replace("vid_c", "plum cake", title="C")], sequence=12)
    before = ask(shard, "apple plum", near="plum cake")
    write_snapshot(folder, shard)
    loaded = opened(tmp_path)
    again = loaded.shard
    assert digest(again) == digest(shard)
    assert (again.applied_sequence, again.model_revision, again.video_count) == (12, MODEL, 2)
    assert (loaded.slots, loaded.damaged, loaded.repaired, loaded.undescribed) == (ALL_SLOTS, set(), [], set())
    assert again.videos.info("vid_a") == INFO
    after = ask(again, "apple plum", near="plum cake")
    assert {hit.record: hit.title for hit in after.hits} == {hit.record: hit.title for hit in before.hits}
    scores = {hit.record: hit.semantic_score for hit in before.hits}
    assert {hit.record: hit.semantic_score for hit in after.hits} == pytest.approx(scores, abs=1e-6)
    assert texts(ask(again, '"北京大学"')) == ["我去北京大学"]
    assert texts(ask(again, "apple", chosen=Filter(tags=frozenset({"red"}), min_duration=600.0))) == ["apple pie"]


def test_dead_rows_of_a_segment_stay_dead(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    write_snapshot(folder, shard)
    shard.apply([replace("vid_a", "apple pie"), DescribeVideo("vid_b", INFO)], sequence=12)
    write_snapshot(folder, shard)
    again = opened(tmp_path).shard
    assert len(again.segments) == 1
    assert [(part.alive.count, part.deleted) for part in again.segments] == [(2, 1)]
    assert sorted(texts(ask(again, near="x"))) == ["apple pie", "pear tart"]
    assert texts(ask(again, '"北京大学"')) == []
    assert again.videos.info("vid_b") == INFO


def test_the_shard_goes_on_after_a_snapshot_and_after_a_restart(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    write_snapshot(folder, shard)
    shard.apply([replace("vid_a", "quince"), replace("vid_d", "medlar")], sequence=13)
    write_snapshot(folder, shard)
    again = opened(tmp_path).shard
    again.apply([replace("vid_b", "sloe")], sequence=14)
    assert sorted(texts(ask(again, near="x"))) == ["medlar", "quince", "sloe"]
    assert sorted(texts(ask(again, "quince medlar sloe apple pear"))) == ["medlar", "quince", "sloe"]
    # What is in memory did not reach the snapshot it was opened from.
    assert sorted(texts(ask(opened(tmp_path).shard, near="x"))) == ["medlar", "pear tart", "quince"]


def test_an_empty_shard_has_snapshots_too(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    shard.apply([RemoveVideo("vid_a"), RemoveVideo("vid_b")], sequence=20)
    write_snapshot(folder, shard)
    again = opened(tmp_path).shard
    assert (again.chunk_count, again.applied_sequence, again.model_revision) == (0, 20, "")
    assert again.apply([replace("vid_a", "apple", model="other@2")]).refused == {}


def test_slots_are_kept_as_they_were(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    folder.write(State.of(shard, applied_sequence=3, slots=frozenset({0, 7, 255})))
    assert opened(tmp_path).slots == {0, 7, 255}


def test_the_last_two_are_kept_with_their_segments_and_no_others(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    written = []
    for number in range(4):
        shard.apply([replace("vid_a", f"apple {number}")], sequence=20 + number)
        shard.freeze()
        if number:  # one segment in the place of all: those of before belong to older snapshots alone
            Building(shard, shard.frozen, folder).finish()
            Building(shard, shard.segments, folder).finish()
        written.append(write_snapshot(folder, shard).stem)
    assert names(tmp_path / "snapshots") == sorted(
        f"{stem}{suffix}" for stem in written[-2:] for suffix in (".json", ".state")
    )
    wanted = {name for path in folder.root.glob("*.json") for name in json.loads(path.read_bytes())["segments"]}
    assert names(folder.segments) == sorted(wanted)
    assert len(wanted) == 2


def test_a_segment_in_use_is_kept_though_no_snapshot_has_it(folder: SnapshotFolder, shard: Shard) -> None:
    shard.freeze()
    Building(shard, shard.frozen, folder).finish()
    (used,) = (part.part.segment_id for part in shard.segments)
    folder.prune(lambda: {used})
    assert names(folder.segments) == [used]
    folder.prune(lambda: set())
    assert names(folder.segments) == []


def test_a_segment_that_comes_while_files_are_pruned_is_kept(folder: SnapshotFolder, shard: Shard) -> None:
    """It is in no list yet when pruning begins, and on the disk before it ends."""
    shard.freeze()

    def meanwhile() -> set[str]:
        in_use = {part.part.segment_id for part in shard.segments}
        Building(shard, shard.frozen, folder).finish()
        return in_use

    folder.prune(meanwhile)
    assert names(folder.segments) == [part.part.segment_id for part in shard.segments] != []


@pytest.mark.parametrize("suffix", [".json", ".state"])
@damages
def test_a_damaged_snapshot_is_set_aside_and_the_one_before_it_used(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard, suffix: str, damage: Callable[[Path], object]
) -> None:
    write_snapshot(folder, shard)
    before = digest(shard)
    shard.apply([replace("vid_c", "plum")], sequence=12)
    newest = write_snapshot(folder, shard)
    damage(newest.with_suffix(suffix))
    loaded = opened(tmp_path)
    assert (digest(loaded.shard), loaded.shard.applied_sequence) == (before, 11)
    if (suffix, damage) == (".json", Path.unlink):  # then there was none
        assert loaded.repaired == []
    else:
        assert [said.split(":")[0] for said in loaded.repaired] == [newest.name]
        assert newest.with_name(f"{newest.name}.corrupt").exists()
    # The next one does not take the number of the one set aside for a good one.
    assert write_snapshot(SnapshotFolder(tmp_path, ORIGIN), loaded.shard).name == newest.name
    assert digest(opened(tmp_path).shard) == before


def test_when_all_are_damaged_there_is_none(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    for _ in range(2):
        truncate(write_snapshot(folder, shard).with_suffix(".state"))
    assert reopened(tmp_path) is None
    assert len(list((tmp_path / "snapshots").glob("*.corrupt"))) == 2


FILES = [
    "vectors.f16",
    "records.bin",
    "records.u64",
    "names.msgpack",
    "languages.u16",
    "videos.u32",
    "dense.faiss",
    "segment.json",
    "keyword/meta.json",
    "keyword/*.term",
]


@pytest.fixture
def two_segments(folder: SnapshotFolder, shard: Shard) -> tuple[Path, Path]:
    """One with vid_a and vid_b, one with vid_c and a new slice of vid_b."""
    write_snapshot(folder, shard)
    shard.apply([replace("vid_c", "plum"), replace("vid_b", "sloe", slice_id="00001")], sequence=12)
    write_snapshot(folder, shard)
    first, second = (part.part.folder for part in shard.segments)
    return first, second


@pytest.mark.parametrize("name", FILES)
@damages
def test_a_damaged_segment_is_set_aside_and_the_rest_kept(
    tmp_path: Path, two_segments: tuple[Path, Path], name: str, damage: Callable[[Path], object]
) -> None:
    path = min(two_segments[1].glob(name))
    damage(path)
    loaded = opened(tmp_path)
    assert loaded.damaged == {"vid_b", "vid_c"}
    assert [said.split(":")[0] for said in loaded.repaired] == [two_segments[1].name]
    assert two_segments[1].with_name(f"{two_segments[1].name}.corrupt").is_dir()
    assert not two_segments[1].exists()
    assert sorted(texts(ask(loaded.shard, near="x"))) == ["apple pie", "pear tart", "我去北京大学"]
    assert (loaded.shard.video_count, loaded.shard.applied_sequence) == (2, 12)
    assert loaded.shard.videos.info("vid_a") == INFO


def test_a_missing_segment_is_said_and_its_videos_are_damaged(tmp_path: Path, two_segments: tuple[Path, Path]) -> None:
    shutil.rmtree(two_segments[0])
    loaded = opened(tmp_path)
    assert loaded.damaged == {"vid_a", "vid_b"}
    assert sorted(texts(ask(loaded.shard, near="x"))) == ["plum", "sloe"]
    assert loaded.shard.video_count == 2


def test_legs_that_do_not_belong_together_are_noticed(tmp_path: Path, two_segments: tuple[Path, Path]) -> None:
    """Every file has the hash that the manifest says, and yet the keyword index is of other rows."""
    first, second = two_segments
    other = json.loads((first / "segment.json").read_bytes())["files"]
    mine = sealed_json.check(json.loads((second / "segment.json").read_bytes()))
    shutil.rmtree(second / "keyword")
    shutil.copytree(first / "keyword", second / "keyword")
    mine["files"] = {
        **{name: entry for name, entry in mine["files"].items() if not name.startswith("keyword/")},
        **{name: entry for name, entry in other.items() if name.startswith("keyword/")},
    }
    sealed_json.write(second / "segment.json", mine)
    loaded = opened(tmp_path)
    assert loaded.damaged == {"vid_b", "vid_c"}
    # Nothing of a segment that could not be opened stays: vid_c is not here at all.
    assert loaded.shard.video_count == 2
    assert "vid_c" not in loaded.shard.videos


@pytest.mark.parametrize(
    ("before", "after"), [('"applied_sequence": 1', '"applied_sequence": 9'), ('"chunks": ', '"chunks": 1')]
)
def test_a_number_that_changed_in_the_list_itself_is_noticed(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard, before: str, after: str
) -> None:
    """One flipped bit in the sequence would skip events for good; in the slots it would claim what is not held."""
    path = write_snapshot(folder, shard)
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    again = SnapshotFolder(tmp_path, ORIGIN)
    assert again.load() is None
    assert again.set_aside == [f"{path.name}: it cannot be read: ValueError('it is not what was written')"]


def test_what_was_not_finished_is_cleared_away(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    good = write_snapshot(folder, shard)
    before = names(folder.segments), names(folder.root)
    shutil.copytree(folder.segments / before[0][0], folder.segments / "01unfinished.writing")
    shutil.copy(good, good.with_name("00000002.writing"))
    (folder.work / "01build").mkdir()
    (folder.work / "01build" / "records.bin").write_bytes(b"x")
    assert digest(opened(tmp_path).shard) == digest(shard)
    assert (names(folder.segments), names(folder.root)) == before
    assert names(folder.work) == []


def test_a_snapshot_that_the_disk_does_not_take_is_not_there(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    good = write_snapshot(folder, shard)
    (folder.root / "00000002.state").mkdir()  # in the place of a file: it cannot be written
    with pytest.raises(OSError, match=r"No such file|directory"):
        folder.write(State.of(shard, applied_sequence=12, slots=ALL_SLOTS))
    assert folder.newest() == good
    assert opened(tmp_path).shard.applied_sequence == 11


@pytest.mark.parametrize("other", [Origin(1, ORIGIN.stream), Origin(0, "2026-02-02")])
def test_one_of_another_shard_or_stream_is_not_used(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard, other: Origin
) -> None:
    write_snapshot(folder, shard)
    assert reopened(tmp_path, other) is None
    assert digest(opened(tmp_path).shard) == digest(shard)


def test_one_of_another_format_is_not_used_and_not_called_corrupt(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    path = write_snapshot(folder, shard)
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 999}))
    assert reopened(tmp_path) is None
    assert path.exists()


def test_going_back_the_last_one_of_the_own_format_is_used_and_gone_on_with(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    write_snapshot(folder, shard)
    before = digest(shard)
    shard.apply([replace("vid_c", "plum cake")], sequence=12)
    newer = write_snapshot(folder, shard)
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "format_version": 999}))
    back = SnapshotFolder(tmp_path, ORIGIN)
    loaded = back.load()
    assert loaded is not None
    assert (digest(loaded.shard), loaded.shard.applied_sequence) == (before, 11)
    loaded.shard.apply([replace("vid_c", "plum cake")], sequence=12)
    assert write_snapshot(back, loaded.shard) > newer
    assert newer.exists(), "the way forward again"
    assert digest(opened(tmp_path).shard) == digest(loaded.shard)
    assert back.set_aside == []


def test_damaged_ones_are_looked_at_and_then_forgotten(folder: SnapshotFolder, shard: Shard) -> None:
    for number in range(7):
        (folder.segments / f"0{number}.corrupt").mkdir()
        (folder.root / f"0{number}.json.corrupt").write_text("{")
    write_snapshot(folder, shard)
    assert [path.name for path in sorted(folder.segments.glob("*.corrupt"))] == [f"0{n}.corrupt" for n in range(3, 7)]
    assert len(list(folder.root.glob("*.corrupt"))) == 4
