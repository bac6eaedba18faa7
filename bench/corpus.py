"""The files measured and what is said in them: our samples, and speech in `../shared/media` where that lies there."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import jiwer
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLES = REPOSITORY / "samples"
MEDIA = REPOSITORY.parent / "shared" / "media"
UNSPACED = {"ja", "zh", "ko"}
"""Written without spaces, or with spaces that readers do not agree on: letters are compared there, not words."""

# Whisper's own normalizers, so that figures compare with others'. English spelling variants are left as they are.
_english = EnglishTextNormalizer({})  # type: ignore[no-untyped-call]
_basic = BasicTextNormalizer()
_letters = BasicTextNormalizer(split_letters=True)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, its language (ISO 639-1) and its reference text; `group` names where it comes from."""

    path: Path
    group: str
    language: str
    reference: str
    seconds: float


def samples() -> list[Recording]:
    """Our three talks."""
    timings = json.loads((SAMPLES / "timings.json").read_text(encoding="utf-8"))
    return [
        Recording(SAMPLES / name, "samples", "en", " ".join(s["text"] for s in talk["sentences"]), talk["duration"])
        for name, talk in timings.items()
    ]


def shared() -> list[Recording]:
    """Speech with a reference text in `../shared/media`; none where that is absent."""
    manifest = MEDIA / "MANIFEST.tsv"
    if not manifest.exists():
        return []
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    found = []
    for row in rows:
        path = MEDIA / row["file"]
        if path.parent.name != "audio" or not path.exists():
            continue
        reference = _reference(path, row["reference_transcript"])
        if reference:
            language = row["language"][:2]
            group = "English recordings" if language == "en" else "other languages"
            found.append(Recording(path, group, language, reference, float(row["duration_s"])))
    return found


def word_errors(recording: Recording, heard: str) -> tuple[int, int]:
    """Errors and words of the reference (letters in scripts without spaces), both after normalisation."""
    normal = _english if recording.language == "en" else _letters if recording.language in UNSPACED else _basic
    said = normal(recording.reference)
    output = jiwer.process_words(said, normal(heard))
    return output.substitutions + output.deletions + output.insertions, len(said.split())


def _reference(path: Path, note: str) -> str:
    refs, stem = MEDIA / "refs", path.stem
    if note.startswith("inline: "):
        return note.removeprefix("inline: ")
    if stem.startswith("asterisk_"):
        _, language, prompt = stem.split("_", 2)
        script = (refs / f"asterisk_core-sounds-{language}.txt").read_text(encoding="utf-8-sig")
        return next((line[len(prompt) + 1 :] for line in script.splitlines() if line.startswith(f"{prompt}:")), "")
    if stem.startswith("leopard_"):
        language = stem.removeprefix("leopard_")
        tests = json.loads((refs / "leopard_test_data.json").read_text(encoding="utf-8"))["tests"]["language_tests"]
        return next((test["transcript"] for test in tests if test["language"] == language), "")
    if stem.startswith("sense_and_sensibility"):
        script = (refs / "sense_and_sensibility.transcription").read_text(encoding="utf-8")
        return next((re.sub(r"</?s>|\(.*?\)", "", line) for line in script.splitlines() if f"({stem})" in line), "")
    if stem.startswith(("sonnet_001", "fleursdumal_")):
        name = "_".join(stem.split("_")[:2])
        return (refs / f"{name}.txt").read_text(encoding="utf-8")
    return ""
