"""What somebody meant who wrote a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def meant(name: str, known: Collection[str]) -> str:
    """Gives a hint for people: the name that is like it, or all there are."""
    if near := difflib.get_close_matches(name.lower(), known, n=1):
        return f"do you mean {near[0]}?"
    return f"there are {', '.join(known)}" if known else "there are none here"
