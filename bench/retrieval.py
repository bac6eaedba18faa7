"""How well the mesh finds: questions with known answer times (TutorialVQA), asked of its real parts.

Chunker, embedder, shards and fusion are the mesh's own, in one process; transcripts are given, without errors.

    python -m bench.retrieval [--shards 2] [--chunk-seconds 30]

TutorialVQA states no licence: it is for measuring only and lies outside the repository, in `../shared/retrieval`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench import machine
from bench.poc import Piece
from bench.poc import chunks as poc_chunks
from earmark.internal.v1 import shard_service_pb2 as pb
from earmark.local import models
from services.common.ids import chunk_id, slice_id, slot_of
from services.common.transcript import Segment, SliceTranscript
from services.common.videos.model import quantized
from services.embedder import chunker
from services.embedder.loading import ModelLoader
from services.embedder.model import EmbeddingModel, TextKind
from services.gateway import highlight
from services.gateway.ranking import Candidates, RankedHit, fuse
from services.gateway.search import SearchMode
from services.gateway.settings import Settings as GatewaySettings
from services.indexer.chunks import Batch, Chunk, PutChunks, VideoInfo
from services.indexer.messages import search_response, to_query
from services.indexer.places import Place
from services.indexer.shard import Shard

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "retrieval"
RIGHT_WITHIN_SECONDS = 30
RESAMPLES = 1000
LANGUAGE = "en"


@dataclass(frozen=True, slots=True)
class Question:
    """A question; the answer is in `video_id` between two seconds."""

    text: str
    video_id: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A hit: the chunk's span, and the second to press play at."""

    video_id: str
    start: float
    end: float
    match: float


Search = Callable[[Question, bool], list[Moment]]
"""Answers a question, best first; the flag restricts the search to the question's own video."""


def main() -> None:
    """Measures and prints a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--chunk-seconds", type=float, default=chunker.ChunkLimits().target_seconds)
    parser.add_argument("--overlap", type=int, default=chunker.ChunkLimits().overlap_sentences, help="sentences")
    parser.add_argument("--questions", type=int, help="only the first so many")
    arguments = parser.parse_args()
    if not DATA.exists():
        sys.exit(f"{DATA} is not there; see the top of this file")
    videos = [json.loads(line) for line in (DATA / "transcripts.jsonl").read_text(encoding="utf-8").splitlines()]
    questions, left_out = read_questions()
    questions = questions[: arguments.questions]
    with tempfile.TemporaryDirectory(prefix="earmark-bench-") as name:
        folder = Path(name)
        loader = ModelLoader(models.ensure(folder / "models").embedding, folder / "exported")
        asyncio.run(loader.prepare())
        model = loader.load(threads=2)
        limits = chunker.ChunkLimits(
            target_seconds=arguments.chunk_seconds,
            max_seconds=1.5 * arguments.chunk_seconds,
            max_tokens=model.max_tokens,
            overlap_sentences=arguments.overlap,
        )
        chunks = {video["video_id"]: cut(video, model, limits) for video in videos}
        titles = {video["video_id"]: video["title"] for video in videos}
        vectors = embed(model, [question.text for question in questions], TextKind.QUERY)
        asked = dict(zip(questions, vectors, strict=True))
        index = ShardedIndex(arguments.shards, model, chunks, titles)
        ways: dict[str, Search] = {"PoC: 30 s windows, semantic": poc_search(videos, model, asked)}
        for mode in (SearchMode.SEMANTIC, SearchMode.KEYWORD, SearchMode.HYBRID):
            ways[mode.value] = index.searcher(mode, asked)
        count = sum(map(len, chunks.values()))
        seconds = [chunk.end_time - chunk.start_time for own in chunks.values() for chunk in own]
        print(
            f"{len(questions)} questions ({left_out} of fewer than three words left out), {len(videos)} videos,"
            f" {count} chunks of {np.median(seconds):.0f} s (median), {arguments.shards} shards,"
            f" {model.model_revision}\n"
        )
        for restricted, scope in ((False, "all videos"), (True, "within the question's video")):
            print(f"| {scope} | recall@1 | recall@5 | recall@10 | MRR | right within 30 s | ± | ms a search |")
            print("|---|---:|---:|---:|---:|---:|---:|---:|")
            for way, search in ways.items():
                print(measured(way, search, questions, restricted))
            print()
        index.close()
    print(machine.describe())


def read_questions() -> tuple[list[Question], int]:
    """The questions that are questions, and how many are not: the set has some like `none` and `2`."""
    kept, left_out = [], 0
    for line in (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = " ".join(row["question"].split())
        if len(re.findall(r"[a-z]+", text.lower())) < 3:
            left_out += 1
        else:
            kept.append(Question(text, row["video_id"], row["start"], row["end"]))
    return list(dict.fromkeys(kept)), left_out


def cut(video: dict[str, object], model: EmbeddingModel, limits: chunker.ChunkLimits) -> list[Chunk]:
    """The chunks that the embedder would make of a given transcript, taken as one slice."""
    sentences = video["sentences"]
    assert isinstance(sentences, list)
    video_id, only = str(video["video_id"]), slice_id(0)
    segments = [Segment(row["start"], row["end"], row["text"]) for row in sentences]
    transcript = SliceTranscript(video_id, only, 0, segments[-1].end, LANGUAGE, 1, "given", segments)
    return [
        Chunk(
            chunk_id(video_id, only, number),
            piece.text,
            piece.start_time,
            piece.end_time,
            tuple(piece.sentence_marks),
            LANGUAGE,
            quantized(embed(model, piece.sentences, TextKind.PASSAGE)).tobytes(),
        )
        for number, piece in enumerate(chunker.chunk_slice(transcript, model.count_tokens, limits))
    ]


def embed(model: EmbeddingModel, texts: Sequence[str], kind: TextKind) -> npt.NDArray[np.float32]:
    """Vectors of texts, float32 (n, dimension): passages by eights, queries one by one as the mesh does."""
    step = 8 if kind is TextKind.PASSAGE else 1
    return np.concatenate([model.embed(texts[at : at + step], kind) for at in range(0, len(texts), step)])


class ShardedIndex:
    """Real shards, filled as the mesh fills them, asked through the real messages and the gateway's fusion."""

    def __init__(
        self, shards: int, model: EmbeddingModel, chunks: dict[str, list[Chunk]], titles: dict[str, str]
    ) -> None:
        self._revision = model.model_revision
        settings = GatewaySettings()
        self._floor, self._depth = settings.search_semantic_floor, settings.search_depth
        self._shards = [Shard() for _ in range(shards)]
        for video_id, own in chunks.items():
            batch = Batch(own, embed(model, [chunk.text for chunk in own], TextKind.PASSAGE), self._revision)
            put = PutChunks({video_id: VideoInfo(title=titles[video_id])}, batch)
            applied = self._shards[slot_of(video_id) % shards].apply([put])
            if applied.refused:
                raise RuntimeError(f"{video_id} was refused: {applied.refused}")

    def searcher(self, mode: SearchMode, vectors: dict[Question, npt.NDArray[np.float32]]) -> Search:
        """A search by one leg or both."""

        def search(question: Question, restricted: bool) -> list[Moment]:
            request = pb.SearchShardRequest(
                vector=b"" if mode is SearchMode.KEYWORD else vectors[question].astype("<f4").tobytes(),
                model_revision="" if mode is SearchMode.KEYWORD else self._revision,
                text="" if mode is SearchMode.SEMANTIC else question.text,
                k=self._depth,
                columns=True,
            )
            if restricted:
                request.filter.video_ids.append(question.video_id)
            query = to_query(request)
            answers = [
                search_response(shard.search(query), Place(number, 0), request, lag=0, version="").columns
                for number, shard in enumerate(self._shards)
            ]
            words = highlight.Query(question.text, language=LANGUAGE)
            fused = fuse(Candidates(answers), semantic_floor=self._floor)
            return [moment(fused.hit(chunk_id), words) for chunk_id in fused.chunk_ids[:10]]

        return search

    def close(self) -> None:
        """Ends the shards."""
        for shard in self._shards:
            shard.close()


def moment(hit: RankedHit, words: highlight.Query) -> Moment:
    """A hit with the second to press play at, found as the gateway finds it."""
    chunk = hit.chunk
    start, end = chunk.start_offset.ToMicroseconds() / 1e6, chunk.end_offset.ToMicroseconds() / 1e6
    found = words.find(chunk.text)
    marks = chunk.sentence_marks
    best = highlight.best_sentence(found, [mark.char_offset for mark in marks], hit.sentence_scores)
    match = start if best is None else marks[best].start_offset.ToMicroseconds() / 1e6
    return Moment(chunk.video_id, start, end, match)


def poc_search(
    videos: Sequence[dict[str, object]], model: EmbeddingModel, vectors: dict[Question, npt.NDArray[np.float32]]
) -> Search:
    """The proof of concept's windows and exact search, with the same vectors."""
    pieces: list[Piece] = []
    for video in videos:
        sentences = video["sentences"]
        assert isinstance(sentences, list)
        name = str(video["video_id"])
        pieces += poc_chunks([Piece(name, row["text"], row["start"], row["end"]) for row in sentences])
    matrix = embed(model, [piece.text for piece in pieces], TextKind.PASSAGE)

    def search(question: Question, restricted: bool) -> list[Moment]:
        order = np.argsort(-(matrix @ vectors[question]), kind="stable")
        best = (pieces[number] for number in order if not restricted or pieces[number].file == question.video_id)
        return [Moment(p.file, p.start, p.end, p.start) for p, _ in zip(best, range(10), strict=False)]

    return search


def measured(way: str, search: Search, questions: Sequence[Question], restricted: bool) -> str:
    """One row. A hit is right when its chunk overlaps the answer; ± is half the 95 % interval."""
    ranks, within = [], []
    begun = time.perf_counter()
    answers = [search(question, restricted) for question in questions]
    milliseconds = 1000 * (time.perf_counter() - begun) / len(questions)
    for question, moments in zip(questions, answers, strict=True):
        right = [m.video_id == question.video_id and m.start < question.end and m.end > question.start for m in moments]
        ranks.append(right.index(True) + 1 if any(right) else 0)
        first = moments[0] if moments else None
        within.append(
            first is not None
            and first.video_id == question.video_id
            and abs(first.match - question.start) <= RIGHT_WITHIN_SECONDS
        )
    found = np.array(ranks)
    cells = [f"{((found > 0) & (found <= k)).mean():.3f}" for k in (1, 5, 10)]
    reciprocal = np.divide(1.0, found, out=np.zeros(len(found)), where=found > 0)
    cells += [f"{reciprocal.mean():.3f}", f"{np.mean(within):.3f}", f"{half_interval(questions, within):.3f}"]
    return f"| {way} | {' | '.join(cells)} | {milliseconds:.2f} |"


def half_interval(questions: Sequence[Question], values: Sequence[bool]) -> float:
    """Half of the 95 % bootstrap interval of the mean. Videos are drawn, not questions: those of one are alike."""
    by_video: dict[str, list[bool]] = {}
    for question, value in zip(questions, values, strict=True):
        by_video.setdefault(question.video_id, []).append(value)
    sums = np.array([sum(own) for own in by_video.values()], float)
    counts = np.array([len(own) for own in by_video.values()], float)
    drawn = np.random.default_rng(3).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(high - low) / 2


if __name__ == "__main__":
    main()
