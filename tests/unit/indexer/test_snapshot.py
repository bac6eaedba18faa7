import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.indexer.chunks import RemoveVideo
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder
from tests.unit.indexer.builders import MODEL, ask, replace, texts

ORIGIN = Origin(shard=0, shards=2, slot_table_version=1, stream="2026-01-01")


@pytest.fixture
def folder(tmp_path: Path) -> SnapshotFolder:
    return SnapshotFolder(tmp_path, ORIGIN)


@pytest.fixture
def shard(folder: SnapshotFolder) -> Iterator[Shard]:
    shard = folder.empty()
    shard.apply([replace("vid_a", "apple pie", "我去北京大学", title="Ä"), replace("vid_b", "pear tart")], sequence=11)
    yield shard
    shard.close()


def reopened(tmp_path: Path, origin: Origin = ORIGIN) -> Shard | None:
    return SnapshotFolder(tmp_path, origin).load()


def opened(tmp_path: Path) -> Shard:
    shard = reopened(tmp_path)
    assert shard is not None
    return shard


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert reopened(tmp_path) is None


def test_what_was_written_comes_back_whole(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    shard.apply([RemoveVideo("vid_b"), replace("vid_c", "plum cake", title="C")], sequence=12)
    before = ask(shard, "apple plum", near="plum cake")
    folder.write(shard)
    again = opened(tmp_path)
    assert again.digest() == shard.digest()
    assert (again.applied_sequence, again.model_revision, again.video_count) == (12, MODEL, 2)
    after = ask(again, "apple plum", near="plum cake")
    assert [(hit.chunk, hit.title, hit.semantic_score) for hit in after.hits] == [
        (hit.chunk, hit.title, hit.semantic_score) for hit in before.hits
    ]
    assert texts(ask(again, '"北京大学"')) == ["我去北京大学"]


def test_the_shard_goes_on_after_a_snapshot_and_after_a_restart(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    folder.write(shard)
    shard.apply([replace("vid_a", "quince"), replace("vid_d", "medlar")], sequence=13)
    folder.write(shard)
    again = opened(tmp_path)
    again.apply([replace("vid_b", "sloe")], sequence=14)
    assert sorted(texts(ask(again, near="x"))) == ["medlar", "quince", "sloe"]
    assert sorted(texts(ask(again, "quince medlar sloe apple pear"))) == ["medlar", "quince", "sloe"]
    # What the running shard did to its files did not reach the snapshot it was opened from.
    again.close()
    assert sorted(texts(ask(opened(tmp_path), near="x"))) == ["medlar", "pear tart", "quince"]


def test_an_empty_shard_has_snapshots_too(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    shard.apply([RemoveVideo("vid_a"), RemoveVideo("vid_b")], sequence=20)
    folder.write(shard)
    again = opened(tmp_path)
    assert (again.chunk_count, again.applied_sequence, again.model_revision) == (0, 20, "")


def test_the_last_two_are_kept(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    names = [folder.write(shard).name for _ in range(4)]
    assert sorted(path.name for path in (tmp_path / "snapshots").iterdir()) == names[-2:]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    "name", ["vectors.faiss", "payloads.msgpack", "keyword/meta.json", "keyword/*.term", "manifest.json"]
)
@pytest.mark.parametrize("damage", [flip, truncate, Path.unlink], ids=["flip", "truncate", "unlink"])
def test_a_damaged_one_is_set_aside_and_the_one_before_it_used(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard, name: str, damage: Callable[[Path], object]
) -> None:
    folder.write(shard)
    digest = shard.digest()
    shard.apply([replace("vid_c", "plum")], sequence=12)
    newest = folder.write(shard)
    # A segment of the newest alone: an older one is one file with that of the snapshot before, as links.
    damaged = max(newest.glob(name), key=lambda path: path.stat().st_mtime_ns)
    shutil.copy(damaged, newest / "copy")
    (newest / "copy").replace(damaged)
    damage(damaged)
    again = opened(tmp_path)
    assert (again.digest(), again.applied_sequence) == (digest, 11)
    assert (tmp_path / "snapshots" / f"{newest.name}.corrupt").is_dir()
    # The next one does not take the number of the one set aside for a good one.
    assert SnapshotFolder(tmp_path, ORIGIN).write(again).name == newest.name


def test_when_all_are_damaged_there_is_none(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    for _ in range(2):
        truncate(folder.write(shard) / "payloads.msgpack")
    assert reopened(tmp_path) is None
    assert len(list((tmp_path / "snapshots").glob("*.corrupt"))) == 2


def test_parts_that_do_not_belong_together_are_noticed(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    """Every file is as it was written and yet the legs differ: the shard refuses to be put together."""
    shard.keyword.stage(removed=[0], added=[])
    shard.keyword.commit()
    folder.write(shard)
    assert reopened(tmp_path) is None


def test_one_that_was_not_finished_is_cleared_away(tmp_path: Path, folder: SnapshotFolder, shard: Shard) -> None:
    good = folder.write(shard)
    shutil.copytree(good, good.with_name("00000002.writing"))
    assert opened(tmp_path).digest() == shard.digest()
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == [good.name]


@pytest.mark.parametrize(
    "other",
    [
        Origin(1, 2, 1, "2026-01-01"),
        Origin(0, 4, 1, "2026-01-01"),
        Origin(0, 2, 2, "2026-01-01"),
        Origin(0, 2, 1, "2026-02-02"),
    ],
)
def test_one_of_another_shard_table_or_stream_is_not_used(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard, other: Origin
) -> None:
    folder.write(shard)
    assert reopened(tmp_path, other) is None
    assert reopened(tmp_path) is not None


def test_one_of_another_format_is_not_used_and_not_called_corrupt(
    tmp_path: Path, folder: SnapshotFolder, shard: Shard
) -> None:
    path = folder.write(shard) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 999}))
    assert reopened(tmp_path) is None
    assert path.exists()
