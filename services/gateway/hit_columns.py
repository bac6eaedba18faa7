"""What a shard found, by columns, also where a replica gives it hit by hit."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from earmark.internal.v1 import shard_service_pb2 as pb


def columns_of(response: pb.SearchShardResponse) -> pb.HitColumns:
    """Gives the hits of an answer by columns: a replica of a release before these gives `hits` whatever is asked."""
    hits = response.hits
    if not hits:
        return response.columns
    sentence_scores = [list(hit.sentence_scores) for hit in hits]
    return pb.HitColumns(
        chunk_ids=[hit.chunk.chunk_id for hit in hits],
        chunks=[hit.chunk.SerializeToString() for hit in hits],
        semantic_scores=_floats([hit.semantic_score if hit.HasField("semantic_score") else math.nan for hit in hits]),
        keyword_scores=_floats([hit.keyword_score if hit.HasField("keyword_score") else math.nan for hit in hits]),
        best_sentence_scores=_floats([max(scores, default=math.nan) for scores in sentence_scores]),
        sentence_scores=[_floats(scores) for scores in sentence_scores],
    )


def _floats(scores: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(scores)}f", *scores)
