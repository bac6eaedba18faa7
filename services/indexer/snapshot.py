"""Snapshots: the shard on disk, complete or not there at all.

    snapshots/
      00000007/                 the last two are kept
        manifest.json           what it is, the stream sequence applied, size and SHA-256 of every other file
        vectors.faiss           the dense leg, FAISS's own format; absent while there are no chunks
        payloads.msgpack        chunks by number
        keyword/                tantivy's segment files, hard links to those in use
      00000006.corrupt/         one that failed its checks, set aside to be looked at

A snapshot is written beside (`.writing`), synced, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from services.indexer.dense import DenseIndex
from services.indexer.keyword import KeywordIndex, thaw
from services.indexer.payloads import PayloadTable
from services.indexer.shard import Shard

log = structlog.get_logger()

FORMAT_VERSION: Final = 1
KEPT: Final = 2
_CORRUPT_KEPT: Final = 2
_MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which part of which index a snapshot is of. One of another origin is not used.

    Attributes:
        shard: Number of the shard.
        shards: Shards there are.
        slot_table_version: Version of the table that says which slots the shard owns.
        stream: Identity of the event stream that sequences refer to; a stream made anew counts from 1 again.
    """

    shard: int
    shards: int
    slot_table_version: int
    stream: str


class SnapshotCorrupt(Exception):
    """A snapshot fails its checks."""


class SnapshotFolder:
    """The snapshots of one replica. One thread uses it at a time.

    Args:
        folder: Folder of the replica; made when it is not there. It holds `snapshots/` and `work/`.
        origin: What the snapshots must be of.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self._root = folder / "snapshots"
        self._work = folder / "work"
        self._origin = origin
        self._known: dict[str, str] = {}  # hashes of keyword files, which never change under a name
        self._root.mkdir(parents=True, exist_ok=True)
        for leftover in self._root.glob("*.writing"):
            shutil.rmtree(leftover)

    def empty(self) -> Shard:
        """Gives a shard that holds nothing."""
        return Shard.empty(self._work)

    def load(self) -> Shard | None:
        """Gives the shard of the newest snapshot that is sound and of the right origin; None when there is none.

        A corrupt one is set aside and the one before it is tried.
        """
        for path in sorted(self._snapshots(), reverse=True):
            try:
                return self._read(path)
            except SnapshotCorrupt as error:
                aside = path.with_suffix(".corrupt")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                log.error("snapshot_corrupt", snapshot=path.name, error=str(error), set_aside=aside.name)
        return None

    def write(self, shard: Shard) -> Path:
        """Writes a snapshot of the shard, which must not change meanwhile, and removes all but the last two."""
        if not shard.whole:
            raise RuntimeError("a change of this shard broke off in the middle; a snapshot would make that last")
        started = time.perf_counter()
        last = max((int(path.name) for path in self._snapshots()), default=0)
        path = self._root / f"{last + 1:08d}"
        writing = path.with_suffix(".writing")
        writing.mkdir()
        try:
            self._fill(writing, shard)
            writing.rename(path)
        except BaseException:
            shutil.rmtree(writing, ignore_errors=True)
            raise
        _sync(self._root)
        self._prune()
        log.info(
            "snapshot_written",
            snapshot=path.name,
            chunks=shard.chunk_count,
            applied_sequence=shard.applied_sequence,
            seconds=round(time.perf_counter() - started, 3),
        )
        return path

    def _snapshots(self) -> list[Path]:
        return [path for path in self._root.iterdir() if path.is_dir() and path.name.isdigit()]

    def _fill(self, target: Path, shard: Shard) -> None:
        names = [f"keyword/{name}" for name in shard.keyword.freeze(target / "keyword")]
        if shard.dense is not None:
            shard.dense.write(target / "vectors.faiss")
            names.append("vectors.faiss")
        (target / "payloads.msgpack").write_bytes(shard.payloads.to_bytes())
        names.append("payloads.msgpack")
        # tantivy synced its segments when it committed them; what we wrote has to be synced here.
        for name in names:
            if not _is_segment(name):
                _sync(target / name)
        hashes = {name: self._hash(target, name) for name in names}
        self._known = {name: value for name, value in hashes.items() if _is_segment(name)}
        manifest = {
            "format_version": FORMAT_VERSION,
            **asdict(self._origin),
            "model_revision": shard.model_revision,
            "applied_sequence": shard.applied_sequence,
            "chunks": shard.chunk_count,
            "files": {
                name: {"bytes": (target / name).stat().st_size, "sha256": value} for name, value in hashes.items()
            },
        }
        (target / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        _sync(target / _MANIFEST)
        _sync(target / "keyword")
        _sync(target)

    def _hash(self, folder: Path, name: str) -> str:
        known = self._known.get(name)
        return known if known is not None else _sha256(folder / name)

    def _read(self, path: Path) -> Shard | None:
        manifest = _manifest(path)
        if manifest["format_version"] != FORMAT_VERSION:
            log.warning("snapshot_of_another_format", snapshot=path.name, format_version=manifest["format_version"])
            return None
        wanted = asdict(self._origin)
        origin = {name: manifest.get(name) for name in wanted}
        if origin != wanted:
            log.warning("snapshot_of_another_origin", snapshot=path.name, origin=origin, wanted=wanted)
            return None
        _verify(path, manifest["files"])
        shutil.rmtree(self._work, ignore_errors=True)
        try:
            thaw(path / "keyword", self._work)
            return Shard(
                payloads=PayloadTable.from_bytes((path / "payloads.msgpack").read_bytes()),
                dense=DenseIndex.read(path / "vectors.faiss") if "vectors.faiss" in manifest["files"] else None,
                keyword=KeywordIndex(self._work),
                model_revision=manifest["model_revision"],
                applied_sequence=manifest["applied_sequence"],
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise SnapshotCorrupt(f"its files do not make a shard: {error!r}") from error

    def _prune(self) -> None:
        for path in sorted(self._snapshots())[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)
        for path in sorted(self._root.glob("*.corrupt"))[:-_CORRUPT_KEPT]:
            shutil.rmtree(path, ignore_errors=True)


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        files, _ = manifest["files"], manifest["format_version"]
        for entry in files.values():
            _ = entry["bytes"], entry["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotCorrupt(f"its manifest cannot be read: {error!r}") from error
    return dict(manifest)


def _verify(path: Path, files: dict[str, dict[str, Any]]) -> None:
    for name, entry in files.items():
        try:
            size = (path / name).stat().st_size
            if size != entry["bytes"]:
                raise SnapshotCorrupt(f"{name} has {size} bytes instead of {entry['bytes']}")
            if _sha256(path / name) != entry["sha256"]:
                raise SnapshotCorrupt(f"{name} is not what was written")
        except OSError as error:
            raise SnapshotCorrupt(f"{name} cannot be read: {error!r}") from error


def _is_segment(name: str) -> bool:
    return name.startswith("keyword/") and not name.endswith(".json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
