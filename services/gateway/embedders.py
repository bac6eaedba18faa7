"""The embedders: for each query the one with the least to do, another when that fails, each over its own connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

from prometheus_client import Counter

from services.common.errors import EarmarkError, Unavailable
from services.gateway.addresses import Address, Addresses
from services.gateway.ejection import FAULTS, Ejection
from services.gateway.farewell import Farewell
from services.gateway.looks import keep_looking
from services.gateway.search import QueryVector

READY_SECONDS = 1.0
ATTEMPTS = 4
_PAUSE_SECONDS = 0.05
# Another may well answer, and embedding twice does no harm.
_WORTH_ANOTHER = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})

RETRIED = Counter(
    "earmark_gateway_embedder_retries_total", "Queries a second embedder was asked for, the first failing."
)


class EmbedderClient(Protocol):
    """One embedder, as reached over the network."""

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        """Embeds `text` in at most `timeout` seconds. Raises EarmarkError."""
        ...

    async def ready(self, *, timeout: float) -> bool:
        """Says whether it serves; never raises."""
        ...

    async def close(self) -> None:
        """Ends the connection."""
        ...


class _Endpoint:
    """An embedder with what is known of it; `ready` is None before it was asked."""

    def __init__(self, address: Address, client: EmbedderClient, *, clock: Callable[[], float]) -> None:
        self.address = address
        self.client = client
        self.ready: bool | None = None
        self.outstanding = 0
        self.ejection = Ejection(clock=clock)


class Embedders:
    """Embeds queries with whoever is at some addresses.

    Args:
        addresses: Where embedders are.
        connect: Opens the connection to a target; must not wait for it.
        target: What they are called where people are told of them.
        linger_seconds: Longest time a call takes.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        addresses: Addresses,
        *,
        connect: Callable[[str], EmbedderClient],
        target: str,
        linger_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.target = target
        self._addresses = addresses
        self._connect = connect
        self._clock = clock
        self._endpoints: dict[tuple[str, str], _Endpoint] = {}
        self._farewell = Farewell(linger_seconds=linger_seconds, clock=clock)
        self._new = asyncio.Event()
        self._turn = 0
        addresses.listen(self._follow)
        self._follow()

    @property
    def count(self) -> int:
        """How many are known."""
        return len(self._endpoints)

    async def embed_query(self, text: str, *, timeout: float) -> QueryVector:
        """Embeds `text` in at most `timeout` seconds.

        Raises:
            EarmarkError: Nobody did; `code` says why.
        """
        deadline = self._clock() + timeout
        asked: list[_Endpoint] = []
        error: EarmarkError = Unavailable(f"no embedder is known at {self.target}; start one, or try again shortly")
        for attempt in range(ATTEMPTS):
            endpoint = self._pick(without=asked)
            if endpoint is None:
                # Everyone has failed once: it may be a moment in which the only one starts anew.
                pause = _PAUSE_SECONDS * 3 ** max(attempt - 1, 0)
                if self._clock() + pause >= deadline:
                    break
                await asyncio.sleep(pause)
                asked = []
                if (endpoint := self._pick()) is None:
                    continue
            if attempt:
                RETRIED.inc()
            try:
                return await self._call(endpoint, text, deadline)
            except EarmarkError as failure:
                error = failure
                if failure.code not in _WORTH_ANOTHER:
                    break
                asked.append(endpoint)
        raise error

    async def ready(self, *, timeout: float) -> bool:
        """Says whether one of them serves, having asked them; never raises."""
        looks = [asyncio.ensure_future(one.client.ready(timeout=timeout)) for one in self._endpoints.values()]
        try:
            for look in asyncio.as_completed(looks):
                if await look:
                    return True
        finally:
            for task in looks:
                task.cancel()
        return False

    async def run(self, *, every_seconds: float) -> None:
        """Looks at every one, for ever, and at a new one at once."""
        await keep_looking(
            lambda: list(self._endpoints.values()), self._look, every_seconds=every_seconds, wake=self._new
        )

    async def close(self) -> None:
        """Closes all connections."""
        endpoints, self._endpoints = self._endpoints, {}
        await self._farewell.close()
        for endpoint in endpoints.values():
            await endpoint.client.close()

    async def _look(self, endpoint: _Endpoint) -> None:
        await self._farewell.close_due()
        endpoint.ready = await endpoint.client.ready(timeout=READY_SECONDS)

    async def _call(self, endpoint: _Endpoint, text: str, deadline: float) -> QueryVector:
        endpoint.outstanding += 1
        try:
            vector = await endpoint.client.embed_query(text, timeout=max(deadline - self._clock(), 0.001))
        except EarmarkError as error:
            if error.code in FAULTS:
                endpoint.ejection.failed()
            raise
        finally:
            endpoint.outstanding -= 1
        endpoint.ejection.succeeded()
        return vector

    def _pick(self, *, without: Collection[_Endpoint] = ()) -> _Endpoint | None:
        """Gives the one with the fewest calls under way, of those that are well; of equals they take turns."""
        left = [one for one in self._endpoints.values() if one not in without]
        if not left:
            return None
        # Unlike a replica, one that is not ready is asked when nobody is: a look may be older than its start.
        left = [one for one in left if one.ready is not False] or left
        left = [one for one in left if not one.ejection.ejected] or left
        left = [one for one in left if not one.address.leaving] or left
        left = [one for one in left if one.ready] or left
        self._turn += 1
        first = self._turn % len(left)
        return min(left[first:] + left[:first], key=lambda one: one.outstanding)

    def _follow(self) -> None:
        """Takes over the addresses of the moment."""
        endpoints: dict[tuple[str, str], _Endpoint] = {}
        for address in self._addresses.current:
            key = address.target, address.owner
            known = self._endpoints.get(key)
            endpoint = endpoints[key] = known or _Endpoint(address, self._connect(address.target), clock=self._clock)
            endpoint.address = address
        self._farewell.add(one.client for key, one in self._endpoints.items() if key not in endpoints)
        self._endpoints = endpoints
        self._new.set()
