"""Who serves which shard, and where: each indexer says so in MongoDB when it starts, and the gateway reads it."""

from __future__ import annotations

from typing import NamedTuple

from services.common.mongo import Database


class Peer(NamedTuple):
    """One replica of one shard and the `host:port` of its gRPC server."""

    shard: int
    replica: int
    target: str


class IndexerRegistry:
    """The indexers, collection `indexers`.

    One that was killed stays until another takes its place: whether an indexer answers is asked of itself.
    """

    def __init__(self, database: Database) -> None:
        self._indexers = database["indexers"]

    async def announce(self, peer: Peer) -> None:
        """Says where a replica is; doing it again is fine."""
        fields = {"shard": peer.shard, "replica": peer.replica, "target": peer.target}
        await self._indexers.update_one({"_id": _id(peer)}, {"$set": fields}, upsert=True)

    async def withdraw(self, peer: Peer) -> None:
        """Takes a replica out, unless another process has taken its place."""
        await self._indexers.delete_one({"_id": _id(peer), "target": peer.target})

    async def peers(self) -> list[Peer]:
        """Gives all replicas, by shard and replica."""
        return sorted([Peer(doc["shard"], doc["replica"], doc["target"]) async for doc in self._indexers.find()])


def _id(peer: Peer) -> str:
    return f"s{peer.shard}r{peer.replica}"
