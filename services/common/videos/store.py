"""The store of video documents: each change is one atomic update that carries the events it owes.

The events are published right after the update and then cleared from the document's `outbox`; the sweeper
(`sweeper.py`) publishes what a crash left owed. Updates are conditional on the state they move on from, so that
doing one twice changes nothing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping

import structlog
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from google.protobuf.message import Message
from nats.errors import Error as NatsError
from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError

from earmark.events.v1 import events_pb2 as pb
from services.common.errors import FailedPrecondition, TranscriptChanged, TranscriptInTheMaking, VideoNotFound
from services.common.events.bus import EventBus, OwedEvent
from services.common.ids import slot_of
from services.common.speech import SpeechOptions
from services.common.videos.model import (
    NEXT_EVENT,
    ChunkRecord,
    PictureSet,
    Playable,
    Playback,
    SliceState,
    Source,
    Video,
    VideoStatus,
    VideoWarning,
)
from services.common.videos.stored import Document, StoredVideo, chunk_records, chunks_that_count

log = structlog.get_logger()

DOCUMENT_BYTES = 12 * 2**20
"""Size of `transcripts` beyond which a slice's chunks go to a continuation document; MongoDB's limit is 16 MiB."""

PUBLISHED_AT_ONCE = 128
"""Events of one document on their way to the stream together."""

_WITHOUT_CHUNKS = {"transcripts": 0}
_OPEN = [VideoStatus.UPLOADED, VideoStatus.PROCESSING, VideoStatus.FAILED, VideoStatus.READY]
_UNDONE = [SliceState.CUT, SliceState.TRANSCRIBED, SliceState.EMBEDDED]

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
"""Documents are handed on as they come."""


def _now() -> dt.datetime:
    # MongoDB keeps milliseconds: what is written must equal what is read.
    now = dt.datetime.now(dt.UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _onward(video_id: str, slices: Iterable[tuple[str, SliceState]], *, bulk: bool = False) -> list[OwedEvent]:
    """Gives the events that move slices on; `bulk` where the video has no media, but was imported."""
    return [
        OwedEvent.of(NEXT_EVENT[state], _slice_message(state, video_id, slice_id), video_id, bulk=bulk, place=place)
        for place, (slice_id, state) in enumerate(slices)
    ]


def _slice_message(state: SliceState, video_id: str, slice_id: str) -> Message:
    match state:
        case SliceState.CUT:
            return pb.SliceCut(video_id=video_id, slice_id=slice_id)
        case SliceState.TRANSCRIBED:
            return pb.SliceTranscribed(video_id=video_id, slice_id=slice_id)
        case SliceState.EMBEDDED:
            return pb.SliceEmbedded(video_id=video_id, slice_id=slice_id)
        case _:
            raise ValueError(f"no event moves a slice on from {state}")


class VideoStore:
    """Video documents in MongoDB and the events their changes owe.

    Args:
        database: The database; its collections are `videos` and `continuations`.
        bus: Where owed events go. While it is away changes are kept all the same, and their events stay owed.
        document_bytes: Size of `transcripts` beyond which chunks go to continuation documents.
    """

    def __init__(
        self, database: AsyncDatabase[Document], bus: EventBus, *, document_bytes: int = DOCUMENT_BYTES
    ) -> None:
        self._videos = database["videos"]
        self._continuations = database["continuations"]
        self._bus = bus
        self._document_bytes = document_bytes

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    async def get(self, video_id: str, *, collections: Collection[str] | None = None) -> Video:
        """Gives a video without its chunks. Raises VideoNotFound, also where it is in none of `collections`."""
        doc = await self._videos.find_one({"_id": video_id, **_within(collections)}, _WITHOUT_CHUNKS)
        if doc is None:
            raise VideoNotFound(video_id)
        return Video.from_document(doc)

    async def by_external_id(
        self, names: Collection[str], *, collections: Collection[str] | None = None
    ) -> Video | None:
        """Gives a video imported under one of these names, unless it is being deleted or in none of `collections`."""
        doc = await self._videos.find_one(
            {"external_id": {"$in": list(names)}, **_within(collections)}, _WITHOUT_CHUNKS
        )
        return Video.from_document(doc) if doc else None

    async def same_bytes(self, source: Source, *, collection: str, speech: SpeechOptions | None = None) -> Video | None:
        """Gives the oldest video of a collection that has the same media and was heard as `speech` says, if it does.

        None where there is none, or it has failed or is being deleted.
        """
        query: Document = {
            "source.sha256": source.sha256,
            "source.bytes": source.bytes,
            "collection": collection,
            "status": {"$in": [VideoStatus.UPLOADED, VideoStatus.PROCESSING, VideoStatus.READY]},
        }
        if speech and (told := speech.to_document()):
            query["speech"] = told
        cursor = self._videos.find(query, _WITHOUT_CHUNKS).sort("metadata.uploaded_at", ASCENDING).limit(1)
        return next((Video.from_document(doc) for doc in await cursor.to_list()), None)

    async def page(
        self,
        *,
        limit: int,
        before: tuple[dt.datetime, str] | None = None,
        status: VideoStatus | None = None,
        collections: Collection[str] | None = None,
    ) -> list[Video]:
        """Gives up to `limit` videos, newest first, from behind the one uploaded at `before` (time, id).

        Only of `collections`; None means of all, and of none. Deleted ones only where `status` says so.
        """
        query: Document = {"status": status or {"$ne": VideoStatus.DELETING}, **_within(collections)}
        if before is not None:
            at, video_id = before
            query["$or"] = [
                {"metadata.uploaded_at": {"$lt": at}},
                {"metadata.uploaded_at": at, "_id": {"$lt": video_id}},
            ]
        cursor = (
            self._videos.find(query, _WITHOUT_CHUNKS).sort([("metadata.uploaded_at", -1), ("_id", -1)]).limit(limit)
        )
        return [Video.from_document(doc) async for doc in cursor]

    async def recent(self, since: dt.datetime, *, limit: int = 500) -> list[Video]:
        """Gives videos on their way or done with that something has happened to since then, without their chunks."""
        of_interest = [VideoStatus.PROCESSING, VideoStatus.READY, VideoStatus.FAILED]
        query = {"status": {"$in": of_interest}, "updated_at": {"$gt": since}}
        cursor = self._videos.find(query, _WITHOUT_CHUNKS).sort("updated_at", DESCENDING).limit(limit)
        return [Video.from_document(doc) async for doc in cursor]

    async def chunks(self, video_id: str, slice_id: str | None = None) -> list[ChunkRecord]:
        """Gives the chunks of a video, or of one of its slices, in order of time; none when the video is gone."""
        doc = await self._videos.find_one({"_id": video_id}, {"transcripts": 1, "continued": 1, "slices": 1})
        if doc is None:
            return []
        wanted = (f for f in await self._all_chunks(doc) if slice_id is None or f["slice_id"] == slice_id)
        return chunk_records(wanted)

    async def embedding_models(self, slots: Collection[int]) -> dict[str, int]:
        """Gives the models that videos of `slots` were embedded with, and how many videos each."""
        query = {"slot": {"$in": sorted(slots)}, "status": {"$ne": VideoStatus.DELETING}}
        stages: list[Document] = [
            {"$match": {**query, "metadata.embedding_model": {"$ne": None}}},
            {"$group": {"_id": "$metadata.embedding_model", "videos": {"$sum": 1}}},
        ]
        return {doc["_id"]: doc["videos"] async for doc in await self._videos.aggregate(stages)}

    async def scan(self, slots: Collection[int]) -> AsyncIterator[StoredVideo]:
        """Gives every video of `slots` that is not being deleted, with all its chunks, for a rebuild of an index."""
        query = {"slot": {"$in": sorted(slots)}, "status": {"$ne": VideoStatus.DELETING}}
        continuations = self._continuations.with_options(codec_options=_RAW)
        async for doc in self._videos.with_options(codec_options=_RAW).find(query, batch_size=16):
            of_it = {"video_id": doc["_id"]}
            more = [bytes(part.raw) async for part in continuations.find(of_it)] if doc.get("continued") else []
            yield StoredVideo(doc["_id"], bytes(doc.raw), tuple(more))

    async def former_chunks(self, video_id: str, slice_id: str) -> list[ChunkRecord]:
        """Gives what is stored of a slice from before it was edited, for the vectors that are right still."""
        mine = {"$filter": {"input": "$transcripts", "cond": {"$eq": ["$$this.slice_id", slice_id]}}}
        doc = await self._videos.find_one({"_id": video_id}, {"transcripts": mine})
        fields: list[Document] = doc["transcripts"] if doc else []
        async for more in self._continuations.find({"video_id": video_id, "slice_id": slice_id}):
            fields += more["transcripts"]
        return [ChunkRecord.from_document(f) for f in fields]

    async def _all_chunks(self, doc: Document) -> list[Document]:
        if not doc.get("continued"):
            return chunks_that_count(doc, ())
        return chunks_that_count(doc, [more async for more in self._continuations.find({"video_id": doc["_id"]})])

    # ── the way of a video ───────────────────────────────────────────────────────────────────────

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
        """Creates a video whose media is stored (`source`) or to be fetched (`url`).

        Owes video.uploaded, and video.stored where it is.
        """
        now = _now()
        owed = [OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id)]
        if source:
            owed.append(_stored(video_id))
        doc = _new_document(video_id, now, title=title, url=url, collection=collection, tags=tags, owed=owed)
        doc["source"] = _source_document(source) if source else None
        if speech and (told := speech.to_document()):
            doc["speech"] = told
        await self._videos.insert_one(doc)
        await self._publish(video_id, owed)
        return Video.from_document(doc)

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
        """Creates a video whose slices' transcripts are stored; owes slice.transcribed for each.

        None when there is one with this `external_id` already.

        Args:
            video_id: The video.
            title: Its title.
            slices: Id, start and end (seconds) of each slice, in order.
            duration: Length in seconds.
            asr_model: What stands where the recognizer's name does.
            language: ISO 639-1.
            speaker_count: How many people speak, if that is known.
            url: Where it can be seen; never fetched.
            collection: The collection it belongs to.
            tags: Its tags.
            external_id: The importer's own name for it; empty for none.
            source: Its media, which is stored; None where there is none but the transcript.
        """
        now = _now()
        given = ((slice_id, SliceState.TRANSCRIBED) for slice_id, _, _ in slices)
        owed = _onward(video_id, given, bulk=source is None) + ([_stored(video_id)] if source else [])
        doc = _new_document(video_id, now, title=title, url=url, collection=collection, tags=tags, owed=owed)
        doc |= {
            "status": VideoStatus.PROCESSING,
            "slices": [
                {
                    "slice_id": slice_id,
                    "start_time": start,
                    "end_time": end,
                    "state": SliceState.TRANSCRIBED,
                    "attempts": 0,
                }
                for slice_id, start, end in slices
            ],
            "slicing_done": True,
            "duration": duration,
            "source": _source_document(source) if source else None,
            "began_at": now,
        }
        doc["metadata"] |= {"language": language, "speaker_count": speaker_count, "asr_model": asr_model}
        if external_id:
            doc["external_id"] = external_id
        try:
            await self._videos.insert_one(doc)
        except DuplicateKeyError as error:
            if "external_id" not in (error.details or {}).get("keyPattern", {"external_id": 1}):
                raise
            return None
        await self._publish(video_id, owed)
        return Video.from_document(doc)

    async def begin_processing(self, video_id: str) -> Video | None:
        """Moves an uploaded video to processing and gives it; None when it is gone, failed or cut already."""
        began = {"status": VideoStatus.PROCESSING, "began_at": _now()}
        await self._change(video_id, {"status": VideoStatus.UPLOADED}, {"$set": began})
        doc = await self._videos.find_one(
            {"_id": video_id, "status": VideoStatus.PROCESSING, "slicing_done": False}, _WITHOUT_CHUNKS
        )
        return Video.from_document(doc) if doc else None

    async def set_source(self, video_id: str, source: Source) -> bool:
        """Says what was fetched for a video created by URL; owes video.stored. False when the video is gone."""
        change = {"$set": {"source": _source_document(source)}}
        return await self._change(video_id, {}, change, [_stored(video_id)])

    async def add_slice(self, video_id: str, slice_id: str, *, start_time: float, end_time: float) -> bool:
        """Adds a slice whose audio is stored; owes slice.cut. False when it was added before, or the video is gone."""
        entry = {
            "slice_id": slice_id,
            "start_time": start_time,
            "end_time": end_time,
            "state": SliceState.CUT,
            "attempts": 0,
        }
        owed = OwedEvent.of("slice.cut", pb.SliceCut(video_id=video_id, slice_id=slice_id), video_id)
        # A slicer that was taken for dead must not cut on in what somebody has given a transcript since.
        condition = {"slices.slice_id": {"$ne": slice_id}, "slicing_done": False}
        return await self._change(video_id, condition, {"$push": {"slices": entry}}, [owed])

    async def finish_slicing(self, video_id: str, *, duration: float, warnings: Collection[VideoWarning] = ()) -> None:
        """Says that the whole media is cut. `duration` is the media's length in seconds."""
        entries = [{"reason": w.reason, "message": w.message} for w in warnings]
        change = {"$set": {"slicing_done": True, "duration": duration, "warnings": entries}}
        # The index filters by duration, and may have all of a short video by now.
        owed = OwedEvent.of("video.described", pb.VideoDescribed(video_id=video_id), video_id)
        await self._change(video_id, {"slicing_done": False}, change, [owed])
        await self.settle(video_id)

    async def count_attempt(self, video_id: str, slice_id: str) -> int | None:
        """Counts a transcription begun and gives how many there were; None when the slice is not waiting for one."""
        waiting = {"slices": _in_state(slice_id, SliceState.CUT)}
        if not await self._change(video_id, waiting, {"$inc": {"slices.$.attempts": 1}}):
            return None
        part = (await self.get(video_id)).slice(slice_id)
        return part.attempts if part else None

    async def slice_transcribed(
        self,
        video_id: str,
        slice_id: str,
        *,
        language: str,
        asr_model: str,
        spoken: Mapping[str, float] | None = None,
    ) -> bool:
        """Moves a slice on from cut; owes slice.transcribed.

        False when the slice was moved on before, or the video is gone.

        Args:
            video_id: The video.
            slice_id: The slice.
            language: Language of most of its text (ISO 639-1); empty where nothing was said.
            asr_model: The recognizer's name.
            spoken: Seconds of speech in each language, where that is known. The video's language is that in which
                most was said so far; without it, the first.
        """
        owed = OwedEvent.of("slice.transcribed", pb.SliceTranscribed(video_id=video_id, slice_id=slice_id), video_id)
        change: Document = {"$set": {"slices.$.state": SliceState.TRANSCRIBED, "metadata.asr_model": asr_model}}
        if spoken:
            change["$inc"] = {f"metadata.spoken.{code}": seconds for code, seconds in spoken.items()}
        moved = await self._change(video_id, {"slices": _in_state(slice_id, SliceState.CUT)}, change, [owed])
        if moved and language:
            await self._change(video_id, {"metadata.language": None}, {"$set": {"metadata.language": language}})
        return moved

    async def slice_embedded(
        self, video_id: str, slice_id: str, *, chunks: Collection[ChunkRecord], embedding_model: str, edit: str = ""
    ) -> bool:
        """Puts a slice's chunks in place of those it had, and moves it on from transcribed; owes slice.embedded.

        False when the slice was moved on or edited before, or the video is gone.

        Args:
            video_id: The video.
            slice_id: The slice.
            chunks: All its chunks.
            embedding_model: The model their vectors are of.
            edit: The edit they were made of (`Slice.edit`).
        """
        entries = [chunk.to_document() for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_id)]
        size = sum(_chunk_bytes(entry) for entry in entries)
        owed = OwedEvent.of("slice.embedded", pb.SliceEmbedded(video_id=video_id, slice_id=slice_id), video_id)
        state = {"slices": _in_state(slice_id, SliceState.TRANSCRIBED, edit)}
        if edit:
            # In two steps: as long as it is transcribed nothing looks at the slice's chunks, and it is done again.
            await self._drop_chunks(video_id, slice_id, state)
        moved: Document = {"slices.$.state": SliceState.EMBEDDED, "metadata.embedding_model": embedding_model}
        inside = await self._change(
            video_id,
            {**state, "transcripts_bytes": {"$lte": self._document_bytes - size}},
            {
                "$set": moved,
                "$push": {"transcripts": {"$each": entries, "$sort": {"chunk_id": 1}}},
                "$inc": {"transcripts_bytes": size},
            },
            [owed],
        )
        if inside:
            if edit:
                await self._continuations.delete_many({"video_id": video_id, "slice_id": slice_id})
            return True
        if await self._videos.find_one({"_id": video_id, "status": {"$in": _OPEN}, **state}, {"_id": 1}) is None:
            return False
        # The document is full: the chunks go beside it first, so that a crash in between leaves nothing half done.
        # `video_id` stands in the id, and the slice's state decides whether the continuation counts.
        part = {
            "_id": f"{video_id}/{slice_id}{f'/{edit}' if edit else ''}",
            "video_id": video_id,
            "slice_id": slice_id,
            "transcripts": entries,
            "edit": edit,
        }
        await self._continuations.replace_one({"_id": part["_id"]}, part, upsert=True)
        if await self._change(video_id, state, {"$set": {**moved, "continued": True}}, [owed]):
            if edit:
                former = {"video_id": video_id, "slice_id": slice_id, "_id": {"$ne": part["_id"]}}
                await self._continuations.delete_many(former)
            return True
        if await self._videos.find_one({"_id": video_id, "continued": True}, {"_id": 1}) is None:
            await self._continuations.delete_one({"_id": part["_id"]})
        return False

    async def _drop_chunks(self, video_id: str, slice_id: str, state: Document) -> None:
        """Takes the chunks of a slice out of the document itself, if it is in this state."""
        mine = {"$filter": {"input": "$transcripts", "cond": {"$eq": ["$$this.slice_id", slice_id]}}}
        doc = await self._videos.find_one({"_id": video_id, **state}, {"transcripts": mine})
        if doc and doc["transcripts"]:
            size = sum(map(_chunk_bytes, doc["transcripts"]))
            # Who comes second finds none, so that the size is taken off once.
            condition = {**state, "transcripts.slice_id": slice_id}
            change = {"$pull": {"transcripts": {"slice_id": slice_id}}, "$inc": {"transcripts_bytes": -size}}
            await self._change(video_id, condition, change)

    async def slice_indexed(self, video_id: str, slice_id: str, *, sequence: int = 0, edit: str = "") -> bool:
        """Moves a slice on from embedded; owes slice.indexed, and video.ready when it was the last.

        False when the slice was moved on or edited before, or the video is gone.

        Args:
            video_id: The video.
            slice_id: The slice.
            sequence: Stream sequence by which it can be found in every replica that has applied it.
            edit: The edit that can be found (`Slice.edit`).
        """
        owed = OwedEvent.of("slice.indexed", pb.SliceIndexed(video_id=video_id, slice_id=slice_id), video_id)
        done = {"slices.$.state": SliceState.INDEXED, "slices.$.done_at": _now()}
        waiting = {"slices": _in_state(slice_id, SliceState.EMBEDDED, edit)}
        change = {"$set": done, "$max": {"index_sequence": sequence}}
        moved = await self._change(video_id, waiting, change, [owed])
        await self.settle(video_id)
        return moved

    async def settle(self, video_id: str) -> None:
        """Makes the video ready, or failed, if its last slice is done; otherwise does nothing."""
        finished = {"status": VideoStatus.PROCESSING, "slicing_done": True, "slices.state": {"$nin": _UNDONE}}
        now = _now()
        ready = OwedEvent.of("video.ready", pb.VideoReady(video_id=video_id), video_id)
        change = {"$set": {"status": VideoStatus.READY, "metadata.processed_at": now, "error": None}}
        if await self._change(
            video_id, {**finished, "slices.state": {"$nin": [*_UNDONE, SliceState.FAILED]}}, change, [ready]
        ):
            return
        failed = OwedEvent.of("video.failed", pb.VideoFailed(video_id=video_id), video_id)
        # At least one must have failed: the last may have been indexed since the update above.
        condition = {**finished, "slices.state": {"$nin": _UNDONE, "$in": [SliceState.FAILED]}}
        await self._change(video_id, condition, {"$set": {"status": VideoStatus.FAILED}}, [failed])

    async def describe(self, video_id: str, fields: Document) -> Video:
        """Changes any of title, collection and tags; owes video.described. Raises VideoNotFound."""
        assert fields.keys() <= {"title", "collection", "tags"}, fields
        owed = OwedEvent.of("video.described", pb.VideoDescribed(video_id=video_id), video_id)
        if fields and not await self._change(video_id, {}, {"$set": fields}, [owed]):
            raise VideoNotFound(video_id)
        return await self.get(video_id)

    async def edit_transcript(
        self,
        video_id: str,
        edits: Mapping[str, str],
        *,
        transcript_revision: int,
        new_slices: Collection[tuple[str, float, float]] = (),
        duration: float | None = None,
    ) -> Video:
        """Makes edited transcripts, which are stored already, count; owes slice.transcribed for each.

        Args:
            video_id: The video.
            edits: For each slice that is edited, what its transcript is stored under (`Slice.edit`).
            transcript_revision: The one that the edits were made of.
            new_slices: Id, start and end (seconds) of slices the video did not have, in order, behind its others.
            duration: New length in seconds, where the video gets longer.

        Raises:
            VideoNotFound: There is no such video, or it is being deleted.
            TranscriptChanged: It was edited since.
            TranscriptInTheMaking: It is not all cut yet, and more is to come.
        """
        while True:
            now = _now()
            doc = await self._videos.find_one({"_id": video_id, "status": {"$in": _OPEN}}, _WITHOUT_CHUNKS)
            if doc is None:
                raise VideoNotFound(video_id)
            if doc.get("transcript_revision", 0) != transcript_revision:
                raise TranscriptChanged(
                    f"the transcript of {video_id} was edited meanwhile; get it again and repeat your change",
                    metadata={"transcript_revision": str(doc.get("transcript_revision", 0))},
                )
            slices = doc["slices"] + [
                {"slice_id": name, "start_time": start, "end_time": end, "attempts": 0}
                for name, start, end in new_slices
            ]
            for entry in slices:
                if entry["slice_id"] in edits:
                    entry.pop("failed_from", None)
                    entry.update(state=SliceState.TRANSCRIBED, edit=edits[entry["slice_id"]])
            change: Document = {"slices": slices}
            if doc["slicing_done"] or doc["status"] == VideoStatus.FAILED:
                failed = any(entry["state"] == SliceState.FAILED for entry in slices)
                change |= {
                    "slicing_done": True,
                    "status": VideoStatus.PROCESSING,
                    "error": doc["error"] if failed else None,
                }
                if doc["status"] != VideoStatus.PROCESSING:
                    change["began_at"] = now
            elif new_slices:
                raise TranscriptInTheMaking(f"{video_id} is not all cut yet; wait until it is, or has failed")
            if duration is not None:
                change["duration"] = duration
            # Never `bulk`: somebody waits for what he has corrected.
            owed = _onward(video_id, ((name, SliceState.TRANSCRIBED) for name in sorted(edits)))
            # Conditional on the revision, since the slices are written as they were read.
            condition = {"revision": doc["revision"]}
            if await self._change(video_id, condition, {"$set": change, "$inc": {"transcript_revision": 1}}, owed):
                return await self.get(video_id)

    # ── being looked at and played ───────────────────────────────────────────────────────────────

    async def set_playback(self, video_id: str, playback: Playback, *, only_from: Playable | None = None) -> bool:
        """Says whether browsers can play a video; owes video.unplayable where a rendition is to be made.

        False when the video is gone, or its playback is not in the state `only_from` (any where None).
        """
        condition = {"playback.state": only_from} if only_from else {}
        owed = []
        if playback.state is Playable.PREPARING:
            owed.append(OwedEvent.of("video.unplayable", pb.VideoUnplayable(video_id=video_id), video_id))
        change = {"playback": playback.to_document(), "playback_at": _now()}
        return await self._change(video_id, condition, {"$set": change}, owed)

    async def set_pictures(self, video_id: str, pictures: PictureSet) -> bool:
        """Says which pictures there are of a video. False when the video is gone."""
        return await self._change(video_id, {}, {"$set": {"pictures": pictures.to_document()}})

    async def want_pictures(self, video_id: str, *, again_seconds: float = 3600) -> bool:
        """Owes video.stored for a video of which nobody has made pictures yet.

        False where that was asked for less than `again_seconds` ago, or makes no sense.
        """
        now = _now()
        condition: Document = {
            "source": {"$ne": None},
            "pictures": None,
            "$or": [
                {"pictures_wanted_at": None},
                {"pictures_wanted_at": {"$lt": now - dt.timedelta(seconds=again_seconds)}},
            ],
        }
        return await self._change(video_id, condition, {"$set": {"pictures_wanted_at": now}}, [_stored(video_id)])

    async def want_rendition(self, video_id: str, *, again_seconds: float = 48 * 3600) -> bool:
        """Owes video.unplayable again for a video whose rendition is being made for that long, as if it were lost."""
        now = _now()
        condition: Document = {
            "playback.state": Playable.PREPARING,
            "playback_at": {"$lt": now - dt.timedelta(seconds=again_seconds)},
        }
        owed = OwedEvent.of("video.unplayable", pb.VideoUnplayable(video_id=video_id), video_id)
        return await self._change(video_id, condition, {"$set": {"playback_at": now}}, [owed])

    # ── failing and trying again ─────────────────────────────────────────────────────────────────

    async def fail_slice(self, video_id: str, slice_id: str, *, stage: str, reason: str, message: str) -> bool:
        """Gives a slice up; the others go on, and the video ends failed when they are done.

        False when the slice is done or failed already, or the video is gone.
        """
        for state in _UNDONE:
            change = {
                "$set": {
                    "slices.$.state": SliceState.FAILED,
                    "slices.$.failed_from": state,
                    "error": _error_document(stage, reason, message, slice_id),
                }
            }
            if await self._change(video_id, {"slices": _in_state(slice_id, state)}, change):
                await self.settle(video_id)
                return True
        return False

    async def fail(self, video_id: str, *, stage: str, reason: str, message: str) -> bool:
        """Fails a video as a whole; owes video.failed. Its slices go on. False when it is ready or gone."""
        owed = OwedEvent.of("video.failed", pb.VideoFailed(video_id=video_id), video_id)
        change = {"$set": {"status": VideoStatus.FAILED, "error": _error_document(stage, reason, message, None)}}
        return await self._change(
            video_id, {"status": {"$in": [VideoStatus.UPLOADED, VideoStatus.PROCESSING]}}, change, [owed]
        )

    async def retry(self, video_id: str) -> Video:
        """Does again what failed, and only that, a rendition too.

        Raises:
            VideoNotFound: There is no such video.
            FailedPrecondition: Nothing of it failed.
        """
        unplayed = {"status": {"$ne": VideoStatus.DELETING}, "playback.state": Playable.FAILED}
        unplayable = await self._change(video_id, unplayed, {"$set": {"playback": None}}, [_stored(video_id)])
        doc = await self._videos.find_one({"_id": video_id}, _WITHOUT_CHUNKS)
        if doc is None:
            raise VideoNotFound(video_id)
        if doc["status"] != VideoStatus.FAILED:
            if unplayable:
                return Video.from_document(doc)
            raise FailedPrecondition(
                f"nothing of {video_id}, which is {doc['status']}, has failed: there is nothing to try again",
                reason="NOT_FAILED",
            )
        again: list[tuple[str, SliceState]] = []
        slices = doc["slices"]
        for entry in slices:
            if entry["state"] == SliceState.FAILED:
                state = SliceState(entry.pop("failed_from", SliceState.CUT))
                entry.update(state=state, attempts=0)
                again.append((entry["slice_id"], state))
        owed = _onward(video_id, again, bulk=doc["source"] is None)
        if not doc["slicing_done"]:
            owed.append(OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id))
        status = VideoStatus.PROCESSING if doc["slicing_done"] else VideoStatus.UPLOADED
        # Conditional on the revision, since the slices are written as they were read.
        condition = {"status": VideoStatus.FAILED, "revision": doc["revision"]}
        if not await self._change(
            video_id,
            condition,
            {"$set": {"status": status, "error": None, "slices": slices, "began_at": _now()}},
            owed,
        ):
            return await self.retry(video_id)  # it has changed meanwhile, maybe in something else
        await self.settle(video_id)
        return await self.get(video_id)

    # ── going ────────────────────────────────────────────────────────────────────────────────────

    async def mark_deleting(self, video_id: str, *, undo_seconds: float = 0) -> Video:
        """Marks a video for removal; owes video.deleted. Marking twice is fine. Raises VideoNotFound.

        Args:
            video_id: The video.
            undo_seconds: For how long it is only hidden, and can be brought back. 0 is for good, also where it was
                marked with a longer time before.
        """
        owed = OwedEvent.of("video.deleted", pb.VideoDeleted(video_id=video_id), video_id)
        while True:
            doc = await self._videos.find_one({"_id": video_id}, _WITHOUT_CHUNKS)
            if doc is None:
                raise VideoNotFound(video_id)
            gone = doc["status"] == VideoStatus.DELETING
            if gone and (undo_seconds > 0 or doc.get("purging") or not doc.get("purge_at")):
                return Video.from_document(doc)
            fields: Document = {"status": VideoStatus.DELETING}
            if undo_seconds > 0:
                fields["purge_at"] = _now() + dt.timedelta(seconds=undo_seconds)
                fields["former"] = {"status": doc["status"], "external_id": doc.get("external_id", "")}
            elif gone:
                fields["purging"] = True
            # What goes must not stand in the way of importing it again.
            change = {"$set": fields, "$unset": {"external_id": ""}}
            condition = {"status": doc["status"], "revision": doc["revision"]}
            if await self._change(video_id, condition, change, [owed]):
                # Not read again: the cleaner may be done with it.
                return Video.from_document({**doc, **fields, "revision": doc["revision"] + 1})

    async def restore(self, video_id: str) -> Video:
        """Brings a video back that is deleted, while it can be; what of it was searchable is indexed again.

        Raises:
            VideoNotFound: There is no such video (any more).
            FailedPrecondition: It is not deleted, or it is too late.
        """
        doc = await self._videos.find_one({"_id": video_id}, _WITHOUT_CHUNKS)
        if doc is None:
            raise VideoNotFound(video_id)
        if not Video.from_document(doc).restorable:
            deleted = doc["status"] == VideoStatus.DELETING
            raise FailedPrecondition(
                f"{video_id} is being removed; upload it again" if deleted else f"{video_id} is not deleted",
                reason="NOT_RESTORABLE",
            )
        slices, former = doc["slices"], doc["former"]
        for entry in slices:
            if entry["state"] == SliceState.INDEXED:
                entry["state"] = SliceState.EMBEDDED
        again = [(entry["slice_id"], SliceState(entry["state"])) for entry in slices if entry["state"] in NEXT_EVENT]
        owed = [OwedEvent.of("video.described", pb.VideoDescribed(video_id=video_id), video_id)]
        owed += _onward(video_id, again, bulk=doc["source"] is None)
        status = VideoStatus(former["status"])
        if not doc["slicing_done"] and status is not VideoStatus.FAILED:
            owed.append(OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video_id), video_id))
        if status is VideoStatus.READY and again:
            status = VideoStatus.PROCESSING
        fields: Document = {"status": status, "slices": slices, "restored": True, "began_at": _now()}
        if former["external_id"]:
            fields["external_id"] = former["external_id"]
        # Conditional on the revision, since the slices are written as they were read.
        condition = {"status": VideoStatus.DELETING, "revision": doc["revision"], "purging": {"$ne": True}}
        left = {"$unset": {"purge_at": "", "former": ""}}
        try:
            done = await self._change(video_id, condition, {"$set": fields, **left}, owed)
        except DuplicateKeyError:  # it was imported again meanwhile: the name is that one's now
            del fields["external_id"]
            done = await self._change(video_id, condition, {"$set": fields, **left}, owed)
        if not done:
            raise FailedPrecondition(f"{video_id} has changed meanwhile; try again", reason="NOT_RESTORABLE")
        await self.settle(video_id)
        return await self.get(video_id)

    async def purge_due(self, *, limit: int = 200) -> int:
        """Has videos removed that are deleted and cannot be brought back any more; owes video.deleted for each."""
        query = {"status": VideoStatus.DELETING, "purge_at": {"$lte": _now()}, "purging": {"$ne": True}}
        count = 0
        async for doc in self._videos.find(query, {"_id": 1}).limit(limit):
            owed = OwedEvent.of("video.deleted", pb.VideoDeleted(video_id=doc["_id"]), doc["_id"])
            count += await self._change(doc["_id"], query, {"$set": {"purging": True}}, [owed])
        return count

    async def remove(self, video_id: str) -> None:
        """Removes the document and its continuations, the last step of a deletion; removing twice is fine."""
        await self._continuations.delete_many({"video_id": video_id})
        await self._videos.delete_one({"_id": video_id, "status": VideoStatus.DELETING})

    # ── what the sweeper needs ───────────────────────────────────────────────────────────────────

    async def publish_owed(self, *, older_than_seconds: float, limit: int = 200) -> int:
        """Publishes events that were owed for longer than that; gives how many."""
        before = _now() - dt.timedelta(seconds=older_than_seconds)
        count = 0
        async for doc in self._videos.find({"outbox.at": {"$lt": before}}, {"outbox": 1}).limit(limit):
            owed = [
                OwedEvent(e["event_id"], e["subject"], bytes(e["payload"])) for e in doc["outbox"] if e["at"] < before
            ]
            if not await self._publish(doc["_id"], owed):
                break
            count += len(owed)
        return count

    async def stalled(self, *, older_than_seconds: float, limit: int = 100) -> list[Video]:
        """Gives videos on their way (or being deleted) that nothing has changed for longer than that."""
        before = _now() - dt.timedelta(seconds=older_than_seconds)
        on_their_way = [VideoStatus.UPLOADED, VideoStatus.PROCESSING, VideoStatus.DELETING]
        # Those that are deleted and can be brought back wait for nothing.
        not_hidden = [{"purge_at": None}, {"purging": True}]
        query = {"status": {"$in": on_their_way}, "updated_at": {"$lt": before}, "$or": not_hidden}
        return [Video.from_document(doc) async for doc in self._videos.find(query, _WITHOUT_CHUNKS).limit(limit)]

    async def nudge(self, video: Video) -> None:
        """Owes again the events that move a stalled video on, for when the stream has lost them."""
        owed: list[OwedEvent] = []
        if video.status is VideoStatus.DELETING:
            owed.append(OwedEvent.of("video.deleted", pb.VideoDeleted(video_id=video.video_id), video.video_id))
        else:
            if not video.slicing_done:
                owed.append(OwedEvent.of("video.uploaded", pb.VideoUploaded(video_id=video.video_id), video.video_id))
            undone = ((part.slice_id, part.state) for part in video.slices if part.state in NEXT_EVENT)
            owed += _onward(video.video_id, undone, bulk=video.source is None)
        await self._change(video.video_id, {"revision": video.revision}, {"$set": {}}, owed, even_deleting=True)
        await self.settle(video.video_id)

    # ── one atomic update ────────────────────────────────────────────────────────────────────────

    async def _change(
        self,
        video_id: str,
        condition: Document,
        change: Document,
        owed: Collection[OwedEvent] = (),
        *,
        even_deleting: bool = False,
    ) -> bool:
        """Applies `change` with its events if `condition` holds and the video stays; then publishes them."""
        now = _now()
        query = {"_id": video_id, **condition}
        if not even_deleting:
            query.setdefault("status", {"$in": _OPEN})
        update = {
            **change,
            "$set": {**change.get("$set", {}), "updated_at": now},
            "$inc": {**change.get("$inc", {}), "revision": 1},
        }
        if owed:
            update["$push"] = {
                **change.get("$push", {}),
                "outbox": {"$each": [_outbox_entry(event, now) for event in owed]},
            }
        result = await self._videos.update_one(query, update)
        if result.matched_count == 0:
            return False
        await self._publish(video_id, owed)
        return True

    async def _publish(self, video_id: str, owed: Collection[OwedEvent]) -> bool:
        """Publishes and clears what is owed. False when the bus is away: then it stays owed, for the sweeper."""
        if not owed:
            return True
        try:
            # Together, since an import owes an event for each of its slices, and their order means nothing.
            for some in _batched(list(owed)):
                results = await asyncio.gather(*map(self._bus.publish, some), return_exceptions=True)
                for error in filter(None, results):
                    raise error
        except (NatsError, TimeoutError, ConnectionError) as error:
            log.warning("events_stay_owed", video_id=video_id, count=len(owed), error=repr(error))
            return False
        ids = [event.event_id for event in owed]
        await self._videos.update_one({"_id": video_id}, {"$pull": {"outbox": {"event_id": {"$in": ids}}}})
        return True


def _stored(video_id: str) -> OwedEvent:
    return OwedEvent.of("video.stored", pb.VideoStored(video_id=video_id), video_id)


def _within(collections: Collection[str] | None) -> Document:
    """Matches videos of these collections; all where there is no word of any."""
    return {} if collections is None else {"collection": {"$in": sorted(collections)}}


def _batched(owed: list[OwedEvent]) -> Iterator[list[OwedEvent]]:
    return (owed[at : at + PUBLISHED_AT_ONCE] for at in range(0, len(owed), PUBLISHED_AT_ONCE))


def _new_document(
    video_id: str,
    now: dt.datetime,
    *,
    title: str,
    url: str | None,
    collection: str,
    tags: Collection[str],
    owed: Collection[OwedEvent],
) -> Document:
    return {
        "_id": video_id,
        "slot": slot_of(video_id),
        "title": title,
        "collection": collection,
        "tags": list(tags),
        "url": url,
        "duration": None,
        "status": VideoStatus.UPLOADED,
        "source": None,
        "transcripts": [],
        "transcripts_bytes": 0,
        "slices": [],
        "slicing_done": False,
        "metadata": {"uploaded_at": now, "processed_at": None, "language": None, "speaker_count": None,
                     "asr_model": None, "embedding_model": None},
        "warnings": [],
        "error": None,
        "revision": 1,
        "updated_at": now,
        "outbox": [_outbox_entry(event, now) for event in owed],
    }  # fmt: skip


def _in_state(slice_id: str, state: SliceState, edit: str | None = None) -> Document:
    """Matches a slice in a state, and if one is given of just this edit (empty for none)."""
    wanted: Document = {"slice_id": slice_id, "state": state}
    return {"$elemMatch": wanted if edit is None else {**wanted, "edit": edit or None}}


def _chunk_bytes(entry: Document) -> int:
    """Gives, generously, what a chunk takes in a document."""
    vectors = len(entry["embedding"]) + len(entry["sentence_embeddings"])
    return vectors + len(entry["text"].encode()) + 40 * len(entry["sentence_marks"]) + 256


def _outbox_entry(event: OwedEvent, now: dt.datetime) -> Document:
    return {"event_id": event.event_id, "subject": event.subject, "payload": event.payload, "at": now}


def _source_document(source: Source) -> Document:
    return {
        "filename": source.filename,
        "content_type": source.content_type,
        "bytes": source.bytes,
        "sha256": source.sha256,
    }


def _error_document(stage: str, reason: str, message: str, slice_id: str | None) -> Document:
    return {"stage": stage, "reason": reason, "message": message, "slice_id": slice_id, "at": _now()}
