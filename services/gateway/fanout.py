"""Asks one replica of every shard, and makes the slow and the failing ones matter little.

Hedging after the usual latency, within a budget, is from Dean and Barroso, "The Tail at Scale", CACM 56(2), 2013.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import Counter

from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.errors import EarmarkError, Unavailable
from services.gateway.directory import Needs, Replica, ShardDirectory
from services.gateway.ejection import FAULTS
from services.gateway.hit_columns import columns_of
from services.gateway.ranking import Candidates, share
from services.gateway.routing import ANY, Asked, Freshness, Route, Routes

_OBSERVED = 512
_RECOMPUTE_EVERY = 32
_HEDGE_QUANTILE = 0.95
_HEDGE_SHARE = 0.1
_HEDGE_BURST = 10.0
# Another replica of the shard may well answer; the request itself is idempotent.
_WORTH_ANOTHER = frozenset({"UNAVAILABLE"})
SLOTS_NOT_HELD = "SLOTS_NOT_HELD"
_REPEATS = 2

MAX_K = 1000
"""Chunks a shard gives for a leg at most; part of ShardService's contract."""


HEDGED = Counter("earmark_gateway_shard_hedges_total", "Searches a second replica was asked for, the first being slow.")
RETRIED = Counter("earmark_gateway_shard_retries_total", "Searches a second replica was asked for, the first failing.")
MISSING = Counter("earmark_gateway_shards_missing_total", "Shards that did not answer a search.", ["reason"])
DEEPENED = Counter("earmark_gateway_shard_deepened_total", "Shards asked again, all they gave being among the best.")
REPEATED = Counter("earmark_gateway_searches_repeated_total", "Searches begun again, the slots having moved.")


@dataclass(frozen=True, slots=True)
class MadeOf:
    """A replica that an answer is made of, and what stands for what it held then."""

    shard: int
    replica: int
    version: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A shard that did not answer."""

    shard: int
    reason: str
    """gRPC status name."""
    cause: EarmarkError | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ShardAnswers:
    """What the shards said, all by the same slot table."""

    route: Route
    responses: list[pb.SearchShardResponse]
    shards: list[int]
    """The shard of each response."""
    missing: list[Missing]
    candidates: Candidates
    """The hits of the responses."""
    shallow: bool
    """Whether a shard that may hold more of the best did not answer when it was asked again."""


class _Answer(NamedTuple):
    response: pb.SearchShardResponse
    columns: pb.HitColumns


class HedgeDelay:
    """How long to wait before asking a second replica: what 95 % of the searches took lately.

    Hedges are held to a tenth of the searches, so that a shard that is slow because it is overloaded does not get
    twice the load.
    """

    def __init__(self, *, initial_seconds: float = 0.05, floor_seconds: float = 0.005) -> None:
        self._floor = floor_seconds
        self._delay = initial_seconds
        self._latencies: deque[float] = deque(maxlen=_OBSERVED)
        self._observed = 0
        self._budget = _HEDGE_BURST

    @property
    def seconds(self) -> float:
        """The delay."""
        return self._delay

    def observe(self, seconds: float) -> None:
        """Notes how long a search took."""
        self._latencies.append(seconds)
        self._observed += 1
        if self._observed % _RECOMPUTE_EVERY == 0:
            ordered = sorted(self._latencies)
            self._delay = max(ordered[int(_HEDGE_QUANTILE * (len(ordered) - 1))], self._floor)

    def asked(self) -> None:
        """Notes a search, which earns a tenth of a hedge."""
        self._budget = min(self._budget + _HEDGE_SHARE, _HEDGE_BURST)

    def take(self) -> bool:
        """Takes a hedge out of the budget; False when there is none left."""
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True


class Fanout:
    """Scatter and gather over the shards."""

    def __init__(self, *, directory: ShardDirectory, routes: Routes, hedge: HedgeDelay | None = None) -> None:
        self._directory = directory
        self._routes = routes
        self._hedge = hedge or HedgeDelay()
        self.hedges = 0
        self.retries = 0

    @property
    def shards(self) -> int:
        """How many shards answer for a slot; 0 while that is not known."""
        route = self._routes.current
        return len(route.shards) if route is not None else 0

    def model_of(self, shard: int) -> str:
        """Gives the model of a shard's vectors as its replicas last said; empty when they did not."""
        return next((found for replica in self._directory.replicas(shard) if (found := replica.model_revision)), "")

    async def search(
        self, request: pb.SearchShardRequest, *, depth: int, deadline: float, fresh: Freshness = ANY
    ) -> ShardAnswers:
        """Searches every slot, each in exactly one shard.

        Args:
            request: What every shard is asked; slots, sequence and `k` are filled in here.
            depth: The answers hold the best so many chunks of each leg over all shards, as far as a shard gives them.
            deadline: `time.monotonic()` after which a shard counts as missing.
            fresh: Events the answers must have in.

        Returns:
            The answers, and the shards without one; never raises because of a shard.

        Raises:
            Unavailable: It is not known which shards there are.
        """
        route = self._routes.current
        if route is None:
            raise Unavailable(
                "the index has no shards yet; start an indexer, or try again shortly",
                reason="NO_SHARDS",
                retry_after_seconds=1,
            )
        answers = await self._by(route, request, depth, deadline, fresh)
        for _ in range(_REPEATS):
            if not any(_refused(missing.cause) for missing in answers.missing):
                break
            # What other shards answered is by the table of before: a slot could be in two answers, or in none.
            newer = await self._routes.other_than(route)
            if newer is None or time.monotonic() >= deadline:
                break
            REPEATED.inc()
            route = newer
            answers = await self._by(route, request, depth, deadline, fresh)
        for missing in answers.missing:
            MISSING.labels(missing.reason).inc()
        return answers

    async def unchanged(
        self, made_of: Sequence[MadeOf], *, table_version: int, text: str, deadline: float, fresh: Freshness = ANY
    ) -> list[pb.SearchShardResponse] | None:
        """Asks the replicas of an answer whether they still hold what they held for it.

        Args:
            made_of: The replicas, one of each shard, and what they held.
            table_version: Version of the slot table that the answer went by.
            text: What was looked for.
            deadline: `time.monotonic()` after which there is no answer.
            fresh: Events the answer must have in.

        Returns:
            What each says; None when the slots have moved, or one has changed, is another, or does not answer.
        """
        route = self._routes.current
        if route is None or route.version != table_version or len(route.shards) != len(made_of):
            return None
        least = fresh.min_sequences(route)
        asked = {one.shard: one for one in route.shards}
        replicas = [
            replica
            for one in made_of
            if one.shard in asked and (replica := self._directory.known(one.shard, one.replica)) is not None
        ]
        if len(replicas) != len(made_of):
            return None
        found = await asyncio.gather(
            *(
                self._unchanged(
                    replica,
                    pb.SearchShardRequest(
                        text=text,
                        k=1,
                        slots=asked[one.shard].slots,
                        min_sequence=least[one.shard],
                        unless_changed_since=one.version,
                    ),
                    deadline,
                )
                for replica, one in zip(replicas, made_of, strict=True)
            )
        )
        told = [response for response in found if response is not None]
        return told if len(told) == len(made_of) else None

    async def _unchanged(
        self, replica: Replica, request: pb.SearchShardRequest, deadline: float
    ) -> pb.SearchShardResponse | None:
        try:
            response = await replica.client.search(request, timeout=max(deadline - time.monotonic(), 0.001))
        except EarmarkError as error:
            if error.code in FAULTS:
                replica.failed()
            return None
        replica.answered(response)
        return response if response.unchanged else None

    async def _by(
        self, route: Route, request: pb.SearchShardRequest, depth: int, deadline: float, fresh: Freshness
    ) -> ShardAnswers:
        """Searches by one slot table."""
        least = fresh.min_sequences(route)

        async def ask(shards: Sequence[Asked], k: int) -> dict[int, _Answer | EarmarkError]:
            outcomes = await asyncio.gather(
                *(self._ask(asked, _own(request, asked, k, least[asked.shard]), deadline) for asked in shards)
            )
            return {asked.shard: outcome for asked, outcome in zip(shards, outcomes, strict=True)}

        first = min(share(depth, len(route.shards)), MAX_K)
        found = await ask(route.shards, first)
        answers = _sorted_out(route, found, shallow=False)
        if first < depth and not any(_refused(missing.cause) for missing in answers.missing):
            short = {answers.shards[at] for at in answers.candidates.cut_short(asked=first, depth=depth)}
            if short:
                DEEPENED.inc(len(short))
                shallow = False
                again = [asked for asked in route.shards if asked.shard in short]
                deeper = await ask(again, min(depth, MAX_K))
                for shard, got in deeper.items():
                    # One that refuses has lost a slot since: that ends the search by this table. One that only
                    # failed has answered before, if not as deep.
                    if not isinstance(got, EarmarkError) or _refused(got):
                        found[shard] = got
                    else:
                        shallow = True
                return _sorted_out(route, found, shallow=shallow)
        return answers

    async def _ask(self, asked: Asked, request: pb.SearchShardRequest, deadline: float) -> _Answer | EarmarkError:
        """Gives the shard's answer, or why there is none."""
        # The same question goes to the same replica while that is free: word scores differ a little between replicas,
        # which are cut into other segments, and one who asks twice should not see two orders.
        needs = Needs(asked.mask, request.min_sequence, zlib.crc32(request.text.encode() + request.vector))
        first = self._directory.pick(asked.shard, needs=needs)
        if first is None:
            return Unavailable(f"no replica of shard {asked.shard} is ready")
        self._hedge.asked()
        try:
            if len(self._directory.replicas(asked.shard)) == 1:
                response = await self._call(first, request, deadline)
            else:
                response = await self._call_hedged(first, request, needs, deadline)
        except EarmarkError as error:
            return error
        return _Answer(response, columns_of(response))

    async def _call(self, replica: Replica, request: pb.SearchShardRequest, deadline: float) -> pb.SearchShardResponse:
        started = time.monotonic()
        replica.outstanding += 1
        try:
            response = await replica.client.search(request, timeout=max(deadline - started, 0.001))
        except EarmarkError as error:
            if error.code in FAULTS:
                replica.failed()
            raise
        finally:
            replica.outstanding -= 1
        replica.answered(response)
        if not request.min_sequence:  # one that waits for an event is not slow
            self._hedge.observe(time.monotonic() - started)
        return response

    async def _call_hedged(
        self, first: Replica, request: pb.SearchShardRequest, needs: Needs, deadline: float
    ) -> pb.SearchShardResponse:
        """Asks `first`; a second replica too when the first is slow, or at once when it fails."""
        asked = [first]
        running = {asyncio.ensure_future(self._call(first, request, deadline))}
        last_error: EarmarkError | None = None
        try:
            while running:
                alone = len(asked) == 1
                done, running = await asyncio.wait(
                    running,
                    timeout=self._hedge.seconds if alone else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                worth_another = not done and alone
                for task in done:
                    error = task.exception()
                    if error is None:
                        return task.result()
                    if not isinstance(error, EarmarkError):
                        raise error
                    last_error = error
                    worth_another = alone and (error.code in _WORTH_ANOTHER or _refused(error))
                if worth_another and (second := self._second(first, needs, hedging=not done)) is not None:
                    asked.append(second)
                    running.add(asyncio.ensure_future(self._call(second, request, deadline)))
                elif alone and running:
                    # Nobody to hedge with: only the first can answer now.
                    return await next(iter(running))
        finally:
            for task in running:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, EarmarkError):
                    await task
        assert last_error is not None, "every call either answered or raised"
        raise last_error

    def _second(self, first: Replica, needs: Needs, *, hedging: bool) -> Replica | None:
        second = self._directory.pick(first.shard, without=(first,), needs=needs)
        if second is None or second.ejected or (hedging and not self._hedge.take()):
            return None
        if hedging:
            self.hedges += 1
            HEDGED.inc()
        else:
            self.retries += 1
            RETRIED.inc()
        return second


def _own(request: pb.SearchShardRequest, asked: Asked, k: int, min_sequence: int) -> pb.SearchShardRequest:
    """Gives what one shard is asked."""
    own = pb.SearchShardRequest(k=k, slots=asked.slots, min_sequence=min_sequence)
    own.MergeFrom(request)
    return own


def _refused(outcome: object) -> bool:
    """Says whether a replica does not hold a slot it was asked for."""
    return isinstance(outcome, EarmarkError) and outcome.reason == SLOTS_NOT_HELD


def _sorted_out(route: Route, found: dict[int, _Answer | EarmarkError], *, shallow: bool) -> ShardAnswers:
    answers: list[_Answer] = []
    shards: list[int] = []
    missing: list[Missing] = []
    for asked in route.shards:
        outcome = found[asked.shard]
        if isinstance(outcome, EarmarkError):
            missing.append(Missing(asked.shard, outcome.code, outcome))
        else:
            answers.append(outcome)
            shards.append(asked.shard)
    candidates = Candidates(answer.columns for answer in answers)
    return ShardAnswers(route, [answer.response for answer in answers], shards, missing, candidates, shallow)
