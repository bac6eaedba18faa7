import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.indexer.terms import document_terms, fold, parse_question


def words(text: str) -> list[str]:
    return [term.text for term in document_terms(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Crème Brûlée", ["the", "creme", "brulee"]),
        ("Don't re-position the layer's edge", ["dont", "re", "position", "the", "layer", "edge"]),
        ("L'homme d'État, O’Brien", ["l", "homme", "d", "etat", "o", "brien"]),
        ("the U.S. at 5 p.m.", ["the", "us", "at", "5", "pm"]),
        ("1,000 of 3.14 in C++ or C#", ["1000", "of", "3.14", "in", "c++", "or", "c#"]),
        ("snake_case __x__", ["snake", "case", "x"]),
        ("Straße Łódź Ørsted Æther", ["strasse", "lodz", "orsted", "aether"]),
        ("ＡＢＣ １２", ["abc", "12"]),
        ("Ёлка", ["елка"]),
        ("مَرْحَبًا أهلا", ["مرحبا", "اهلا"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("🎉 ❤️ … ?!", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_scripts_without_spaces_become_characters_and_pairs_at_the_same_places() -> None:
    terms = [tuple(term) for term in document_terms("我喜欢 ok")]
    assert sorted(terms, key=lambda term: (term[1], len(term[0]))) == [
        ("我", 0), ("我喜", 0), ("喜", 1), ("喜欢", 1), ("欢", 2), ("ok", 3),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["ภาษาไทย", "안녕하세요", "カタカナ", "ひらがな", "ﾊﾝｶｸ"])
def test_every_pair_of_a_run_is_a_term(text: str) -> None:
    question = parse_question(text)
    assert len(question.words) >= 2
    assert set(question.words) <= set(words(f"x{text}y"))


def test_a_single_character_can_be_asked_for() -> None:
    assert parse_question("猫").words == ("猫",)
    assert "猫" in words("黒猫が")


def test_quoted_parts_are_phrases_and_the_rest_words() -> None:
    question = parse_question('levels “color balance” "Crème brûlée" levels')
    assert question.words == ("levels",)
    assert [[term.text for term in phrase] for phrase in question.phrases] == [
        ["color", "balance"],
        ["creme", "brulee"],
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('an "unclosed quote', ("an", "unclosed", "quote")),
        ('24" monitor 12" screen', ("24", "monitor", "12", "screen")),
        ("title:x AND (NOT y) OR z*", ("title", "x", "and", "not", "y", "or", "z")),
        ('"" "?!"', ()),
    ],
)
def test_odd_queries_have_a_plain_reading(query: str, expected: tuple[str, ...]) -> None:
    question = parse_question(query)
    assert question.words == expected
    assert question.phrases == ()


def test_a_very_long_word_counts_by_its_beginning() -> None:
    assert words("x" * 100_000) == ["x" * 128]


@given(st.text(max_size=200))
def test_any_text_can_be_found_by_its_own_words(text: str) -> None:
    question = parse_question(text.replace('"', " "))
    indexed = set(words(text))
    asked = {*question.words, *(term.text for phrase in question.phrases for term in phrase)}
    assert asked <= indexed or not text.isascii()  # beyond ASCII, normalising may join what quotes kept apart
    assert all(term and len(term) <= 128 * 2 for term in indexed)


@given(st.text(max_size=200))
def test_positions_never_go_back_and_leave_no_gap(text: str) -> None:
    places = sorted({term.position for term in document_terms(text)})
    assert places == list(range(len(places)))


@given(st.text(max_size=100))
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold(text)
    assert fold(once) == once
