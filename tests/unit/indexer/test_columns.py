from pathlib import Path

import numpy as np
import pytest

from services.indexer.columns import FILES, Columns, ColumnWriter, blocks


def write(folder: Path, rows: int, dimension: int = 8) -> np.ndarray:
    writer = ColumnWriter(folder)
    vectors = np.random.default_rng(1).standard_normal((rows, dimension)).astype(np.float32)
    for row in range(rows):
        writer.add(
            f"record {row}".encode(),
            b"s" * (row % 3),
            video_id=f"vid_{row // 4}",
            language=["en", "de"][row % 2],
            speaker=["", "Ann", "Bob"][row % 3],
        )
        assert writer.rows == row + 1
    for start in range(0, rows, 5):
        writer.add_vectors(vectors[start : start + 5])
    writer.close(dimension)
    return vectors


def test_rows_come_back(tmp_path: Path) -> None:
    vectors = write(tmp_path, 11)
    columns = Columns(tmp_path)
    assert (columns.rows, columns.dimension) == (11, 8)
    assert columns.video_ids == ["vid_0", "vid_1", "vid_2"]
    assert columns.videos.tolist() == [row // 4 for row in range(11)]
    assert [columns.language_names[code] for code in columns.languages] == [["en", "de"][n % 2] for n in range(11)]
    assert [columns.speaker_names[code] for code in columns.speakers] == [["", "Ann", "Bob"][n % 3] for n in range(11)]
    assert [columns.record(row) for row in range(11)] == [f"record {row}".encode() for row in range(11)]
    assert [columns.sentences(row) for row in range(11)] == [b"s" * (row % 3) for row in range(11)]
    rows = np.array([7, 0, 10, 7])
    assert columns.records(rows) == [b"record 7", b"record 0", b"record 10", b"record 7"]
    assert columns.all_sentences(rows) == [b"s", b"", b"s", b"s"]
    assert columns.vectors.dtype == np.float16
    np.testing.assert_array_equal(columns.vectors, vectors.astype(np.float16))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_there_may_be_no_rows(tmp_path: Path) -> None:
    write(tmp_path, 0)
    columns = Columns(tmp_path)
    assert (columns.rows, columns.vectors.shape) == (0, (0, 8))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("lost", [1, 4])
def test_files_that_do_not_fit_together_are_noticed(tmp_path: Path, name: str, lost: int) -> None:
    write(tmp_path, 11)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises((ValueError, OSError), match=r".+"):
        Columns(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(tmp_path: Path, name: str) -> None:
    write(tmp_path, 3)
    (tmp_path / name).unlink()
    with pytest.raises(OSError, match=r"No such file|directory"):
        Columns(tmp_path)


def test_blocks_are_all_rows_in_order() -> None:
    rows = np.arange(40_000)
    cut = list(blocks(rows))
    assert len(cut) > 1
    np.testing.assert_array_equal(np.concatenate(cut), rows)
