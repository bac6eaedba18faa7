"""The shapes of the HTTP API, for its documentation; responses are written from plain dictionaries."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VIDEO_ID = "vid_01k9zq3w5m8xa2r7t4c6y0b1ef"
_ID = Field(examples=[VIDEO_ID])


class Shape(BaseModel):
    """A shape whose fields are told by the texts below them."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Links(Shape):
    """Paths of everything about a video."""

    self: str = Field(examples=[f"/v1/videos/{VIDEO_ID}"])
    status: str
    events: str
    transcript: str
    media: str | None
    """Null for a video made of a transcript: there is nothing to play."""
    thumbnail: str | None
    """A picture of it; with `t=` and seconds, of that moment. Null where there is nothing to see."""
    sprites: str | None
    """WebVTT track of small pictures for a timeline. Null where there is nothing to see."""
    page: str


class Source(Shape):
    """What was uploaded; all null until a URL has been fetched."""

    filename: str | None = Field(examples=["talk.mp4"])
    content_type: str | None = Field(examples=["video/mp4"])
    bytes: int | None
    sha256: str | None


class Metadata(Shape):
    """Facts found while processing."""

    uploaded_at: dt.datetime
    processed_at: dt.datetime | None
    language: str | None = Field(examples=["en"])
    """ISO 639-1; the one spoken longest."""
    languages: list[str]
    """All that are spoken, the one spoken longest first."""
    asr_model: str | None
    embedding_model: str | None
    speaker_count: int | None


class Progress(Shape):
    """How much is done, counted in slices. Seconds are of media time."""

    slices_known: int
    slicing_done: bool
    """Whether `slices_known` is the total."""
    slices_done: int
    slices_failed: int
    seconds_searchable: float
    seconds_known: float
    fraction: float | None
    """0 to 1; null while the total is not known."""
    seconds_left: float | None
    """Seconds until all of it is searchable, from the speed measured; null where there is nothing to tell from, and
    when it is over."""


class Failure(Shape):
    """Why a video failed."""

    stage: str
    """fetch, slice, transcribe, embed or index."""
    reason: str = Field(examples=["MEDIA_UNREADABLE"])
    message: str
    at: dt.datetime
    slice_id: str | None


class VideoWarning(Shape):
    """Something worth knowing that did not stop the processing."""

    reason: str = Field(examples=["NO_SPEECH"])
    message: str


Playable = Literal["original", "preparing", "rendition", "failed"]
Status = Literal["uploaded", "processing", "ready", "failed", "deleting"]


class Video(Shape):
    """A video and the state of its processing."""

    video_id: str = _ID
    title: str = Field(examples=["How bread rises"])
    url: str | None
    status: Status
    duration: float | None
    """Seconds; null until known."""
    source: Source
    metadata: Metadata
    progress: Progress
    error: Failure | None
    warnings: list[VideoWarning]
    playable: Playable | None
    """What `links.media` gives: the `original`, where browsers play it; else a `rendition`, once it is made. Null until
    somebody has looked."""
    playable_message: str | None
    """Why the original does not play, or why no rendition could be made."""
    revision: int
    """Grows with every change."""
    transcript_revision: int
    """How often the transcript was edited."""
    collection: str | None = Field(examples=["baking"])
    """The collection it belongs to."""
    tags: list[str]
    index_token: str | None = Field(examples=["ix1-3f-1a2b"])
    """Stands for what of it is searchable: given to a search as `min_token`, the answer has that in. Null while nothing
    is."""
    restorable_until: dt.datetime | None
    """Until when a deleted video can be brought back; null for any other."""
    links: Links


class Slice(Shape):
    """A few minutes of a video's audio. Times are seconds in the media."""

    slice_id: str
    start_time: float
    end_time: float
    state: Literal["cut", "transcribed", "embedded", "indexed", "failed"]
    attempts: int


class VideoState(Shape):
    """Where a video stands, slice by slice."""

    video_id: str = _ID
    status: Status
    progress: Progress
    slices: list[Slice]
    error: Failure | None
    warnings: list[VideoWarning]
    playable: Playable | None
    """As of a video."""
    playable_message: str | None
    duration: float | None
    revision: int
    collection: str | None = Field(examples=["baking"])
    """The collection it belongs to."""
    tags: list[str]
    index_token: str | None = Field(examples=["ix1-3f-1a2b"])
    """Stands for what of it is searchable: given to a search as `min_token`, the answer has that in. Null while nothing
    is."""
    links: Links


class VideoList(Shape):
    """A page of videos, newest first."""

    videos: list[Video]
    next_cursor: str | None
    """Asks for the next page; null on the last."""


class NewVideoFromUrl(Shape):
    """A video to be fetched."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": "https://example.org/talk.mp4", "title": "How bread rises"}]},
        use_attribute_docstrings=True,
    )

    url: str = Field(max_length=4096)
    """http, https or s3."""
    title: str = ""
    """At most 300 characters; the file name stands in when empty."""
    collection: str = ""
    """At most 64 letters A-Z a-z, digits, dots, underscores and dashes; empty for none."""
    tags: list[str] = []
    """At most 32 of at most 64 characters."""
    language: str = ""
    """ISO 639-1 code of the language spoken; detected when empty."""
    prompt: str = ""
    """Text as it might stand before the speech: names and spelling in it are kept to. At most 600 characters."""
    hotwords: str = ""
    """Words to be expected, such as names and products; at most 600 characters."""
    task: str = "transcribe"
    """transcribe, or translate to have the text in English, whatever is spoken."""


class VideoChange(Shape):
    """What is to change of a video; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",  # a misspelt name would change nothing, and say nothing
        json_schema_extra={"examples": [{"title": "How bread rises", "tags": ["bread", "baking"]}]},
        use_attribute_docstrings=True,
    )

    title: str = ""
    """At most 300 characters; not empty."""
    collection: str | None = ""
    """Empty or null takes it out of its collection."""
    tags: list[str] | None = []
    """In place of all it had; empty or null takes all away."""


class SegmentChange(Shape):
    """What is to change of a segment; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "The yeast eats the sugar.", "speaker": "Ann"}]},
        use_attribute_docstrings=True,
    )

    text: str = ""
    """Not empty; at most 10000 characters."""
    start: float = 0.0
    """Seconds; not over the neighbours."""
    end: float = 0.0
    speaker: str = ""
    """Empty for unknown."""
    suspect: bool | str = False
    """true where nobody says it: it is then left out of captions and of search; false where somebody does."""


class Range(Shape):
    """A range of a text in Unicode code points; `end` is one past the last."""

    start: int
    end: int


class LegScore(Shape):
    """What one leg said: cosine similarity or BM25, and the place in the leg's list."""

    score: float
    rank: int


class Scores(Shape):
    """What each leg said; null when it did not find the chunk."""

    semantic: LegScore | None
    keyword: LegScore | None


class HitLinks(Shape):
    """Where to go from a hit."""

    video: str
    media: str
    thumbnail: str
    """A picture of the moment; 404 where there is nothing to see."""
    page: str = Field(examples=[f"/v/{VIDEO_ID}?t=83"])


class Moment(Shape):
    """A moment of a video that answers the query. Times are seconds in the media."""

    video_id: str = _ID
    title: str
    language: str | None
    speaker: str | None
    """Null when unknown."""
    chunk_id: str
    text: str = Field(examples=["The yeast eats the sugar. That is what makes the bread rise."])
    highlights: list[Range]
    """Matching words."""
    start_time: float
    end_time: float
    match_time: float
    """Where to press play: the start of the best matching sentence."""
    sentence: Range | None
    """Where in `text` that sentence is; null when none stands out, and play starts with the text."""
    score: float
    """Comparable within one answer only."""
    scores: Scores
    links: HitLinks


class Hit(Moment):
    """The best moment of a video."""

    more: list[Moment]
    """Further moments of the same video, best first."""


class Missing(Shape):
    """A shard that did not answer."""

    shard: int
    reason: str = Field(examples=["UNAVAILABLE"])


class ReplicaCoverage(Shape):
    """How far a replica that answered had followed the events."""

    shard: int
    replica: int
    applied_sequence: int
    """Stream sequence it had applied."""
    lag: int
    """Events of its slots that it had yet to apply."""


class Coverage(Shape):
    """What the answer covers."""

    shards_total: int
    shards_answered: int
    complete: bool
    """Whether every shard answered with every leg asked for."""
    legs: list[Literal["semantic", "keyword"]]
    embedding_model: str | None
    missing: list[Missing]
    replicas: list[ReplicaCoverage]
    """The replicas that answered."""
    tokens_reached: bool
    """Whether all that `min_token` stands for is in; true when there was none."""


class Timing(Shape):
    """Where the time went, in milliseconds."""

    total_ms: float
    embed_ms: float
    shards_ms: float
    fuse_ms: float
    cached: bool
    """Whether it is the answer of before, of which every replica has just said that it still holds."""


class SearchResults(Shape):
    """Best moment of each video found, best video first. There is more when `next_cursor` says so."""

    query: str
    mode: Literal["hybrid", "semantic", "keyword"]
    hits: list[Hit]
    next_cursor: str | None
    coverage: Coverage
    timing: Timing


class Word(Shape):
    """A word. Times are seconds in the media."""

    start: float
    end: float
    text: str
    probability: float


class Segment(Shape):
    """A stretch of speech. Times are seconds in the media."""

    segment_id: str = Field(examples=["00000.0"])
    """By which it is corrected."""
    start: float
    end: float
    text: str
    words: list[Word]
    average_log_probability: float
    no_speech_probability: float
    compression_ratio: float
    language: str
    """Of the text, ISO 639-1; empty when unknown."""
    speech_share: float | None
    """Share of it that voice activity calls speech; null when nobody looked."""
    confidence: float | None
    """How far the words can be trusted, 0 to 1; null when unknown."""
    suspect: Literal["", "no_speech", "loop", "phantom", "echo"]
    """Why likely nobody said it; empty for what is believed. Captions and search leave suspect segments out."""
    speaker: str
    """Empty when unknown."""


class EditedSegment(Shape):
    """A segment after a change."""

    video_id: str = _ID
    revision: int
    """The transcript's new revision, also in ETag."""
    status: Status
    segment: Segment


class Transcript(Shape):
    """What was said, as far as it is transcribed."""

    video_id: str = _ID
    language: str | None
    complete: bool
    """Whether all of it is transcribed."""
    revision: int
    """How often it was edited, also in ETag."""
    segments: list[Segment]


class ErrorBody(Shape):
    """What went wrong."""

    code: int = Field(examples=[404])
    """HTTP status."""
    status: str = Field(examples=["NOT_FOUND"])
    """Name of the gRPC status."""
    message: str
    """What happened and what to do, for people."""
    details: list[dict[str, Any]] = Field(
        examples=[[{"reason": "VIDEO_NOT_FOUND", "domain": "earmark", "metadata": {"video_id": VIDEO_ID}}]]
    )
    """First the machine-readable reason; then, for a wrong field, which one and why."""


_ERROR: dict[str, Any] = {
    "error": {
        "code": 400,
        "status": "INVALID_ARGUMENT",
        "message": "limit 'x' is not a number from 1 to 100",
        "details": [
            {"reason": "INVALID_ARGUMENT", "domain": "earmark", "metadata": {}},
            {"field": "limit", "description": "limit 'x' is not a number from 1 to 100"},
        ],
    }
}


class Error(Shape):
    """The shape of every error."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ERROR]}, use_attribute_docstrings=True)

    error: ErrorBody


class DependencyState(Shape):
    """Whether something needed answers."""

    ready: bool
    detail: str = ""


class Readiness(Shape):
    """Whether searches are answered, and what each dependency says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ready": False,
                    "stopping": False,
                    "checks": {"mongo": {"ready": True}, "shard 0": {"ready": False, "detail": "no replica answers"}},
                }
            ]
        },
        use_attribute_docstrings=True,
    )

    ready: bool
    stopping: bool
    """Whether the gateway is on its way out."""
    checks: dict[str, DependencyState]
    """What each dependency says, to administrators."""


NOT_CHANGED: dict[str, Any] = {"description": "It is what `If-None-Match` says."}
IF_NONE_MATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "ETag of what there is already: 304 where it is the same.",
            "schema": {"type": "string"},
        }
    ]
}
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"model": Error, "description": "Something went wrong."}}
"""For the documentation of every route."""
