import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from services.common.errors import InvalidArgument, ModelMismatch
from services.indexer.chunks import Batch, Filter, PutChunks, Query, RemoveVideo, ReplaceSlice, VideoInfo
from services.indexer.shard import Shard
from tests.unit.indexer.builders import (
    DIMENSION,
    MODEL,
    ask,
    batch,
    chunk,
    digest,
    found_chunk,
    put,
    replace,
    texts,
    vector_of,
)


@pytest.fixture
def shard() -> Iterator[Shard]:
    shard = Shard()
    yield shard
    shard.close()


def test_both_legs_find_what_was_added(shard: Shard) -> None:
    applied = shard.apply(
        [replace("vid_a", "how to set the white balance", "export the layers", title="Photos")], sequence=7
    )
    assert (applied.added, applied.removed, applied.refused) == (2, 0, {})
    found = ask(shard, "white balance", near="export the layers", k=1)
    by_text = {found_chunk(hit).text: hit for hit in found.hits}
    words, meaning = by_text["how to set the white balance"], by_text["export the layers"]
    assert words.keyword_score is not None
    assert words.keyword_score > 0
    assert meaning.keyword_score is None
    assert meaning.semantic_score == pytest.approx(1.0, abs=1e-3)
    # Found by its words alone, and yet with its cosine, for the fusion.
    assert words.semantic_score == pytest.approx(
        float(vector_of("export the layers") @ vector_of("how to set the white balance")), abs=1e-3
    )
    assert words.title == "Photos"
    assert found.legs == ("semantic", "keyword")
    assert found.applied_sequence == shard.applied_sequence == 7


def test_a_leg_that_is_not_asked_does_not_run(shard: Shard) -> None:
    shard.apply([replace("vid_a", "one", "two")])
    by_words, by_meaning = ask(shard, "one"), ask(shard, near="one")
    assert (by_words.legs, by_meaning.legs) == (("keyword",), ("semantic",))
    assert [hit.semantic_score for hit in by_words.hits] == [None]
    assert [hit.keyword_score for hit in by_meaning.hits] == [None, None]


def test_replacing_a_slice_takes_its_old_chunks_away_and_leaves_the_other_slices(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple", "pear", slice_id="00000"), replace("vid_a", "plum", slice_id="00001")])
    shard.apply([replace("vid_a", "cherry", slice_id="00000")])
    assert shard.chunk_count == 2
    assert sorted(texts(ask(shard, "apple pear plum cherry"))) == ["cherry", "plum"]
    assert sorted(texts(ask(shard, near="apple"))) == ["cherry", "plum"]


def test_doing_a_change_twice_does_nothing_the_second_time(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple", "pear")])
    before, changes = digest(shard), shard.changes
    applied = shard.apply([replace("vid_a", "apple", "pear")])
    assert (applied.added, applied.removed) == (0, 0)
    assert (digest(shard), shard.changes) == (before, changes)


def test_changes_of_one_call_count_in_order(shard: Shard) -> None:
    shard.apply([replace("vid_a", "old")])
    applied = shard.apply(
        [
            replace("vid_a", "first"),
            RemoveVideo("vid_a"),
            replace("vid_b", "gone"),
            RemoveVideo("vid_b"),
            replace("vid_a", "last"),
        ]
    )
    assert (applied.added, applied.removed) == (1, 1)
    assert sorted(texts(ask(shard, near="x"))) == ["last"]


def test_chunks_put_by_id_replace_only_themselves(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple", "pear")])
    shard.apply([put(chunk("vid_a", "quince", number=1), chunk("vid_b", "medlar"))])
    assert sorted(texts(ask(shard, near="x"))) == ["apple", "medlar", "quince"]
    assert (shard.chunk_count, shard.video_count) == (3, 2)


def test_removing_a_video_leaves_nothing_of_it(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple"), replace("vid_a", "pear", slice_id="00001"), replace("vid_b", "plum")])
    assert shard.apply([RemoveVideo("vid_a")]).removed == 2
    assert shard.apply([RemoveVideo("vid_a")]).removed == 0
    assert texts(ask(shard, "apple pear plum")) == ["plum"]
    assert texts(ask(shard, near="apple")) == ["plum"]


def test_a_slice_without_speech_is_fine(shard: Shard) -> None:
    applied = shard.apply(
        [ReplaceSlice("vid_a", "00000", VideoInfo("Silence"), Batch([], np.empty((0, 0), np.float32), ""))]
    )
    assert applied.refused == {}
    assert ask(shard, "anything", near="anything").hits == []


def test_a_new_title_shows(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple", title="Old")])
    shard.apply([replace("vid_a", "apple", title="New")])
    assert [hit.title for hit in ask(shard, "apple").hits] == ["New"]


@pytest.mark.parametrize("near", ["", "apple"])
def test_filters_hold_in_both_legs_and_fill_k(shard: Shard, near: str) -> None:
    languages = {number: "de" if number % 20 == 0 else "en" for number in range(60)}
    chunks = [chunk(f"vid_{number:02d}", f"apple {number}", language=languages[number]) for number in range(60)]
    shard.apply([put(*chunks)])
    text = "" if near else "apple"
    assert sorted(texts(ask(shard, text, near=near, k=3, language="de"))) == ["apple 0", "apple 20", "apple 40"]
    assert texts(ask(shard, text, near=near, videos=["vid_07", "vid_99"])) == ["apple 7"]
    assert texts(ask(shard, text, near=near, videos=["vid_07", "vid_20"], language="de")) == ["apple 20"]
    assert ask(shard, text, near=near, videos=["vid_99"]).hits == []
    assert ask(shard, text, near=near, language="fr").hits == []


def test_a_filter_does_not_change_keyword_scores(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple pie"), replace("vid_b", "apple tart")])
    free = {found_chunk(hit).text: hit.keyword_score for hit in ask(shard, "apple pie").hits}
    held = {
        found_chunk(hit).text: hit.keyword_score
        for hit in ask(shard, "apple pie", videos=["vid_a"], language="en").hits
    }
    assert held == {"apple pie": pytest.approx(free["apple pie"])}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("brightening", ["brighten the image"]),
        ("CRÈME", ["la creme brulee"]),
        ('"color balance" image', ["set the color balance first"]),
        ('"balance color"', []),
        ('"京大学"', ["我去北京大学读书"]),
        ("北", ["我去北京大学读书"]),
        ("to be or not to be", ["to be or not to be that is the question"]),
        ("title:(apple AND", []),
        ("🎉", []),
        ("!?", []),
    ],
)
def test_what_the_keyword_leg_finds(shard: Shard, query: str, expected: list[str]) -> None:
    said = [
        "brighten the image",
        "la creme brulee",
        "set the color balance first",
        "balance of every color",
        "我去北京大学读书",
        "to be or not to be that is the question",
    ]
    shard.apply([replace("vid_a", *said)])
    assert texts(ask(shard, query))[:1] == expected


def test_words_of_the_subject_outweigh_words_of_the_question(shard: Shard) -> None:
    shard.apply([replace("vid_a", "how do i do what i do when you do that to me", "a gradient mask")])
    assert texts(ask(shard, "how do i do a gradient"))[0] == "a gradient mask"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (Query(vector_of("x"), MODEL, "", 0), "k"),
        (Query(vector_of("x"), MODEL, "", 1_000_000), "k"),
        (Query(None, MODEL, "", 5), "vector"),
        (Query(None, MODEL, "x" * 1_000_000, 5), "text"),
        (Query(vector_of("x", 8), MODEL, "", 5), "vector"),
        (Query(np.full(DIMENSION, np.nan, np.float32), MODEL, "", 5), "vector"),
        (Query(np.full(DIMENSION, np.inf, np.float32), MODEL, "", 5), "vector"),
        (Query(np.zeros(DIMENSION, np.float32), MODEL, "", 5), "vector"),
    ],
)
def test_wrong_queries_are_refused(shard: Shard, query: Query, field: str) -> None:
    shard.apply([replace("vid_a", "apple")])
    with pytest.raises(InvalidArgument) as refused:
        shard.search(query)
    assert refused.value.field == field


@pytest.mark.parametrize("model", ["", "other-model@2"])
def test_a_query_of_another_model_is_refused(shard: Shard, model: str) -> None:
    shard.apply([replace("vid_a", "apple")])
    with pytest.raises(ModelMismatch) as refused:
        shard.search(Query(vector_of("apple"), model, "", 5))
    assert refused.value.reason == "MODEL_MISMATCH"


def test_a_filter_of_many_videos_is_fine(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple")])
    many = frozenset([f"vid_{number}" for number in range(99_999)]) | {"vid_a"}
    found = shard.search(Query(vector_of("apple"), MODEL, "apple", 5, Filter(many)))
    assert [found_chunk(hit).video_id for hit in found.hits] == ["vid_a"]


@pytest.mark.parametrize(
    "vectors",
    [
        np.zeros((1, DIMENSION), np.float32),
        np.full((1, DIMENSION), np.nan, np.float32),
        np.full((1, DIMENSION), np.inf, np.float32),
        np.ones((1, DIMENSION // 2), np.float32),
        np.ones((2, DIMENSION), np.float32),
        np.ones((1, 0), np.float32),
    ],
)
def test_wrong_vectors_are_refused_and_the_other_changes_made(shard: Shard, vectors: np.ndarray) -> None:
    shard.apply([replace("vid_a", "apple")])
    wrong = ReplaceSlice("vid_b", "00000", VideoInfo("B"), Batch([chunk("vid_b", "pear")], vectors, MODEL))
    applied = shard.apply([wrong, replace("vid_c", "plum")])
    assert isinstance(applied.refused[0], InvalidArgument)
    assert list(applied.refused) == [0]
    assert sorted(texts(ask(shard, near="x"))) == ["apple", "plum"]


@pytest.mark.parametrize("chunk_id", ["vid_a", "vid_a/00000", "vid_a//0001", "/00000/0001", "vid_a/00000/0001/x", ""])
def test_wrong_chunk_ids_are_refused(shard: Shard, chunk_id: str) -> None:
    item = chunk("vid_a", "apple")
    bad = type(item)(chunk_id, "apple", 0.0, 1.0)
    applied = shard.apply([PutChunks({}, batch([bad]))])
    assert isinstance(applied.refused[0], InvalidArgument)
    assert shard.chunk_count == 0


def test_an_id_twice_and_a_chunk_of_another_slice_are_refused(shard: Shard) -> None:
    twice = PutChunks({"vid_a": VideoInfo("A")}, batch([chunk("vid_a", "apple"), chunk("vid_a", "pear")]))
    elsewhere = ReplaceSlice("vid_a", "00001", VideoInfo("A"), batch([chunk("vid_a", "apple")]))
    backwards = PutChunks({}, batch([type(chunk("vid_a", "x"))("vid_a/00000/0000", "x", 5.0, 1.0)]))
    applied = shard.apply([twice, elsewhere, backwards])
    assert sorted(applied.refused) == [0, 1, 2]
    assert shard.chunk_count == 0


def test_vectors_of_another_model_are_refused_until_the_shard_is_empty(shard: Shard) -> None:
    shard.apply([replace("vid_a", "apple")])
    refused = shard.apply([replace("vid_b", "pear", model="other-model@2")]).refused[0]
    assert isinstance(refused, ModelMismatch)
    assert refused.reason == "MODEL_MISMATCH"
    assert shard.model_revision == MODEL
    shard.apply([RemoveVideo("vid_a")])
    assert shard.model_revision == ""
    other = ReplaceSlice(
        "vid_b", "00000", VideoInfo("B"), batch([chunk("vid_b", "pear")], model="other-model@2", dimension=8)
    )
    assert shard.apply([other]).refused == {}
    assert shard.model_revision == "other-model@2"
    found = shard.search(Query(vector_of("pear", 8), "other-model@2", "pear", 5))
    assert [found_chunk(hit).text for hit in found.hits] == ["pear"]


def test_vectors_are_made_unit_length(shard: Shard) -> None:
    long = Batch([chunk("vid_a", "apple")], vector_of("apple").reshape(1, -1) * 3, MODEL)
    shard.apply([ReplaceSlice("vid_a", "00000", VideoInfo("A"), long)])
    found = shard.search(Query(vector_of("apple") * 10, MODEL, "", 1))
    assert found.hits[0].semantic_score == pytest.approx(1.0, abs=1e-3)


def test_searches_see_each_change_whole(shard: Shard) -> None:
    """A slice is replaced over and over while others search: never half of it, never a chunk in one leg alone."""
    shard.apply([replace("vid_a", "apple 0", "pear 0", "plum 0")])
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            found = ask(shard, "apple pear plum", near="apple 0", k=50)
            rounds = {found_chunk(hit).text.split()[1] for hit in found.hits}
            if len(found.hits) != 3 or len(rounds) != 1 or any(hit.keyword_score is None for hit in found.hits):
                raise AssertionError([(found_chunk(hit).text, hit.keyword_score) for hit in found.hits])

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(search) for _ in range(3)]
        for number in range(1, 25):
            shard.apply([replace("vid_a", f"apple {number}", f"pear {number}", f"plum {number}")])
        stop.set()
        for reader in readers:
            reader.result()
