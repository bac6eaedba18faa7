"""The shape and the states of a video document."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from bson.binary import Binary, BinaryVectorDtype

from services.common.speech import SpeechOptions

FloatVector = npt.NDArray[np.float32]
SentenceVectors = npt.NDArray[np.int8]


class VideoStatus(enum.StrEnum):
    """Where a video stands.

       uploaded ──▶ processing ──▶ ready
          ▲  ╲        │     ▲
    retry │   ╲───────┤     │ retry
          │           ▼     │
          └───────── failed ┘        any state ──▶ deleting ──▶ (gone)
                                         ▲            │ restore, until `purge_at`
                                         └────────────┘
    """

    UPLOADED = "uploaded"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class SliceState(enum.StrEnum):
    """Where a slice stands: cut ──▶ transcribed ──▶ embedded ──▶ indexed, and from any but the last ──▶ failed."""

    CUT = "cut"
    TRANSCRIBED = "transcribed"
    EMBEDDED = "embedded"
    INDEXED = "indexed"
    FAILED = "failed"


NEXT_EVENT = {
    SliceState.CUT: "slice.cut",
    SliceState.TRANSCRIBED: "slice.transcribed",
    SliceState.EMBEDDED: "slice.embedded",
}
"""The event that moves a slice on from a state."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A few minutes of a video's audio. Times are seconds in the media's clock; `attempts` counts transcriptions."""

    slice_id: str
    start_time: float
    end_time: float
    state: SliceState
    attempts: int
    edit: str = ""
    """Which edited transcript counts (`objects.transcript_key`); empty for the recognizer's own."""
    done_at: datetime | None = None
    """When it was last made searchable."""

    @classmethod
    def from_document(cls, fields: dict[str, Any]) -> Self:
        """Reads an element of `slices`."""
        return cls(
            fields["slice_id"],
            fields["start_time"],
            fields["end_time"],
            SliceState(fields["state"]),
            fields["attempts"],
            fields.get("edit") or "",
            fields.get("done_at"),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What was uploaded. `sha256` is lower-case hex."""

    filename: str
    content_type: str
    bytes: int
    sha256: str


class Playable(enum.StrEnum):
    """What a browser is given when it is to play a video.

    original where it plays that; else preparing ──▶ rendition | failed.
    """

    ORIGINAL = "original"
    PREPARING = "preparing"
    RENDITION = "rendition"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rendition:
    """What was made of media that browsers do not play. `name` is part of its key, so that no two share a key."""

    name: str
    content_type: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Playback:
    """Whether browsers can play a video, and where not, what is made for them and why."""

    state: Playable
    reason: str = ""
    message: str = ""
    rendition: Rendition | None = None

    def to_document(self) -> dict[str, Any]:
        """Gives the stored form."""
        made = self.rendition
        return {
            "state": self.state,
            "reason": self.reason,
            "message": self.message,
            "rendition": {"name": made.name, "content_type": made.content_type, "bytes": made.bytes} if made else None,
        }

    @classmethod
    def from_document(cls, fields: dict[str, Any]) -> Self:
        """Reads the stored form."""
        made = fields.get("rendition")
        return cls(Playable(fields["state"]), fields["reason"], fields["message"], Rendition(**made) if made else None)


@dataclass(frozen=True, slots=True)
class PictureSet:
    """The pictures made of a video: none where `name`, which is part of their keys, is empty; `reason` says why."""

    name: str = ""
    count: int = 0
    reason: str = ""

    def to_document(self) -> dict[str, Any]:
        """Gives the stored form."""
        return {"name": self.name, "count": self.count, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class VideoWarning:
    """Something worth knowing that did not stop the processing."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a video failed, at which stage (fetch, slice, transcribe, embed, index) and which slice, if one."""

    stage: str
    reason: str
    message: str
    at: datetime
    slice_id: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """Facts found while processing. `language` is ISO 639-1: that in which most was said, as far as is known."""

    uploaded_at: datetime
    processed_at: datetime | None
    language: str | None
    asr_model: str | None
    embedding_model: str | None
    speaker_count: int | None
    languages: tuple[str, ...] = ()
    """All languages spoken (ISO 639-1), the one spoken longest first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much of a video is done. Seconds are media time."""

    slices_known: int
    slicing_done: bool
    slices_done: int
    slices_failed: int
    seconds_searchable: float
    seconds_known: float

    @property
    def fraction(self) -> float | None:
        """Share of the slices that are searchable; None while it is not known how many there will be."""
        if not self.slicing_done:
            return None
        return self.slices_done / self.slices_known if self.slices_known else 1.0


@dataclass(frozen=True, slots=True)
class Video:
    """A video without its chunks."""

    video_id: str
    title: str
    url: str | None
    status: VideoStatus
    duration: float | None
    source: Source | None
    slices: list[Slice]
    slicing_done: bool
    metadata: Metadata
    error: Failure | None
    warnings: list[VideoWarning]
    revision: int
    collection: str = ""
    tags: tuple[str, ...] = ()
    index_sequence: int = 0
    """Last stream sequence that made some of it searchable; 0 while nothing is."""
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    """What the uploader said of the speech in it."""
    transcript_revision: int = 0
    """How often its transcript was edited."""
    began_at: datetime | None = None
    """When it was last taken up: by the slicer, by an import, an edit or a retry."""
    playback: Playback | None = None
    """Whether browsers can play it; None until somebody has looked."""
    pictures: PictureSet | None = None
    """Its pictures; None until somebody has tried to make some."""
    purge_at: datetime | None = None
    """While it is deleted and can be brought back: until when."""
    purging: bool = False
    """Whether it is too late for that."""
    restored: bool = False
    """Whether it was deleted and brought back."""

    @property
    def restorable(self) -> bool:
        """Whether it is deleted, and can be brought back."""
        return self.status is VideoStatus.DELETING and self.purge_at is not None and not self.purging

    @property
    def progress(self) -> Progress:
        """How much is done, counted from the slices."""
        done = [s for s in self.slices if s.state is SliceState.INDEXED]
        return Progress(
            slices_known=len(self.slices),
            slicing_done=self.slicing_done,
            slices_done=len(done),
            slices_failed=sum(s.state is SliceState.FAILED for s in self.slices),
            seconds_searchable=sum(s.end_time - s.start_time for s in done),
            seconds_known=sum(s.end_time - s.start_time for s in self.slices),
        )

    @property
    def has_media(self) -> bool:
        """Whether there is media, or will be: a video made of a transcript never has any."""
        return self.source is not None or not self.slicing_done

    def slice(self, slice_id: str) -> Slice | None:
        """Gives the slice with this id, if it is known."""
        return next((s for s in self.slices if s.slice_id == slice_id), None)

    @classmethod
    def from_document(cls, doc: dict[str, Any]) -> Self:
        """Reads a document; `transcripts` is not looked at."""
        meta, error = doc["metadata"], doc.get("error")
        return cls(
            video_id=doc["_id"],
            title=doc["title"],
            url=doc.get("url"),
            status=VideoStatus(doc["status"]),
            duration=doc.get("duration"),
            source=Source(**doc["source"]) if doc.get("source") else None,
            slices=sorted((Slice.from_document(s) for s in doc["slices"]), key=lambda s: s.slice_id),
            slicing_done=doc["slicing_done"],
            metadata=Metadata(
                uploaded_at=meta["uploaded_at"],
                processed_at=meta.get("processed_at"),
                language=next(iter(_languages(meta)), None),
                asr_model=meta.get("asr_model"),
                embedding_model=meta.get("embedding_model"),
                speaker_count=meta.get("speaker_count"),
                languages=_languages(meta),
            ),
            error=Failure(error["stage"], error["reason"], error["message"], error["at"], error.get("slice_id"))
            if error
            else None,
            warnings=[VideoWarning(w["reason"], w["message"]) for w in doc.get("warnings", [])],
            revision=doc["revision"],
            collection=doc.get("collection", ""),
            tags=tuple(doc.get("tags", ())),
            index_sequence=doc.get("index_sequence", 0),
            speech=SpeechOptions.from_document(doc.get("speech")),
            transcript_revision=doc.get("transcript_revision", 0),
            began_at=doc.get("began_at"),
            playback=Playback.from_document(doc["playback"]) if doc.get("playback") else None,
            pictures=PictureSet(**doc["pictures"]) if doc.get("pictures") else None,
            purge_at=doc.get("purge_at"),
            purging=doc.get("purging", False),
            restored=doc.get("restored", False),
        )


_PASSING_SHARE = 0.02
"""A language in which less of the speech than this was heard is a mistake, or a quotation."""


def _languages(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    spoken: dict[str, float] = metadata.get("spoken") or {}
    if not spoken:
        return (metadata["language"],) if metadata.get("language") else ()
    # Between equals by name, so that it does not depend on which slice was done first.
    ranked = sorted(spoken, key=lambda code: (-spoken[code], code))
    total = sum(spoken.values())
    return tuple(code for code in ranked if code == ranked[0] or spoken[code] >= _PASSING_SHARE * total)


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """A chunk as stored in `transcripts`.

    Attributes:
        chunk_id: `<video_id>/<slice_id>/<number>`.
        slice_id: The slice it is of.
        text: What is said.
        start_time: Seconds in the media's clock.
        end_time: Seconds in the media's clock.
        embedding: float32, shape (dimension,), L2-normalised.
        sentence_marks: For each sentence its first code point in `text` and its start in seconds.
        language: ISO 639-1, empty when unknown.
        sentence_vectors: int8, shape (len(sentence_marks), dimension): each sentence's normalised vector times 127.
            Empty where there are none. They find the second to play from, and sharpen the ranking.
        speaker: Who speaks; empty when unknown.
    """

    chunk_id: str
    slice_id: str
    text: str
    start_time: float
    end_time: float
    embedding: FloatVector
    sentence_marks: list[tuple[int, float]] = field(default_factory=list)
    language: str = ""
    sentence_vectors: SentenceVectors = field(default_factory=lambda: np.empty((0, 0), np.int8))
    speaker: str = ""

    def to_document(self) -> dict[str, Any]:
        """Gives the stored form; the vector as BinData subtype 9 (float32), less than half of a list of doubles."""
        return {
            "chunk_id": self.chunk_id,
            "slice_id": self.slice_id,
            "text": self.text,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "sentence_marks": [list(mark) for mark in self.sentence_marks],
            "language": self.language,
            "embedding": Binary.from_vector(self.embedding.astype(np.float32).tolist(), BinaryVectorDtype.FLOAT32),
            "sentence_embeddings": Binary(self.sentence_vectors.tobytes()),
            **({"speaker": self.speaker} if self.speaker else {}),
        }

    @classmethod
    def from_document(cls, fields: dict[str, Any]) -> Self:
        """Reads the stored form. The first two bytes of a BinData vector are its type and padding."""
        return cls(
            chunk_id=fields["chunk_id"],
            slice_id=fields["slice_id"],
            text=fields["text"],
            start_time=fields["start_time"],
            end_time=fields["end_time"],
            embedding=np.frombuffer(fields["embedding"], dtype="<f4", offset=2),
            sentence_marks=[(int(offset), float(start)) for offset, start in fields.get("sentence_marks", [])],
            language=fields.get("language", ""),
            sentence_vectors=_sentence_vectors(fields),
            speaker=fields.get("speaker", ""),
        )


def quantized(vectors: FloatVector) -> SentenceVectors:
    """Gives L2-normalised float32 vectors, shape (n, dimension), as int8; a cosine is off by less than 0.01."""
    return np.rint(vectors * 127).astype(np.int8)


def _sentence_vectors(fields: dict[str, Any]) -> SentenceVectors:
    dimension = (len(fields["embedding"]) - 2) // 4
    return np.frombuffer(fields.get("sentence_embeddings", b""), dtype=np.int8).reshape(-1, dimension)
