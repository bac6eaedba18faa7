"""The script of one talk, read from `samples/talks/*.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Section:
    """What is said while one slide stands."""

    title: str
    bullets: tuple[str, ...]
    figure: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question whose answer lies between two sentences of the talk, both included."""

    question: str
    answer: str
    evidence: tuple[str, ...]
    kind: str
    demo: bool


@dataclass(frozen=True)
class Talk:
    """One talk; `seed` fixes the noise the voice model draws."""

    title: str
    file: str
    accent: str
    seed: int
    sections: tuple[Section, ...]
    questions: tuple[Question, ...]


def read_talk(path: Path) -> Talk:
    """Reads one script.

    Raises:
        KeyError: a field is missing.
        tomllib.TOMLDecodeError: the file is not TOML.
    """
    raw = tomllib.loads(path.read_text(encoding="utf-8"))
    sections = tuple(
        Section(
            title=section["title"],
            bullets=tuple(section["bullets"]),
            figure=section["figure"],
            sentences=tuple(_SENTENCE_END.split(" ".join(section["text"].split()))),
        )
        for section in raw["section"]
    )
    questions = tuple(
        Question(
            question=question["question"],
            answer=question["answer"],
            evidence=tuple(question["evidence"]),
            kind=question.get("kind", "semantic"),
            demo=question.get("demo", False),
        )
        for question in raw["question"]
    )
    return Talk(raw["title"], raw["file"], raw["accent"], raw["seed"], sections, questions)
