"""What people say of a video: title, collection, tags, its speech; checked the same on every way in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from services.common.errors import InvalidArgument
from services.common.languages import RECOGNIZED
from services.common.speech import SpeechOptions

MAX_TITLE_CHARS = 300
MAX_COLLECTION_CHARS = 64
MAX_TAGS = 32
MAX_TAG_CHARS = 64
MAX_PROMPT_CHARS = 600
"""Of a prompt, and of the hotwords: what a recognizer is shown before each window has room for about as much."""
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_COLLECTION = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_COLLECTION_CHARS}}}")
_UNSHOWN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
"""Unicode's categories Cc, Cs, Zl and Zp: a class of characters is ten times as fast as asking for each category."""
_SHOWN_CHARS = 80


def one_line(text: str) -> str:
    """Makes one line of a text: NFC, no control characters, single spaces."""
    return " ".join(_UNSHOWN.sub(" ", unicodedata.normalize("NFC", text)).split())


def checked_title(text: str) -> str:
    """Makes a title of what someone typed; empty when it says nothing.

    Raises:
        InvalidArgument: It is over 300 characters.
    """
    title = one_line(text)
    if len(title) > MAX_TITLE_CHARS:
        raise InvalidArgument(
            f"the title has {len(title)} characters, at most {MAX_TITLE_CHARS} are allowed; give a shorter one",
            reason="TITLE_TOO_LONG",
            field="title",
            metadata={"max_characters": str(MAX_TITLE_CHARS)},
        )
    return title


def title_from(name: str) -> str:
    """Makes a title of the name of a file or host, cut to 300 characters: nobody chose it, so nobody is refused."""
    return one_line(name)[:MAX_TITLE_CHARS].rstrip()


def checked_collection(text: str) -> str:
    """Gives the name of a collection; empty means none.

    Raises:
        InvalidArgument: It is over 64 characters, or holds others than letters A to Z, digits, dot, line and dash.
    """
    name = text.strip()
    if not name or _COLLECTION.fullmatch(name):
        return name
    allowed = (
        f"a collection's name has at most {MAX_COLLECTION_CHARS} characters, each a letter A-Z or a-z, a digit, "
        "'.', '_' or '-'"
    )
    mended = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MAX_COLLECTION_CHARS].strip("-")
    advice = f"; {mended!r} would do" if mended else ""
    raise InvalidArgument(f"{_shown(name)} is no such name: {allowed}{advice}", field="collection")


def checked_tags(given: Sequence[str]) -> tuple[str, ...]:
    """Gives tags trimmed, each once, in the order given; empty ones are left out.

    Raises:
        InvalidArgument: There are more than 32, or one is over 64 characters or cannot be shown.
    """
    tags: dict[str, None] = {}
    for text in given:
        tag = unicodedata.normalize("NFC", text).strip()
        if len(tag) > MAX_TAG_CHARS:
            raise InvalidArgument(
                f"the tag {_shown(tag)} has {len(tag)} characters, at most {MAX_TAG_CHARS} are allowed", field="tags"
            )
        if _UNSHOWN.search(tag):
            raise InvalidArgument(
                f"the tag {_shown(tag)} has a line break or another control character in it; leave it out",
                field="tags",
            )
        if tag:
            tags[tag] = None
            if len(tags) > MAX_TAGS:
                raise InvalidArgument(f"there are more than {MAX_TAGS} tags; leave some out", field="tags")
    return tuple(tags)


def checked_speech(
    *, language: str = "", prompt: str = "", hotwords: str = "", task: str = "", heard: bool = True
) -> SpeechOptions:
    """Gives what was said of the speech in a video, in the form to keep.

    Args:
        language: ISO 639-1 code.
        prompt: Text as it might stand before the speech.
        hotwords: Words to be expected.
        task: `transcribe` or `translate`.
        heard: Whether a recognizer is to hear it, which does not know every language; captions may be of any.

    Raises:
        InvalidArgument: The language is no ISO 639 code or one that no recognizer knows, the task is unknown, or a
            text is too long.
    """
    code = language.strip().lower()
    if code and not _LANGUAGE.fullmatch(code):
        raise InvalidArgument(
            f"{_shown(language)} is no language; give its ISO 639-1 code, such as 'en', or nothing to have it detected",
            field="language",
        )
    if code and heard and code not in RECOGNIZED:
        raise InvalidArgument(
            f"{_shown(code)} is no language that the recognizer knows; it knows {len(RECOGNIZED)}, among them en, de, "
            "fr, es, ja and zh: give the ISO 639-1 code of one, or nothing to have it detected",
            field="language",
        )
    if task not in {"", "transcribe", "translate"}:
        raise InvalidArgument(f"{_shown(task)} is neither 'transcribe' nor 'translate' (into English)", field="task")
    texts = {"prompt": one_line(prompt), "hotwords": one_line(hotwords)}
    for name, text in texts.items():
        if len(text) > MAX_PROMPT_CHARS:
            raise InvalidArgument(
                f"{name} has {len(text)} characters, at most {MAX_PROMPT_CHARS} are of use", field=name
            )
    return SpeechOptions(language=code, task="translate" if task == "translate" else "transcribe", **texts)


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…")
