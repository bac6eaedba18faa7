"""Answers as bytes: what of them can be given again, and what they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.gateway.fanout import MadeOf
from services.gateway.ranking import LegScore
from services.gateway.search import Hit, SearchAnswer


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer, and what has to be unchanged for it to be given again."""

    made_of: Sequence[MadeOf]
    table_version: int
    legs: list[str]
    embedding_model: str
    next_cursor: str
    hits: list[Hit]


def written(answer: SearchAnswer) -> bytes | None:
    """Gives an answer as bytes; None for one that is not to be given again.

    That is one that does not cover everything, one of shards that do not say what they held, and one whose time ran out
    before it had found anything.
    """
    coverage = answer.coverage
    if not coverage.complete or not all(replica.version for replica in coverage.replicas):
        return None
    if answer.next_cursor and not answer.hits:
        return None
    kept = {
        "of": [[replica.shard, replica.replica, replica.version] for replica in coverage.replicas],
        "table": coverage.table_version,
        "legs": coverage.legs,
        "model": coverage.embedding_model,
        "next": answer.next_cursor,
        "hits": [_hit(hit) for hit in answer.hits],
    }
    return orjson.dumps(kept)


def read(data: bytes) -> KeptAnswer:
    """Reads an answer."""
    kept: dict[str, Any] = orjson.loads(data)
    return KeptAnswer(
        [MadeOf(*one) for one in kept["of"]],
        kept["table"],
        kept["legs"],
        kept["model"],
        kept["next"],
        [_read_hit(fields) for fields in kept["hits"]],
    )


_PLAIN = (
    "video_id",
    "title",
    "language",
    "speaker",
    "chunk_id",
    "text",
    "highlights",
    "start_time",
    "end_time",
    "match_time",
    "score",
)


def _hit(hit: Hit) -> dict[str, Any]:
    fields = {name: getattr(hit, name) for name in _PLAIN}
    fields["semantic"] = list(hit.semantic) if hit.semantic else None
    fields["keyword"] = list(hit.keyword) if hit.keyword else None
    fields["sentence"] = hit.sentence
    fields["more"] = [_hit(further) for further in hit.more]
    return fields


def _read_hit(fields: dict[str, Any]) -> Hit:
    plain = {name: fields[name] for name in _PLAIN}
    plain["highlights"] = [(start, end) for start, end in fields["highlights"]]
    # An answer kept by a gateway that did not tell sentences yet has none.
    sentence = fields.get("sentence")
    return Hit(
        **plain,
        sentence=(sentence[0], sentence[1]) if sentence else None,
        semantic=LegScore(*fields["semantic"]) if fields["semantic"] else None,
        keyword=LegScore(*fields["keyword"]) if fields["keyword"] else None,
        more=[_read_hit(further) for further in fields["more"]],
    )
