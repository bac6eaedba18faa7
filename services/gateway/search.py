"""One search: checked, embedded, asked of every shard, fused, grouped, and explained."""

from __future__ import annotations

import enum
import math
import time
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from google.protobuf.duration_pb2 import Duration
from prometheus_client import Counter, Histogram

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError, FailedPrecondition, InvalidArgument, Overloaded, Unavailable
from services.common.index_token import IndexToken
from services.common.metrics import LATENCY_SECONDS
from services.gateway import highlight
from services.gateway.cursor import SearchCursor, fingerprint
from services.gateway.fanout import MAX_K, Fanout, Missing, ShardAnswers
from services.gateway.filters import SearchFilter
from services.gateway.paging import take
from services.gateway.ranking import Fused, LegScore, RankedHit, VideoMoments, fuse, group
from services.gateway.routing import Freshness

DEFAULT_LIMIT = 10
MAX_LIMIT = 100
MAX_TOKENS = 100
MAX_DEPTH = 10_000
"""Chunks of a leg that an answer is made of at most; paging ends there."""
_CHUNKS_A_VIDEO = 4
# The second is what the indexer calls it when chunks of another model come in.
MISMATCH = "MODEL_MISMATCH"
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
    filters: SearchFilter
    tokens: tuple[IndexToken, ...]
    cursor: SearchCursor
    bound: bytes
    """Fingerprint of query and filter, which cursors are tied to."""

    @classmethod
    def of(
        cls,
        text: str,
        *,
        max_chars: int,
        seen: Collection[str] | None,
        limit: int = DEFAULT_LIMIT,
        mode: str = "",
        filters: SearchFilter = SearchFilter(),  # noqa: B008  (it cannot change)
        min_tokens: Sequence[str] = (),
        cursor: str = "",
    ) -> SearchQuery:
        """Checks what was asked for.

        A `limit` above 100 is taken as 100, one below 1 as 10; everything else that is wrong is refused. `seen` are the
        collections whoever asks may see, None for all: it becomes part of the filter, and so of whatever stands for the
        query, such as its cursors.

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
        if len(min_tokens) > MAX_TOKENS:
            raise InvalidArgument(f"{len(min_tokens)} index tokens given; {MAX_TOKENS} at most", field="min_token")
        filters = filters.within(seen)
        bound = fingerprint("search", cleaned, chosen.value, filters.key())
        return cls(
            text=cleaned,
            limit=min(limit, MAX_LIMIT) if limit > 0 else DEFAULT_LIMIT,
            mode=chosen,
            filters=filters,
            tokens=tuple(IndexToken.decode(token, field="min_token") for token in min_tokens),
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
    speaker: str = ""
    """Empty when unknown."""
    sentence: tuple[int, int] | None = None
    """The sentence that starts at `match_time`, as a range of `text`; None where none stands out."""
    more: list[Hit] = field(default_factory=list)


class ReplicaCoverage(NamedTuple):
    """How far a replica that answered had followed the events; `version` stands for what it held."""

    shard: int
    replica: int
    applied_sequence: int
    lag: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What an answer covers."""

    shards_total: int
    shards_answered: int
    complete: bool
    legs: list[str]
    embedding_model: str
    missing: list[Missing]
    replicas: list[ReplicaCoverage]
    tokens_reached: bool
    """Whether everything that the query's tokens stand for is in."""
    table_version: int = 0
    """Version of the slot table that it goes by."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds."""

    total: float
    embed: float
    shards: float
    fuse: float
    cached: bool = False
    """Whether the shards were only asked if the answer of before still holds."""


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The answer to one search."""

    query: str
    mode: SearchMode
    hits: list[Hit]
    next_cursor: str
    coverage: Coverage
    timing: Timing


class Searches(Protocol):
    """Answers searches."""

    async def search(self, query: SearchQuery, *, timeout: float | None = None) -> SearchAnswer:
        """Searches, in at most `timeout` seconds where that is given. Raises EarmarkError."""
        ...


class Searcher:
    """Answers searches.

    Args:
        embedder: Embeds queries.
        fanout: Asks the shards.
        deadline_seconds: Time a search may take.
        semantic_floor: Cosine similarity below which a chunk does not count as found by meaning.
        semantic_floor_alone: The same, for a hybrid search whose words are found nowhere.
        depth: Chunks of each leg, over all shards, that a first page of usual size is made of.
        more_per_video: Further moments shown of each video.
        concurrency: Searches under way at once; one more is refused.
        searched: Is told of each search that was answered.
    """

    def __init__(
        self,
        *,
        embedder: QueryEmbedder,
        fanout: Fanout,
        deadline_seconds: float,
        semantic_floor: float,
        semantic_floor_alone: float,
        depth: int,
        more_per_video: int,
        concurrency: int,
        searched: Callable[[SearchQuery, SearchAnswer], None] = lambda _query, _answer: None,
    ) -> None:
        self._embedder = embedder
        self._fanout = fanout
        self._deadline_seconds = deadline_seconds
        self._semantic_floor = semantic_floor
        self._semantic_floor_alone = max(semantic_floor, semantic_floor_alone)
        self._depth = depth
        self._more = more_per_video
        self._concurrency = concurrency
        self._running = 0
        self._searched = searched

    async def search(self, query: SearchQuery, *, timeout: float | None = None) -> SearchAnswer:
        """Searches.

        Args:
            query: What to look for.
            timeout: Seconds the caller has left; the search's own deadline holds as well.

        Raises:
            Overloaded: Too many searches are under way.
            Unavailable: No shard answered, or the embedder did not and there is no other leg.
            FailedPrecondition: The index was made with another embedding model than the query's.
        """
        if self._running >= self._concurrency:
            raise Overloaded(f"{self._running} searches are under way; try again shortly", retry_after_seconds=0.2)
        self._running += 1
        try:
            answer = await self._search(
                query, self._deadline_seconds if timeout is None else min(timeout, self._deadline_seconds)
            )
            self._searched(query, answer)
            return answer
        finally:
            self._running -= 1

    async def _search(self, query: SearchQuery, budget: float) -> SearchAnswer:
        started = time.monotonic()
        deadline = started + budget
        vector = await self._embed(query, budget)
        embedded = time.monotonic()

        request = pb.SearchShardRequest(
            vector=vector.vector if vector else b"",
            model_revision=vector.model_revision if vector else "",
            text="" if query.mode is SearchMode.SEMANTIC else query.text,
            filter=query.filters.message(),
            columns=True,
        )
        fresh = Freshness(sequences(query.tokens), query.cursor.applied)
        levels = _Levels(self._depth, shards=self._fanout.shards)
        level = max(min(query.cursor.level, levels.last), levels.for_limit(query.limit))
        in_shards = 0.0
        while True:
            asking = time.monotonic()
            depth = levels.depth(level)
            answers = await self._fanout.search(request, depth=depth, deadline=deadline, fresh=fresh)
            asked = time.monotonic()
            in_shards += asked - asking
            self._check(answers, vector)
            fused = fuse(
                answers.candidates,
                semantic_floor=self._semantic_floor,
                semantic_floor_alone=self._alone(query, answers),
                depth=depth,
            )
            videos = group(fused.chunk_ids, more=self._more)
            deeper = level + 1 if fused.cut_off and level < levels.last else None
            page = take(
                [video.video_id for video in videos],
                query.cursor,
                limit=query.limit,
                level=level,
                deeper=deeper,
                deepest=levels.last,
                applied={
                    shard: response.applied_sequence
                    for shard, response in zip(answers.shards, answers.responses, strict=True)
                },
            )
            # Many chunks of few videos: an empty page would say that there is nothing more.
            if page.places or deeper is None or time.monotonic() >= deadline:
                break
            level = deeper
        hits = _hits(fused, [videos[place] for place in page.places], query)
        done = time.monotonic()

        if vector is None and query.mode is not SearchMode.KEYWORD:
            DEGRADED.inc()
        fusing = done - embedded - in_shards
        for stage, seconds in (
            (_TOTAL, done - started),
            (_EMBED, embedded - started),
            (_SHARDS, in_shards),
            (_FUSE, fusing),
        ):
            stage.observe(seconds)
        timing = Timing(total=done - started, embed=embedded - started, shards=in_shards, fuse=fusing)
        next_cursor = page.cursor.encode(query.bound) if page.cursor else ""
        coverage = _coverage(query, answers, fresh, vector)
        return SearchAnswer(query.text, query.mode, hits, next_cursor, coverage, timing)

    def _check(self, answers: ShardAnswers, vector: QueryVector | None) -> None:
        """Refuses answers that say nothing, and those with vectors of two models.

        Raises:
            FailedPrecondition: The query's vector is of another model than a shard's.
            Unavailable: No shard answered.
        """
        if vector is not None:
            others = {
                missing.shard: missing.cause.metadata.get("index_model") or self._fanout.model_of(missing.shard)
                for missing in answers.missing
                if missing.cause is not None and missing.cause.reason == MISMATCH
            } | {
                shard: response.model_revision
                for shard, response in zip(answers.shards, answers.responses, strict=True)
                if response.model_revision not in {"", vector.model_revision}
            }
            if others:
                raise _mismatch(vector.model_revision, others)
        if not answers.responses:
            reasons = ", ".join(sorted({missing.reason for missing in answers.missing}))
            raise Unavailable(
                f"no index shard answered ({reasons}); try again shortly",
                reason="NO_SHARD_ANSWERED",
                retry_after_seconds=1,
            )

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

    def _alone(self, query: SearchQuery, answers: ShardAnswers) -> float | None:
        """Gives the floor of the dense leg for a query no word of which is said anywhere; None for the usual one.

        Something is always nearest, even to gibberish; that none of its words are known tells the two apart.
        """
        if query.mode is not SearchMode.HYBRID or not all("keyword" in response.legs for response in answers.responses):
            return None
        return self._semantic_floor_alone


class _Levels:
    """How deep to look: twice as deep with every level, the best so many chunks of each leg over all shards."""

    def __init__(self, depth: int, *, shards: int) -> None:
        self._depth = depth
        self._most = min(MAX_K * max(shards, 1), MAX_DEPTH)
        self.last = max(math.ceil(math.log2(self._most / depth)), 0)

    def depth(self, level: int) -> int:
        """Gives the number of chunks of a level."""
        return min(self._depth << level, self._most)

    def for_limit(self, limit: int) -> int:
        """Gives the level for a first page of `limit` videos, each with a few chunks."""
        return min(max(math.ceil(math.log2(_CHUNKS_A_VIDEO * limit / self._depth)), 0), self.last)


def sequences(tokens: Sequence[IndexToken]) -> dict[int, int]:
    """Gives the sequence to reach for each slot."""
    least: dict[int, int] = {}
    for token in tokens:
        least[token.slot] = max(least.get(token.slot, 0), token.sequence)
    return least


def _coverage(query: SearchQuery, answers: ShardAnswers, fresh: Freshness, vector: QueryVector | None) -> Coverage:
    wanted = 1 if query.mode is not SearchMode.HYBRID else 2
    by_shard = dict(zip(answers.shards, answers.responses, strict=True))
    ran = {leg for response in answers.responses for leg in response.legs}
    return Coverage(
        shards_total=len(answers.route.shards),
        shards_answered=len(answers.responses),
        complete=not answers.missing
        and not answers.shallow
        and all(len(response.legs) == wanted for response in answers.responses),
        legs=[leg for leg in ("semantic", "keyword") if leg in ran],
        embedding_model=vector.model_revision if vector else "",
        missing=answers.missing,
        replicas=[
            ReplicaCoverage(shard, response.replica, response.applied_sequence, response.lag, response.version)
            for shard, response in by_shard.items()
        ],
        # A replica also waits for what the page before had in, which is no concern of the tokens.
        tokens_reached=all(
            (response := by_shard.get(shard)) is not None
            and (response.min_sequence_reached or response.applied_sequence >= sequence)
            for shard, sequence in fresh.of_slots(answers.route).items()
        ),
        table_version=answers.route.version,
    )


def _mismatch(asked: str, others: Mapping[int, str]) -> FailedPrecondition:
    """Says which models do not go together, and what to do."""
    index = ", ".join(sorted({model or "another model" for model in others.values()}))
    shards = ", ".join(str(shard) for shard in sorted(others))
    which = f"shard {shards} holds" if len(others) == 1 else f"shards {shards} hold"
    return FailedPrecondition(
        f"the query was embedded with {asked}, but {which} vectors of {index}, which cannot be compared: start the "
        f"embedder with the model of the index, or embed the videos again with {asked} and rebuild the index; "
        "mode=keyword works meanwhile",
        reason=MISMATCH,
        metadata={"query_model": asked, "index_model": index, "shards": shards},
    )


def _clean(text: str) -> str:
    """Makes one line of a query: composed characters, no control characters, single spaces."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    if not composed.isprintable():
        composed = "".join(
            char if char.isprintable() or unicodedata.category(char) == "Cf" else " " for char in composed
        )
    return " ".join(composed.split())


def _hits(fused: Fused, videos: list[VideoMoments], query: SearchQuery) -> list[Hit]:
    queries: dict[str, highlight.Query] = {}
    hits = []
    for video in videos:
        hit, *more = (_hit(fused.hit(chunk_id), query.text, queries) for chunk_id in video.chunk_ids)
        hit.more = more
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
    match, sentence = start, None
    if found.ranges or ranked.sentence_scores:
        marks = chunk.sentence_marks
        starts = [mark.char_offset for mark in marks]
        best = highlight.best_sentence(found, starts, ranked.sentence_scores)
        if best is not None:
            match = _seconds(marks[best].start_offset)
            sentence = highlight.sentence_range(chunk_text, starts, best)
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
        speaker=chunk.speaker,
        sentence=sentence,
    )


def _seconds(offset: Duration) -> float:
    return offset.seconds + offset.nanos * 1e-9
