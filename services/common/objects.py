"""The object store: media, slice audio and transcripts, in a folder or an S3-compatible bucket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore, S3Store

from services.common.errors import InvalidArgument, ObjectNotFound

PART_BYTES = 5 * 1024 * 1024
"""Size of the parts a stream is written in: S3's smallest, so that few bytes wait in memory."""


def video_prefix(video_id: str) -> str:
    """Gives the prefix of everything kept for a video."""
    return f"videos/{video_id}/"


def media_key(video_id: str) -> str:
    """Gives the key of a video's media, as uploaded."""
    return f"videos/{video_id}/media"


def slice_audio_key(video_id: str, slice_id: str) -> str:
    """Gives the key of a slice's audio: FLAC, 16 kHz, mono."""
    return f"videos/{video_id}/slices/{slice_id}.flac"


def transcript_key(video_id: str, slice_id: str, edit: str = "") -> str:
    """Gives the key of a slice's transcript: the recognizer's, or what somebody made of it (`Slice.edit`)."""
    return f"videos/{video_id}/slices/{slice_id}{f'.edited.{edit}' if edit else ''}.json"


def pictures_prefix(video_id: str, name: str = "") -> str:
    """Gives the prefix of the pictures of a video: of all, or of those made at once under one name."""
    return f"videos/{video_id}/pictures/{f'{name}/' if name else ''}"


def rendition_prefix(video_id: str) -> str:
    """Gives the prefix of what was made of a video's media for browsers."""
    return f"videos/{video_id}/renditions/"


def rendition_key(video_id: str, name: str) -> str:
    """Gives the key of a rendition of a video's media."""
    return f"{rendition_prefix(video_id)}{name}"


class ObjectStore:
    """Bytes under keys. A put is seen whole or not at all."""

    def __init__(self, store: LocalStore | S3Store, root: Path | None) -> None:
        self._store = store
        self._root = root

    @classmethod
    def open(cls, url: str) -> ObjectStore:
        """Opens the store at `url`: `file:///folder` (made if missing) or `s3://bucket/prefix`.

        Raises:
            InvalidArgument: The URL is of no known kind.
        """
        parts = urlsplit(url)
        if parts.scheme == "file":
            root = Path(unquote(parts.path))
            root.mkdir(parents=True, exist_ok=True)
            return cls(LocalStore(root, automatic_cleanup=True), root)
        if parts.scheme == "s3":
            return cls(S3Store(parts.netloc, prefix=parts.path.strip("/") or None), None)
        raise InvalidArgument(f"object store URL {url!r} is neither file:///folder nor s3://bucket/prefix")

    @property
    def root(self) -> Path | None:
        """The folder, where the store is one."""
        return self._root

    async def put(self, key: str, data: bytes | AsyncIterable[bytes]) -> int:
        """Writes an object and gives its size in bytes. If `data` raises, nothing is left behind."""
        size = 0
        if isinstance(data, bytes):
            await obstore.put_async(self._store, key, data)
            return len(data)
        async with obstore.open_writer_async(self._store, key, buffer_size=PART_BYTES) as writer:
            async for block in data:
                size += len(block)
                await writer.write(block)
        return size

    async def put_file(self, key: str, path: Path) -> int:
        """Writes the file at `path` as an object and gives its size in bytes."""
        await obstore.put_async(self._store, key, path)
        return await asyncio.to_thread(lambda: path.stat().st_size)

    async def get(self, key: str) -> bytes:
        """Gives a whole object. Raises ObjectNotFound."""
        with _not_found(key):
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def size(self, key: str) -> int:
        """Gives the size of an object in bytes. Raises ObjectNotFound."""
        with _not_found(key):
            return int((await obstore.head_async(self._store, key))["size"])

    async def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Gives the bytes `start` to `end` (exclusive; None means the end) in blocks. Raises ObjectNotFound."""
        with _not_found(key):
            if start == 0 and end is None:
                result = await obstore.get_async(self._store, key)
            elif end is None:
                result = await obstore.get_async(self._store, key, options={"range": {"offset": start}})
            else:
                result = await obstore.get_async(self._store, key, options={"range": (start, end)})
        async for block in result.stream(min_chunk_size=256 * 1024):
            yield bytes(block)

    async def list(self, prefix: str) -> list[str]:
        """Gives the keys that start with `prefix`, sorted."""
        keys: list[str] = []
        async for page in obstore.list(self._store, prefix=prefix):
            keys += [meta["path"] for meta in page]
        return sorted(keys)

    async def delete(self, key: str) -> None:
        """Removes an object; removing one that is not there is fine."""
        with contextlib.suppress(FileNotFoundError):
            await obstore.delete_async(self._store, key)

    async def delete_prefix(self, prefix: str) -> int:
        """Removes all objects under `prefix`, a folder of them with its `/`, and gives how many there were."""
        keys = await self.list(prefix)
        for key in keys:
            await self.delete(key)
        if self._root is not None and prefix.endswith("/"):
            # Also what a process that was killed had begun to write, which is no object and is listed nowhere.
            await asyncio.to_thread(shutil.rmtree, self._root / prefix, ignore_errors=True)
        return len(keys)

    @contextlib.asynccontextmanager
    async def local_copy(self, key: str) -> AsyncIterator[Path]:
        """Gives an object as a file: the file itself in a folder store, else a download. Raises ObjectNotFound."""
        if self._root is not None:
            path = self._root / key
            if not await asyncio.to_thread(path.is_file):
                raise _missing(key)
            yield path
            return
        descriptor, name = tempfile.mkstemp(prefix="earmark-media-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                async for block in self.stream(key):
                    file.write(block)
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)  # noqa: ASYNC240  # removing a name is quick, and must survive a cancel


@contextlib.contextmanager
def _not_found(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(key) from error


def _missing(key: str) -> ObjectNotFound:
    return ObjectNotFound(f"there is no object {key!r}", metadata={"key": key})
