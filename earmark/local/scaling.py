"""Starts the indexers of new shards, and ends those of shards that are no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import httpx

from earmark.local import ports, services
from earmark.local.access import admin_headers
from earmark.local.paths import DataDir
from earmark.local.process import ChildSpec
from earmark.local.services import Place, Wiring
from earmark.local.state import MeshState

_LOOK_SECONDS = 1.0
_ANSWER_SECONDS = 5.0


class Children(Protocol):
    """Who keeps the processes."""

    def add(self, spec: ChildSpec) -> None:
        """Starts one more child."""
        ...

    async def remove(self, name: str) -> None:
        """Ends a child for good."""
        ...


class IndexerScaler:
    """Follows the number of shards in the slot table, which the gateway tells.

    Args:
        data: the data folder.
        mesh: state to keep up to date: how many shards there are, so that the next start begins with them, and the
            ports of the new indexers. `wiring.ports` is the same dictionary.
        wiring: where everything is.
        servers: names of the embedded servers an indexer needs.
        children: who starts and ends processes.
        say: takes level and text of what happens.
    """

    def __init__(
        self,
        *,
        data: DataDir,
        mesh: MeshState,
        wiring: Wiring,
        servers: tuple[str, ...],
        children: Children,
        say: Callable[[str, str], None],
    ) -> None:
        self._data = data
        self._mesh = mesh
        self._wiring = wiring
        self._servers = servers
        self._children = children
        self._say = say

    async def run(self) -> None:
        """Looks for ever. While the gateway does not answer everything stays as it is."""
        headers = admin_headers(self._wiring.gateway_secrets)
        url = self._wiring.http_url
        async with httpx.AsyncClient(base_url=url, timeout=_ANSWER_SECONDS, headers=headers) as http:
            while True:
                shards = await _shards(http)
                if shards is not None:
                    try:
                        await self.follow(shards)
                    except OSError as error:  # no port, no disk: what runs goes on running
                        self._say("error", f"the indexers cannot follow the number of shards: {error}")
                await asyncio.sleep(_LOOK_SECONDS)

    async def follow(self, shards: int) -> None:
        """Has indexers for so many shards."""
        running = {place for child in self._mesh.children if (place := Place.of(child.name)) is not None}
        wanted = set(services.places(shards, self._mesh.replicas))
        if shards != self._mesh.shards:
            self._say("info", f"the index has {shards} shards now, {self._mesh.shards} before")
            self._mesh.shards = shards
            self._mesh.save(self._data)
        for place in sorted(wanted - running):
            self._start(place)
        for place in sorted(running - wanted):
            self._say("info", f"{place.child} ends: its shard is no more")
            await self._children.remove(place.child)

    def _start(self, place: Place) -> None:
        names = place.port_names
        taken = [port for name, port in self._mesh.ports.items() if name not in names]
        self._mesh.ports.update(ports.assign(names, self._mesh.ports, taken=taken))
        self._say("info", f"{place.child} starts, for a new shard")
        self._children.add(services.indexer(self._wiring, place, servers=self._servers))


async def _shards(http: httpx.AsyncClient) -> int | None:
    """How many shards there are to be; None when that is not known just now."""
    try:
        answer = await http.get("/v1/shards", params={"replicas": "false"})
        return int(answer.raise_for_status().json()["shards_total"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
