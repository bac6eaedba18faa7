"""Marking of matching words and choice of the sentence to play from."""

from __future__ import annotations

import pytest

from services.gateway.highlight import Highlights, Query, best_sentence, stem


def marked(query: str, text: str, language: str = "en") -> list[str]:
    return [text[start:end] for start, end in Query(query, language=language).find(text).ranges]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("bread rise", "How the Bread rises, and bread again.", ["Bread", "rises", "bread"]),
        ("baking", "We bake; she baked what he bakes while baking.", ["bake", "baked", "bakes", "baking"]),
        ("the yeast", "The yeast in the dough", ["yeast"]),
        ("to be or not to be", "or not to be", ["or", "not", "to", "be"]),
        ("café", "a cafe, a CAFÉ, a cafe\u0301!", ["cafe", "CAFÉ", "cafe\u0301"]),
        ("strasse", "Die Straße ist lang", ["Straße"]),
        ("art", "the artist started a cart; art", ["art"]),
        ("c", "the c language, can see", ["c"]),
        ("don't stop", "We don’t stop", ["don’t", "stop"]),
        ("planet's", "the planets of a planet’s moon", ["planets", "planet’s"]),
        ('"sour dough" bread', "sour dough", ["sour", "dough"]),
        ('"unbalanced sour', "sour", ["sour"]),
        ("2024", "in 2024 and 20245", ["2024"]),
        ("🙂", "nothing 🙂 here", []),
        ("x", "", []),
    ],
)
def test_words_that_match_are_marked(query: str, text: str, expected: list[str]) -> None:
    assert marked(query, text) == expected


@pytest.mark.parametrize(
    ("query", "text", "expected", "language"),
    [
        ("東京タワー", "昨日は東京タワーに行った", ["東京タワー"], "ja"),
        ("東京の塔", "昨日は東京タワーに行った", ["東京"], "ja"),
        ("天气", "今天天气很好", ["天气"], "zh"),
        ("猫", "黒い猫がいる", ["猫"], "ja"),
        ("ガラス", "ｶﾞﾗｽの靴", ["ｶﾞﾗｽ"], "ja"),
        ("किताब", "यह किताब अच्छी है", ["किताब"], "hi"),
        ("книга", "Эта КНИГА хорошая", ["КНИГА"], "ru"),
        ("die Katze", "die Katze und die Maus", ["Katze"], "de"),
        ("über uns", "nichts", [], "de"),
    ],
)
def test_other_scripts_and_languages(query: str, text: str, expected: list[str], language: str) -> None:
    assert marked(query, text, language) == expected


def test_ranges_count_code_points_not_bytes_or_utf16_units() -> None:
    assert Query("moon").find("👩‍🚀🚀 the moon").ranges == [(9, 13)]


def test_ranges_are_ordered_and_do_not_overlap() -> None:
    ranges = Query("ababab 東京東京").find("東京東京 ababab 東京").ranges
    assert ranges == [(0, 4), (5, 11), (12, 14)]


def test_the_sentence_with_most_different_words_wins() -> None:
    text = "Bread, bread, bread. Salt makes the bread rise slowly. Salt."
    assert best_sentence(Query("salt bread rise").find(text), [0, 21, 55]) == 1


def test_the_first_of_equal_sentences_wins() -> None:
    text = "One moon. Two moon."
    assert best_sentence(Query("moon").find(text), [0, 10]) == 0


def test_a_word_before_the_first_sentence_counts_for_it() -> None:
    assert best_sentence(Query("moon").find("moon. Stars."), [6]) == 0


def test_no_match_or_no_sentence_says_nothing() -> None:
    assert best_sentence(Highlights([], []), [0]) is None
    assert best_sentence(Highlights([(0, 1)], ["x"]), []) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [("running", "runs"), ("stories", "story"), ("boxes", "box"), ("indexing", "indexes"), ("classes", "class")],
)
def test_forms_of_a_word_share_a_stem(left: str, right: str) -> None:
    assert stem(left) == stem(right)


@pytest.mark.parametrize(("left", "right"), [("king", "k"), ("sing", "s"), ("bus", "bu"), ("this", "thi")])
def test_short_words_are_left_alone(left: str, right: str) -> None:
    assert stem(left) != right
