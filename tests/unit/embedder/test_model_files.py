"""Names and content of models."""

from pathlib import Path

from services.embedder.model_files import content_hash, model_name


def model_folder(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "1_Pooling").mkdir()
    (root / "config.json").write_text("{}")
    (root / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean"}')
    (root / "model.safetensors").write_bytes(b"weights")
    return root


def test_the_same_files_have_the_same_hash_wherever_they_lie(tmp_path: Path) -> None:
    first, second = model_folder(tmp_path / "a"), model_folder(tmp_path / "b" / "c")
    (second / "README.md").write_text("only words")
    (second / "pytorch_model.bin").write_bytes(b"the same weights, in another format")
    (second / ".cache").mkdir()
    (second / ".cache" / "x.json").write_text("{}")
    assert content_hash(first) == content_hash(second)


def test_other_weights_or_another_pooling_are_another_model(tmp_path: Path) -> None:
    first, weights, pooling = (model_folder(tmp_path / name) for name in "abc")
    (weights / "model.safetensors").write_bytes(b"other weights")
    (pooling / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    assert len({content_hash(first), content_hash(weights), content_hash(pooling)}) == 3


def test_a_folder_that_is_called_model_takes_its_parents_name(tmp_path: Path) -> None:
    assert model_name(str(model_folder(tmp_path / "all-MiniLM" / "model"))) == "all-MiniLM"
    assert model_name(str(model_folder(tmp_path / "e5-small"))) == "e5-small"
    assert model_name("intfloat/e5-small-v2") == "e5-small-v2"
