"""Checks the sample videos: container, streams, index first, true times, and that Whisper reads them back.

The times in `timings.json` are held against the decoded sound itself (does it set in and fall silent there?) and
against Whisper's word times. Whisper often lets the first word after a pause begin within the pause, so a few of its
starts lie early; the sound decides, and Whisper's times must be right in the main.

    .venv/bin/python samples/check_samples.py --model PATH_OR_NAME
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

import av
import jiwer
import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import decode_audio
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

HERE = Path(__file__).resolve().parent
RATE = 16_000
MOST_BYTES_TOGETHER = 6_000_000
MOST_SECONDS_OFF = 0.5
MOST_SECONDS_OFF_SOUND = 0.1
MOST_WHISPER_TIMES_OFF = 0.1
"""Share of Whisper's sentence starts and ends that may be further off than MOST_SECONDS_OFF."""
MOST_WORD_ERRORS = 0.06


def main() -> int:
    """Prints one line a file; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="faster-whisper model, e.g. a folder with Whisper base")
    model = WhisperModel(parser.parse_args().model, device="cpu", compute_type="int8", cpu_threads=2)
    timings = json.loads((HERE / "timings.json").read_text())
    faults: list[str] = []
    total = sum((HERE / name).stat().st_size for name in timings)
    if total > MOST_BYTES_TOGETHER:
        faults.append(f"{total} bytes together, more than {MOST_BYTES_TOGETHER}")
    for name, timing in timings.items():
        faults += [f"{name}: {fault}" for fault in container_faults(HERE / name, timing["duration"])]
        segments, _ = model.transcribe(
            str(HERE / name), beam_size=1, vad_filter=True, word_timestamps=True, language="en"
        )
        words = [(plain(word.word), word.start, word.end) for segment in segments for word in segment.words or []]
        normal = EnglishTextNormalizer({})
        said = normal(" ".join(sentence["text"] for sentence in timing["sentences"]))
        heard = normal(" ".join(word for word, _, _ in words))
        errors = jiwer.wer(said, heard)
        if errors > MOST_WORD_ERRORS:
            faults.append(f"{name}: word error rate {errors:.3f}")
        starts, ends = offsets(timing["sentences"], words)
        off = [value for value in starts + ends if abs(value) > MOST_SECONDS_OFF]
        if len(off) > MOST_WHISPER_TIMES_OFF * len(starts + ends):
            faults.append(
                f"{name}: Whisper puts {len(off)} sentence times off by more than {MOST_SECONDS_OFF} s: {off}"
            )
        sound = sound_offsets(HERE / name, timing["sentences"])
        if max(map(abs, sound)) > MOST_SECONDS_OFF_SOUND:
            faults.append(f"{name}: the sound itself is off by {max(sound, key=abs):+.2f} s")
        print(
            f"{name}: WER {errors:.3f}; {len(starts)} starts, {len(ends)} ends matched of {len(timing['sentences'])};"
            f" median {statistics.median(starts):+.2f} / {statistics.median(ends):+.2f} s,"
            f" worst {max(starts, key=abs):+.2f} / {max(ends, key=abs):+.2f} s, {len(off)} beyond {MOST_SECONDS_OFF} s;"
            f" the sound itself: worst {max(sound, key=abs):+.3f} s"
        )
        print(*differences(jiwer.process_words(said, heard)), sep="\n")
    print(*faults, sep="\n", file=sys.stderr)
    return 1 if faults else 0


def container_faults(path: Path, seconds: float) -> list[str]:
    """What is wrong with the file around its sound and pictures."""
    faults = []
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        if video.codec_context.name != "h264" or audio.codec_context.name != "aac" or audio.codec_context.channels != 1:
            faults.append(f"streams are {video.codec_context.name} and {audio.codec_context.name}")
        if abs((container.duration or 0) / av.time_base - seconds) > MOST_SECONDS_OFF:
            faults.append(f"lasts {(container.duration or 0) / av.time_base} s, the speech {seconds} s")
        keys = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(video)
            if packet.is_keyframe and packet.pts is not None
        ]
        gaps = [after - before for before, after in zip(keys, [*keys[1:], seconds], strict=True)]
        if max(gaps) > 10.2:
            faults.append(f"{max(gaps):.1f} s without a key frame")
    boxes = re.findall(rb"moov|mdat", path.read_bytes())
    if boxes[0] != b"moov":
        faults.append("the index (moov) lies behind the data")
    return faults


def offsets(
    sentences: list[dict[str, object]], words: list[tuple[str, float, float]]
) -> tuple[list[float], list[float]]:
    """Heard minus true seconds of sentence starts and ends, where first and last words were heard as written."""
    said = [(plain(word), index) for index, sentence in enumerate(sentences) for word in str(sentence["text"]).split()]
    aligned = jiwer.process_words(" ".join(w for w, _ in said), " ".join(w for w, _, _ in words)).alignments[0]
    heard_of = {
        chunk.ref_start_idx + step: chunk.hyp_start_idx + step
        for chunk in aligned
        if chunk.type == "equal"
        for step in range(chunk.ref_end_idx - chunk.ref_start_idx)
    }
    starts, ends = [], []
    for index, sentence in enumerate(sentences):
        places = [place for place, (_, owner) in enumerate(said) if owner == index]
        if places[0] in heard_of:
            starts.append(round(float(words[heard_of[places[0]]][1]) - float(str(sentence["start"])), 2))
        if places[-1] in heard_of:
            ends.append(round(float(words[heard_of[places[-1]]][2]) - float(str(sentence["end"])), 2))
    return starts, ends


def sound_offsets(path: Path, sentences: list[dict[str, object]]) -> list[float]:
    """Seconds by which the decoded sound sets in after each start, and falls silent after each end."""
    samples = decode_audio(str(path), sampling_rate=RATE)
    window = RATE // 100
    frames = samples[: len(samples) // window * window].reshape(-1, window)
    loud = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > 0.004) * window / RATE
    found = []
    for sentence in sentences:
        start, end = float(str(sentence["start"])), float(str(sentence["end"]))
        # Half the shortest pause to either side: no neighbour's sound is within it.
        inside = loud[(loud >= start - 0.19) & (loud <= end + 0.19)]
        found += [float(inside[0]) - start, float(inside[-1]) + 0.01 - end]
    return [round(value, 3) for value in found]


def differences(output: jiwer.WordOutput) -> list[str]:
    """Each place where what was heard is not what was said."""
    said, heard = output.references[0], output.hypotheses[0]
    return [
        f"    {' '.join(said[c.ref_start_idx : c.ref_end_idx])!r} heard as"
        f" {' '.join(heard[c.hyp_start_idx : c.hyp_end_idx])!r}"
        for c in output.alignments[0]
        if c.type != "equal"
    ]


def plain(word: str) -> str:
    """Lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9']", "", word.lower()) or "-"


if __name__ == "__main__":
    sys.exit(main())
