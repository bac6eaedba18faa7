"""What the keyword leg keeps of a chunk, and how a sealed part of it is made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import tantivy

from services.indexer.terms import document_terms, document_words

BLOCK: Final = 32
"""Rows that share one entry in the field `block`. A video's rows lie together in a sealed part, so that a filter on
videos comes down to few blocks; an entry for each row would make ten times as many."""

# tantivy's bound for one thread, almost. It is taken as it fills, and a segment ends when it is full: 60,000 chunks
# take 150 MB.
_BUILD_BYTES: Final = 4_000_000_000
_META: Final = "meta.json"


class KeywordDocument(NamedTuple):
    """What the keyword leg takes in of a chunk.

    Attributes:
        row: Its row in the part.
        text: What is said.
    """

    row: int
    text: str


@cache
def schema() -> Any:
    """Gives the fields, the same ones for every part: a query made once can be put to all of them."""
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("row", fast=True)
    builder.add_unsigned_field("block", indexed=True)
    builder.add_text_field("words", tokenizer_name="earmark_words", index_option="position")
    builder.add_text_field("stems", tokenizer_name="earmark_stems", index_option="freq")
    return builder.build()


def new_index(folder: Path | None = None) -> Any:
    """Makes an empty index in a folder, or in memory."""
    index = tantivy.Index(schema(), path=None if folder is None else str(folder), reuse=False)
    index.register_tokenizer("earmark_words", _analyzer(stem=False))
    index.register_tokenizer("earmark_stems", _stemmer())
    index.config_reader(reload_policy="manual")
    return index


def build(folder: Path, documents: Iterable[KeywordDocument]) -> None:
    """Makes a sealed part in a new folder: one segment, so that a search goes through one list of postings a term.

    What it wrote outlasts a loss of power when it returns, but for the folder's own entry in its parent.

    Args:
        folder: Where; made, with its parents.
        documents: With the rows 0, 1, 2, ….

    Raises:
        ValueError: The disk does not take it, the rows are others, or there are too many for one segment (millions).
    """
    folder.mkdir(parents=True)
    index = new_index(folder)
    # One thread: a second one makes a second segment, and reading the documents is the slower side anyway.
    writer = index.writer(heap_size=_BUILD_BYTES, num_threads=1)
    count = 0
    for document in documents:
        if document.row != count:
            raise ValueError(f"row {document.row} comes where row {count} belongs")
        writer.add_document(prepared(document))
        count += 1
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    if searcher.num_segments > 1 or searcher.num_docs != count:
        raise ValueError(f"{count} rows became {searcher.num_segments} segments with {searcher.num_docs}")
    for lock in folder.glob(".*.lock"):
        lock.unlink()


def files(folder: Path) -> list[str]:
    """Gives the names of the files that make up a sealed part.

    tantivy puts lock files beside them when it opens one; these are empty and need not be copied.

    Raises:
        OSError: There is no part.
        ValueError: Its list of segments cannot be read.
    """
    meta = json.loads((folder / _META).read_bytes())
    segments = {segment["segment_id"].replace("-", "") for segment in meta["segments"]}
    return [_META, *sorted(path.name for path in folder.iterdir() if path.name.split(".")[0] in segments)]


def prepared(document: KeywordDocument) -> Any:
    """Gives a document as tantivy takes it."""
    prepared = tantivy.Document()
    prepared.add_unsigned("row", document.row)
    prepared.add_unsigned("block", document.row // BLOCK)
    words = document_words(document.text)
    if words is not None:
        prepared.add_text("words", words)
        prepared.add_text("stems", words)
        return prepared
    # Terms that share a place cannot be written as words with spaces between; tantivy's analyzers never see these.
    terms = document_terms(document.text)
    text = " ".join(term.text for term in terms)
    as_written = [tantivy.Token(term.text, term.position, 0, 0) for term in terms]
    stemmed = [tantivy.Token(stem(term.text), term.position, 0, 0) for term in terms]
    prepared.add_pre_tokenized_text("words", tantivy.PreTokenizedString(text, as_written))
    prepared.add_pre_tokenized_text("stems", tantivy.PreTokenizedString(text, stemmed))
    return prepared


@lru_cache(1 << 16)
def stem(word: str) -> str:
    """Gives the English stem of a term; other languages' words mostly stay as they are."""
    return str(_stemmer().analyze(word)[0])


@cache
def _stemmer() -> Any:
    return _analyzer(stem=True)


def _analyzer(*, stem: bool) -> Any:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return (builder.filter(tantivy.Filter.stemmer("english")) if stem else builder).build()
