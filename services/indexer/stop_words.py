"""Words that carry a question and not its subject.

They stay in the index and in queries, with less weight: on 2,563 questions over tutorial talks (TutorialVQA, chunks of
25 s) full weight gave MRR .491 and hit@10 .738, a tenth of it .567 and .790, and leaving them out .565 and .794, but
then "to be or not to be" would find nothing.
"""

from typing import Final

WEIGHT: Final = 0.1
"""Weight of a stop word against one of any other word."""

STOP_WORDS: Final = frozenset(
    """
    a about am an and are arent as at be been being but by can could did didnt do does doesnt dont for from had has
    have he her his how i if im in into is isnt it its just me may might my no not of on or our she should so such
    than that thats the their then there these they this those to too us very was we were what whats when where which
    who whom why will with would you your
    """.split()  # noqa: SIM905
)
"""English, folded as `terms.fold` does. Other languages rely on BM25 giving frequent words little weight."""
