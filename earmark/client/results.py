"""What the gateway answers, typed. All times are seconds in the clock of the media; dates are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

Json = Mapping[str, Any]

READY = "ready"
FAILED = "failed"
DELETING = "deleting"
SETTLED = frozenset({READY, FAILED})


@dataclass(frozen=True, slots=True)
class Source:
    """What was uploaded. `sha256` is lower-case hex; `bytes` is the size."""

    filename: str
    content_type: str
    bytes: int | None
    sha256: str | None

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(data.get("filename") or "", data.get("content_type") or "", data.get("bytes"), data.get("sha256"))


@dataclass(frozen=True, slots=True)
class VideoMetadata:
    """Facts found while processing; None while unknown."""

    uploaded_at: datetime | None
    processed_at: datetime | None
    language: str | None
    asr_model: str | None
    embedding_model: str | None
    speaker_count: int | None
    languages: tuple[str, ...] = ()
    """All that are spoken, the one spoken longest first."""

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            uploaded_at=_date(data.get("uploaded_at")),
            processed_at=_date(data.get("processed_at")),
            language=data.get("language") or None,
            asr_model=data.get("asr_model") or None,
            embedding_model=data.get("embedding_model") or None,
            speaker_count=data.get("speaker_count"),
            languages=tuple(data.get("languages") or ()),
        )


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """How much of a video is done, in slices and in seconds of media. `fraction` is None until the total is known."""

    slices_known: int
    slicing_done: bool
    slices_done: int
    slices_failed: int
    seconds_searchable: float
    seconds_known: float
    fraction: float | None
    seconds_left: float | None = None
    """Seconds until all of it is searchable, from measured speed; None where that is not known."""

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            slices_known=data.get("slices_known") or 0,
            slicing_done=bool(data.get("slicing_done")),
            slices_done=data.get("slices_done") or 0,
            slices_failed=data.get("slices_failed") or 0,
            seconds_searchable=data.get("seconds_searchable") or 0.0,
            seconds_known=data.get("seconds_known") or 0.0,
            fraction=data.get("fraction"),
            seconds_left=data.get("seconds_left"),
        )


@dataclass(frozen=True, slots=True)
class VideoError:
    """Why a video failed: at which stage (fetch, slice, transcribe, embed, index), why, and in which slice."""

    stage: str
    reason: str
    message: str
    at: datetime | None = None
    slice_id: str | None = None

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            stage=data.get("stage") or "",
            reason=data.get("reason") or "UNKNOWN",
            message=data.get("message") or "",
            at=_date(data.get("at")),
            slice_id=data.get("slice_id") or None,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """Something odd about a video that did not stop it."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A few minutes of one video: the unit of work, of retry and of search visibility."""

    slice_id: str
    start_time: float
    end_time: float
    state: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Video:
    """A video and how far it is. `raw` is the gateway's JSON as it came; links are absolute URLs."""

    video_id: str
    title: str
    url: str | None
    status: str
    duration: float | None
    source: Source
    metadata: VideoMetadata
    progress: VideoProgress
    error: VideoError | None
    warnings: tuple[Problem, ...]
    revision: int
    links: Mapping[str, str]
    raw: Json = field(repr=False, compare=False)
    collection: str = ""
    tags: tuple[str, ...] = ()
    index_token: str | None = None
    transcript_revision: int = 0
    """How often its transcript was edited."""
    playable: str = ""
    """What `links["media"]` gives: original, preparing, rendition or failed; empty until somebody has looked."""
    playable_message: str = ""
    """Why the original does not play in browsers, or why no rendition could be made."""
    restorable_until: datetime | None = None
    """Until when a deleted video can be brought back."""
    existing: bool = False
    """After an upload: whether it was there before, since the bytes were known."""

    @classmethod
    def parse(cls, data: Json, base_url: str = "") -> Self:
        """From the gateway's JSON."""
        return cls(
            video_id=data["video_id"],
            title=data.get("title") or "",
            url=data.get("url"),
            status=data["status"],
            duration=data.get("duration"),
            source=Source.parse(data.get("source") or {}),
            metadata=VideoMetadata.parse(data.get("metadata") or {}),
            progress=VideoProgress.parse(data.get("progress") or {}),
            error=_error(data.get("error")),
            warnings=_warnings(data),
            revision=data.get("revision") or 0,
            links=absolute_links(data.get("links"), base_url),
            raw=data,
            collection=data.get("collection") or "",
            tags=tuple(data.get("tags") or ()),
            index_token=data.get("index_token") or None,
            transcript_revision=data.get("transcript_revision") or 0,
            playable=data.get("playable") or "",
            playable_message=data.get("playable_message") or "",
            restorable_until=_date(data.get("restorable_until")),
        )

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself: ready or failed."""
        return self.status in SETTLED


@dataclass(frozen=True, slots=True)
class Imported:
    """A video made of a transcript; `already_there` says that it was made before, and that nothing was done."""

    video: Video
    already_there: bool


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """A line of a transcript to import. Times are seconds; `speaker` is empty when unknown."""

    start: float
    end: float
    text: str
    speaker: str = ""

    def body(self) -> dict[str, Any]:
        """What the gateway takes."""
        fields = {"start": self.start, "end": self.end, "text": self.text}
        return {**fields, "speaker": self.speaker} if self.speaker else fields


@dataclass(frozen=True, slots=True)
class VideoStatus:
    """How far a video is, with its slices."""

    video_id: str
    status: str
    progress: VideoProgress
    slices: tuple[Slice, ...]
    error: VideoError | None
    warnings: tuple[Problem, ...]
    duration: float | None
    links: Mapping[str, str]
    raw: Json = field(repr=False, compare=False)
    collection: str = ""
    tags: tuple[str, ...] = ()
    index_token: str | None = None

    @classmethod
    def parse(cls, data: Json, base_url: str = "") -> Self:
        """From the gateway's JSON."""
        return cls(
            video_id=data["video_id"],
            status=data["status"],
            progress=VideoProgress.parse(data.get("progress") or {}),
            slices=tuple(
                Slice(s["slice_id"], s["start_time"], s["end_time"], s["state"], s.get("attempts") or 0)
                for s in data.get("slices") or ()
            ),
            error=_error(data.get("error")),
            warnings=_warnings(data),
            duration=data.get("duration"),
            links=absolute_links(data.get("links"), base_url),
            raw=data,
            collection=data.get("collection") or "",
            tags=tuple(data.get("tags") or ()),
            index_token=data.get("index_token") or None,
        )

    @property
    def settled(self) -> bool:
        """Whether nothing more happens by itself: ready or failed."""
        return self.status in SETTLED


@dataclass(frozen=True, slots=True)
class VideoPage:
    """One page of a list; `next_cursor` is None on the last."""

    videos: tuple[Video, ...]
    next_cursor: str | None

    @classmethod
    def parse(cls, data: Json, base_url: str = "") -> Self:
        """From the gateway's JSON."""
        return cls(tuple(Video.parse(v, base_url) for v in data["videos"]), data.get("next_cursor") or None)


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word. `text` keeps the blank before it, as the recogniser gives it; `probability` is 0..1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, about a sentence."""

    start: float
    end: float
    text: str
    words: tuple[Word, ...]
    speaker: str = ""
    segment_id: str = ""
    confidence: float | None = None
    """How far the words can be trusted, 0 to 1."""
    suspect: str = ""
    """Why likely nobody said it; empty for what is believed."""
    language: str = ""

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            start=data["start"],
            end=data["end"],
            text=data["text"],
            words=tuple(
                Word(w["start"], w["end"], w["text"], w.get("probability") or 0.0) for w in data.get("words") or ()
            ),
            speaker=data.get("speaker") or "",
            segment_id=data.get("segment_id") or "",
            confidence=data.get("confidence"),
            suspect=data.get("suspect") or "",
            language=data.get("language") or "",
        )


@dataclass(frozen=True, slots=True)
class EditedSegment:
    """A segment after a correction, and the transcript's new revision."""

    segment: Segment
    revision: int
    status: str

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(Segment.parse(data["segment"]), data["revision"], data["status"])


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. `complete` is False while slices are still missing."""

    video_id: str
    language: str | None
    complete: bool
    segments: tuple[Segment, ...]
    raw: Json = field(repr=False, compare=False)
    revision: int = 0
    """How often it was edited."""

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            video_id=data["video_id"],
            language=data.get("language") or None,
            complete=bool(data.get("complete")),
            segments=tuple(Segment.parse(segment) for segment in data.get("segments") or ()),
            raw=data,
            revision=data.get("revision") or 0,
        )

    @property
    def text(self) -> str:
        """The segments, one a line."""
        return "\n".join(segment.text.strip() for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Highlight:
    """A part of a hit's text, in Unicode code points: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LegScore:
    """What one leg said of a hit: cosine similarity (semantic) or BM25 (keyword), and its rank from 1."""

    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment that answers the query. `match_time` is where to press play; `more` are others of the same video.

    `sentence` is the one that begins at `match_time`; None where none stands out, and play begins with the text.
    """

    video_id: str
    title: str
    language: str | None
    chunk_id: str
    text: str
    highlights: tuple[Highlight, ...]
    start_time: float
    end_time: float
    match_time: float
    score: float
    semantic: LegScore | None
    keyword: LegScore | None
    links: Mapping[str, str]
    more: tuple[Hit, ...]
    speaker: str | None = None
    sentence: Highlight | None = None

    @classmethod
    def parse(cls, data: Json, base_url: str = "") -> Hit:
        """From the gateway's JSON."""
        scores = data.get("scores") or {}
        sentence = data.get("sentence")
        return cls(
            video_id=data["video_id"],
            title=data.get("title") or "",
            language=data.get("language") or None,
            chunk_id=data["chunk_id"],
            text=data["text"],
            highlights=tuple(Highlight(h["start"], h["end"]) for h in data.get("highlights") or ()),
            start_time=data["start_time"],
            end_time=data["end_time"],
            match_time=data["match_time"],
            score=data.get("score") or 0.0,
            semantic=_leg(scores.get("semantic")),
            keyword=_leg(scores.get("keyword")),
            links=absolute_links(data.get("links"), base_url),
            more=tuple(cls.parse(hit, base_url) for hit in data.get("more") or ()),
            speaker=data.get("speaker") or None,
            sentence=Highlight(sentence["start"], sentence["end"]) if sentence else None,
        )


@dataclass(frozen=True, slots=True)
class MissingShard:
    """A shard that did not answer, and why (a gRPC status name)."""

    shard: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaCoverage:
    """How far a replica that answered had followed the events: `lag` of them it had yet to apply."""

    shard: int
    replica: int
    applied_sequence: int
    lag: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of whom it was asked: with `complete` False the answer may lack hits.

    `tokens_reached` False says that not all of what `min_tokens` stand for is in.
    """

    shards_total: int
    shards_answered: int
    complete: bool
    legs: tuple[str, ...]
    embedding_model: str | None
    missing: tuple[MissingShard, ...]
    replicas: tuple[ReplicaCoverage, ...] = ()
    tokens_reached: bool = True

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(
            shards_total=data.get("shards_total") or 0,
            shards_answered=data.get("shards_answered") or 0,
            complete=bool(data.get("complete")),
            legs=tuple(data.get("legs") or ()),
            embedding_model=data.get("embedding_model") or None,
            missing=tuple(MissingShard(m["shard"], m["reason"]) for m in data.get("missing") or ()),
            replicas=tuple(
                ReplicaCoverage(r["shard"], r["replica"], r["applied_sequence"], r["lag"])
                for r in data.get("replicas") or ()
            ),
            tokens_reached=bool(data.get("tokens_reached", True)),
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a search went, in milliseconds, as the gateway measured it."""

    total_ms: float
    embed_ms: float
    shards_ms: float
    fuse_ms: float

    @classmethod
    def parse(cls, data: Json) -> Self:
        """From the gateway's JSON."""
        return cls(*(float(data.get(name) or 0) for name in ("total_ms", "embed_ms", "shards_ms", "fuse_ms")))


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best moment of each video found, best video first."""

    query: str
    mode: str
    hits: tuple[Hit, ...]
    next_cursor: str | None
    coverage: Coverage
    timing: Timing
    raw: Json = field(repr=False, compare=False)

    @classmethod
    def parse(cls, data: Json, base_url: str = "") -> Self:
        """From the gateway's JSON."""
        return cls(
            query=data.get("query") or "",
            mode=data.get("mode") or "",
            hits=tuple(Hit.parse(hit, base_url) for hit in data["hits"]),
            next_cursor=data.get("next_cursor") or None,
            coverage=Coverage.parse(data.get("coverage") or {}),
            timing=Timing.parse(data.get("timing") or {}),
            raw=data,
        )


def absolute_links(links: Mapping[str, str | None] | None, base_url: str) -> Mapping[str, str]:
    """Links as absolute URLs; the gateway may give paths."""
    base = base_url.rstrip("/")
    return {
        name: base + link if link.startswith("/") else link for name, link in (links or {}).items() if link is not None
    }


def _date(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _error(data: Json | None) -> VideoError | None:
    return VideoError.parse(data) if data else None


def _warnings(data: Json) -> tuple[Problem, ...]:
    return tuple(Problem(w.get("reason") or "", w.get("message") or "") for w in data.get("warnings") or ())


def _leg(data: Json | None) -> LegScore | None:
    return LegScore(data["score"], data["rank"]) if data else None
