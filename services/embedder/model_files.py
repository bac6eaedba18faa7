"""The files of a model: what it is called, and what its content is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_GENERIC_NAMES = frozenset({"model", "models", "snapshot", "checkpoint", "onnx"})
_NOT_THE_MODEL = re.compile(
    r"(^|/)(\..*|README.*|LICENSE.*|data_config\.json|.*\.(h5|msgpack|ot|tflite|png|jpe?g|svg|py))(/|$)|^openvino/"
)
_HASH_BLOCK = 1 << 20


def model_name(source: str) -> str:
    """Gives the name of a model: of a folder its own name, or its parent's where its own says nothing."""
    path = Path(source).expanduser()
    if not path.is_dir():
        return source.rsplit("/", 1)[-1]
    path = path.resolve()
    while path.name.lower() in _GENERIC_NAMES and path.parent.name:
        path = path.parent
    return path.name


def content_hash(folder: Path) -> str:
    """Gives the hex SHA-256 of a model's files: the same model has the same hash on every machine."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    names = sorted(name for name in files if not _NOT_THE_MODEL.search(name))
    # Of several copies of the same weights only one counts: which of them were downloaded differs between machines.
    if any(name.endswith(".safetensors") for name in names):
        names = [name for name in names if not (name.endswith(".bin") or name.startswith("onnx/"))]
    elif any(name.endswith(".bin") for name in names):
        names = [name for name in names if not name.startswith("onnx/")]
    whole = hashlib.sha256()
    for name in names:
        digest = hashlib.sha256()
        with files[name].open("rb") as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
        whole.update(f"{name}\0{digest.hexdigest()}\n".encode())
    return whole.hexdigest()
