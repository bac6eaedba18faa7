"""Snapshots: what a shard is on disk, complete or not there at all.

    segments/01k…/              see segment.py; each whole or not there
    snapshots/00000007.json     format, whose it is, stream sequence applied, slots held, size and SHA-256 of:
    snapshots/00000007.state    the segments with their dead rows and their videos, and what is true of the videos
    work/                       what only a build needs

A snapshot is its small file in `snapshots`, renamed into place last. The two newest are kept, and every segment that
one of them or the running shard has. What fails its checks is renamed to `….corrupt`, to be looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
import structlog
from ulid import ULID

from services.indexer import migrate, sealed_json
from services.indexer.build import ORIGINS, Job, Source, build
from services.indexer.chunks import VideoInfo
from services.indexer.dense import DensePolicy
from services.indexer.rows import Mask
from services.indexer.segment import FORMAT_VERSION, MANIFEST, SegmentCorrupt, sync, verify
from services.indexer.shard import Shard

log = structlog.get_logger()

KEPT: Final = 2
_CORRUPT_KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Origin:
    """Which part of which index a snapshot is of. One of another origin is not used.

    Attributes:
        shard: Number of the shard.
        stream: Identity of the event stream that sequences refer to; a stream made anew counts from 1 again.
    """

    shard: int
    stream: str


@dataclass(frozen=True, slots=True)
class State:
    """A shard at one moment, without the rows of its segments.

    Attributes:
        applied_sequence: Stream sequence applied.
        slots: Slots held whole.
        segments: Of each segment its id, which of its rows live (None means all), and the videos of those.
        videos: What is true of the videos.
        chunks: Chunks held.
    """

    applied_sequence: int
    slots: frozenset[int]
    segments: Sequence[tuple[str, bytes | None, Sequence[str]]] = ()
    videos: Mapping[str, VideoInfo] = field(default_factory=dict)
    chunks: int = 0

    @classmethod
    def of(cls, shard: Shard, *, applied_sequence: int, slots: frozenset[int]) -> State:
        """Takes the state of a shard's segments; for the writing thread. Heads are left out: seal them first."""
        segments = []
        for part, alive in shard.segments:
            numbers = np.unique(part.video_numbers()[alive.mask])
            names = [shard.videos.video_id(number) for number in numbers.tolist()]
            segments.append((part.segment_id, None if alive.count == part.rows else alive.bits.tobytes(), names))
        return cls(
            applied_sequence,
            slots,
            segments,
            {video_id: shard.videos.info(video_id) for video_id in shard.videos},
            shard.chunk_count,
        )


@dataclass(slots=True)
class Loaded:
    """What could be read back.

    Attributes:
        shard: The shard.
        slots: Slots held whole.
        damaged: Videos that were in a segment that is not sound; what is held of them has to be filled in again.
        repaired: What was set aside, for people.
        undescribed: Videos of which only the title is known, since an earlier version wrote the snapshot.
    """

    shard: Shard
    slots: frozenset[int]
    damaged: set[str] = field(default_factory=set)
    repaired: list[str] = field(default_factory=list)
    undescribed: set[str] = field(default_factory=set)


class SnapshotCorrupt(Exception):
    """A snapshot fails its checks."""


class SnapshotFolder:
    """The snapshots and segments of one replica. One thread uses it at a time.

    Args:
        folder: Folder of the replica; made when it is not there.
        origin: What the snapshots must be of.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.segments = folder / "segments"
        self.work = folder / "work"
        self.root = folder / "snapshots"
        self._origin = origin
        self.set_aside: list[str] = []
        """What failed its checks since the start, for people."""
        shutil.rmtree(self.work, ignore_errors=True)
        for path in (self.segments, self.root, self.work):
            path.mkdir(parents=True, exist_ok=True)
        for leftover in (*self.segments.glob("*.writing"), *self.root.glob("*.writing")):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def load(self) -> Loaded | None:
        """Reads the newest snapshot that is sound and of the right origin; None when there is none.

        A segment that is not sound is set aside and the rest is used.
        """
        repaired: list[str] = []
        for path in sorted(self._snapshots(), reverse=True):
            try:
                state = self._read(path)
            except SnapshotCorrupt as error:
                repaired.append(self._set_aside(path, str(error)))
                continue
            if state is not None:
                loaded = self._open(state)
                loaded.repaired = [*repaired, *loaded.repaired]
                return loaded
        return self._migrated(repaired)

    def write(self, state: State) -> Path:
        """Writes a snapshot. Raises OSError when the disk does not take it; nothing is left behind then."""
        started = time.perf_counter()
        path = self.root / f"{max((int(p.stem) for p in self._snapshots()), default=0) + 1:08d}.json"
        body: bytes = msgpack.packb(
            {
                "segments": [[name, alive, list(videos)] for name, alive, videos in state.segments],
                "videos": {video_id: list(asdict(info).values()) for video_id, info in state.videos.items()},
            }
        )
        manifest = {
            "format_version": FORMAT_VERSION,
            **asdict(self._origin),
            "applied_sequence": state.applied_sequence,
            "slots": sorted(state.slots),
            "chunks": state.chunks,
            "segments": [name for name, _, _ in state.segments],
            "state": {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()},
        }
        writing = path.with_suffix(".writing")
        self.root.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        try:
            path.with_suffix(".state").write_bytes(body)
            sync(path.with_suffix(".state"))
            sealed_json.write(writing, manifest)
            sync(writing)
            writing.rename(path)
            sync(self.root)
        except BaseException:
            writing.unlink(missing_ok=True)
            path.with_suffix(".state").unlink(missing_ok=True)
            raise
        log.info(
            "snapshot_written",
            snapshot=path.stem,
            chunks=state.chunks,
            segments=len(state.segments),
            applied_sequence=state.applied_sequence,
            seconds=round(time.perf_counter() - started, 3),
        )
        return path

    def prune(self, in_use: Callable[[], Collection[str]]) -> None:
        """Removes all snapshots but the two newest, and segments that neither they nor `in_use` name."""
        folders = list(self.segments.iterdir())
        snapshots = sorted(self._snapshots())
        for path in snapshots[:-KEPT]:
            path.unlink()
            path.with_suffix(".state").unlink(missing_ok=True)
        wanted = set(in_use())  # after the list of folders: one that is made meanwhile is not in it
        for path in snapshots[-KEPT:]:
            with contextlib.suppress(ValueError, KeyError, TypeError):  # damaged: the next start will say so
                wanted.update(json.loads(path.read_bytes())["segments"])
        for folder in folders:
            if "." not in folder.name and folder.name not in wanted:
                shutil.rmtree(folder, ignore_errors=True)
        for root in (self.segments, self.root):
            for path in sorted(root.glob("*.corrupt"))[:-_CORRUPT_KEPT]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def newest(self) -> Path | None:
        """Gives the newest snapshot's file."""
        return max(self._snapshots(), default=None)

    def _snapshots(self) -> list[Path]:
        return [path for path in self.root.glob("*.json") if path.stem.isdigit()]

    def _read(self, path: Path) -> State | None:
        try:
            manifest: dict[str, Any] = json.loads(path.read_bytes())
            if manifest["format_version"] != FORMAT_VERSION:
                log.warning("snapshot_of_another_format", snapshot=path.stem, format_version=manifest["format_version"])
                return None
            manifest = sealed_json.check(manifest)
            wanted = asdict(self._origin)
            origin = {name: manifest.get(name) for name in wanted}
            if origin != wanted:
                log.warning("snapshot_of_another_origin", snapshot=path.stem, origin=origin, wanted=wanted)
                return None
            body = path.with_suffix(".state").read_bytes()
            if hashlib.sha256(body).hexdigest() != manifest["state"]["sha256"]:
                raise SnapshotCorrupt(f"{path.stem}.state is not what was written")
            state = msgpack.unpackb(body)
            videos = {
                video_id: VideoInfo(title, collection, tuple(tags), uploaded_at, duration)
                for video_id, (title, collection, tags, uploaded_at, duration) in state["videos"].items()
            }
            segments = [(name, alive, names) for name, alive, names in state["segments"]]
            return State(
                manifest["applied_sequence"], frozenset(manifest["slots"]), segments, videos, manifest["chunks"]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotCorrupt(f"it cannot be read: {error!r}") from error

    def _open(self, state: State) -> Loaded:
        loaded = Loaded(Shard(), state.slots)
        for name, alive, names in state.segments:
            folder = self.segments / name
            try:
                verify(folder)
                rows = json.loads((folder / MANIFEST).read_bytes())["rows"]
                infos = {video_id: state.videos[video_id] for video_id in names}
                loaded.shard.attach(folder, infos, _mask(alive, rows))
            except (SegmentCorrupt, ValueError, KeyError) as error:
                loaded.repaired.append(self._set_aside(folder, str(error)))
                loaded.damaged.update(names)
        loaded.shard.advance(state.applied_sequence)
        return loaded

    def _migrated(self, repaired: list[str]) -> Loaded | None:
        earlier = migrate.read(self.root, self.work, shard=self._origin.shard, stream=self._origin.stream)
        if earlier is None:
            return None
        target = self.segments / str(ULID()).lower()
        sources = [Source(earlier.folder)]
        build(Job(target, sources, earlier.dimension, earlier.model_revision, policy=DensePolicy()))
        (target / ORIGINS).unlink()
        loaded = Loaded(Shard(), earlier.slots, repaired=repaired, undescribed=set(earlier.videos))
        loaded.shard.attach(target, earlier.videos)
        loaded.shard.advance(earlier.applied_sequence)
        log.info("snapshot_migrated", chunks=loaded.shard.chunk_count, applied_sequence=earlier.applied_sequence)
        return loaded

    def _set_aside(self, path: Path, why: str) -> str:
        aside = path.with_name(path.name + ".corrupt")
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
        log.error("index_files_corrupt", path=path.name, error=why, set_aside=aside.name)
        self.set_aside.append(f"{path.name}: {why}")
        return self.set_aside[-1]


def _mask(alive: bytes | None, rows: int) -> Mask | None:
    if alive is None:
        return None
    return np.unpackbits(np.frombuffer(alive, np.uint8), count=rows, bitorder="little").astype(np.bool_)
