"""Models: exported once, safely, and run the short way only where that gives what sentence-transformers gives."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.embedder.export import PROBES
from services.embedder.loading import ModelLoader
from services.embedder.manifest import Manifest
from services.embedder.model import EmbeddingModel, TextKind
from services.embedder.model_cache import ModelNotUsable, exported, is_whole
from services.embedder.onnx_model import OnnxEmbeddingModel
from services.embedder.sentence_transformers_model import SentenceTransformersModel
from tests.support import eventually

# Exports import torch, in processes of their own.
pytestmark = pytest.mark.timeout(600)

AGREEMENT = 1e-5

EXPORT = """
import asyncio, sys
from pathlib import Path
from services.embedder.model_cache import exported
print(asyncio.run(exported(sys.argv[1], Path(sys.argv[2]))))
"""


@pytest.fixture(scope="session")
def embedding_cache() -> Path:
    """Where the packaged model is exported to, once a machine."""
    default = Path(__file__).resolve().parents[2] / ".earmark" / "models"
    return Path(os.environ.get("EARMARK_TEST_MODELS_DIR") or default)


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a small model of random weights, in the form sentence-transformers saves."""
    transformers = pytest.importorskip("transformers")
    sentence_transformers = pytest.importorskip("sentence_transformers")

    def make(name: str, *, pooling: str = "mean", dense: bool = False, prompts: dict[str, str] | None = None) -> Path:
        import torch

        torch.manual_seed(7)
        base, folder = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("models") / name
        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *".?,:"]
        (base / "vocab.txt").write_text("\n".join(vocabulary))
        transformers.BertTokenizerFast(str(base / "vocab.txt"), model_max_length=64).save_pretrained(base)
        config = transformers.BertConfig(
            vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=64,
        )  # fmt: skip
        transformers.BertModel(config).save_pretrained(base)
        from sentence_transformers import models

        modules: list[Any] = [models.Transformer(str(base), max_seq_length=48)]
        modules.append(models.Pooling(32, pooling_mode=pooling))
        if dense:
            modules.append(models.Dense(32, 16))
        modules.append(models.Normalize())
        model = sentence_transformers.SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
        model.save(str(folder))
        return folder

    return make


async def loaded(source: Path, cache: Path) -> tuple[EmbeddingModel, Manifest]:
    loader = ModelLoader(str(source), cache)
    await loader.prepare()
    return loader.load(threads=1), Manifest.read(await exported(str(source), cache))


def reference(source: Path, prompt: str = "") -> np.ndarray:
    """What sentence-transformers gives with torch, not with our export."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(source), device="cpu")
    return model.encode(list(PROBES), prompt=prompt or None, normalize_embeddings=True, show_progress_bar=False)


@pytest.mark.slow
async def test_the_packaged_model_runs_the_short_way_and_agrees(model_paths: Any, embedding_cache: Path) -> None:
    source = Path(model_paths.embedding)
    model, manifest = await loaded(source, embedding_cache)

    assert isinstance(model, OnnxEmbeddingModel)
    assert (manifest.direct, model.dimension, model.max_tokens) == (True, 384, 256)
    wanted = reference(source)
    for kind in TextKind:
        np.testing.assert_allclose(model.embed(PROBES, kind), wanted, atol=AGREEMENT)
        for text, vector in zip(PROBES, wanted, strict=True):
            np.testing.assert_allclose(model.embed([text], kind)[0], vector, atol=AGREEMENT)
    long_way = SentenceTransformersModel(await exported(str(source), embedding_cache), threads=1)
    np.testing.assert_allclose(long_way.embed(PROBES, TextKind.QUERY), wanted, atol=AGREEMENT)
    assert long_way.count_tokens(["how do I crop an image?"]) == model.count_tokens(["how do I crop an image?"]) == [7]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.slow
async def test_poolings_and_prompts(make_model: Callable[..., Path], tmp_path: Path, pooling: str) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    source = make_model(f"small-{pooling}", pooling=pooling, prompts=prompts)
    model, manifest = await loaded(source, tmp_path)

    assert manifest.direct
    query, passage = reference(source, "query: "), reference(source, "passage: ")
    assert np.abs(query - passage).max() > 100 * AGREEMENT
    np.testing.assert_allclose(model.embed(PROBES, TextKind.QUERY), query, atol=AGREEMENT)
    np.testing.assert_allclose(model.embed(PROBES, TextKind.PASSAGE), passage, atol=AGREEMENT)
    assert model.max_tokens == 48 - model.count_tokens(["passage: "])[0]


@pytest.mark.slow
async def test_a_model_with_more_layers_runs_through_sentence_transformers(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_model("small-dense", dense=True, prompts={"query": "q: ", "document": ""})
    model, manifest = await loaded(source, tmp_path)

    assert isinstance(model, SentenceTransformersModel)
    assert (manifest.direct, model.dimension) == (False, 16)
    np.testing.assert_allclose(model.embed(PROBES, TextKind.QUERY), reference(source, "q: "), atol=AGREEMENT)
    np.testing.assert_allclose(model.embed(PROBES, TextKind.PASSAGE), reference(source), atol=AGREEMENT)


async def test_later_starts_load_neither_torch_nor_transformers(model_paths: Any, embedding_cache: Path) -> None:
    await exported(model_paths.embedding, embedding_cache)
    script = f"""
import asyncio, sys
from pathlib import Path
from services.embedder.loading import ModelLoader
loader = ModelLoader({model_paths.embedding!r}, Path({str(embedding_cache)!r}))
asyncio.run(loader.prepare())
loader.load(threads=1)
sys.exit(1 if {{"torch", "transformers", "sentence_transformers"}} & set(sys.modules) else 0)
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


@pytest.mark.slow
async def test_two_processes_at_once_export_once(make_model: Callable[..., Path], tmp_path: Path) -> None:
    source = make_model("small-shared")
    command = (sys.executable, "-c", EXPORT, str(source), str(tmp_path))
    both = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    outputs = [(await process.communicate())[0].decode() for process in both]

    assert [process.returncode for process in both] == [0, 0]
    folders = {output.split()[-1] for output in outputs}
    assert len(folders) == 1
    assert is_whole(Path(folders.pop()))
    assert sum(output.count("model_exporting") for output in outputs) == 1


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_an_export_leaves_nothing_that_looks_whole(
    make_model: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_model("small-killed")
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EXPORT, str(source), str(tmp_path), start_new_session=True
    )
    await eventually(lambda: files(tmp_path, ".*.part/config.json"), 300, message="the export writing")
    os.killpg(killed.pid, signal.SIGKILL)
    await killed.wait()
    assert not any(is_whole(path) for path in files(tmp_path, "*"))

    model, _ = await loaded(source, tmp_path)

    assert model.dimension == 32
    assert files(tmp_path, "*.part") == []


def files(folder: Path, pattern: str) -> list[Path]:
    return [*folder.glob(pattern)]


@pytest.mark.slow
async def test_what_is_no_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    empty, broken = tmp_path / "notes", tmp_path / "broken"
    empty.mkdir()
    broken.mkdir()
    (broken / "config.json").write_text('{"model_type": "no such thing"}')
    for source in (empty, broken, tmp_path / "not there"):
        with pytest.raises(ModelNotUsable, match="EARMARK_EMBEDDING_MODEL"):
            await exported(str(source), tmp_path / "cache")
    assert [path.suffix for path in files(tmp_path / "cache", "*")] == [".lock"]


async def test_a_cache_that_cannot_be_written_is_told(model_paths: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelNotUsable, match="EARMARK_EMBEDDING_CACHE_DIR"):
        await exported(model_paths.embedding, tmp_path / "file" / "cache")


@pytest.mark.slow
async def test_instances_in_several_threads_do_not_disturb_each_other(model_paths: Any, embedding_cache: Path) -> None:
    loader = ModelLoader(model_paths.embedding, embedding_cache)
    await loader.prepare()
    instances = [loader.load(threads=1) for _ in range(2)]
    texts = ["a question", "a much longer passage about the timing belt and how it is tensioned " * 3]
    wanted = [instances[0].embed([text], TextKind.QUERY)[0] for text in texts]
    wrong: list[str] = []

    def work(model: EmbeddingModel, text: str, vector: Any) -> None:
        for _ in range(30):
            got = model.embed([text], TextKind.QUERY)[0]
            model.count_tokens([text])
            if np.abs(got - vector).max() > AGREEMENT:
                wrong.append(text)

    # Counting happens in another thread than embedding, on the same instance, as in the service.
    threads = [
        threading.Thread(target=work, args=(model, text, vector))
        for model in instances
        for text, vector in zip(texts, wanted, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert wrong == []
