"""What the gateway's merge of the shards' answers costs, and how often a shard has to be asked twice.

    python -m bench.index.merge

Simulated: the answers are made here, by the indexer's own code, from a corpus whose videos fall into shards by their
slots and whose good chunks lie together in videos. `as asked` is what the gateway does: it asks every shard for its
share of the best 50 of a leg (`ranking.share`) and those again whose whole list is among the best. `all 50` is the
merge when every shard gives 50 a leg. Answers are parsed as each arrives, while the others are awaited; the merge
begins when the last one has. `--hits` has the shards answer as those of a release before columns do. Times are of
processor.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench import machine
from earmark.internal.v1 import shard_service_pb2 as pb
from services.common.ids import SLOTS, slot_of
from services.gateway.hit_columns import columns_of
from services.gateway.ranking import Candidates, fuse, group, share
from services.indexer.chunks import Chunk, Found, Hit
from services.indexer.messages import search_response
from services.indexer.places import Place
from services.indexer.record import encode

DEPTH = 50
FLOOR = 0.2
MARKS = tuple((80 * sentence, 0.5 + 5.0 * sentence) for sentence in range(6))
TEXT = "The yeast eats the sugar and that is what makes the bread rise slowly over night in the bowl. " * 5


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk and what the legs say of it; a leg that does not find it says None."""

    chunk_id: str
    video_id: str
    semantic: float
    keyword: float | None


def corpus(seed: int, *, videos: int = 2000, chunks: int = 20) -> list[Scored]:
    """Makes chunks of which the good ones are neighbours: half of a chunk's nearness is its video's."""
    rng = random.Random(seed)
    made = []
    for _ in range(videos):
        video_id = f"vid_{rng.getrandbits(128):026x}"[:30]
        about = rng.gauss(0, 0.1)
        said = rng.random() < 0.2
        for part in range(chunks):
            semantic = 0.25 + about + rng.gauss(0, 0.1)
            keyword = rng.expovariate(0.3) if said and rng.random() < 0.3 else None
            made.append(Scored(f"{video_id}/00000/{part:04d}", video_id, semantic, keyword))
    return made


class Shards:
    """A corpus in so many shards, each of which answers as an indexer would."""

    def __init__(self, corpus: Sequence[Scored], shards: int, *, columns: bool) -> None:
        self._request = pb.SearchShardRequest(columns=columns)
        rows: list[list[Scored]] = [[] for _ in range(shards)]
        for scored in corpus:
            rows[slot_of(scored.video_id) * shards // SLOTS].append(scored)
        self._semantic = [sorted(row, key=lambda s: -s.semantic) for row in rows]
        self._keyword = [
            sorted((s for s in row if s.keyword is not None), key=lambda s: -(s.keyword or 0)) for row in rows
        ]

    def answer(self, shard: int, k: int) -> bytes:
        """Gives what a shard sends for both legs."""
        words = {scored.chunk_id: scored for scored in self._keyword[shard][:k]}
        found = {**{scored.chunk_id: scored for scored in self._semantic[shard][:k]}, **words}
        hits = [
            Hit(
                number=0,
                record=encode(Chunk(scored.chunk_id, TEXT, 0.5, 30.5, MARKS, "en")),
                title="How bread rises",
                semantic_score=scored.semantic,
                keyword_score=scored.keyword if scored.chunk_id in words else None,
                sentence_scores=[scored.semantic * (0.7 + 0.1 * index) for index in range(len(MARKS))],
            )
            for scored in found.values()
        ]
        random.Random(shard).shuffle(hits)  # the protocol promises no order
        answer = Found(hits, ("semantic", "keyword"), 9, "bench")
        return search_response(answer, Place(shard, 0), self._request, lag=0, version="1f-2").SerializeToString()


def merged(answers: Sequence[pb.HitColumns], asked: int) -> list[str]:
    """Merges as the gateway does, and gives the ids of the videos found, best first."""
    candidates = Candidates(answers)
    if asked < DEPTH:
        candidates.cut_short(asked=asked, depth=DEPTH)
    fused = fuse(candidates, semantic_floor=FLOOR, semantic_floor_alone=FLOOR, depth=DEPTH)
    return [video.video_id for video in group(fused.chunk_ids, more=4)]


def parsed(data: Sequence[bytes]) -> list[pb.HitColumns]:
    """Takes all answers apart: the gateway does it as each arrives."""
    return [columns_of(pb.SearchShardResponse.FromString(raw)) for raw in data]


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of processor that `work` took: what else runs on the machine does not count."""
    started = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - started) / 1e6


def simulate(shards: int, *, queries: int, repeats: int, columns: bool) -> list[str]:
    """Merges the answers to some queries, and gives a row of the table."""
    k = share(DEPTH, shards)
    hits: list[int] = []
    again = searches_again = 0
    as_asked: list[float] = []
    all_deep: list[float] = []
    parsing: list[float] = []
    for query in range(queries):
        mesh = Shards(corpus(query), shards, columns=columns)
        data = [mesh.answer(shard, k) for shard in range(shards)]
        short = Candidates(parsed(data)).cut_short(asked=k, depth=DEPTH) if k < DEPTH else []
        again += len(short)
        searches_again += bool(short)
        for shard in short:
            data[shard] = mesh.answer(shard, DEPTH)
        deep = [mesh.answer(shard, DEPTH) for shard in range(shards)]
        hits.append(sum(len(answer.chunk_ids) for answer in parsed(data)))
        assert merged(parsed(data), k) == merged(parsed(deep), DEPTH), "asking for less gave another answer"
        gc.collect()
        gc.freeze()  # what the simulation holds is no garbage of the gateway's
        # Parsed anew each time: a message is slower when it is looked into for the first time.
        as_asked += [timed(partial(merged, parsed(data), k)) for _ in range(repeats)]
        all_deep += [timed(partial(merged, parsed(deep), DEPTH)) for _ in range(repeats)]
        parsing += [timed(partial(parsed, data)) for _ in range(repeats)]
    return [
        str(shards),
        str(k),
        f"{statistics.mean(hits):.0f}",
        f"{_at(as_asked, 50):.2f}",
        f"{_at(as_asked, 99):.2f}",
        f"{_at(all_deep, 50):.2f}",
        f"{_at(all_deep, 99):.2f}",
        f"{_at(parsing, 50):.2f}",
        f"{searches_again / queries:.0%}",
        f"{again / queries:.2f}",
    ]


def _at(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--hits", action="store_true", help="answers hit by hit, as of a release before columns")
    given = parser.parse_args()
    print(machine.describe())
    print("| shards | k asked | hits | p50 ms | p99 | all 50: p50 | p99 | parsing | again | shards again |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for shards in given.shards:
        print(
            "| "
            + " | ".join(simulate(shards, queries=given.queries, repeats=given.repeats, columns=not given.hits))
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
