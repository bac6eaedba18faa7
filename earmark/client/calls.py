"""Every request of the gateway's HTTP API, built once for the sync and the async client."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar, cast
from urllib.parse import quote

import httpx

from earmark.client.errors import EarmarkClientError, ProtocolError, from_response
from earmark.client.results import (
    EditedSegment,
    Imported,
    Json,
    SearchResult,
    Transcript,
    TranscriptLine,
    Video,
    VideoPage,
    VideoStatus,
)

T = TypeVar("T")
Task = Literal["transcribe", "translate"]
SuspectSegments = Literal["include", "exclude"]
SearchMode = Literal["hybrid", "semantic", "keyword"]
CaptionFormat = Literal["vtt", "srt", "txt"]
TranscriptFormat = Literal["vtt", "srt", "json"]
MEDIA_TYPES: dict[TranscriptFormat, str] = {
    "vtt": "text/vtt",
    "srt": "application/x-subrip",
    "json": "application/json",
}
Parameters = Mapping[str, str | int | list[str]]

# Reading waits for what the gateway does, which for an upload is hashing and storing its last bytes.
TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=60.0, pool=None)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    method: str
    path: str
    parse: Callable[[httpx.Response, str], T]
    params: Parameters = field(default_factory=dict)
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def finish(self, response: httpx.Response, base_url: str) -> T:
        """The answer as a result.

        Raises:
            ApiError: the gateway refused.
            ProtocolError: the answer is not the gateway's.
        """
        if not response.is_success:
            raise from_response(response)
        try:
            return self.parse(response, base_url)
        except EarmarkClientError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProtocolError(f"{response.request.url} did not answer as an Earmark gateway does.") from error


Send = Callable[[Call[Any]], Any]
"""Makes a call and gives what came of it."""
AsyncSend = Callable[[Call[Any]], Awaitable[Any]]


def parsed(parse: Callable[[Json], Any]) -> Callable[[httpx.Response, str], Any]:
    """Reads an answer that is JSON without links."""
    return lambda response, _: parse(response.json())


def upload_answer(response: httpx.Response, base_url: str) -> Video:
    """Reads the answer to an upload."""
    video = Call("POST", UPLOAD_PATH, _video).finish(response, base_url)
    return replace(video, existing=response.headers.get("earmark-existing") == "true")


UPLOAD_PATH = "/v1/videos/upload"
KEY_VARIABLE = "EARMARK_API_KEY"


def authorization(key: str | None) -> dict[str, str]:
    """The header that a key is sent in: the key given, that of the environment when None, and none when empty."""
    chosen = os.environ.get(KEY_VARIABLE, "") if key is None else key
    return {"Authorization": f"Bearer {chosen.strip()}"} if chosen.strip() else {}


class SpeechOptions(TypedDict, total=False):
    """What is known of the speech in a video; what is left out is left to the recognizer.

    Attributes:
        language: The language spoken (ISO 639-1); detected otherwise.
        prompt: Text as it might stand before the speech, at most 600 characters: names and spelling in it are kept to.
        hotwords: Words to be expected, such as names and products; at most 600 characters.
        task: `translate` to have the text in English, whatever is spoken; otherwise `transcribe`.
    """

    language: str
    prompt: str
    hotwords: str
    task: Task


def upload_fields(
    *,
    title: str,
    collection: str,
    tags: Iterable[str],
    captions: str | bytes | None,
    duplicate: bool,
    speech: SpeechOptions,
) -> list[tuple[str, str | bytes]]:
    """The parts of an upload's form that go before the file; empty texts are left out."""
    told = [("title", title), ("collection", collection), *(("tag", tag) for tag in tags), *_speech(speech).items()]
    told.append(("duplicate", "allow" if duplicate else ""))
    fields: list[tuple[str, str | bytes]] = [(name, text) for name, text in told if text]
    # Empty captions are sent, and refused: left out they would have the speech recognized instead.
    return fields if captions is None else [*fields, ("captions", captions)]


def create_from_url(
    url: str, *, title: str, collection: str, tags: Iterable[str], speech: SpeechOptions
) -> Call[Video]:
    """POST /videos."""
    given = {"url": url, "title": title, "collection": collection, "tags": list(tags), **_speech(speech)}
    return Call("POST", "/v1/videos", _video, body={name: value for name, value in given.items() if value})


def import_transcript(
    title: str,
    lines: Iterable[TranscriptLine],
    *,
    url: str,
    language: str,
    duration: float | None,
    collection: str,
    tags: Iterable[str],
    external_id: str,
) -> Call[Imported]:
    """POST /videos/import."""
    given = {
        "title": title,
        "url": url,
        "language": language,
        "duration": duration,
        "collection": collection,
        "tags": list(tags),
        "external_id": external_id,
        "segments": [line.body() for line in lines],
    }
    kept = {name: value for name, value in given.items() if value or name in ("title", "segments")}
    return Call("POST", "/v1/videos/import", _imported, body=kept)


def update_video(
    video_id: str, *, title: str | None, collection: str | None, tags: Iterable[str] | None
) -> Call[Video]:
    """PATCH /videos/{id}."""
    given = {"title": title, "collection": collection, "tags": None if tags is None else list(tags)}
    return Call(
        "PATCH", _path(video_id), _video, body={name: value for name, value in given.items() if value is not None}
    )


def get(video_id: str) -> Call[Video]:
    """GET /videos/{id}."""
    return Call("GET", _path(video_id), _video)


def page(*, limit: int, cursor: str | None, status: str | None) -> Call[VideoPage]:
    """GET /videos."""
    params: dict[str, str | int | list[str]] = {"limit": limit}
    if cursor:
        params["cursor"] = cursor
    if status:
        params["status"] = status
    return Call("GET", "/v1/videos", lambda response, base: VideoPage.parse(response.json(), base), params)


def status(video_id: str) -> Call[VideoStatus]:
    """GET /videos/{id}/status."""
    return Call("GET", _path(video_id) + "/status", lambda response, base: VideoStatus.parse(response.json(), base))


def events_path(video_id: str) -> str:
    """Path of the server-sent events of one video."""
    return _path(video_id) + "/events"


def status_event(data: str, base_url: str) -> VideoStatus:
    """Reads the data of a `status` event."""
    try:
        return VideoStatus.parse(json.loads(data), base_url)
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolError("A status event is not in the form an Earmark gateway sends.") from error


def delete(video_id: str, *, now: bool) -> Call[Video]:
    """DELETE /videos/{id}."""
    return Call("DELETE", _path(video_id), _video, {"now": "true"} if now else {})


def restore(video_id: str) -> Call[Video]:
    """POST /videos/{id}/restore."""
    return Call("POST", _path(video_id) + "/restore", _video)


def retry(video_id: str) -> Call[Video]:
    """POST /videos/{id}/retry."""
    return Call("POST", _path(video_id) + "/retry", _video)


def transcript(video_id: str, *, original: bool, suspect: SuspectSegments | None) -> Call[Transcript]:
    """GET /videos/{id}/transcript as JSON."""
    params = _transcript_params("json", original=original, suspect=suspect)
    return Call("GET", _path(video_id) + "/transcript", lambda response, _: Transcript.parse(response.json()), params)


def captions(
    video_id: str, caption_format: CaptionFormat, *, words: bool, original: bool, suspect: SuspectSegments | None
) -> Call[str]:
    """GET /videos/{id}/transcript as text."""
    params = _transcript_params(caption_format, words=words, original=original, suspect=suspect)
    return Call("GET", _path(video_id) + "/transcript", lambda response, _: response.text, params)


def put_transcript(video_id: str, content: str | bytes, form: TranscriptFormat, *, revision: int | None) -> Call[Video]:
    """PUT /videos/{id}/transcript."""
    data = content.encode() if isinstance(content, str) else content
    headers = {"Content-Type": MEDIA_TYPES[form], **_if_match(revision)}
    return Call("PUT", _path(video_id) + "/transcript", _video, content=data, headers=headers)


class SegmentChanges(TypedDict, total=False):
    """What is to change of a segment; what is left out, or None, stays.

    Attributes:
        text: What is said; not empty.
        start: Seconds; not over its neighbours.
        end: Seconds.
        speaker: Who says it; empty for unknown.
        suspect: Whether nobody says it; then it is left out of captions and search.
    """

    text: str | None
    start: float | None
    end: float | None
    speaker: str | None
    suspect: bool | None


def edit_segment(
    video_id: str, segment_id: str, changes: SegmentChanges, *, revision: int | None
) -> Call[EditedSegment]:
    """PATCH /videos/{id}/transcript/segments/{segment}."""
    return Call(
        "PATCH",
        f"{_path(video_id)}/transcript/segments/{quote(segment_id, safe='')}",
        lambda response, _: EditedSegment.parse(response.json()),
        body={name: value for name, value in changes.items() if value is not None},
        headers=_if_match(revision),
    )


def _speech(options: SpeechOptions) -> dict[str, str]:
    if unknown := options.keys() - SpeechOptions.__annotations__.keys():
        raise TypeError(f"there is no option {min(unknown)!r}")
    return {name: str(value) for name, value in options.items() if value}


def _transcript_params(
    form: str, *, original: bool, suspect: SuspectSegments | None, words: bool = False
) -> dict[str, str]:
    params = {
        "format": form,
        "words": "true" if words else "",
        "original": "true" if original else "",
        "suspect": suspect or "",
    }
    return {name: value for name, value in params.items() if value}


def _if_match(revision: int | None) -> dict[str, str]:
    return {} if revision is None else {"If-Match": f'"{revision}"'}


class SearchFilters(TypedDict, total=False):
    """What may be found; what is left out says nothing.

    Attributes:
        video_ids: Only these videos.
        language: Only speech in this language (ISO 639-1).
        collections: Only videos of one of these collections.
        speakers: Only speech of one of these speakers.
        tags: Only videos with every one of these tags.
        uploaded_since: Only videos uploaded then or later; without a zone, UTC. A text is taken as it is.
        uploaded_before: Only videos uploaded earlier.
        min_duration: Only videos at least so long, in seconds.
        max_duration: Only videos at most so long, in seconds.
        min_tokens: `index_token` of videos whose speech has to be in, as far as it was searchable then: the search
            waits for it, half of its time at most, and `coverage.tokens_reached` says whether it is in.
    """

    video_ids: Iterable[str]
    language: str | None
    collections: Iterable[str]
    speakers: Iterable[str]
    tags: Iterable[str]
    uploaded_since: date | datetime | str | None
    uploaded_before: date | datetime | str | None
    min_duration: float | None
    max_duration: float | None
    min_tokens: Iterable[str]


_SEVERAL = {
    "video_ids": "video_id",
    "collections": "collection",
    "speakers": "speaker",
    "tags": "tag",
    "min_tokens": "min_token",
}


def search(
    query: str, *, limit: int, cursor: str | None, mode: SearchMode, filters: SearchFilters
) -> Call[SearchResult]:
    """GET /search."""
    params: dict[str, str | int | list[str]] = {"q": query, "limit": limit, "mode": mode}
    if cursor:
        params["cursor"] = cursor
    for name, value in filters.items():
        if name in _SEVERAL:
            if isinstance(value, str):
                raise TypeError(f"{name} takes several texts, not one: give a list")
            if several := list(cast(Iterable[str], value)):
                params[_SEVERAL[name]] = several
        elif value is not None and value != "":
            params[name] = value.isoformat() if isinstance(value, date) else str(value)
    return Call("GET", "/v1/search", lambda response, base: SearchResult.parse(response.json(), base), params)


def is_ready() -> Call[bool]:
    """GET /readyz."""
    return Call("GET", "/readyz", lambda response, _: response.is_success)


def _path(video_id: str) -> str:
    return f"/v1/videos/{quote(video_id, safe='')}"


def _imported(response: httpx.Response, base_url: str) -> Imported:
    return Imported(_video(response, base_url), already_there=response.status_code == httpx.codes.OK)


def _video(response: httpx.Response, base_url: str) -> Video:
    return Video.parse(response.json(), base_url)
