"""What stands for what a shard holds: another with every change, the same where nothing that can be found changes."""

from __future__ import annotations

from pathlib import Path

from services.indexer.chunks import DescribeVideo, RemoveVideo, VideoInfo
from services.indexer.shard import Shard
from services.indexer.snapshot import Origin, SnapshotFolder
from tests.unit.indexer.builders import Building, chunk, put, replace


def test_every_change_makes_it_another() -> None:
    shard = Shard()
    seen = [shard.version]
    for change in (
        put(chunk("vid_a", "apple")),
        put(chunk("vid_a", "pear", number=1)),
        put(chunk("vid_a", "plum")),
        replace("vid_a", "quince"),
        DescribeVideo("vid_a", VideoInfo(title="Another")),
        DescribeVideo("vid_a", VideoInfo(title="Another", collection="garden")),
        RemoveVideo("vid_a"),
    ):
        shard.apply([change])
        assert shard.version not in seen, change
        seen.append(shard.version)


def test_what_changes_nothing_keeps_it() -> None:
    shard = Shard()
    shard.apply([put(chunk("vid_a", "apple"))], sequence=1)
    version = shard.version
    shard.apply([put(chunk("vid_a", "apple"))], sequence=2)
    shard.apply([RemoveVideo("vid_b")], sequence=3)
    shard.apply([DescribeVideo("vid_a", VideoInfo(title="A talk"))], sequence=4)
    shard.advance(9)
    assert shard.version == version
    assert shard.applied_sequence == 9


def test_sealing_keeps_it(tmp_path: Path) -> None:
    shard = Shard()
    shard.apply([put(*(chunk(f"vid_{number}", "apple", number=number) for number in range(5)))])
    version = shard.version
    shard.freeze()
    Building(shard, shard.frozen, SnapshotFolder(tmp_path, Origin(0, "stream"))).finish()
    assert shard.version == version
    assert shard.segments


def test_that_of_another_shard_is_another() -> None:
    one, other = Shard(), Shard()
    for shard in (one, other):
        shard.apply([put(chunk("vid_a", "apple"))])
    assert one.version != other.version, "a start, or a rebuild, is no proof that the same is held"
