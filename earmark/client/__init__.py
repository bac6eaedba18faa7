"""The Earmark client: find the second at which something was said.

    from earmark.client import Client

    with Client("http://127.0.0.1:8080") as client:
        video = client.upload("talk.mp4")
        for status in client.watch(video.video_id):
            print(status.status, status.progress.fraction)
        for hit in client.search("why does the tide come twice a day").hits:
            print(hit.title, hit.match_time, hit.text)

`AsyncClient` is the same with `await` and `async for`.
"""

from earmark.client.aio import AsyncClient
from earmark.client.calls import SearchFilters, SegmentChanges, SpeechOptions
from earmark.client.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    EarmarkClientError,
    FieldViolation,
    Internal,
    InvalidRequest,
    NotFound,
    Overloaded,
    PermissionDenied,
    ProtocolError,
    Timeout,
    Unavailable,
)
from earmark.client.keys import ApiKey, KeyOptions, NewApiKey
from earmark.client.multipart import Progress
from earmark.client.results import (
    Coverage,
    EditedSegment,
    Highlight,
    Hit,
    Imported,
    LegScore,
    MissingShard,
    Problem,
    ReplicaCoverage,
    SearchResult,
    Segment,
    Slice,
    Source,
    Timing,
    Transcript,
    TranscriptLine,
    Video,
    VideoError,
    VideoMetadata,
    VideoPage,
    VideoProgress,
    VideoStatus,
    Word,
)
from earmark.client.sync import Client

__all__ = [
    "ApiError",
    "ApiKey",
    "AsyncClient",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "Coverage",
    "EarmarkClientError",
    "EditedSegment",
    "FieldViolation",
    "Highlight",
    "Hit",
    "Imported",
    "Internal",
    "InvalidRequest",
    "KeyOptions",
    "LegScore",
    "MissingShard",
    "NewApiKey",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Problem",
    "Progress",
    "ProtocolError",
    "ReplicaCoverage",
    "SearchFilters",
    "SearchResult",
    "Segment",
    "SegmentChanges",
    "Slice",
    "Source",
    "SpeechOptions",
    "Timeout",
    "Timing",
    "Transcript",
    "TranscriptLine",
    "Unavailable",
    "Video",
    "VideoError",
    "VideoMetadata",
    "VideoPage",
    "VideoProgress",
    "VideoStatus",
    "Word",
]
