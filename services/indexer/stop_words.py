"""Words that carry a question and not its subject.

They stay in the index, and in quoted phrases. Of a question they are left out, unless it has no others ("to be or not
to be"): a chunk that shares but a "for" with the question would otherwise count as found by words, and the fusion of
the legs, which goes by rank, would take it for an answer. On 2,563 questions over tutorial talks (TutorialVQA, chunks
of 25 s) full weight gave MRR .491 and hit@10 .738, a tenth of it .567 and .790, and leaving them out .565 and .794.
"""

from typing import Final

STOP_WORDS: Final = frozenset(
    """
    a about am an and are arent as at be been being but by can could did didnt do does doesnt dont for from had has
    have he her his how i if im in into is isnt it its just me may might my no not of on or our she should so such
    than that thats the their then there these they this those to too us very was we were what whats when where which
    who whom why will with would you your
    """.split()  # noqa: SIM905
)
"""English, folded as `terms.fold` does. Other languages rely on BM25 giving frequent words little weight."""
