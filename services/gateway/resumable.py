"""Uploads that come in several requests, to any gateway, and survive the end of any of them.

    begin ──▶ append … append ──▶ (all bytes are there) end ──▶ done: a video, or one that has the same bytes
                                                             └▶ refused: the bytes are not what was sent

How many bytes count stands in a document (`pending_uploads.py`), the bytes are in the object store (`storing/`). One
request at a time writes to an upload: it has a lease, which it renews. A newer request to the same gateway ends an
older one, whose connection nobody has noticed to be dead; another gateway waits until the lease is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import datetime as dt
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import structlog

from services.common.errors import (
    Aborted,
    ChecksumMismatch,
    EarmarkError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ObjectNotFound,
    Overloaded,
    VideoNotFound,
)
from services.common.ids import new_video_id
from services.common.objects import media_key, video_prefix
from services.common.pending_uploads import PendingUpload, PendingUploads, Stored, UploadKind, UploadState
from services.common.speech import SpeechOptions
from services.common.videos.model import Video
from services.gateway.access.caller import Caller, Scope, caller, enter
from services.gateway.digests import Expected
from services.gateway.idempotency import Idempotency, deleted, fingerprint
from services.gateway.storing.parts import PartStore, PartWriter
from services.gateway.streams import ReadAhead, bounded
from services.gateway.tidying import tidying
from services.gateway.uploads import STORED, Details, Taken, Uploads

log = structlog.get_logger()

LEASE_SECONDS = 6.0
"""For how long a gateway that was killed keeps others from going on. Their clocks may differ by less than half."""
CHECKPOINT_BYTES = 16 * 2**20
"""After so many bytes it is written down how far they are: about as many are sent again after a kill."""
CHECKPOINT_SECONDS = 5.0
"""And after so long, since over a poor line that many bytes take minutes."""
MOST_OPEN = 1000
"""Uploads of one key that are under way."""
_HASHES = 256


class Objects(Protocol):
    """The object store."""

    def stream(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Gives the bytes of an object."""
        ...

    async def delete(self, key: str) -> None:
        """Removes an object."""
        ...

    async def delete_prefix(self, prefix: str) -> int:
        """Removes all objects under a prefix."""
        ...


class Videos(Protocol):
    """All documents, whoever may see them."""

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound."""
        ...


@dataclass(slots=True)
class _Writing:
    """A request that writes to an upload."""

    ahead: ReadAhead
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Lease:
    """The right to write, while it lasts."""

    writer: str
    until: float
    """On the clock of `time.monotonic`."""


class Resumable:
    """Uploads in several requests.

    Args:
        pending: How far each is.
        parts: Where the bytes are until they are media.
        objects: Where media is.
        videos: The videos there are.
        uploads: Creates new ones.
        max_bytes: Size limit of one upload.
        idle_seconds: Time without a byte after which a request is ended.
        lifetime_seconds: Time without a request after which an upload is given up.
        idempotency: Does once what is sent twice under one key.
        lease_seconds: For how long a request may write without a word.
    """

    def __init__(
        self,
        *,
        pending: PendingUploads,
        parts: PartStore,
        objects: Objects,
        videos: Videos,
        uploads: Uploads,
        max_bytes: int,
        idle_seconds: float,
        lifetime_seconds: float,
        idempotency: Idempotency,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._pending = pending
        self._parts = parts
        self._objects = objects
        self._videos = videos
        self._uploads = uploads
        self.max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._lifetime = dt.timedelta(seconds=lifetime_seconds)
        self._idempotency = idempotency
        self._lease_seconds = lease_seconds
        self._writing: dict[str, _Writing] = {}
        # Checksums of what came so far, so that the bytes need not be read again when they are all there.
        self._hashes: OrderedDict[str, tuple[int, hashlib._Hash]] = OrderedDict()

    async def begin(
        self, details: Details, *, length: int | None, kind: UploadKind = UploadKind.TUS, key: str = ""
    ) -> PendingUpload:
        """Begins an upload.

        Args:
            details: What is said of the media.
            length: Bytes that are to come; None when that is said later.
            kind: How they come.
            key: Idempotency-Key; empty for none.

        Raises:
            InvalidArgument: Something that is said is wrong.
            MediaTooLarge: It is over the size limit.
            PermissionDenied: The collection is not one of the caller's.
            QuotaExceeded: The caller has uploaded too much.
            Overloaded: The caller has too many uploads under way.
            KeyReused: Something else was begun with this key.
            ResultDeleted: The video that came of it has been deleted.
        """
        details.check()
        who = caller()
        who.place(details.collection)
        if length == 0:
            raise InvalidArgument("the file is empty; choose one with media in it", reason="MEDIA_EMPTY", field="file")
        if length is not None and length > self.max_bytes:
            raise self._uploads.too_large()
        under_way = await self._pending.open_sizes(who.key_id)
        await self._uploads.look((length or 0) + sum(under_way))  # none of them counts before it is a video
        if len(under_way) >= MOST_OPEN:
            raise Overloaded(f"{MOST_OPEN} uploads are under way; end some first", retry_after_seconds=60)
        now = dt.datetime.now(dt.UTC)
        upload_id, video_id = f"upl_{secrets.token_hex(16)}", new_video_id()

        async def make() -> PendingUpload:
            upload = PendingUpload(
                upload_id=upload_id,
                video_id=video_id,
                kind=kind,
                owner=who.key_id,
                rights=_rights(who),
                details=_to_document(details),
                length=length,
                multipart=await self._parts.begin(upload_id, video_id),
                created_at=now,
                expires_at=now + self._lifetime,
            )
            await self._pending.add(upload)
            return upload

        return await self._idempotency.once(
            key,
            fingerprint("resumable", kind, length, asdict(details)),
            new=upload_id,
            make=make,
            find=self._begun,
            name_of=lambda upload: upload.upload_id,
            lasting=False,
        )

    async def _begun(self, upload_id: str) -> PendingUpload | None:
        upload = await self._pending.get(upload_id)
        if upload is not None and upload.result and await self._uploads.kept(upload.result) is None:
            raise deleted(upload.result)
        return upload

    async def get(self, upload_id: str, kind: UploadKind = UploadKind.TUS) -> PendingUpload:
        """Gives an upload of the caller's; one that has all its bytes is ended first, where a crash left it so.

        Raises:
            NotFound: There is none.
            FailedPrecondition: It is over, or was refused.
        """
        upload = await self._own(upload_id, kind)
        if kind is UploadKind.TUS and upload.complete and upload.state is UploadState.OPEN:
            await self.append(upload_id, upload.stored.offset, _nothing())
            upload = await self._own(upload_id, kind)
        return upload

    async def append(
        self,
        upload_id: str,
        offset: int,
        blocks: AsyncIterable[bytes],
        *,
        checksum: Expected | None = None,
        length: int | None = None,
    ) -> PendingUpload:
        """Puts bytes behind those an upload has; when they are all there, it is made a video.

        What comes counts also where the connection breaks, unless it has a checksum, which then nobody can compare.

        Args:
            upload_id: The upload.
            offset: Where the client goes on.
            blocks: The bytes.
            checksum: Of just these bytes.
            length: Bytes of the whole, where that is said only now.

        Raises:
            NotFound: There is no such upload.
            FailedPrecondition: It is elsewhere than at `offset`, is over, or is being written to.
            ChecksumMismatch: These bytes are not what was sent; none of them counts. Or the whole is not.
            MediaTooLarge: There are more than allowed.
        """
        with self._uploads.place():
            there = await self._own(upload_id, UploadKind.TUS)
            if there.state is UploadState.DONE and offset == there.length:
                await _none_left(blocks)
                return there  # the answer to the last request was lost
            if there.length is None:
                await self._uploads.look(sum(await self._pending.open_sizes(there.owner)))
            limited = bounded(
                blocks,
                idle_seconds=self._idle_seconds,
                max_bytes=max(0, self.max_bytes - offset),  # of the whole, also where its length is not said yet
                too_large=self._uploads.too_large,
            )
            await self._interrupt(upload_id)
            writing = self._writing[upload_id] = _Writing(ReadAhead(limited))
            try:
                async with self._leased(upload_id, offset) as (taken, lease):
                    upload = taken
                    if not upload.complete:
                        upload = await self._write(upload, lease, writing.ahead, checksum, length)
                    if upload.complete:
                        await self._end(upload)
                return await self._own(upload_id, UploadKind.TUS)
            finally:
                await writing.ahead.close()
                writing.done.set()
                if self._writing.get(upload_id) is writing:
                    del self._writing[upload_id]

    async def drop(self, upload_id: str, kind: UploadKind = UploadKind.TUS) -> None:
        """Gives an upload up. Raises NotFound."""
        upload = await self._own(upload_id, kind)
        await self._interrupt(upload_id)
        await self._forget(upload)

    async def end(self, upload: PendingUpload, stored: Stored) -> PendingUpload:
        """Makes a video of an upload whose bytes came past this gateway, and gives the upload as it is then."""
        async with self._leased(upload.upload_id, upload.stored.offset) as (taken, lease):
            await self._end(taken if taken.complete else await self._commit(taken, lease, stored))
        return await self._own(upload.upload_id, upload.kind)

    async def sweep(self) -> None:
        """Ends uploads that a crash kept from it, and removes what is over."""
        for upload in await self._pending.unended(_now() - dt.timedelta(seconds=10 * self._lease_seconds)):
            context = contextvars.copy_context()
            context.run(enter, _caller(upload))
            try:
                await asyncio.create_task(self.end(upload, upload.stored), context=context)
                log.info("upload_ended", upload_id=upload.upload_id, video_id=upload.video_id)
            except EarmarkError as error:
                log.warning("upload_not_ended", upload_id=upload.upload_id, reason=error.reason)
        for upload in await self._pending.expired(_now()):
            with tidying(upload.upload_id):
                await self._forget(upload)
                log.info("upload_forgotten", upload_id=upload.upload_id, kind=upload.kind, state=upload.state)

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    async def _write(
        self,
        upload: PendingUpload,
        lease: _Lease,
        ahead: ReadAhead,
        checksum: Expected | None,
        length: int | None,
    ) -> PendingUpload:
        upload = replace(upload, length=self._length(upload, length))
        start = upload.stored.offset
        whole = self._hash_at(upload)
        part = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        problem: Exception | None = None
        came = unmarked = 0
        marked_at = time.monotonic()
        writer = await self._parts.writer(upload)
        try:
            while True:
                try:
                    block = await ahead.next()
                except Exception as error:  # noqa: BLE001  (raised again below, once what came before it is kept)
                    problem = error
                    break
                if block is None:
                    break
                came += len(block)
                unmarked += len(block)
                if upload.length is not None and start + came > upload.length:
                    problem = InvalidArgument(
                        f"more bytes came than Upload-Length says: {upload.length}", field="Upload-Length"
                    )
                    came -= len(block)
                    break
                await self._hold(upload.upload_id, lease)
                await self._put(writer, block, whole, part)
                late = time.monotonic() - marked_at >= CHECKPOINT_SECONDS
                if checksum is None and (late or unmarked >= CHECKPOINT_BYTES):
                    if (stored := await writer.checkpoint()) != upload.stored:
                        upload = await self._commit(upload, lease, stored)
                    unmarked, marked_at = 0, time.monotonic()
            if checksum is not None and part is not None:
                if problem is not None:
                    raise problem
                checksum.check(part.digest(), "this part", "PART_CHECKSUM_MISMATCH")
            await self._hold(upload.upload_id, lease)
            end = start + came
            stored = await writer.checkpoint(last=True, whole=end == upload.length)
            upload = await self._commit(upload, lease, stored)
        except BaseException:
            self._hashes.pop(upload.upload_id, None)
            raise
        finally:
            await writer.close()
        STORED.inc(came)
        self._keep_hash(upload.upload_id, upload.stored.offset, whole)
        if problem is not None:
            raise problem
        return upload

    async def _put(
        self, writer: PartWriter, block: bytes, whole: hashlib._Hash | None, part: hashlib._Hash | None
    ) -> None:
        """Writes a block while it is hashed."""
        hashing = [asyncio.ensure_future(self._uploads.hashed(each, block)) for each in (whole, part) if each]
        try:
            await writer.write(block)
        finally:
            for each in hashing:
                await each

    async def _commit(self, upload: PendingUpload, lease: _Lease, stored: Stored) -> PendingUpload:
        expires_at = dt.datetime.now(dt.UTC) + self._lifetime
        if not await self._pending.commit(
            upload.upload_id,
            lease.writer,
            stored,
            expires_at=expires_at,
            length=upload.length,
            before=upload.stored,
        ):
            raise _lost()
        if upload.stored.tail and upload.stored.tail != stored.tail:
            with tidying(upload.stored.tail):
                await self._objects.delete(upload.stored.tail)
        return replace(upload, stored=stored, expires_at=expires_at)

    def _length(self, upload: PendingUpload, said: int | None) -> int | None:
        if said is None or said == upload.length:
            return upload.length
        if upload.length is not None:
            raise InvalidArgument("Upload-Length cannot change once it is said", field="Upload-Length")
        if said > self.max_bytes:
            raise self._uploads.too_large()
        if said < max(1, upload.stored.offset):
            raise InvalidArgument("Upload-Length is less than the bytes that are there", field="Upload-Length")
        return said

    @contextlib.asynccontextmanager
    async def _leased(self, upload_id: str, offset: int) -> AsyncIterator[tuple[PendingUpload, _Lease]]:
        """Holds the right to write to an upload that is at `offset`."""
        writer = secrets.token_hex(8)
        lease = _Lease(writer, time.monotonic() + self._lease_seconds)
        upload = await self._pending.take(upload_id, writer, offset=offset, now=_now(), until=self._until())
        if upload is None:
            raise await self._why_not(upload_id, offset)
        renewing = asyncio.create_task(self._renew(upload_id, lease), name="upload-lease")
        try:
            yield upload, lease
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            with tidying(f"lease of {upload_id}"):
                await asyncio.shield(self._pending.release(upload_id, writer, _now()))

    async def _hold(self, upload_id: str, lease: _Lease) -> None:
        """Refuses to write when somebody else may. Raises Aborted.

        A lease that ran out on a machine too busy to renew it is taken up again where nobody else has taken it: what
        came would be lost otherwise.
        """
        if (now := time.monotonic()) < lease.until:
            return
        if not await self._pending.renew(upload_id, lease.writer, until=self._until()):
            raise _lost()
        lease.until = now + self._lease_seconds

    async def _renew(self, upload_id: str, lease: _Lease) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            asked = time.monotonic()
            with tidying(f"lease of {upload_id}"):
                if not await self._pending.renew(upload_id, lease.writer, until=self._until()):
                    lease.until = 0
                    return
                lease.until = asked + self._lease_seconds

    async def _why_not(self, upload_id: str, offset: int) -> EarmarkError:
        upload = await self._own(upload_id, None)
        if upload.stored.offset != offset:
            return FailedPrecondition(
                f"the upload is at {upload.stored.offset}, not at {offset}; go on there",
                reason="OFFSET_CONFLICT",
                field="Upload-Offset",
                metadata={"offset": str(upload.stored.offset)},
            )
        if upload.state is not UploadState.OPEN:
            return FailedPrecondition("all bytes of this upload are there", reason="OFFSET_CONFLICT")
        return FailedPrecondition(
            "another request writes to this upload; try again shortly",
            reason="UPLOAD_LOCKED",
            retry_after_seconds=self._lease_seconds / 2,
        )

    async def _interrupt(self, upload_id: str) -> None:
        """Ends the request that writes to an upload here: a client that sends another has given it up."""
        if (other := self._writing.get(upload_id)) is not None:
            other.ahead.interrupt(_lost())
            await other.done.wait()

    # ── checksums of the whole ───────────────────────────────────────────────────────────────────

    def _hash_at(self, upload: PendingUpload) -> hashlib._Hash | None:
        """Gives the checksum of what is there, to go on with; None where another process has seen it."""
        if upload.stored.offset == 0:
            return hashlib.sha256()
        offset, digest = self._hashes.get(upload.upload_id, (-1, None))
        return digest.copy() if digest is not None and offset == upload.stored.offset else None

    def _keep_hash(self, upload_id: str, offset: int, digest: hashlib._Hash | None) -> None:
        if digest is not None:
            self._hashes[upload_id] = (offset, digest)
            self._hashes.move_to_end(upload_id)
            if len(self._hashes) > _HASHES:
                self._hashes.popitem(last=False)

    async def _sha256(self, upload: PendingUpload) -> str:
        if (known := self._hash_at(upload)) is not None and upload.stored.offset:
            return known.hexdigest()
        digest = hashlib.sha256()
        async for block in self._objects.stream(media_key(upload.video_id)):
            await self._uploads.hashed(digest, block)
        return digest.hexdigest()

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    async def _end(self, upload: PendingUpload) -> None:
        """Makes a video of an upload that has all its bytes. A crash in the middle is no harm: it is done again."""
        try:
            taken = await self._taken(upload)
        except (InvalidArgument, ObjectNotFound) as error:
            # Nothing that comes later can mend it.
            await self._pending.end(upload.upload_id, UploadState.REFUSED, problem=(error.reason, error.message))
            await self._remove_media(upload.video_id)
            raise
        finally:
            self._hashes.pop(upload.upload_id, None)
        await self._pending.end(upload.upload_id, UploadState.DONE, result=taken.video.video_id)
        if taken.video.video_id != upload.video_id:
            await self._remove_media(upload.video_id)

    async def _taken(self, upload: PendingUpload) -> Taken:
        if (there := await self._uploads.found(upload.video_id)) is not None:  # a crash kept it from being told
            return there
        size = await self._parts.assemble(upload)
        if size != upload.length:
            raise ChecksumMismatch(f"{size} bytes are there, and not {upload.length}; upload again")
        return await self._uploads.admit(upload.video_id, size, await self._sha256(upload), _details(upload.details))

    async def _forget(self, upload: PendingUpload) -> None:
        if upload.state is not UploadState.DONE:
            if upload.kind is not UploadKind.FORM:
                await self._parts.abort(upload)
            if not await self._exists(upload.video_id):
                await self._objects.delete_prefix(video_prefix(upload.video_id))
        self._hashes.pop(upload.upload_id, None)
        await self._pending.remove(upload.upload_id)

    async def _exists(self, video_id: str) -> bool:
        try:
            await self._videos.get(video_id)
        except VideoNotFound:
            return False
        return True

    async def _remove_media(self, video_id: str) -> None:
        with tidying(video_id):
            await self._objects.delete_prefix(video_prefix(video_id))

    async def _own(self, upload_id: str, kind: UploadKind | None) -> PendingUpload:
        """Gives an upload of the caller's that is not over."""
        upload = await self._pending.get(upload_id)
        if upload is None or upload.owner != caller().key_id or (kind is not None and upload.kind is not kind):
            raise NotFound(
                f"there is no upload {upload_id[:64]!r}; begin one", reason="UPLOAD_NOT_FOUND", field="upload_id"
            )
        if upload.state is UploadState.REFUSED:
            reason, message = upload.problem
            raise FailedPrecondition(
                f"the upload was refused: {message}", reason="UPLOAD_OVER", metadata={"why": reason}
            )
        if upload.expires_at <= _now() and upload.state is UploadState.OPEN:
            raise FailedPrecondition("too long nothing came for this upload; begin it anew", reason="UPLOAD_OVER")
        return upload

    def _until(self) -> dt.datetime:
        return _now() + dt.timedelta(seconds=self._lease_seconds)


def _lost() -> Aborted:
    return Aborted("another request goes on with this upload", reason="LEASE_LOST")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


async def _none_left(blocks: AsyncIterable[bytes]) -> None:
    """Refuses bytes behind the end of what is whole."""
    async for block in blocks:
        if block:
            raise InvalidArgument("the upload is whole; these bytes are behind its end", field="Upload-Length")


async def _nothing() -> AsyncIterator[bytes]:
    for block in tuple[bytes, ...]():
        yield block


def _rights(who: Caller) -> dict[str, Any]:
    return {
        "collections": None if who.collections is None else sorted(who.collections),
        "default_collection": who.default_collection,
        "bytes_per_day": who.bytes_per_day,
        "videos_per_day": who.videos_per_day,
    }


def _caller(upload: PendingUpload) -> Caller:
    """Gives the one who began an upload, for what the sweeper does in their place."""
    rights = dict(upload.rights)
    collections = rights.pop("collections", None)
    return Caller(
        key_id=upload.owner,
        scopes=frozenset({Scope.UPLOAD}),
        collections=None if collections is None else frozenset(collections),
        **rights,
    )


def _to_document(details: Details) -> dict[str, Any]:
    return {
        "title": details.title,
        "filename": details.filename,
        "content_type": details.content_type,
        "collection": details.collection,
        "tags": list(details.tags),
        "speech": details.speech.to_document() if details.speech else None,
        "sha256": details.sha256,
        "duplicate": details.duplicate,
    }


def _details(doc: Mapping[str, Any]) -> Details:
    return Details(**{**doc, "speech": SpeechOptions.from_document(doc["speech"]) if doc["speech"] else None})
