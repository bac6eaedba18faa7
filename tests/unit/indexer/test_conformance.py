"""Every kind of vector index does the same, in this process; through gRPC in tests/integration."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from services.indexer.chunks import Chunk, Filter, PutChunks, Query, RemoveVideo, VideoInfo
from services.indexer.compactor import SegmentPolicy
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.replica import Replica
from services.indexer.tiers import MergePolicy
from tests.unit.indexer.builders import ALL_SLOTS, MODEL, batch, found_chunk, vector_of
from tests.unit.indexer.conformance import Answer, conforms
from tests.unit.indexer.replicas import running_replica


class LocalIndex:
    """A replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def put(self, chunks: Sequence[Chunk], infos: Mapping[str, VideoInfo]) -> None:
        applied = await self._replica.apply([PutChunks(infos, batch(chunks))])
        assert applied.refused == {}

    async def remove(self, video_id: str) -> None:
        assert (await self._replica.apply([RemoveVideo(video_id)])).removed > 0

    async def search(
        self, *, text: str = "", near: str = "", k: int = 10, chosen: Filter | None = None
    ) -> dict[str, Answer]:
        vector = vector_of(near).astype(np.float32) if near else None
        (found,) = await self._replica.search([Query(vector, MODEL, text, k, chosen or Filter())])
        hits = [(found_chunk(hit), hit) for hit in found.hits]
        return {item.chunk_id: Answer(item.text, hit.semantic_score, hit.keyword_score) for item, hit in hits}

    async def kinds(self) -> list[str]:
        await self._replica.snapshot()
        while await self._replica.opened.compactor.compact():
            pass
        return [part.part.kind for part in self._replica.shard.view.parts if part.alive.count]


@pytest.mark.parametrize("kind", list(DenseKind))
async def test_every_kind_conforms(tmp_path: Path, kind: DenseKind) -> None:
    policy = SegmentPolicy(dense=DensePolicy(kind=kind, flat_rows=0), merge=MergePolicy(smallest_rows=4096, factor=3))
    async with running_replica(tmp_path, policy=policy) as running:
        running.replica.begin_anew()
        running.replica.hold(ALL_SLOTS)
        running.replica.ready = True
        await conforms(LocalIndex(running.replica), kind)
        # Three were sealed, and merged into one.
        assert len(running.replica.shard.segments) == 1
