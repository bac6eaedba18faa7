"""The list of languages that the gateway has is the model's."""

import pytest

from services.common.languages import RECOGNIZED


def test_the_languages_are_those_of_the_recognizer() -> None:
    tokenizer = pytest.importorskip("faster_whisper.tokenizer")
    assert set(tokenizer._LANGUAGE_CODES) == RECOGNIZED
