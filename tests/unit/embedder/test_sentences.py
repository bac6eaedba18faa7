"""Where sentences end."""

import pytest

from services.common.transcript import Segment
from services.embedder.sentences import sentences_of
from services.embedder.timed_text import join, units_of


def split(text: str, language: str = "en") -> list[str]:
    return [join(sentence) for sentence in sentences_of(units_of([Segment(0.0, 10.0, text)]), language)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three! Four", ["One.", "Two?", "Three!", "Four"]),
        ('He said "stop." Then we did.', ['He said "stop."', "Then we did."]),
        ("Mr. Smith met Dr. Jones. They spoke.", ["Mr. Smith met Dr. Jones.", "They spoke."]),
        ("Use version 3.14 of it. It works.", ["Use version 3.14 of it.", "It works."]),
        ("J. S. Bach wrote it. So did I. Then we left.", ["J. S. Bach wrote it.", "So did I.", "Then we left."]),
        ("Things, e.g. Belts, wear out. Yes.", ["Things, e.g. Belts, wear out.", "Yes."]),
        ("See fig. 3 for it. No. That is wrong.", ["See fig. 3 for it.", "No.", "That is wrong."]),
        ("Well... so it is. Good... Next one.", ["Well... so it is.", "Good...", "Next one."]),
        ("What? he asked. Nothing.", ["What? he asked.", "Nothing."]),
        ("no capitals. at all? none", ["no capitals. at all? none"]),
        ("Go to example.org. Click it.", ["Go to example.org.", "Click it."]),
    ],
)
def test_english(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.parametrize(
    ("language", "text", "sentences"),
    [
        ("de", "Am 3. Mai war es so. Ja, z.B. Montag.", ["Am 3. Mai war es so.", "Ja, z.B. Montag."]),
        ("en", "It was 3. May came.", ["It was 3.", "May came."]),
        ("es", "¿Qué es? ¡Hola! Sí.", ["¿Qué es?", "¡Hola!", "Sí."]),
        ("ja", "「行く。」と言った。次です！はい", ["「行く。」", "と言った。", "次です！", "はい"]),
        ("zh", "你好。你叫什么？我叫小明。", ["你好。", "你叫什么？", "我叫小明。"]),
        ("hi", "यह है। वह था।", ["यह है।", "वह था।"]),
        ("ar", "ما هذا؟ هذا كتاب.", ["ما هذا؟", "هذا كتاب."]),
        ("ko", "안녕하세요. 반갑습니다.", ["안녕하세요.", "반갑습니다."]),
    ],
)
def test_other_languages(language: str, text: str, sentences: list[str]) -> None:
    assert split(text, language) == sentences


def test_a_long_silence_ends_a_sentence() -> None:
    segments = [Segment(0.0, 4.0, "we start here"), Segment(7.0, 9.0, "and go on there")]
    sentences = sentences_of(units_of(segments), "en")
    assert [join(sentence) for sentence in sentences] == ["we start here", "and go on there"]
