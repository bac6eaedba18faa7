import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.indexer import keyword
from services.indexer.keyword import HeadKeyword, KeywordDocument, KeywordPart
from services.indexer.keyword_index import BLOCK
from services.indexer.rows import Rows
from services.indexer.terms import document_terms, document_words, parse_question
from tests.support.waiting import eventually_sync

VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgkmnprt"]
TALKS = [
    "Pull the layer up and brighten the shadows.",
    "Brightening is done with the curves, not with the levels.",
    "The color balance of Crème Brûlée, don't touch it!",
    "We talk about the balance of color in C++ and version 3.14.",
    "我喜欢照片 and brightened photos",
    "to be or not to be",
    "",
]


def documents(texts: Sequence[str]) -> list[KeywordDocument]:
    return [KeywordDocument(row, text) for row, text in enumerate(texts)]


@cache
def corpus(count: int, seed: int = 5) -> Sequence[str]:
    """Texts of about 40 words, some words much more frequent than others."""
    rng = np.random.default_rng(seed)
    ranks = np.arange(1, len(VOCABULARY) + 1)
    share = (1 / ranks) / (1 / ranks).sum()
    lengths = rng.integers(30, 50, count)
    return tuple(" ".join(rng.choice(VOCABULARY, length, p=share)) for length in lengths.tolist())


def sealed(folder: Path, texts: Sequence[str]) -> KeywordPart:
    keyword.build(folder, documents(texts))
    return KeywordPart.open(folder)


def head(texts: Sequence[str], *, step: int = 1000) -> HeadKeyword:
    part = HeadKeyword()
    for start in range(0, len(texts), step):
        part.add(documents(texts)[start : start + step])
        part.publish()
    return part


def ask(part: KeywordPart, text: str, k: int = 10, rows: Rows | None = None) -> list[int]:
    [(found, scores)] = keyword.search([(part, rows)], parse_question(text), k)
    assert np.all(np.diff(scores) <= 0)
    assert found.dtype == np.int64
    assert scores.dtype == np.float32
    assert found.shape == scores.shape
    return [int(row) for row in found]


@pytest.fixture(params=["sealed", "head", "head in small steps"])
def talks(request: pytest.FixtureRequest, tmp_path: Path) -> KeywordPart:
    if request.param == "sealed":
        return sealed(tmp_path / "part", TALKS)
    return head(TALKS, step=2 if request.param == "head in small steps" else 1000)


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("brighten", {0, 1, 4}),
        ("creme brulee", {2}),
        ("crème", {2}),
        ("the levels", {1}),
        ("to be or not to be", {5, 2, 1, 0, 3}),
        ("don't", {2}),
        ("3.14", {3}),
        ("C++", {3}),
        ("喜欢", {4}),
        ("照", {4}),
        ("欢喜", set()),
        ('"color balance"', {2}),
        ('"balance of color" photos', {3}),
        ('"喜欢照"', {4}),
        ('"Brûlée"', {2}),
        ('"color balance" "balance of color"', set()),
        ('"color zebra"', set()),
        ("zebra", set()),
        ("", set()),
        ("?!", set()),
    ],
)
def test_finds(talks: KeywordPart, question: str, rows: set[int]) -> None:
    assert talks.documents == len(TALKS)
    found = ask(talks, question)
    if question == "to be or not to be":  # words that carry nothing, but there are no others
        assert found[0] == 5
        assert set(found) <= rows
    else:
        assert set(found) == rows


def test_the_word_as_written_comes_first(talks: KeywordPart) -> None:
    assert ask(talks, "brighten")[0] == 0
    assert ask(talks, "brightening")[0] == 1


def test_a_part_without_rows_finds_nothing(tmp_path: Path) -> None:
    for part in (HeadKeyword(), sealed(tmp_path / "empty", [])):
        assert part.documents == 0
        assert part.holds(0)
        assert ask(part, '"color balance" color') == []
    assert keyword.search([], parse_question("color"), 3) == []


def test_head_and_sealed_give_the_same(tmp_path: Path) -> None:
    texts = corpus(300)
    parts = [sealed(tmp_path / "part", texts), head(texts), head(texts, step=7)]
    for question in ("bab deb fig", "tut", '"bab beb"', "bab 'gak' mon rup sot"):
        answers = [keyword.search([(part, None)], parse_question(question), 300)[0] for part in parts]
        assert len(answers[0][0]) > 0
        for rows, scores in answers[1:]:
            assert np.allclose(scores, answers[0][1], rtol=1e-5)
            assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == pytest.approx(
                dict(zip(*(values.tolist() for values in answers[0]), strict=True)), rel=1e-5
            )


@pytest.mark.parametrize("cuts", [[500], [1000], [3], [200, 300, 1000, 1500]])
def test_scores_do_not_depend_on_how_the_index_is_cut(tmp_path: Path, cuts: list[int]) -> None:
    texts = [*corpus(2000)]
    texts[17] += " zebra giraffe"
    texts[900] += " zebra"
    texts[1400] += " zebra giraffe"
    whole = sealed(tmp_path / "whole", texts)
    borders = [0, *cuts, len(texts)]
    parts: list[KeywordPart] = []
    for first, end in itertools.pairwise(borders):
        texts_of_part = texts[first:end]
        parts.append(head(texts_of_part) if first else sealed(tmp_path / "first", texts_of_part))
    for question in ("zebra", "zebra giraffe", '"zebra giraffe"', "bab mek", "tut rup", '"bab beb"', "sak zebra bab"):
        [(rows, scores)] = keyword.search([(whole, None)], parse_question(question), 2000)
        expected = dict(zip(rows.tolist(), scores.tolist(), strict=True))
        answers = keyword.search([(part, None) for part in parts], parse_question(question), 2000)
        got = {
            first + row: score
            for first, (rows, scores) in zip(borders, answers, strict=False)
            for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
        }
        assert got.keys() == expected.keys()
        # Each part has an average length of its own: of three documents it is some per cent off.
        assert got == pytest.approx(expected, rel=0.2 if 3 in cuts else 0.02)
        if question == "zebra giraffe":
            assert set(sorted(got, key=lambda row: -got[row])[:2]) == {17, 1400}


def test_a_head_of_few_chunks_does_not_outscore_the_rest(tmp_path: Path) -> None:
    rare = "zebra crossing"
    texts = [*corpus(1000), rare]
    segment = sealed(tmp_path / "part", texts)
    newest = head([f"{rare} today", "bab bab bab bab"])
    (old, old_scores), (new, new_scores) = keyword.search([(segment, None), (newest, None)], parse_question(rare), 5)
    assert old.tolist() == [1000]
    assert new.tolist() == [0]
    assert new_scores[0] == pytest.approx(old_scores[0], rel=0.5)
    (_, frequent), (_, in_head) = keyword.search([(segment, None), (newest, None)], parse_question("bab"), 1)
    assert in_head[0] == pytest.approx(frequent[0], rel=0.7)
    assert in_head[0] < old_scores[0]


def test_more_words_than_count_leaves_the_rarest(tmp_path: Path) -> None:
    texts = [f"common rare{number}" for number in range(70)] + ["common"]
    found = ask(sealed(tmp_path / "part", texts), "common " + " ".join(f"rare{number}" for number in range(70)), 100)
    assert sorted(found) == list(range(64))


BROKEN = r"orrupt|DoesNotExist|Failed to open|not exist"
MASKS = ["half", "tenth", "hundredth", "thousandth", "one", "stretch", "long stretch", "best are dead"]


def mask_of(kind: str, count: int, best: Sequence[int]) -> np.ndarray:
    rng = np.random.default_rng(3)
    mask = np.zeros(count, np.bool_)
    match kind:
        case "stretch":
            mask[4000:4010] = True
        case "long stretch":
            mask[1000:1200] = True
            mask[5000:5010] = True
        case "one":
            mask[best[-1]] = True
        case "best are dead":
            mask[:] = True
            mask[list(best[: len(best) // 2])] = False
        case _:
            share = {"half": 0.5, "tenth": 0.1, "hundredth": 0.01, "thousandth": 0.001}[kind]
            mask[rng.choice(count, int(count * share), replace=False)] = True
    return mask


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[KeywordPart]]:
    texts = corpus(8000)
    newest = head(texts)
    yield [sealed(tmp_path_factory.mktemp("many") / "part", texts), newest]
    newest.close()


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("k", [1, 10, 200])
@pytest.mark.parametrize("question", ["bab", "tut mon", "rup bab gek", '"bab beb"', "tpx bab"])
def test_a_filter_gives_all_there_is_up_to_k(many: list[KeywordPart], kind: str, k: int, question: str) -> None:
    for part in many:
        [(rows, scores)] = keyword.search([(part, None)], parse_question(question), 8000)
        mask = mask_of(kind, 8000, rows.tolist())
        expected = scores[mask[rows]][:k]
        [(found, got)] = keyword.search([(part, Rows(mask))], parse_question(question), k)
        assert np.allclose(got, expected, rtol=1e-5)
        assert mask[found].all()
        assert len(set(found.tolist())) == len(found)
        score_of = dict(zip(rows.tolist(), scores.tolist(), strict=True))
        assert [score_of[row] for row in found.tolist()] == pytest.approx(got.tolist(), rel=1e-5)


def test_a_filter_that_lets_nothing_through_and_one_of_all(many: list[KeywordPart]) -> None:
    for part in many:
        assert ask(part, "bab", rows=Rows(np.zeros(8000, np.bool_))) == []
        assert ask(part, "bab", rows=Rows(np.ones(8000, np.bool_))) == ask(part, "bab")


@pytest.mark.parametrize("seen", [1, 40, 299])
def test_rows_beyond_the_mask_came_later_and_are_not_found(seen: int) -> None:
    part = head(corpus(300))
    expected = [row for row in ask(part, "bab", 300) if row < seen]
    assert ask(part, "bab", 300, Rows(np.ones(seen, np.bool_))) == expected
    alone = np.zeros(seen, np.bool_)
    alone[expected[:1]] = True
    assert ask(part, "bab", 300, Rows(alone)) == expected[:1]


def test_a_sealed_part_is_one_segment_and_complete_in_its_files(tmp_path: Path) -> None:
    keyword.build(tmp_path / "part", documents(corpus(5 * BLOCK)))
    names = keyword.files(tmp_path / "part")
    assert {name.rpartition(".")[2] for name in names} == {"json", "idx", "pos", "term", "fast", "fieldnorm", "store"}
    assert len(names) == 7
    for way in ("copied", "linked"):
        there = tmp_path / way
        there.mkdir()
        for name in names:
            if way == "linked":
                os.link(tmp_path / "part" / name, there / name)
            else:
                (there / name).write_bytes((tmp_path / "part" / name).read_bytes())
            (there / name).chmod(0o444)
        before = {name: (there / name).read_bytes() for name in names}
        assert ask(KeywordPart.open(there), "bab") == ask(KeywordPart.open(tmp_path / "part"), "bab")
        assert before == {name: (there / name).read_bytes() for name in names}


def test_an_open_part_outlives_its_folder(tmp_path: Path) -> None:
    part = sealed(tmp_path / "part", corpus(50))
    before = ask(part, "bab")
    for path in (tmp_path / "part").iterdir():
        path.unlink()
    assert ask(part, "bab") == before != []


def test_rows_must_count_up_from_zero(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 2 comes where row 1 belongs"):
        keyword.build(tmp_path / "part", [KeywordDocument(0, "a"), KeywordDocument(2, "b")])


def test_holds_tells_other_rows(tmp_path: Path) -> None:
    part = sealed(tmp_path / "part", ["a", "b", "c"])
    assert [part.holds(count) for count in range(5)] == [False, False, False, True, False]
    shifted = HeadKeyword()
    shifted.add([KeywordDocument(row, "a") for row in (0, 2, 3)])
    shifted.publish()
    assert not shifted.holds(3)


@pytest.mark.parametrize("how", ["gone", "empty", "half", "last byte gone", "other"])
@pytest.mark.parametrize("which", ["meta.json", "idx", "pos", "term", "fast", "fieldnorm", "store"])
def test_a_broken_part_does_not_open(tmp_path: Path, which: str, how: str) -> None:
    folder = tmp_path / "part"
    keyword.build(folder, documents(corpus(100)))
    [path] = [folder / name for name in keyword.files(folder) if name.endswith(which)]
    data = path.read_bytes().rstrip()
    path.unlink()
    if how != "gone":
        path.write_bytes(
            {"empty": b"", "half": data[: len(data) // 2], "last byte gone": data[:-1], "other": b"x" * len(data)}[how]
        )
    with pytest.raises(ValueError, match=BROKEN):
        KeywordPart.open(folder)


def test_a_folder_that_is_not_there_does_not_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=BROKEN):
        KeywordPart.open(tmp_path / "none")


def test_threads_search_while_the_head_grows(tmp_path: Path) -> None:
    texts = [*corpus(400)]
    texts[0] = f"giraffe {texts[0]}"
    segment = sealed(tmp_path / "part", texts)
    newest = HeadKeyword()
    ended = threading.Event()
    failures: list[BaseException] = []
    counts: list[int] = []

    def look() -> None:
        try:
            while not ended.is_set():
                [(old, _), (new, _)] = keyword.search([(segment, None), (newest, None)], parse_question("giraffe"), 500)
                assert old.tolist() == [0]
                # Each publish is seen whole.
                assert sorted(new.tolist()) == list(range(len(new)))
                assert len(new) % 4 == 0
                counts.append(len(new))
        except BaseException as error:  # noqa: BLE001 (a thread has nobody to tell)
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, 200, 4):
        newest.add([KeywordDocument(row, f"giraffe {texts[row]}") for row in range(start, start + 4)])
        newest.publish()
    ended.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(counts) > 4
    assert newest.documents == 200


def test_a_head_that_is_closed_ends_its_threads_and_still_answers() -> None:
    def threads() -> set[str]:
        return {task.name for task in Path("/proc/self/task").iterdir()}

    before = threads()
    part = head(corpus(20), step=1)
    its_own = threads() - before
    assert its_own
    answer = ask(part, "bab")
    part.close()
    assert eventually_sync(lambda: not its_own & threads())
    assert ask(part, "bab") == answer != []


@given(st.text())
def test_words_of_a_document_are_its_terms(text: str) -> None:
    terms = document_terms(text)
    words = document_words(text)
    if words is None:
        assert terms
    else:
        assert words.split() == [term.text for term in terms]
        assert [term.position for term in terms] == list(range(len(terms)))


PIECES = ["don't", "1,000", "2.5", "u.s.", "c++", "c#", "_", "'s", "a" * 140, "naïve", "’", *"., -x\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_odd_words_of_a_document_are_its_terms(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert (document_words(text) or "").split() == [term.text for term in document_terms(text)]


def test_scripts_without_spaces_have_no_words_alone() -> None:
    assert document_words("Photoshop の使い方") is None
    assert document_words("株式会社" * 50) is None
    assert document_words("Photoshop") == "photoshop"
