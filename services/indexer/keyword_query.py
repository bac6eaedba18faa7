"""From a question to one tantivy query for each part, with scores that can be compared between the parts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tantivy import Occur, Query

from services.indexer.keyword_index import schema, stem
from services.indexer.stop_words import STOP_WORDS
from services.indexer.terms import Question, Term

MAX_WORDS: Final = 64
"""Words of a query that count, the rarest ones."""
MAX_PHRASES: Final = 16
"""Quoted parts of a query that count, the first ones."""

# Stems find "brighten" for "brightening"; the words as written break the tie. Measured on TutorialVQA (as in
# stop_words.py, before those had a weight): words alone MRR .477, hit@10 .716; stems .479, .732; both so .491, .738.
_WORD_WEIGHT: Final = 0.5

# Read once: an attribute of a class written in Rust takes a microsecond.
MUST: Final = Occur.Must
SHOULD: Final = Occur.Should


def part_queries(question: Question, searchers: Sequence[Any]) -> list[Any | None]:
    """Gives a query for each part, or None for a part where it finds nothing.

    tantivy weighs a term by how rare it is in the one index it searches: ln(1 + (N - n + 0.5) / (n + 0.5)) for a term
    in n of N documents, summed over the terms of a phrase. Here N and n are of all parts together: each term's score is
    multiplied by what that gives over what tantivy will take. The other number that BM25 has of an index, the average
    length of a document, stays the part's own: only a part of a few chunks is far off there.

    Args:
        question: What is asked; one without terms finds nothing.
        searchers: A tantivy searcher of each part.
    """
    counts = _Counts(searchers)
    clauses: list[list[tuple[Any, Any]]] = [[] for _ in searchers]
    asked = set(range(len(searchers)))
    for phrase in question.phrases[:MAX_PHRASES]:
        query = _phrase_query(phrase)
        boosts = counts.boosts("words", [term.text for term in phrase], 1.0)
        asked &= boosts.keys()
        for place, boost in boosts.items():
            clauses[place].append((MUST, Query.boost_query(query, boost)))
    if not asked:
        return [None] * len(searchers)
    words = _counted(question.words, counts)
    terms = [("words", word, "position", _WORD_WEIGHT) for word in words]
    terms += [("stems", stemmed, "freq", 1.0) for stemmed in dict.fromkeys(map(stem, words))]
    for field, text, option, weight in terms:
        query = Query.term_query(schema(), field, text, option)
        for place, boost in counts.boosts(field, [text], weight).items():
            clauses[place].append((SHOULD, Query.boost_query(query, boost)))
    return [
        Query.boolean_query(of_part) if of_part and place in asked else None for place, of_part in enumerate(clauses)
    ]


class _Counts:
    """In how many documents terms are, part by part."""

    def __init__(self, searchers: Sequence[Any]) -> None:
        self._searchers = searchers
        self._documents: list[int] = [searcher.num_docs for searcher in searchers]
        self._all_documents = sum(self._documents)
        self._known: dict[tuple[str, str], list[int]] = {}

    def of(self, field: str, term: str) -> list[int]:
        """Gives the number of documents with the term, for each part."""
        known = self._known.get((field, term))
        if known is None:
            known = self._known[field, term] = [searcher.doc_freq(field, term) for searcher in self._searchers]
        return known

    def boosts(self, field: str, terms: Sequence[str], weight: float) -> dict[int, float]:
        """Gives, for each part that has all of some terms, what to multiply the score of them together with."""
        frequencies = [self.of(field, term) for term in terms]
        having = [place for place, counts in enumerate(zip(*frequencies, strict=True)) if all(counts)]
        if len(self._documents) == 1:
            return dict.fromkeys(having, weight)
        shared = weight * sum([_idf(self._all_documents, sum(counts)) for counts in frequencies])
        return {
            place: shared / sum([_idf(self._documents[place], counts[place]) for counts in frequencies])
            for place in having
        }


def _idf(documents: int, containing: int) -> float:
    return math.log1p((documents - containing + 0.5) / (containing + 0.5))


def _counted(words: Sequence[str], counts: _Counts) -> Sequence[str]:
    if len(words) > MAX_WORDS:
        words = sorted(words, key=lambda word: sum(counts.of("words", word)) or math.inf)[:MAX_WORDS]
    return [word for word in words if word not in STOP_WORDS] or words


def _phrase_query(phrase: Sequence[Term]) -> Any:
    if len(phrase) == 1:
        return Query.term_query(schema(), "words", phrase[0].text)
    start = phrase[0].position
    return Query.phrase_query(schema(), "words", [(term.position - start, term.text) for term in phrase])
