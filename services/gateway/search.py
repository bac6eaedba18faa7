"""One search: checked, embedded, asked of every shard, fused, grouped, and explained."""

from __future__ import annotations

import enum
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from google.protobuf.duration_pb2 import Duration
from prometheus_client import Counter, Histogram

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError, InvalidArgument, Overloaded, Unavailable
from services.common.ids import is_video_id
from services.common.metrics import LATENCY_SECONDS
from services.gateway import highlight
from services.gateway.cursor import SearchCursor, fingerprint, seen_id
from services.gateway.fanout import Fanout, Missing
from services.gateway.ranking import LegScore, RankedHit, VideoHits, dense_score, fuse, group

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_VIDEO_IDS = 100
MAX_DEPTH = 1000
"""Chunks a shard gives for a leg at most; part of ShardService's contract."""
MAX_SEEN = 500
"""Videos a cursor remembers; paging ends there."""
_DEPTH_GROWTH = 4
SECONDS = Histogram(
    "earmark_gateway_search_seconds", "Time of a search, by where it went.", ["stage"], buckets=LATENCY_SECONDS
)
_TOTAL, _EMBED, _SHARDS, _FUSE = (SECONDS.labels(stage) for stage in ("total", "embed", "shards", "fuse"))
DEGRADED = Counter("earmark_gateway_searches_degraded_total", "Searches without a leg they asked for.")
_EMBED_SHARE = 0.6


class SearchMode(enum.StrEnum):
    """Which legs run."""

    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


class QueryVector(NamedTuple):
    """An embedded query."""

    vector: bytes
    """Little-endian float32, L2-normalised."""
    model_revision: str


class QueryEmbedder(Protocol):
    """Turns a query into a vector."""

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        """Embeds `text` in at most `timeout` seconds.

        Raises:
            EarmarkError: It could not; `code` says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search as asked for, checked."""

    text: str
    limit: int
    mode: SearchMode
    video_ids: tuple[str, ...]
    language: str
    cursor: SearchCursor
    bound: bytes
    """Fingerprint of query and filter, which cursors are tied to."""

    @classmethod
    def of(
        cls,
        text: str,
        *,
        max_chars: int,
        limit: int = DEFAULT_LIMIT,
        mode: str = "",
        video_ids: Sequence[str] = (),
        language: str = "",
        cursor: str = "",
    ) -> SearchQuery:
        """Checks what was asked for.

        `limit` is brought into 1 to 100 (0 means 10); everything else that is wrong is refused.

        Raises:
            InvalidArgument: with the field that is wrong and what is allowed.
        """
        cleaned = _clean(text)
        if not cleaned:
            raise InvalidArgument("the query is empty; say what to look for", field="q")
        if len(text) > max_chars:
            raise InvalidArgument(
                f"the query has {len(text)} characters; at most {max_chars} are searched for", field="q"
            )
        try:
            chosen = SearchMode(mode or SearchMode.HYBRID)
        except ValueError:
            allowed = ", ".join(SearchMode)
            raise InvalidArgument(f"mode {mode[:32]!r} is not one of {allowed}", field="mode") from None
        language = language.strip().lower()
        if language and not (language.isascii() and language.isalpha() and 2 <= len(language) <= 3):
            raise InvalidArgument(f"language {language[:32]!r} is no ISO 639 code, such as en", field="language")
        if len(video_ids) > MAX_VIDEO_IDS:
            raise InvalidArgument(
                f"{len(video_ids)} video_ids given; at most {MAX_VIDEO_IDS} are looked at", field="video_id"
            )
        for video_id in video_ids:
            if not is_video_id(video_id):
                raise InvalidArgument(f"{video_id[:64]!r} is no video id (vid_ and 26 characters)", field="video_id")
        videos = tuple(sorted(set(video_ids)))
        bound = fingerprint("search", cleaned, chosen.value, videos, language)
        return cls(
            text=cleaned,
            limit=min(limit, MAX_LIMIT) if limit > 0 else DEFAULT_LIMIT,
            mode=chosen,
            video_ids=videos,
            language=language,
            cursor=SearchCursor.decode(cursor, bound),
            bound=bound,
        )


@dataclass(slots=True)
class Hit:
    """A moment of a video."""

    video_id: str
    title: str
    language: str
    chunk_id: str
    text: str
    highlights: list[tuple[int, int]]
    """Half-open ranges of code points of `text`."""
    start_time: float
    end_time: float
    match_time: float
    """Where to press play. All times are seconds in the media's clock."""
    score: float
    semantic: LegScore | None
    keyword: LegScore | None
    more: list[Hit] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an answer covers."""

    shards_total: int
    shards_answered: int
    complete: bool
    legs: list[str]
    embedding_model: str
    missing: list[Missing]


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds."""

    total: float
    embed: float
    shards: float
    fuse: float


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer to one search."""

    query: str
    mode: SearchMode
    hits: list[Hit]
    next_cursor: str
    coverage: Coverage
    timing: Timing


class Searcher:
    """Answers searches.

    Args:
        embedder: Embeds queries.
        fanout: Asks the shards.
        shards_total: Shards there are.
        deadline_seconds: Time a search may take.
        semantic_floor: Cosine similarity below which a chunk does not count as found by meaning.
        semantic_floor_alone: The same, for a hybrid search whose words are found nowhere.
        depth: Chunks a shard is asked for per leg, for a first page of usual size.
        more_per_video: Further moments shown of each video.
        concurrency: Searches under way at once; one more is refused.
    """

    def __init__(
        self,
        *,
        embedder: QueryEmbedder,
        fanout: Fanout,
        shards_total: int,
        deadline_seconds: float,
        semantic_floor: float,
        semantic_floor_alone: float,
        depth: int,
        more_per_video: int,
        concurrency: int,
    ) -> None:
        self._embedder = embedder
        self._fanout = fanout
        self._shards_total = shards_total
        self._deadline_seconds = deadline_seconds
        self._semantic_floor = semantic_floor
        self._semantic_floor_alone = max(semantic_floor, semantic_floor_alone)
        self._depth = depth
        self._more = more_per_video
        self._concurrency = concurrency
        self._running = 0

    async def search(self, query: SearchQuery, *, timeout: float | None = None) -> SearchAnswer:
        """Searches.

        Args:
            query: What to look for.
            timeout: Seconds the caller has left; the search's own deadline holds as well.

        Raises:
            Overloaded: Too many searches are under way.
            Unavailable: No shard answered, or the embedder did not and there is no other leg.
        """
        if self._running >= self._concurrency:
            raise Overloaded(f"{self._running} searches are under way; try again shortly", retry_after_seconds=0.2)
        self._running += 1
        try:
            return await self._search(
                query, self._deadline_seconds if timeout is None else min(timeout, self._deadline_seconds)
            )
        finally:
            self._running -= 1

    async def _search(self, query: SearchQuery, budget: float) -> SearchAnswer:
        started = time.monotonic()
        deadline = started + budget
        vector = await self._embed(query, budget)
        embedded = time.monotonic()

        depth = self._depth_of(query)
        request = pb.SearchShardRequest(
            vector=vector.vector if vector else b"",
            model_revision=vector.model_revision if vector else "",
            text="" if query.mode is SearchMode.SEMANTIC else query.text,
            k=depth,
        )
        if query.video_ids:
            request.filter.video_ids.extend(query.video_ids)
        if query.language:
            request.filter.language = query.language
        answers = await self._fanout.search(request, deadline=deadline)
        if not answers.responses:
            reasons = ", ".join(sorted({missing.reason for missing in answers.missing}))
            raise Unavailable(
                f"no index shard answered ({reasons}); try again shortly",
                reason="NO_SHARD_ANSWERED",
                retry_after_seconds=1,
            )
        asked = time.monotonic()

        floor = self._floor(query, answers.responses)
        videos = group(fuse(answers.responses, semantic_floor=floor), more=self._more)
        cut_off = depth < MAX_DEPTH and _cut_off(answers.responses, depth, floor)
        page, next_cursor = _page(query, videos, cut_off=cut_off)
        hits = _hits(page, query)
        fused = time.monotonic()

        if vector is None and query.mode is not SearchMode.KEYWORD:
            DEGRADED.inc()
        _TOTAL.observe(fused - started)
        _EMBED.observe(embedded - started)
        _SHARDS.observe(asked - embedded)
        _FUSE.observe(fused - asked)
        legs = _legs(answers.responses)
        wanted = 1 if query.mode is not SearchMode.HYBRID else 2
        coverage = Coverage(
            shards_total=self._shards_total,
            shards_answered=len(answers.responses),
            complete=not answers.missing and all(len(response.legs) == wanted for response in answers.responses),
            legs=legs,
            embedding_model=vector.model_revision if vector else "",
            missing=answers.missing,
        )
        timing = Timing(total=fused - started, embed=embedded - started, shards=asked - embedded, fuse=fused - asked)
        return SearchAnswer(query.text, query.mode, hits, next_cursor, coverage, timing)

    async def _embed(self, query: SearchQuery, budget: float) -> QueryVector | None:
        """Embeds the query; None when the dense leg is not wanted, or cannot run and is not the only one."""
        if query.mode is SearchMode.KEYWORD:
            return None
        try:
            return await self._embedder.embed_query(query.text, timeout=budget * _EMBED_SHARE)
        except EarmarkError as error:
            if query.mode is SearchMode.HYBRID:
                return None
            raise Unavailable(
                f"the embedder did not answer ({error.code}); try again shortly, or search with mode=keyword",
                reason="EMBEDDER_UNAVAILABLE",
                retry_after_seconds=1,
            ) from error

    def _depth_of(self, query: SearchQuery) -> int:
        wanted = max(self._depth, 5 * query.limit) * int(_DEPTH_GROWTH ** min(query.cursor.page, 8))
        return min(wanted, MAX_DEPTH)

    def _floor(self, query: SearchQuery, responses: Sequence[pb.SearchShardResponse]) -> float:
        """Gives the floor of the dense leg: a high one when not one word of the query is said anywhere.

        Something is always nearest, even to gibberish; that none of its words are known tells the two apart.
        """
        if query.mode is not SearchMode.HYBRID or not all("keyword" in response.legs for response in responses):
            return self._semantic_floor
        if any(hit.HasField("keyword_score") for response in responses for hit in response.hits):
            return self._semantic_floor
        return self._semantic_floor_alone


def _page(query: SearchQuery, videos: list[VideoHits], *, cut_off: bool) -> tuple[list[VideoHits], str]:
    """Takes the next videos that no page before has shown, and the cursor behind them.

    Args:
        query: What was asked for.
        videos: What was found, best first.
        cut_off: Whether looking deeper may find more.
    """
    seen = query.cursor.seen
    fresh = [video for video in videos if seen_id(video.video_id) not in seen] if seen else videos
    page = fresh[: query.limit]
    if len(fresh) <= query.limit and not cut_off:
        return page, ""
    shown = seen.union(seen_id(video.video_id) for video in page)
    if len(shown) > MAX_SEEN:
        return page, ""
    return page, SearchCursor(page=query.cursor.page + 1, seen=shown).encode(query.bound)


def _clean(text: str) -> str:
    """Makes one line of a query: composed characters, no control characters, single spaces."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    if not composed.isprintable():
        composed = "".join(
            char if char.isprintable() or unicodedata.category(char) == "Cf" else " " for char in composed
        )
    return " ".join(composed.split())


def _cut_off(responses: Sequence[pb.SearchShardResponse], depth: int, semantic_floor: float) -> bool:
    """Says whether a leg of a shard ended because it was not asked for more."""
    for response in responses:
        if len(response.hits) < depth:
            continue
        semantic = sum(
            hit.HasField("semantic_score") and dense_score(hit.semantic_score, hit.sentence_scores) >= semantic_floor
            for hit in response.hits
        )
        keyword = sum(hit.HasField("keyword_score") for hit in response.hits)
        if semantic >= depth or keyword >= depth:
            return True
    return False


def _legs(responses: Sequence[pb.SearchShardResponse]) -> list[str]:
    ran = {leg for response in responses for leg in response.legs}
    return [leg for leg in ("semantic", "keyword") if leg in ran]


def _hits(videos: list[VideoHits], query: SearchQuery) -> list[Hit]:
    queries: dict[str, highlight.Query] = {}
    hits = []
    for video in videos:
        hit = _hit(video.best, query.text, queries)
        hit.more = [_hit(ranked, query.text, queries) for ranked in video.more]
        hits.append(hit)
    return hits


def _hit(ranked: RankedHit, text: str, queries: dict[str, highlight.Query]) -> Hit:
    chunk = ranked.chunk
    language = chunk.language
    if (words := queries.get(language)) is None:
        words = queries[language] = highlight.Query(text, language=language)
    chunk_text = chunk.text
    found = words.find(chunk_text)
    start = _seconds(chunk.start_offset)
    match = start
    if found.ranges or ranked.sentence_scores:
        marks = chunk.sentence_marks
        best = highlight.best_sentence(found, [mark.char_offset for mark in marks], ranked.sentence_scores)
        if best is not None:
            match = _seconds(marks[best].start_offset)
    return Hit(
        video_id=chunk.video_id,
        title=chunk.title,
        language=language,
        chunk_id=chunk.chunk_id,
        text=chunk_text,
        highlights=found.ranges,
        start_time=start,
        end_time=_seconds(chunk.end_offset),
        match_time=match,
        score=ranked.score,
        semantic=ranked.semantic,
        keyword=ranked.keyword,
    )


def _seconds(offset: Duration) -> float:
    return offset.seconds + offset.nanos * 1e-9
