"""The documents as whoever calls may see them: what lies outside their collections is not there.

All that the outside asks of documents goes through here. What the gateway does of itself (deleting, sweeping) uses the
store, since nobody calls.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from services.common.claims import Claims
from services.common.speech import SpeechOptions
from services.common.videos.model import Source, Video, VideoStatus
from services.common.videos.store import VideoStore
from services.gateway.access.caller import caller
from services.gateway.access.quota import Quota

_BETWEEN = "\n"
"""Between collection and name of a video imported by a key of some collections: no name has it."""


class VisibleVideos:
    """Video documents, for callers.

    Args:
        store: All documents.
        quota: Counts what callers put in.
        claims: Keeps two gateways from putting in the same at the same time.
    """

    def __init__(self, *, store: VideoStore, quota: Quota, claims: Claims) -> None:
        self._store = store
        self._quota = quota
        self._claims = claims

    async def get(self, video_id: str) -> Video:
        """Gives a video. Raises VideoNotFound, also where it is not the caller's to see."""
        return await self._store.get(video_id, collections=caller().collections)

    async def page(
        self, *, limit: int, before: tuple[dt.datetime, str] | None = None, status: VideoStatus | None = None
    ) -> list[Video]:
        """Gives up to `limit` videos, newest first."""
        return await self._store.page(limit=limit, before=before, status=status, collections=caller().collections)

    async def by_external_id(self, external_id: str, collection: str) -> Video | None:
        """Gives the video imported under this name, in a collection where names are each collection's own."""
        names = [external_id, self._stored_name(external_id, caller().place(collection), shared=False)]
        return await self._store.by_external_id(names, collections=caller().collections)

    async def create(
        self,
        video_id: str,
        *,
        title: str,
        url: str | None = None,
        source: Source | None = None,
        collection: str = "",
        tags: Collection[str] = (),
        speech: SpeechOptions | None = None,
    ) -> Video:
        """Creates a video.

        Raises:
            PermissionDenied: The collection is not one of the caller's.
            QuotaExceeded: The caller has put in too much today.
        """
        who, size = caller(), source.bytes if source else 0
        place = who.place(collection)
        await self._quota.take(who, size=size)
        try:
            return await self._store.create(
                video_id, title=title, url=url, source=source, collection=place, tags=tags, speech=speech
            )
        except Exception:
            await self._quota.give_back(who, size=size)
            raise

    async def create_unless_there(
        self,
        video_id: str,
        *,
        title: str,
        source: Source,
        collection: str = "",
        tags: Collection[str] = (),
        speech: SpeechOptions | None = None,
    ) -> Video:
        """Creates a video whose media is stored, or gives one of its collection that has the same bytes.

        Two that come at the same time become one. One that has failed, or that was heard otherwise than `speech` says,
        is not the same.

        Raises:
            PermissionDenied: The collection is not one of the caller's.
            QuotaExceeded: The caller has put in too much today.
        """
        place = caller().place(collection)
        async with self._claims.hold(f"bytes\n{place}\n{source.sha256}"):
            there = await self._store.same_bytes(source, collection=place, speech=speech)
            if there is not None:
                return there
            return await self.create(video_id, title=title, source=source, collection=place, tags=tags, speech=speech)

    async def create_imported(
        self,
        video_id: str,
        *,
        title: str,
        slices: Collection[tuple[str, float, float]],
        duration: float,
        asr_model: str,
        language: str | None = None,
        speaker_count: int | None = None,
        url: str | None = None,
        collection: str = "",
        tags: Collection[str] = (),
        external_id: str = "",
        source: Source | None = None,
    ) -> Video | None:
        """Creates a video of a transcript; None when there is one of this `external_id`.

        Raises:
            PermissionDenied: The collection is not one of the caller's.
            QuotaExceeded: The caller has put in too much today.
        """
        who, size = caller(), source.bytes if source else 0
        place = who.place(collection)
        await self._quota.take(who, size=size)
        created: Video | None = None
        try:
            created = await self._store.create_imported(
                video_id,
                title=title,
                slices=slices,
                duration=duration,
                asr_model=asr_model,
                language=language,
                speaker_count=speaker_count,
                url=url,
                collection=place,
                tags=tags,
                external_id=self._stored_name(external_id, place, shared=who.collections is None),
                source=source,
            )
        finally:
            if created is None:
                await self._quota.give_back(who, size=size)
        return created

    async def describe(self, video_id: str, fields: dict[str, Any]) -> Video:
        """Changes any of title, collection and tags.

        Raises:
            VideoNotFound: There is no such video for the caller.
            PermissionDenied: It would leave the caller's collections.
        """
        await self.get(video_id)
        if "collection" in fields:
            who = caller()
            # Empty is meant as it stands here: out of its collection, which for some callers is out of sight.
            fields = {
                **fields,
                "collection": fields["collection"] if who.collections is None else who.place(fields["collection"]),
            }
        return await self._store.describe(video_id, fields)

    async def retry(self, video_id: str) -> Video:
        """Does again what failed. Raises VideoNotFound, FailedPrecondition."""
        await self.get(video_id)
        return await self._store.retry(video_id)

    async def mark_deleting(self, video_id: str, *, undo_seconds: float) -> Video:
        """Marks a video for removal; for so long it can be brought back. Raises VideoNotFound."""
        await self.get(video_id)
        return await self._store.mark_deleting(video_id, undo_seconds=undo_seconds)

    async def restore(self, video_id: str) -> Video:
        """Brings a deleted video back. Raises VideoNotFound, FailedPrecondition when it is not, or too late."""
        await self.get(video_id)
        return await self._store.restore(video_id)

    async def want_pictures(self, video_id: str) -> bool:
        """Has pictures made of a video that has none yet; False where that is not to be done (again)."""
        await self.get(video_id)
        return await self._store.want_pictures(video_id)

    async def want_rendition(self, video_id: str) -> bool:
        """Has a rendition made again that is under way for too long to be."""
        await self.get(video_id)
        return await self._store.want_rendition(video_id)

    async def edit_transcript(
        self,
        video_id: str,
        edits: Mapping[str, str],
        *,
        transcript_revision: int,
        new_slices: Collection[tuple[str, float, float]] = (),
        duration: float | None = None,
    ) -> Video:
        """Says which edited transcripts count. Raises VideoNotFound, TranscriptChanged, TranscriptInTheMaking."""
        await self.get(video_id)
        return await self._store.edit_transcript(
            video_id, edits, transcript_revision=transcript_revision, new_slices=new_slices, duration=duration
        )

    @staticmethod
    def _stored_name(external_id: str, collection: str, *, shared: bool) -> str:
        """Gives what an importer's name is stored as.

        Names of callers who see only some collections are of one collection each: else importing a name would tell
        whether somebody else has used it.
        """
        return external_id if shared or not external_id else f"{collection}{_BETWEEN}{external_id}"
