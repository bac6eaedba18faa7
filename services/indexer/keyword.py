"""The keyword leg: BM25 by tantivy, over terms of our own making (`terms.py`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from tantivy import Occur, Query

from services.indexer.chunks import Chunk, Filter, Ids, Vectors
from services.indexer.stop_words import STOP_WORDS
from services.indexer.terms import Question, Term, document_terms

MAX_WORDS = 64
"""Words of a query that count, the rarest ones."""
MAX_PHRASES = 16
"""Quoted parts of a query that count, the first ones."""

# Stems find "brighten" for "brightening"; the words as written break the tie. Measured on TutorialVQA (as in
# stop_words.py, before those had a weight): words alone MRR .477, hit@10 .716; stems .479, .732; both so .491, .738.
_WORD_WEIGHT = 0.5
_WRITER_BYTES = 32_000_000
_META, _MANAGED = "meta.json", ".managed.json"


class KeywordIndex:
    """Terms by number, in tantivy's immutable segment files.

    One thread changes it: `stage`, then `commit` (slow, to disk, seen by nobody), then `publish`. Any number search.

    Args:
        folder: Where the segment files are; opened when it holds an index, otherwise a new one is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._schema = _schema()
        self._index = tantivy.Index(self._schema, path=str(folder), reuse=True)
        self._stemmer = _analyzer(stem=True)
        self._index.register_tokenizer("earmark_words", _analyzer(stem=False))
        self._index.register_tokenizer("earmark_stems", self._stemmer)
        self._index.config_reader(reload_policy="manual")
        self._writer: Any = self._open_writer()

    def __len__(self) -> int:
        return int(self._index.searcher().num_docs)

    @property
    def ids(self) -> Ids:
        """The numbers published, int64, in no order."""
        searcher = self._index.searcher()
        hits = searcher.search(Query.all_query(), max(1, searcher.num_docs), count=False).hits
        return np.array(searcher.fast_field_values("number", [address for _, address in hits]), dtype=np.int64)

    def stage(self, *, removed: Iterable[int], added: Iterable[tuple[int, Chunk]]) -> None:
        """Takes in changes for the next commit."""
        if self._writer is None:
            self._writer = self._open_writer()
        # By query: tantivy-py's delete by term takes a Python int for a signed one and so never meets this field.
        if gone := list(removed):
            self._writer.delete_documents_by_query(Query.term_set_query(self._schema, "number", gone))
        for number, chunk in added:
            self._writer.add_document(self._document(number, chunk))

    def commit(self) -> None:
        """Makes what is staged durable in the folder; searches do not see it yet. After an error nothing is staged."""
        try:
            self._writer.commit()
        except Exception:
            # tantivy's writer does not outlive a failed commit, not even to roll back. Another one begins at the last
            # commit; it is made with the next change, since the disk may still be full now.
            self._writer = None
            raise

    def publish(self) -> None:
        """Lets searches see what is committed."""
        self._index.reload()

    def search(self, question: Question, k: int, *, only: Filter, videos: Sequence[str]) -> tuple[Ids, Vectors]:
        """Gives the `k` best chunks by BM25.

        Args:
            question: What is asked; one without terms finds nothing.
            k: How many.
            only: Which chunks may be found.
            videos: The videos that `only` names and that are here.

        Returns:
            Numbers and scores, best first, both (n,) with n ≤ k.
        """
        searcher = self._index.searcher()
        query = self._query(question, searcher)
        if query is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if only.video_ids:
            query = _restricted(query, Query.term_set_query(self._schema, "video", videos))
        if only.language:
            query = _restricted(query, Query.term_query(self._schema, "language", only.language))
        hits = searcher.search(query, k, count=False).hits
        numbers = searcher.fast_field_values("number", [address for _, address in hits])
        return np.array(numbers, np.int64), np.array([score for score, _ in hits], np.float32)

    def freeze(self, target: Path) -> list[str]:
        """Puts the committed state into a new folder, by hard links: segment files never change.

        Returns:
            The names of its files.
        """
        while True:
            target.mkdir()
            try:
                return self._link_into(target)
            except FileNotFoundError:  # a merge swapped segments meanwhile; the new state is listed now
                shutil.rmtree(target)

    def _link_into(self, target: Path) -> list[str]:
        meta = (self._folder / _META).read_bytes()
        segments = {segment["segment_id"].replace("-", "") for segment in json.loads(meta)["segments"]}
        names = sorted(path.name for path in self._folder.iterdir() if path.name.split(".")[0] in segments)
        managed = [_META, *names]
        (target / _META).write_bytes(meta)
        (target / _MANAGED).write_text(json.dumps(managed))
        for name in names:
            link_or_copy(self._folder / name, target / name)
        if (self._folder / _META).read_bytes() != meta:
            raise FileNotFoundError("the index moved on while it was linked")
        return [_META, _MANAGED, *names]

    def close(self) -> None:
        """Ends the writer after the merges under way."""
        if self._writer is not None:
            self._writer.wait_merging_threads()
            self._writer = None

    def _open_writer(self) -> Any:
        return self._index.writer(heap_size=_WRITER_BYTES, num_threads=1)

    def _document(self, number: int, chunk: Chunk) -> Any:
        document = tantivy.Document()
        document.add_unsigned("number", number)
        document.add_text("video", chunk.video_id)
        document.add_text("language", chunk.language)
        terms = document_terms(chunk.text)
        text = " ".join(term.text for term in terms)
        if not terms or terms[-1].position == len(terms) - 1:  # no two at one place: positions count up by themselves
            document.add_text("words", text)
            document.add_text("stems", text)
            return document
        tokens = tantivy.PreTokenizedString(text, [tantivy.Token(term.text, term.position, 0, 0) for term in terms])
        document.add_pre_tokenized_text("words", tokens)
        document.add_pre_tokenized_text("stems", tokens)
        return document

    def _query(self, question: Question, searcher: Any) -> Any | None:
        clauses = [(Occur.Should, query) for query in self._word_queries(question.words, searcher)]
        phrases = [(Occur.Must, self._phrase_query(phrase)) for phrase in question.phrases[:MAX_PHRASES]]
        if not clauses and not phrases:
            return None
        return Query.boolean_query([*phrases, *clauses])

    def _word_queries(self, words: Sequence[str], searcher: Any) -> Iterable[Any]:
        if len(words) > MAX_WORDS:
            words = sorted(words, key=lambda word: searcher.doc_freq("words", word) or float("inf"))[:MAX_WORDS]
        words = [word for word in words if word not in STOP_WORDS] or words
        for word in words:
            yield Query.boost_query(Query.term_query(self._schema, "words", word), _WORD_WEIGHT)
        for stem in dict.fromkeys(stem for word in words for stem in self._stemmer.analyze(word)):
            yield Query.term_query(self._schema, "stems", stem, "freq")

    def _phrase_query(self, phrase: Sequence[Term]) -> Any:
        if len(phrase) == 1:
            return Query.term_query(self._schema, "words", phrase[0].text)
        start = phrase[0].position
        return Query.phrase_query(self._schema, "words", [(term.position - start, term.text) for term in phrase])


def thaw(snapshot: Path, folder: Path) -> None:
    """Makes `folder` a working copy of what `freeze` wrote; links, so it costs neither time nor space."""
    folder.mkdir(parents=True)
    for path in snapshot.iterdir():
        if path.name in {_META, _MANAGED}:
            shutil.copyfile(path, folder / path.name)
        else:
            link_or_copy(path, folder / path.name)


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links a file, or copies it where the file system has no hard links."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def _restricted(query: Any, condition: Any) -> Any:
    """Lets `condition` decide what may be found and nothing about its score."""
    return Query.boolean_query([(Occur.Must, query), (Occur.Must, Query.const_score_query(condition, 0.0))])


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("number", indexed=True, fast=True)
    builder.add_text_field("video", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("language", tokenizer_name="raw", index_option="basic")
    builder.add_text_field("words", tokenizer_name="earmark_words", index_option="position")
    builder.add_text_field("stems", tokenizer_name="earmark_stems", index_option="freq")
    return builder.build()


def _analyzer(*, stem: bool) -> Any:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return (builder.filter(tantivy.Filter.stemmer("english")) if stem else builder).build()
