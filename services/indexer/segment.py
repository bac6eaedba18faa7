"""A segment: a sealed part of a shard, immutable, in a folder of its own, mapped into memory.

    segments/01k…/
      segment.json            format, rows, model, the vector index's own facts, size and hash of every other file
      (the columns)           see columns.py; rows in order of chunk id, so that those of a video lie together
      dense.faiss             the vector index, FAISS's own format; not there for kind `flat`
      keyword/                tantivy's files

Made by build.py under another name, synced, and renamed: a segment that is there is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash

from services.indexer import sealed_json
from services.indexer.chunks import Ids, Vectors
from services.indexer.columns import Columns
from services.indexer.dense import DenseIndex
from services.indexer.dense_exact import RowReader
from services.indexer.keyword import KeywordPart
from services.indexer.record import chunk_id_of
from services.indexer.rows import Mask
from services.indexer.videos import Numbers

FORMAT_VERSION: Final = 2
"""Of segments and snapshots. 1 had no segments: one FAISS file and one table for the whole shard (migrate.py)."""
MANIFEST: Final = "segment.json"
_FEW_VIDEOS: Final = 8


class SegmentCorrupt(Exception):
    """A segment's files are not what was written."""


class Segment:
    """Rows of a segment. Nothing of it ever changes.

    Args:
        serial: What tells this part from all others of the process.
        folder: Its folder; its name is the segment's id.
        number_of: Gives the shard's number of a video.

    Raises:
        SegmentCorrupt: A file is missing, of another length, or not what it should be.
    """

    def __init__(self, serial: int, folder: Path, number_of: Callable[[str], int]) -> None:
        self.serial = serial
        self.folder = folder
        self.segment_id = folder.name
        manifest = read_manifest(folder)
        try:
            self._columns = Columns(folder)
            self.rows = int(manifest["rows"])
            self.model_revision = str(manifest["model_revision"])
            self.kind = str(manifest["dense"]["kind"])
            self.bytes_on_disk = sum(int(entry["bytes"]) for entry in manifest["files"].values())
            self.dense = DenseIndex.open(
                folder / "dense.faiss",
                self._columns.vectors,
                manifest["dense"],
                take=RowReader(folder / "vectors.f16", self._columns.dimension).take,
            )
            self.keyword = KeywordPart.open(folder / "keyword")
            if not self.rows == self._columns.rows == self.keyword.documents or not self.keyword.holds(self.rows):
                counts = f"{self.rows} rows, {self._columns.rows} records and {self.keyword.documents} keyword entries"
                raise SegmentCorrupt(f"{counts} are not the same")
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise SegmentCorrupt(f"its files do not make a segment: {error!r}") from error
        names = self._columns.video_ids  # sorted
        self._starts = np.searchsorted(self._columns.videos, np.arange(len(names) + 1))
        self._number_of_name = np.array([number_of(name) for name in names], np.int32)

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._columns.dimension

    @property
    def video_ids(self) -> list[str]:
        """The videos with a row, dead ones too, sorted."""
        return self._columns.video_ids

    def video_numbers(self) -> Numbers:
        """Gives the number of each row's video, shape (rows,)."""
        numbers: Numbers = self._number_of_name[self._columns.videos]
        return numbers

    def numbers_of(self, rows: Ids) -> list[int]:
        """Gives the numbers of the videos of rows."""
        return [int(number) for number in self._number_of_name[self._columns.videos[rows]]]

    def records(self, rows: Ids) -> list[bytes]:
        """Gives the encoded chunks of rows."""
        return self._columns.records(rows)

    def sentences(self, rows: Ids) -> list[bytes]:
        """Gives the sentence vectors of rows."""
        return self._columns.all_sentences(rows)

    def vectors(self, rows: Ids) -> Vectors:
        """Gives the vectors of rows, float32, shape (n, dimension)."""
        return np.asarray(self._columns.vectors[rows], np.float32)

    def slice_rows(self, video_id: str) -> Mapping[str, Mapping[str, int]]:
        """Gives, for each slice of a video, the row of each of its chunks, dead ones too."""
        slices: dict[str, dict[str, int]] = {}
        for row in self.video_rows(video_id).tolist():
            chunk_id = chunk_id_of(self._columns.record(row))
            slices.setdefault(chunk_id.split("/", 2)[1], {})[chunk_id] = row
        return slices

    def video_rows(self, video_id: str) -> Ids:
        """Gives all rows of a video, dead ones too, ascending."""
        place = bisect_left(self._columns.video_ids, video_id)
        if place == len(self._columns.video_ids) or self._columns.video_ids[place] != video_id:
            return np.empty(0, np.int64)
        return np.arange(self._starts[place], self._starts[place + 1], dtype=np.int64)

    def rows_of(self, videos: Mask) -> Mask:
        """Gives which rows are of a chosen video number; a number beyond the mask is not."""
        known = np.append(videos, False)
        names = known[np.minimum(self._number_of_name, len(videos))]
        chosen = np.flatnonzero(names)
        if len(chosen) * _FEW_VIDEOS > len(names):
            return np.repeat(names, np.diff(self._starts))
        mask = np.zeros(self.rows, np.bool_)
        for place in chosen.tolist():
            mask[self._starts[place] : self._starts[place + 1]] = True
        return mask

    def spoken(self, language: str, speakers: frozenset[str]) -> Mask:
        """Gives which rows are in a language and by one of the speakers, where these are given."""
        mask = np.ones(self.rows, np.bool_)
        if language:
            mask &= self._columns.languages == _code(self._columns.language_names, language)
        if speakers:
            mask &= np.isin(self._columns.speakers, [_code(self._columns.speaker_names, name) for name in speakers])
        return mask

    def close(self) -> None:
        """Nothing to do: maps end with their last reader."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads `segment.json`. Raises SegmentCorrupt when there is none of this format."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format_version"] != FORMAT_VERSION:
            raise SegmentCorrupt(f"it is of format {manifest['format_version']}, not {FORMAT_VERSION}")
        manifest = sealed_json.check(manifest)
        for entry in manifest["files"].values():
            _ = entry["bytes"], entry["xxh3"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SegmentCorrupt(f"{MANIFEST} cannot be read: {error!r}") from error
    return manifest


def verify(folder: Path, *, threads: int = 2) -> None:
    """Compares every file with its size and hash. Raises SegmentCorrupt when one differs."""
    files: dict[str, dict[str, Any]] = read_manifest(folder)["files"]
    for name, entry in files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise SegmentCorrupt(f"{name} is not there: {error!r}") from error
        if size != entry["bytes"]:
            raise SegmentCorrupt(f"{name} has {size} bytes instead of {entry['bytes']}")
    # Hashing releases the interpreter lock, and a start waits for it. The largest first, so that the threads end
    # together: the sentence vectors alone are two fifths of a segment.
    names = sorted(files, key=lambda name: files[name]["bytes"], reverse=True)
    with ThreadPoolExecutor(threads, "verify") as pool:
        try:
            hashes = dict(zip(names, pool.map(lambda name: checksum(folder / name), names), strict=True))
        except OSError as error:
            raise SegmentCorrupt(f"a file cannot be read: {error!r}") from error
    for name, entry in files.items():
        if hashes[name] != entry["xxh3"]:
            raise SegmentCorrupt(f"{name} is not what was written")


def checksum(path: Path) -> str:
    """Gives the XXH3 hash (128 bits, in hex) of a file: as fast as it can be read, and every start waits for it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def sync(path: Path) -> None:
    """Makes a file, or a folder's list of files, outlast a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _code(names: list[str], name: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        return -1
