"""Which words of a chunk match the query, and which of its sentences matches best.

The keyword leg says *that* a chunk matches, not *where*; the dense leg knows no words at all. So the
gateway finds the words itself: case and accents are folded, common English endings are taken off, scripts
written without spaces are matched by pairs of characters.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

import regex

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー"
_WORD = regex.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*", regex.V0)
_UNSPACED_RUN = regex.compile(rf"[{_UNSPACED}]+")
_REST_OF_WORD = regex.compile(r"[\w']*")
_APOSTROPHE = str.maketrans("’", "'")

# Function words carry no subject; marking them makes a snippet unreadable. Longer lists gain nothing here.
_STOP_WORDS = {
    "en": "a about all am an and are as at be been but by can could did do does for from had has have he her him "
    "his how i if in into is it its just like me more my no not of on or our out she so some than that the "
    "their them then there these they this those to too up us was we were what when where which who why will "
    "with would you your",
    "de": "aber als am an auch auf aus bei bin bis das dass dem den der des die du ein eine einem einen einer er es "
    "für hat ich ihr im in ist ja mit nach nicht noch nur oder sich sie sind so über um und uns von war was "
    "wenn wer wie wir wird wo zu zum zur",
    "fr": "à au aux avec c'est ce ces dans de des du elle en est et eux il ils je la le les leur lui ma mais me "
    "même mes mon ne nos notre nous on ou où par pas pour qu que qui sa se ses son sur ta te tes toi ton tu "
    "un une vos votre vous y",
    "es": "a al como con de del el ella en entre es esta este la las lo los más me mi muy no nos o para pero por "
    "que se si sin sobre su sus también te un una y ya yo",
    "it": "a al che chi come con da dei del della di e è gli ha i il in io la le lo ma mi ne nei nel non o per più "
    "se si sono su un una uno",
    "pt": "a ao as com como da das de do dos e é ela ele em eu foi mais mas na não no nos o os ou para por que se "
    "sem seu sua um uma",
    "nl": "aan al als bij dat de den der die dit door een en er had het hij ik in is je maar met mijn na niet nog "
    "of om ook op over te toen tot uit van voor was wat we wel zij zijn",
}

_MIN_STEM = 3
_WORDS = 0.3
"""What all matching words weigh against nearness in meaning; 0.2 to 0.5 are as good (TutorialVQA)."""


class Highlights(NamedTuple):
    """Matching words of one text."""

    ranges: list[tuple[int, int]]
    """Half-open ranges of code points, in order, not overlapping."""
    terms: list[str]
    """The query term each range matches, by position."""


_NOTHING = Highlights([], [])


@lru_cache(maxsize=8192)
def fold(text: str) -> str:
    """Returns `text` without case and accents, in compatibility form (full width becomes half width)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if not unicodedata.combining(char)).translate(_APOSTROPHE)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Returns a word's folded form without common English endings.

    Deliberately small: it only has to bring together the forms of a word for marking, and a wrong mark is
    worse than a missing one. Other languages mostly match by their whole words.
    """
    word = fold(word)
    if "'" in word:
        word = word.removesuffix("'s").removesuffix("s'")
    if not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _MIN_STEM:
        word = word[:-1]
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _MIN_STEM and any(vowel in rest for vowel in "aeiouy"):
            word = rest
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if len(word) > _MIN_STEM and word.endswith("e"):
        word = word[:-1]
    return word


class Query:
    """The words of one query, ready to be looked for in many texts."""

    __slots__ = ("_grams", "_heads", "_stems")

    def __init__(self, text: str, *, language: str = "") -> None:
        """Takes the query apart.

        Args:
            text: the query, as typed.
            language: ISO 639-1 code of the texts, for the choice of words that are not worth marking.
        """
        stop = _stop_words(language)
        words = [match.group() for match in _WORD.finditer(text)]
        spaced = [word for word in words if not _UNSPACED_RUN.match(word)]
        telling = [word for word in spaced if fold(word) not in stop]
        # A query of nothing but function words is still a query: then they are what was asked for.
        unspaced = [word for word in words if _UNSPACED_RUN.match(word)]
        chosen = telling if telling or unspaced else spaced
        self._stems = frozenset(stem(word) for word in chosen)
        self._grams = _pairs(unspaced)
        # Searching for the first letters of a term is what str.find does in a microsecond; only words that begin
        # like a term are then looked at one by one.
        self._heads = sorted({term[:_MIN_STEM] for term in self._stems})

    def find(self, text: str) -> Highlights:
        """Returns the words of `text` that match, as ranges of its code points."""
        folded, positions = (text.lower(), None) if text.isascii() else _fold_with_positions(text)
        found: list[tuple[int, int, str]] = []
        for head in self._heads:
            at = folded.find(head)
            while at >= 0:
                end = at + len(head)
                if at == 0 or not folded[at - 1].isalnum():
                    end = _REST_OF_WORD.match(folded, end).end()  # type: ignore[union-attr]  # it matches nothing too
                    word = folded[at:end].rstrip("'_")
                    term = stem(word)
                    if term in self._stems:
                        found.append((at, at + len(word), term))
                at = folded.find(head, end)
        for gram in self._grams:
            at = folded.find(gram)
            while at >= 0:
                found.append((at, at + len(gram), gram))
                at = folded.find(gram, at + 1)
        if not found:
            return _NOTHING
        if positions is not None:
            found = [(positions[start], positions[end - 1] + 1, term) for start, end, term in found]
        found.sort()
        if text.isascii():  # whole words: they can neither overlap nor be followed by a combining mark
            return Highlights([(start, end) for start, end, _ in found], [term for _, _, term in found])
        return _merge(found, text)


def best_sentence(highlights: Highlights, starts: Sequence[int], scores: Sequence[float] = ()) -> int | None:
    """Returns which sentence to play from, or None when neither a word nor a meaning speaks for one.

    Args:
        highlights: the matches in the chunk.
        starts: for each sentence its first code point in the chunk, in order.
        scores: for each sentence its cosine similarity to the query; empty where that is not known.

    Returns:
        Position in `starts`: of the nearest in meaning, where a sentence with all matching words may be 0.3 farther;
        without scores, of the one with the most different terms, then the most marks, then the first.
    """
    if not starts or not (highlights.ranges or scores):
        return None
    terms: dict[int, list[str]] = {}
    for (start, _), term in zip(highlights.ranges, highlights.terms, strict=True):
        sentence = max(bisect_right(starts, start) - 1, 0)
        terms.setdefault(sentence, []).extend(term.split(" ") if " " in term else (term,))
    if len(scores) == len(starts):
        every = len({term for found in terms.values() for term in found}) or 1
        return max(range(len(starts)), key=lambda at: scores[at] + _WORDS * len(set(terms.get(at, ()))) / every)
    if not terms:
        return None
    return max(terms, key=lambda at: (len(set(terms[at])), len(terms[at]), -at))


def sentence_range(text: str, starts: Sequence[int], at: int) -> tuple[int, int]:
    """Returns sentence `at` of a text whose sentences begin at `starts`, without the space around it."""
    end = starts[at + 1] if at + 1 < len(starts) else len(text)
    said = text[starts[at] : end]
    start = starts[at] + len(said) - len(said.lstrip())
    return start, start + len(said.strip())


@lru_cache(maxsize=64)
def _stop_words(language: str) -> frozenset[str]:
    return frozenset(fold(word) for word in _STOP_WORDS.get(language or "en", "").split())


def _pairs(runs: Iterable[str]) -> list[str]:
    """Takes unspaced scripts apart into pairs, the usual unit where words are not delimited."""
    grams: set[str] = set()
    for run in runs:
        folded = fold(run)
        grams.update([folded] if len(folded) < 3 else (folded[at : at + 2] for at in range(len(folded) - 1)))
    return sorted(grams)


def _fold_with_positions(text: str) -> tuple[str, list[int] | None]:
    """Folds a text and says where each folded character comes from (None: from the same place)."""
    pieces = [_fold_char(char) for char in text]
    folded = "".join(pieces)
    if len(folded) == len(text) and all(pieces):
        return folded, None
    return folded, [at for at, piece in enumerate(pieces) for _ in piece]


@lru_cache(maxsize=16384)
def _fold_char(char: str) -> str:
    return fold(char)


def _merge(found: list[tuple[int, int, str]], text: str) -> Highlights:
    """Joins ranges that touch or overlap, and takes in combining marks that follow."""
    ranges: list[tuple[int, int]] = []
    terms: list[str] = []
    for start, end, term in found:
        stop = end
        while stop < len(text) and unicodedata.combining(text[stop]):
            stop += 1
        if ranges and start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(stop, ranges[-1][1]))
            terms[-1] = f"{terms[-1]} {term}"
        else:
            ranges.append((start, stop))
            terms.append(term)
    return Highlights(ranges, terms)
