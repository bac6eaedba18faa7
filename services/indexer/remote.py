"""Snapshots in the object store, so that a new replica, or one that lost its disk, starts from there.

    index/shard-0003/segments/01k…/…        as on disk; segment.json is written last
    index/shard-0003/snapshots/00000007.…   .state first, .json last

The first replica of each shard writes them; every replica may start from them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import structlog

from services.common.errors import EarmarkError
from services.common.objects import ObjectStore
from services.indexer import sealed_json
from services.indexer.segment import FORMAT_VERSION, MANIFEST
from services.indexer.snapshot import KEPT, Origin, SnapshotFolder

log = structlog.get_logger()


class RemoteSnapshots:
    """The snapshots of one shard in the object store.

    Args:
        objects: The store.
        snapshots: The snapshots on disk.
        origin: What they are of.
    """

    def __init__(self, *, objects: ObjectStore, snapshots: SnapshotFolder, origin: Origin) -> None:
        self._objects = objects
        self._snapshots = snapshots
        self._origin = origin
        self._prefix = f"index/shard-{origin.shard:04d}/"

    async def fetch(self) -> bool:
        """Copies the newest snapshot to the disk. False when there is none, or it cannot be had just now.

        What was copied is checked like any snapshot when it is opened.
        """
        started = time.perf_counter()
        try:
            for key in sorted(await self._manifests(), reverse=True):
                manifest = await self._manifest(key)
                if manifest is None or manifest["format_version"] != FORMAT_VERSION:
                    continue
                if (manifest["shard"], manifest["stream"]) != (self._origin.shard, self._origin.stream):
                    continue
                for name in manifest["segments"]:
                    await self._fetch_folder(f"{self._prefix}segments/{name}/", self._snapshots.segments / name)
                target = self._snapshots.root / key.rsplit("/", 1)[1]
                await self._fetch_file(key.removesuffix(".json") + ".state", target.with_suffix(".state"))
                await self._fetch_file(key, target)
                seconds = round(time.perf_counter() - started, 3)
                log.info("snapshot_fetched", snapshot=target.stem, chunks=manifest["chunks"], seconds=seconds)
                return True
        # Whatever the store is in the way of: the documents have all that a snapshot has.
        except (EarmarkError, OSError, ValueError, KeyError, TypeError) as error:
            log.warning("snapshot_not_fetched", error=repr(error))
        return False

    async def keep(self, *, every_seconds: float) -> None:
        """Copies the newest snapshot to the store, again and again, for ever."""
        last: Path | None = None
        while True:
            await asyncio.sleep(every_seconds)
            newest = self._snapshots.newest()
            if newest is None or newest == last:
                continue
            try:
                await self.store(newest)
                last = newest
            except (EarmarkError, OSError, ValueError, KeyError) as error:  # or the file is damaged
                log.warning("snapshot_not_stored", error=repr(error))

    async def store(self, snapshot: Path) -> None:
        """Copies a snapshot to the store, as far as it is not there already, and removes what nobody needs any more.

        Raises:
            OSError: The store cannot be written, or the snapshot was pruned meanwhile: then there is a newer one.
        """
        started = time.perf_counter()
        segments: list[str] = json.loads(await asyncio.to_thread(snapshot.read_bytes))["segments"]
        there = set(await self._objects.list(f"{self._prefix}segments/"))
        for name in segments:
            folder = self._snapshots.segments / name
            if f"{self._prefix}segments/{name}/{MANIFEST}" in there:
                continue
            for path in sorted(folder.rglob("*"), key=lambda path: path.name == MANIFEST):
                if path.is_file():
                    await self._objects.put_file(f"{self._prefix}segments/{name}/{path.relative_to(folder)}", path)
        # By numbers of the store: a disk that was lost begins to count anew, and its snapshots are newer all the same.
        number = max((int(Path(key).stem) for key in await self._manifests()), default=0) + 1
        for path in (snapshot.with_suffix(".state"), snapshot):
            await self._objects.put_file(f"{self._prefix}snapshots/{number:08d}{path.suffix}", path)
        await self._prune(there)
        seconds = round(time.perf_counter() - started, 3)
        log.info("snapshot_stored", snapshot=snapshot.stem, segments=len(segments), seconds=seconds)

    async def _prune(self, keys: set[str]) -> None:
        manifests = sorted(await self._manifests())
        wanted: set[str] = set()
        for key in manifests[-KEPT:]:
            wanted.update((await self._manifest(key) or {}).get("segments", ()))
        for key in manifests[:-KEPT]:
            await self._objects.delete(key)
            await self._objects.delete(key.removesuffix(".json") + ".state")
        start = len(f"{self._prefix}segments/")
        for name in {key[start:].split("/", 1)[0] for key in keys} - wanted:
            await self._objects.delete_prefix(f"{self._prefix}segments/{name}/")

    async def _manifest(self, key: str) -> dict[str, Any] | None:
        try:
            return sealed_json.check(json.loads(await self._objects.get(key)))
        except ValueError as error:
            log.warning("stored_snapshot_unreadable", key=key, error=repr(error))
            return None

    async def _manifests(self) -> list[str]:
        keys = await self._objects.list(f"{self._prefix}snapshots/")
        return [key for key in keys if key.endswith(".json") and Path(key).stem.isdigit()]

    async def _fetch_folder(self, prefix: str, target: Path) -> None:
        if await asyncio.to_thread(target.exists):
            return
        writing = target.with_name(target.name + ".writing")
        await asyncio.to_thread(shutil.rmtree, writing, ignore_errors=True)
        for key in await self._objects.list(prefix):
            await self._fetch_file(key, writing / key.removeprefix(prefix))
        await asyncio.to_thread(writing.rename, target)

    async def _fetch_file(self, key: str, target: Path) -> None:
        """Copies an object. The file is there whole or not at all: `keep` looks for snapshots meanwhile."""
        await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
        writing = target.with_name(target.name + ".writing")
        with writing.open("wb") as file:
            async for block in self._objects.stream(key):
                await asyncio.to_thread(file.write, block)
        await asyncio.to_thread(writing.rename, target)
