"""The cache of exported models."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from services.common.errors import EarmarkError
from services.embedder.manifest import FORMAT, Manifest
from services.embedder.model_files import content_hash, model_name

log = structlog.get_logger()

EXPORT_SECONDS = 1800
"""Longest an export may take, a download of the model included."""
LOCK_POLL_SECONDS = 0.2
WHAT_TO_DO = (
    "set EARMARK_EMBEDDING_MODEL to the folder of a sentence-transformers model, or to the name of one "
    "that this machine may download"
)


class ModelNotUsable(EarmarkError):
    """The embedding model cannot be loaded or exported."""

    reason = "EMBEDDING_MODEL_NOT_USABLE"
    code = "FAILED_PRECONDITION"


async def exported(source: str, cache_dir: Path) -> Path:
    """Gives the folder of the exported model, exporting it first where it is not there.

    Safe against kills in the middle (written beside, then renamed) and against several processes that start at once
    (one exports, the others wait). Takes seconds to minutes the first time; cancelling it ends the export.

    Args:
        source: Folder of a sentence-transformers model, or its name.
        cache_dir: Where exported models are kept; made when missing.

    Raises:
        ModelNotUsable: The model cannot be loaded or exported; the message says what to do.
    """
    target = await asyncio.to_thread(_target, source, cache_dir)
    if is_whole(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        async with _locked(target.with_name(f".{target.name}.lock")):
            if not is_whole(target):
                await _export(source, target)
    except OSError as error:
        raise ModelNotUsable(
            f"the models folder {target.parent} cannot be written ({error}); free it or set EARMARK_EMBEDDING_CACHE_DIR"
        ) from error
    return target


def is_whole(folder: Path) -> bool:
    """Whether a folder holds a whole exported model."""
    try:
        manifest = Manifest.read(folder)
    except (OSError, ValueError, TypeError):
        return False
    return (folder / manifest.onnx_file).is_file()


def _target(source: str, cache_dir: Path) -> Path:
    """Gives where the exported model belongs: another model, or another content, is another folder."""
    path = Path(source).expanduser()
    if not path.is_dir() and source.startswith(("/", ".", "~")):
        raise ModelNotUsable(f"there is no folder {source!r}; {WHAT_TO_DO}")
    if path.is_dir() and not ((path / "modules.json").is_file() or (path / "config.json").is_file()):
        raise ModelNotUsable(f"the folder {source!r} holds no sentence-transformers model; {WHAT_TO_DO}")
    # A name is exported once and stays at that revision until its folder is removed.
    content = content_hash(path)[:12] if path.is_dir() else "named"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name(source))[:80]
    return cache_dir.expanduser() / f"embedding-{slug}-{content}-v{FORMAT}"


@contextlib.asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """Holds a lock that the system gives back when the process dies."""
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_POLL_SECONDS)
        yield


async def _export(source: str, target: Path) -> None:
    name = model_name(source)
    # The lock is held: what others left half written is nobody's any more.
    for left in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    part.mkdir()
    log.info("model_exporting", model=name, folder=str(target))
    try:
        await _run_export(source, part, name)
        await asyncio.to_thread(_sync, part)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("model_exported", model=name)


async def _run_export(source: str, part: Path, name: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.embedder.export", source, str(part), name),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, stderr = await asyncio.wait_for(process.communicate(), EXPORT_SECONDS)
    except TimeoutError as error:
        raise ModelNotUsable(f"exporting the embedding model {source!r} took over {EXPORT_SECONDS} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not is_whole(part):
        said = stderr.decode(errors="replace").strip().splitlines()
        log.error("model_export_failed", model=name, code=process.returncode, said=said[-20:])
        raise ModelNotUsable(
            f"the embedding model {source!r} cannot be loaded ({said[-1] if said else 'no message'}); {WHAT_TO_DO}"
        )


def _sync(folder: Path) -> None:
    """Makes the files durable before the rename says that they are whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
