"""The files of a part that say what its rows are.

    vectors.f16                    rows × dimension float16, little-endian, row after row
    records.bin    records.u64     encoded chunks one after the other, and where each begins (rows + 1 offsets)
    sentences.i8   sentences.u64   sentence vectors likewise
    names.msgpack                  languages and speakers that occur, by code; the dimension; video ids, sorted or not
    languages.u16  speakers.u32    code of each row
    videos.u32                     place of each row's video in the list of names

Written by the process that has the rows, read by memory map.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgpack
import numpy as np
import numpy.typing as npt

from services.indexer.chunks import Ids

FILES: Final = (
    "vectors.f16",
    "records.bin",
    "records.u64",
    "sentences.i8",
    "sentences.u64",
    "names.msgpack",
    "languages.u16",
    "speakers.u32",
    "videos.u32",
)
_BLOCK_ROWS: Final = 16_384


class Columns:
    """Rows as they lie in a folder, mapped into memory.

    Args:
        folder: The folder.

    Raises:
        ValueError: The files do not fit together.
        OSError: One cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        names = msgpack.unpackb((folder / "names.msgpack").read_bytes())
        try:
            self.dimension: int = names["dimension"]
            self.video_ids: list[str] = names["videos"]
            self.language_names: list[str] = names["languages"]
            self.speaker_names: list[str] = names["speakers"]
        except (KeyError, TypeError) as error:
            raise ValueError(f"names.msgpack is of another form: {error!r}") from error
        self.languages = _map(folder / "languages.u16", "<u2")
        self.speakers = _map(folder / "speakers.u32", "<u4")
        self.videos = _map(folder / "videos.u32", "<u4")
        self.rows = len(self.videos)
        self.vectors = _map(folder / "vectors.f16", "<f2").reshape(-1, self.dimension)
        self._records = _Blobs(folder / "records.bin", folder / "records.u64")
        self._sentences = _Blobs(folder / "sentences.i8", folder / "sentences.u64")
        lengths = [len(self.vectors), len(self._records), len(self._sentences), len(self.languages), len(self.speakers)]
        if any(length != self.rows for length in lengths):
            raise ValueError(f"the columns are of different lengths: {[self.rows, *lengths]}")

    def record(self, row: int) -> bytes:
        """Gives the encoded chunk of a row."""
        return self._records[row]

    def records(self, rows: Ids) -> list[bytes]:
        """Gives the encoded chunks of rows."""
        return self._records.take(rows)

    def sentences(self, row: int) -> bytes:
        """Gives the sentence vectors of a row."""
        return self._sentences[row]

    def all_sentences(self, rows: Ids) -> list[bytes]:
        """Gives the sentence vectors of rows."""
        return self._sentences.take(rows)


class ColumnWriter:
    """Writes the files, row after row or block after block.

    Args:
        folder: An existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._vectors = (folder / "vectors.f16").open("wb")
        self._records = _BlobWriter(folder / "records.bin", folder / "records.u64")
        self._sentences = _BlobWriter(folder / "sentences.i8", folder / "sentences.u64")
        self._languages, self._speakers, self._videos = _Codes(), _Codes(), _Codes()

    @property
    def rows(self) -> int:
        """Rows written."""
        return len(self._videos.codes)

    def add(self, record: bytes, sentences: bytes, *, video_id: str, language: str, speaker: str) -> None:
        """Adds a row, but for its vector."""
        self._records.add(record)
        self._sentences.add(sentences)
        self._videos.add(video_id)
        self._languages.add(language)
        self._speakers.add(speaker)

    def add_vectors(self, vectors: npt.NDArray[Any]) -> None:
        """Adds the vectors of the next rows, shape (n, dimension)."""
        self._vectors.write(np.ascontiguousarray(vectors, dtype="<f2").data)

    def close(self, dimension: int) -> None:
        """Ends the files, of vectors of a length; they are not synced."""
        self._vectors.close()
        self._records.close()
        self._sentences.close()
        names = {
            "dimension": dimension,
            "videos": list(self._videos.names),
            "languages": list(self._languages.names),
            "speakers": list(self._speakers.names),
        }
        (self._folder / "names.msgpack").write_bytes(msgpack.packb(names))
        np.array(self._languages.codes, "<u2").tofile(self._folder / "languages.u16")
        np.array(self._speakers.codes, "<u4").tofile(self._folder / "speakers.u32")
        np.array(self._videos.codes, "<u4").tofile(self._folder / "videos.u32")


def blocks(rows: Ids) -> Iterable[Ids]:
    """Cuts rows into blocks whose vectors are worth copying at once."""
    return (rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS))


class _Codes:
    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.codes: list[int] = []

    def add(self, name: str) -> None:
        self.codes.append(self.names.setdefault(name, len(self.names)))


class _Blobs:
    def __init__(self, data: Path, offsets: Path) -> None:
        self._data = memoryview(_map(data, "u1"))  # type: ignore[arg-type]
        self._offsets = _map(offsets, "<u8")
        if not len(self._offsets) or self._offsets[0] != 0 or self._offsets[-1] != len(self._data):
            raise ValueError(f"{data.name} does not end where {offsets.name} says")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> bytes:
        start, end = self._offsets[row : row + 2].tolist()
        return bytes(self._data[start:end])

    def take(self, rows: Ids) -> list[bytes]:
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        return [bytes(self._data[start:end]) for start, end in zip(starts, ends, strict=True)]


class _BlobWriter:
    def __init__(self, data: Path, offsets: Path) -> None:
        self._data = data.open("wb", buffering=1 << 20)
        self._path = offsets
        self._offsets = [0]

    def add(self, blob: bytes) -> None:
        self._data.write(blob)
        self._offsets.append(self._offsets[-1] + len(blob))

    def close(self) -> None:
        self._data.close()
        np.array(self._offsets, "<u8").tofile(self._path)


def _map(path: Path, dtype: str) -> npt.NDArray[Any]:
    """Maps a file; an empty one cannot be mapped and is an empty array. A plain array is faster than np.memmap."""
    size = path.stat().st_size
    if size % np.dtype(dtype).itemsize:
        raise ValueError(f"{path.name} has {size} bytes, which are no whole numbers")
    if size == 0:
        return np.empty(0, dtype)
    return np.asarray(np.memmap(path, dtype, mode="r")).view(np.ndarray)
