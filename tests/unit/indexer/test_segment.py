import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from services.indexer import keyword, sealed_json
from services.indexer.build import ORIGINS, Job, Source, build, writing_folder
from services.indexer.chunks import Chunk, rounded
from services.indexer.dense import DenseKind, DensePolicy
from services.indexer.head import Head
from services.indexer.record import chunk_id_of, text_of
from services.indexer.rows import Rows
from services.indexer.segment import FORMAT_VERSION, MANIFEST, Segment, SegmentCorrupt, read_manifest, sync, verify
from services.indexer.terms import parse_question
from tests.unit.indexer.builders import DIMENSION, MODEL, chunk, vector_of

CHUNKS = [
    chunk("vid-b", "plum tart", number=1, language="de", speaker="Ann"),
    chunk("vid", "apple pie", slice_id="00001", speaker="Bob"),
    chunk("vid-b", "pear tart", language="de"),
    chunk("vid", "apple cake", speaker="Ann"),
    chunk("vid_z", "quince"),
]
NUMBERS = {"vid": 3, "vid-b": 1, "vid_z": 2}


def columns_of(folder: Path, chunks: Sequence[Chunk]) -> Path:
    head = Head(1, DIMENSION)
    vectors = rounded(np.stack([vector_of(item.text) for item in chunks]))
    head.add(chunks, vectors, [NUMBERS.get(item.video_id, 0) for item in chunks])
    head.dump(folder)
    head.close()
    return folder


def job(tmp_path: Path, *sources: Source, kind: DenseKind | None = None) -> Job:
    policy = DensePolicy(kind=kind, flat_rows=0 if kind else 1000)
    return Job(tmp_path / "segments" / "01a", sources, DIMENSION, MODEL, policy=policy)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    one = job(tmp_path, Source(columns_of(tmp_path / "work" / "0", CHUNKS)))
    build(one)
    assert not writing_folder(one.target).exists()
    return one.target


@pytest.fixture
def segment(made: Path) -> Segment:
    verify(made)
    return Segment(7, made, lambda video_id: NUMBERS.get(video_id, 0))


def row_of(segment: Segment, text: str) -> int:
    return [text_of(record) for record in segment.records(np.arange(segment.rows))].index(text)


def test_rows_lie_in_order_of_video_slice_and_number(segment: Segment) -> None:
    ids = [chunk_id_of(record) for record in segment.records(np.arange(segment.rows))]
    assert ids == [
        "vid/00000/0000", "vid/00001/0000", "vid-b/00000/0000", "vid-b/00000/0001", "vid_z/00000/0000"
    ]  # fmt: skip
    assert segment.video_ids == ["vid", "vid-b", "vid_z"]
    assert segment.video_numbers().tolist() == [3, 3, 1, 1, 2]
    assert segment.numbers_of(np.array([4, 0])) == [2, 3]
    assert (segment.serial, segment.segment_id, segment.rows, segment.dimension) == (7, "01a", 5, DIMENSION)
    assert (segment.model_revision, segment.kind) == (MODEL, "flat")
    assert segment.bytes_on_disk > 0


def test_a_video_has_its_rows_and_slices(segment: Segment) -> None:
    assert segment.video_rows("vid").tolist() == [0, 1]
    assert segment.video_rows("vid-b").tolist() == [2, 3]
    assert segment.slice_rows("vid") == {"00000": {"vid/00000/0000": 0}, "00001": {"vid/00001/0000": 1}}
    for unknown in ("", "vi", "vid-", "vid-c", "vid_zz"):
        assert segment.video_rows(unknown).tolist() == []
        assert segment.slice_rows(unknown) == {}


def test_both_legs_and_the_records_are_of_the_same_rows(segment: Segment) -> None:
    for text in [item.text for item in CHUNKS]:
        row = row_of(segment, text)
        assert segment.dense.search(rounded(vector_of(text)[None])[0], 1)[0].tolist() == [row]
        np.testing.assert_array_equal(segment.vectors(np.array([row]))[0], rounded(vector_of(text)))
    ((rows, _),) = keyword.search([(segment.keyword, None)], parse_question("tart"), 10)
    assert sorted(rows.tolist()) == [2, 3]


def test_videos_become_rows(segment: Segment) -> None:
    for wanted in ([], [3], [1, 2], [1, 2, 3], [0]):
        for size in (2, 4, 9):
            videos = np.zeros(size, np.bool_)
            videos[[number for number in wanted if number < size]] = True
            rows = [row for row, number in enumerate([3, 3, 1, 1, 2]) if number in wanted and number < size]
            assert np.flatnonzero(segment.rows_of(videos)).tolist() == rows


def test_few_videos_of_many_become_rows(tmp_path: Path) -> None:
    names = [f"vid_{number:03d}" for number in range(40)]
    chunks = [chunk(name, f"{name} {number}", number=number) for name in names for number in range(3)]
    build(job(tmp_path, Source(columns_of(tmp_path / "c", chunks))))
    segment = Segment(1, tmp_path / "segments" / "01a", lambda name: 1 + names.index(name))
    for some in ([5], [0, 39], list(range(40)), []):
        videos = np.zeros(41, np.bool_)
        videos[[1 + number for number in some]] = True
        assert np.flatnonzero(segment.rows_of(videos)).tolist() == [3 * n + i for n in some for i in range(3)]


@pytest.mark.parametrize(
    ("language", "speakers", "rows"),
    [
        ("", set(), [0, 1, 2, 3, 4]),
        ("de", set(), [2, 3]),
        ("fr", set(), []),
        ("", {"Ann"}, [0, 3]),
        ("", {"Ann", "Bob", "Eve"}, [0, 1, 3]),
        ("", {"Eve"}, []),
        ("de", {"Ann"}, [3]),
        ("en", {""}, [4]),
    ],
)
def test_languages_and_speakers_become_rows(
    segment: Segment, language: str, speakers: set[str], rows: list[int]
) -> None:
    assert np.flatnonzero(segment.spoken(language, frozenset(speakers))).tolist() == rows


def test_a_merge_takes_the_living_rows_of_all_and_says_where_each_was(tmp_path: Path) -> None:
    first = columns_of(tmp_path / "0", CHUNKS[:3])
    second = columns_of(tmp_path / "1", CHUNKS[3:])
    alive = Rows(np.array([True, True, False]))
    build(job(tmp_path, Source(first, alive.bits.tobytes()), Source(second)))
    folder = tmp_path / "segments" / "01a"
    segment = Segment(1, folder, lambda name: NUMBERS[name])
    texts = [text_of(record) for record in segment.records(np.arange(segment.rows))]
    assert texts == ["apple cake", "apple pie", "plum tart", "quince"]
    assert np.load(folder / ORIGINS).tolist() == [[1, 0], [0, 1], [0, 0], [1, 1]]
    for row, text in enumerate(texts):
        np.testing.assert_array_equal(segment.vectors(np.array([row]))[0], rounded(vector_of(text)))
    assert segment.spoken("de", frozenset()).tolist() == [False, False, True, False]
    assert segment.spoken("", frozenset({"Bob"})).tolist() == [False, True, False, False]


def test_a_mask_shorter_than_a_head_leaves_what_came_later(tmp_path: Path) -> None:
    """The head may have grown since it was looked at."""
    alive = Rows(np.array([True, False]))
    manifest = build(job(tmp_path, Source(columns_of(tmp_path / "0", CHUNKS), alive.bits.tobytes())))
    assert manifest["rows"] == 1


def test_of_nothing_no_segment_is_made(tmp_path: Path) -> None:
    dead = Rows(np.zeros(5, np.bool_)).bits.tobytes()
    with pytest.raises(ValueError, match="not one row"):
        build(job(tmp_path, Source(columns_of(tmp_path / "0", CHUNKS), dead)))
    assert not (tmp_path / "segments" / "01a").exists()


def test_what_an_earlier_attempt_left_is_in_nobodys_way(tmp_path: Path) -> None:
    one = job(tmp_path, Source(columns_of(tmp_path / "0", CHUNKS)))
    writing_folder(one.target).mkdir(parents=True)
    (writing_folder(one.target) / "rubbish").write_bytes(b"x")
    build(one)
    assert "rubbish" not in read_manifest(one.target)["files"]
    verify(one.target)


def test_the_manifest_names_every_file_but_itself_and_the_origins(made: Path) -> None:
    files = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert set(read_manifest(made)["files"]) == files - {MANIFEST, ORIGINS}


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": FORMAT_VERSION + 1},
        {"format_version": 1},
        {"files": {"vectors.f16": {}}},
        {"files": None},
        {"rows": 6},
        {"rows": "many"},
        {"dense": {}},
        {"dense": None},
    ],
)
def test_a_manifest_that_says_something_else_is_noticed(made: Path, change: dict[str, object]) -> None:
    manifest = sealed_json.check(json.loads((made / MANIFEST).read_bytes()))
    sealed_json.write(made / MANIFEST, {**manifest, **change})
    with pytest.raises(SegmentCorrupt):
        Segment(1, made, lambda name: 1)


def test_a_manifest_that_changed_by_itself_is_noticed(made: Path) -> None:
    text = (made / MANIFEST).read_text()
    (made / MANIFEST).write_text(text.replace('"rows": ', '"rows": 1', 1))
    with pytest.raises(SegmentCorrupt, match="not what was written"):
        Segment(1, made, lambda name: 1)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_a_manifest_that_is_none_is_noticed(made: Path, content: bytes) -> None:
    (made / MANIFEST).write_bytes(content)
    with pytest.raises(SegmentCorrupt):
        verify(made)


def test_a_file_that_cannot_be_hashed_is_noticed(made: Path) -> None:
    (made / "videos.u32").unlink()
    with pytest.raises(SegmentCorrupt, match=r"videos\.u32"):
        verify(made)


def test_files_of_another_segment_are_noticed_without_hashes(tmp_path: Path, made: Path) -> None:
    other = Job(tmp_path / "segments" / "01b", [Source(columns_of(tmp_path / "1", CHUNKS[:2]))], DIMENSION, MODEL,
                policy=DensePolicy())  # fmt: skip
    build(other)
    for name in ("vectors.f16", "records.bin", "dense.faiss", "videos.u32"):
        kept = (made / name).read_bytes()
        (made / name).write_bytes((other.target / name).read_bytes())
        with pytest.raises(SegmentCorrupt):
            Segment(1, made, lambda name: 1)
        (made / name).write_bytes(kept)
    Segment(1, made, lambda name: 1)


def test_folders_and_files_are_synced(made: Path) -> None:
    sync(made)
    sync(made / MANIFEST)
    with pytest.raises(OSError, match=r"No such file|directory"):
        sync(made / "missing")
