"""Loads a model with sentence-transformers and exports it to ONNX; run as a process of its own, once a model.

    python -m services.embedder.export SOURCE FOLDER NAME

A process of its own, because what it imports (torch, transformers) takes seconds to load and memory that the serving
process would never give back.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from services.embedder.manifest import Manifest
from services.embedder.model import TextKind, Vectors
from services.embedder.model_files import content_hash
from services.embedder.onnx_model import OnnxEmbeddingModel

AGREEMENT = 1e-5
"""Largest difference of any number of two vectors that count as the same."""

PROBES = (
    "where is the timing belt tensioner?",
    "",
    "  spaces\tand\nlines  around ",
    "MiXeD case, Ünïcödé, naïve café — “quotes” …",
    "どこでベルトを調整しますか。東京へ行きました。",
    "那我们现在开始讲第二部分。",
    "음악을 어떻게 편집하나요?",
    "كيف أقوم بتعديل الصورة؟ अब हम शुरू करते हैं।",
    "🙂 3.14 e-mail@example.org https://example.org/a?b=c",
    "There are a variety of ways to share a design you build. " * 60,
)
"""Texts on which the short way must agree with sentence-transformers: other scripts, none, too long."""


def main() -> int:
    """Exports the model named on the command line."""
    parser = argparse.ArgumentParser(description="Export an embedding model to ONNX.")
    parser.add_argument("source", help="folder of a sentence-transformers model, or its name")
    parser.add_argument("folder", type=Path, help="an empty folder to write to")
    parser.add_argument("name", help="what the model is called")
    arguments = parser.parse_args()
    export(arguments.source, arguments.folder, arguments.name)
    return 0


def export(source: str, folder: Path, name: str) -> Manifest:
    """Exports a model into `folder` and describes it there.

    Args:
        source: Folder of a sentence-transformers model, or its name.
        folder: Where to write.
        name: What the model is called.

    Raises:
        OSError: There is no such model, or it cannot be written.
        ValueError: sentence-transformers cannot export it.
    """
    from sentence_transformers import SentenceTransformer

    path = Path(source).expanduser()
    source = str(path) if path.is_dir() else source
    model: Any = SentenceTransformer(
        source,
        backend="onnx",
        device="cpu",
        local_files_only=Path(source).is_dir(),
        model_kwargs={"export": True, "provider": "CPUExecutionProvider"},
    )
    model.save_pretrained(str(folder))
    prompts = {kind: _prompt(model, kind) for kind in TextKind}
    probe = model.encode(["probe"], convert_to_numpy=True, show_progress_bar=False)
    manifest = Manifest(
        name=name,
        content=content_hash(_source_folder(source)),
        dimension=int(probe.shape[1]),
        max_tokens=int(model.max_seq_length),
        onnx_file="onnx/model.onnx",
        direct=False,
        pooling="",
        pad_token_id=int(model.tokenizer.pad_token_id or 0),
        query_prompt=prompts[TextKind.QUERY],
        passage_prompt=prompts[TextKind.PASSAGE],
    )
    manifest = _shortest_way(model, folder, manifest)
    manifest.write(folder)
    return manifest


def _source_folder(source: str) -> Path:
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    # Just loaded, so it is in the cache.
    repository = source if "/" in source else f"sentence-transformers/{source}"
    return Path(snapshot_download(repository, local_files_only=True))


def _prompt(model: Any, kind: TextKind) -> str:
    """Gives the model's prompt for a kind of text; the names are those of its encode_query and encode_document."""
    names = {TextKind.QUERY: ("query",), TextKind.PASSAGE: ("document", "passage", "corpus")}[kind]
    prompts: dict[str, str] = model.prompts or {}
    known = [prompts[name] for name in (*names, model.default_prompt_name) if prompts.get(name)]
    return known[0] if known else ""


def _shortest_way(model: Any, folder: Path, manifest: Manifest) -> Manifest:
    """Gives the manifest of the quickest way to run the model that agrees with sentence-transformers."""
    pooling = _pooling(model)
    if pooling is None or not (folder / "tokenizer.json").is_file():
        return manifest
    wanted = {kind: _encode(model, manifest, kind) for kind in TextKind}
    for onnx_file in filter(None, (_optimised(model, folder), manifest.onnx_file)):
        candidate = dataclasses.replace(manifest, direct=True, pooling=pooling, onnx_file=onnx_file)
        direct = OnnxEmbeddingModel(folder, threads=1, manifest=candidate)
        if all(np.abs(_in_batches(direct, kind) - wanted[kind]).max() <= AGREEMENT for kind in TextKind):
            if onnx_file != manifest.onnx_file:
                (folder / manifest.onnx_file).unlink()
            return candidate
    return manifest


def _encode(model: Any, manifest: Manifest, kind: TextKind) -> Vectors:
    prompt = {TextKind.QUERY: manifest.query_prompt, TextKind.PASSAGE: manifest.passage_prompt}[kind]
    vectors = model.encode(
        list(PROBES), prompt=prompt or None, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
    )
    return np.asarray(vectors, np.float32)


def _in_batches(model: OnnxEmbeddingModel, kind: TextKind) -> Vectors:
    alone = [model.embed([text], kind) for text in PROBES[:2]]
    return np.concatenate([*alone, model.embed(PROBES[2:], kind)])


def _pooling(model: Any) -> str | None:
    """Gives the pooling where the model is transformer, pooling and at most a normalisation; else None."""
    kinds = [type(module).__name__ for module in model]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    mode = model[1].get_config_dict().get("pooling_mode")
    return str(mode) if mode in {"mean", "cls"} else None


def _optimised(model: Any, folder: Path) -> str | None:
    """Fuses the graph's attention and normalisation (level O2, exact arithmetic); None where that is not known."""
    from sentence_transformers import export_optimized_onnx_model

    try:
        export_optimized_onnx_model(model, "O2", str(folder))
    except Exception as error:  # noqa: BLE001  # many kinds, for many architectures; the plain graph does as well
        sys.stderr.write(f"the graph is left as it is: {error!r}\n")
        return None
    return "onnx/model_O2.onnx"


if __name__ == "__main__":
    sys.exit(main())
