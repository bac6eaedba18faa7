"""Chunks: on sentence ends, about as long as asked, within the model's limits, nothing lost and no word split."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.transcript import Segment, SliceTranscript, Word
from services.embedder.chunker import Chunk, ChunkLimits, chunk_slice

LIMITS = ChunkLimits()


def words_in(texts: Sequence[str]) -> list[int]:
    """Counts tokens as a model would that has one for each word, or each character of a script without spaces."""
    return [sum(1 if word.isascii() else len(word) for word in text.split()) for text in texts]


def transcript(segments: list[Segment], language: str = "en") -> SliceTranscript:
    end = segments[-1].end if segments else 0.0
    return SliceTranscript("vid_x", "00000", 0.0, end, language, 1.0, "test", segments)


def spoken(text: str, *, start: float = 0.0, seconds_per_word: float = 0.4, pause: float = 0.0) -> Segment:
    """A segment with words, each as long as the others, and a pause after each."""
    words, clock = [], start
    for word in text.split():
        words.append(Word(clock, clock + seconds_per_word, f" {word}", 0.9))
        clock += seconds_per_word + pause
    return Segment(start, words[-1].end, text, words)


def sentence(number: int, words: int = 10) -> str:
    return " ".join(["Sentence", str(number), *["word"] * (words - 3), "end."])


def cut(segments: list[Segment], limits: ChunkLimits = LIMITS, language: str = "en") -> list[Chunk]:
    return chunk_slice(transcript(segments, language), words_in, limits)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_nothing_said_gives_no_chunk() -> None:
    assert cut([]) == []
    assert cut([Segment(0.0, 4.0, "   ")]) == []


def test_chunks_end_with_sentences_and_are_about_as_long_as_asked() -> None:
    # 60 sentences of 4 s each in segments of 25 words, which never end where a sentence does.
    text = " ".join(sentence(number) for number in range(60))
    words = text.split()
    segments = [spoken(" ".join(words[i : i + 25]), start=i * 0.4) for i in range(0, len(words), 25)]

    chunks = cut(segments)

    assert [chunk.text.endswith("end.") for chunk in chunks] == [True] * 8
    assert all(28 <= chunk.end_time - chunk.start_time <= 32 for chunk in chunks)
    assert " ".join(chunk.text for chunk in chunks) == text


def test_times_come_from_words_where_there_are_words() -> None:
    words = [Word(5.0, 5.4, " Hello", 1), Word(9.0, 9.5, " there.", 1), Word(9.6, 10.0, " Bye.", 1)]
    [chunk] = cut([Segment(4.0, 12.0, "Hello there. Bye.", words)])

    assert (chunk.start_time, chunk.end_time) == (5.0, 10.0)
    # "there." is said 3.6 s after "Hello": a pause that long ends a sentence.
    assert chunk.sentence_marks == [(0, 5.0), (6, 9.0), (13, 9.6)]


def test_times_are_spread_over_the_characters_where_there_are_no_words() -> None:
    [chunk] = cut([Segment(10.0, 20.0, "Four and. Six plus.")])

    assert (chunk.start_time, chunk.end_time) == (10.0, 20.0)
    offset, seconds = chunk.sentence_marks[1]
    assert chunk.text[offset:] == "Six plus."
    assert seconds == pytest.approx(10 + 10 * 10 / 19, abs=0.01)


def test_words_that_differ_from_the_segments_text_still_give_times() -> None:
    words = [Word(0.0, 0.5, " One", 1), Word(0.5, 1.0, " garbled", 1), Word(6.0, 6.5, " three.", 1)]
    [chunk] = cut([Segment(0.0, 7.0, "One two three.", words)])

    assert chunk.text == "One two three."
    assert chunk.end_time == 6.5


def test_marks_point_at_the_first_letter_of_each_sentence() -> None:
    chunks = cut([spoken(" ".join(sentence(number) for number in range(20)))])

    for chunk in chunks:
        starts = [chunk.text[offset:].split(" end.")[0].split()[0] for offset, _ in chunk.sentence_marks]
        assert set(starts) == {"Sentence"}
        assert len(starts) == chunk.text.count("Sentence")


def test_marks_count_code_points_beyond_the_basic_plane() -> None:
    [chunk] = cut([spoken("So 😀 we 𝔤o. Then more.")])
    offset, _ = chunk.sentence_marks[1]
    assert chunk.text[offset:] == "Then more."


def test_a_short_rest_joins_its_neighbour() -> None:
    # 31 s and then one sentence of 3 s: not a chunk of 3 s.
    [chunk] = cut([spoken(" ".join(sentence(n, 8) for n in range(10)))], ChunkLimits(target_seconds=29))
    assert chunk.end_time == pytest.approx(32)


def test_a_long_sentence_is_cut_at_clauses_and_has_marks_within() -> None:
    clause = "and then we go on for a while with it,"
    text = "So " + " ".join([clause] * 20)  # 180 words, 72 s
    chunks = cut([spoken(text)])

    assert len(chunks) >= 2
    assert all(chunk.end_time - chunk.start_time <= LIMITS.max_seconds for chunk in chunks)
    assert all(chunk.text.endswith(",") for chunk in chunks)
    for chunk in chunks:
        seconds = [mark[1] for mark in chunk.sentence_marks] + [chunk.end_time]
        assert max(b - a for a, b in itertools.pairwise(seconds)) <= 10
    assert " ".join(chunk.text for chunk in chunks) == text


def test_without_any_punctuation_it_is_cut_at_segments_then_at_pauses() -> None:
    segments = [
        spoken("some words without any full stop at all", start=i * 5.0, seconds_per_word=0.6) for i in range(30)
    ]
    chunks = cut(segments)
    assert all(chunk.text.startswith("some") and chunk.text.endswith("all") for chunk in chunks)
    assert all(15 <= chunk.end_time - chunk.start_time <= LIMITS.max_seconds for chunk in chunks)

    words = [Word(i * 0.5, i * 0.5 + (0.2 if i % 40 == 39 else 0.5), " word", 1) for i in range(400)]
    chunks = cut([Segment(0.0, 200.0, " ".join(["word"] * 400), words)])
    assert all(chunk.end_time - chunk.start_time <= LIMITS.max_seconds for chunk in chunks)
    assert all(len(chunk.text.split()) % 40 == 0 for chunk in chunks)


def test_the_models_tokens_are_never_exceeded() -> None:
    # Very fast speech: 20 words a second.
    text = " ".join(sentence(n, 30) for n in range(40))
    chunks = cut([spoken(text, seconds_per_word=0.05)], ChunkLimits(max_tokens=100))

    assert all(words_in([chunk.text])[0] + 2 <= 100 for chunk in chunks)
    assert " ".join(chunk.text for chunk in chunks) == text


def test_one_word_longer_than_every_limit_is_a_chunk_of_its_own() -> None:
    endless = Segment(10.0, 110.0, "Aaaah", [Word(10.0, 110.0, " Aaaah", 1)])
    chunks = cut([spoken("Before it."), endless, spoken("After it.", start=111.0)])

    assert [chunk.text for chunk in chunks] == ["Before it.", "Aaaah", "After it."]


@pytest.mark.parametrize(
    ("language", "full_stop", "text"),
    [
        ("ja", "。", "今日は天気がいいので公園まで散歩に行きました"),
        ("zh", "。", "那我们现在开始讲第二部分的内容关于时间线"),
        ("ko", ".", "오늘은 날씨가 좋아서 공원까지 산책을 갔습니다"),
    ],
)
@pytest.mark.parametrize("with_words", [True, False])
def test_languages_without_spaces(language: str, full_stop: str, text: str, *, with_words: bool) -> None:
    segments = []
    for number in range(30):
        said = text + full_stop
        start, seconds = number * 5.0, 4.5
        # Whisper's words for these are one to three characters.
        pieces = (
            ["".join(group) for group in itertools.batched(said, 2)] if hasattr(itertools, "batched") else list(said)
        )
        each = seconds / len(pieces)
        words = [Word(start + i * each, start + (i + 1) * each, piece, 1) for i, piece in enumerate(pieces)]
        segments.append(Segment(start, start + seconds, said, words if with_words else []))

    chunks = cut(segments, language=language)

    assert len(chunks) == 5
    assert all(chunk.text.endswith(full_stop) for chunk in chunks)
    assert all(len(chunk.sentence_marks) == 6 for chunk in chunks)
    assert squeezed("".join(chunk.text for chunk in chunks)) == squeezed((text + full_stop) * 30)
    if language != "ko":
        assert not any(" " in chunk.text for chunk in chunks)


def test_japanese_without_punctuation_or_words_keeps_the_limits() -> None:
    text = "今日は天気がいいので公園まで散歩に行きました" * 40
    chunks = cut([Segment(0.0, 200.0, text)], language="ja")

    assert "".join(chunk.text for chunk in chunks) == text
    assert all(chunk.end_time - chunk.start_time <= LIMITS.max_seconds for chunk in chunks)
    assert all(words_in([chunk.text])[0] + 2 <= LIMITS.max_tokens for chunk in chunks)


def test_a_latin_word_in_japanese_is_not_split() -> None:
    chunks = cut([Segment(0.0, 90.0, "このPhotoshopを" * 60)], ChunkLimits(max_tokens=60), language="ja")
    assert len(chunks) > 1
    assert all(
        chunk.text.count("Photoshop") * len("Photoshop") == sum(c.isascii() for c in chunk.text) for chunk in chunks
    )


def test_chunk_ids_can_rely_on_the_same_cut_each_time() -> None:
    segments = [spoken(" ".join(sentence(n, 7 + n % 9) for n in range(80)))]
    assert cut(segments) == cut(segments)


def test_overlap_repeats_the_last_sentence() -> None:
    segments = [spoken(" ".join(sentence(n) for n in range(30)))]
    plain, overlapped = cut(segments), cut(segments, ChunkLimits(overlap_sentences=1))

    for before, chunk, after in zip(plain, plain[1:], overlapped[1:], strict=False):
        last = before.text[before.sentence_marks[-1][0] :]
        assert after.text == f"{last} {chunk.text}"
        assert after.start_time == before.sentence_marks[-1][1]


def test_it_reads_a_transcript_as_the_recognizer_writes_it() -> None:
    whole = transcript([spoken(sentence(1)), spoken(sentence(2), start=5.0)])
    again = SliceTranscript.from_bytes(json.dumps(json.loads(whole.to_bytes())).encode())
    assert chunk_slice(again, words_in, LIMITS) == chunk_slice(whole, words_in, LIMITS)


SPOKEN = st.lists(
    st.tuples(
        st.text(alphabet=st.sampled_from("abcXYZé .,!?。、今東京あカ가나다ก็ा🙂'\"-"), max_size=120),
        st.floats(0, 30),
        st.floats(0, 40),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(spoken_parts=SPOKEN, language=st.sampled_from(["en", "ja", "zh", "ko", "de", ""]))
def test_whatever_was_said_nothing_is_lost_and_marks_grow(
    spoken_parts: list[tuple[str, float, float, bool]], language: str
) -> None:
    segments, clock = [], 0.0
    for text, gap, seconds, with_words in spoken_parts:
        start = clock + gap
        clock = start + seconds
        pieces = text.split()
        each = seconds / max(len(pieces), 1)
        words = [Word(start + i * each, start + (i + 1) * each, f" {p}", 1) for i, p in enumerate(pieces)]
        segments.append(Segment(start, clock, text, words if with_words else []))

    chunks = cut(segments, language=language)

    assert squeezed("".join(chunk.text for chunk in chunks)) == squeezed("".join(s.text for s in segments))
    for before, after in itertools.pairwise(chunks):
        assert before.start_time <= after.start_time
    for chunk in chunks:
        assert chunk.text == chunk.text.strip() != ""
        assert chunk.sentence_marks[0] == (0, chunk.start_time)
        assert chunk.start_time <= chunk.end_time
        for (offset, at), (next_offset, next_at) in itertools.pairwise(chunk.sentence_marks):
            assert offset < next_offset < len(chunk.text)
            assert at < next_at <= chunk.end_time
            assert not chunk.text[next_offset].isspace()


def said(speaker: str, text: str, start: float, end: float) -> Segment:
    return Segment(start, end, text, speaker=speaker)


def test_a_chunk_is_of_one_speaker() -> None:
    chunks = cut(
        [
            said("Ann", "Does bread rise by itself?", 0.0, 4.0),
            said("Bob", "No.", 4.0, 4.5),
            said("Ann", "Why", 4.5, 5.0),
            said("Ann", "not?", 5.0, 5.5),
            said("", "Laughter.", 5.5, 7.0),
        ]
    )
    assert [(chunk.speaker, chunk.text, chunk.start_time, chunk.end_time) for chunk in chunks] == [
        ("Ann", "Does bread rise by itself?", 0.0, 4.0),
        ("Bob", "No.", 4.0, 4.5),
        ("Ann", "Why not?", 4.5, 5.5),
        ("", "Laughter.", 5.5, 7.0),
    ]


def test_a_speaker_who_is_cut_off_ends_a_chunk_within_the_sentence() -> None:
    chunks = cut([said("Ann", "and then we put it into the", 0.0, 3.0), said("Bob", "oven, of course.", 3.0, 5.0)])
    assert [(chunk.speaker, chunk.text) for chunk in chunks] == [
        ("Ann", "and then we put it into the"),
        ("Bob", "oven, of course."),
    ]


def test_one_speaker_is_cut_as_none_is() -> None:
    text = " ".join(sentence(number) for number in range(60)).split()
    segments = [spoken(" ".join(text[i : i + 25]), start=i * 0.4) for i in range(0, len(text), 25)]
    named = [Segment(s.start, s.end, s.text, s.words, speaker="Ann") for s in segments]
    plain = cut(segments, ChunkLimits(overlap_sentences=1))
    assert [chunk.speaker for chunk in plain] == [""] * len(plain)
    told = cut(named, ChunkLimits(overlap_sentences=1))
    assert [(c.text, c.start_time, c.sentence_marks) for c in told] == [
        (c.text, c.start_time, c.sentence_marks) for c in plain
    ]


def test_overlap_never_repeats_another_speaker() -> None:
    segments = [said("Ann" if n % 2 else "Bob", sentence(n), n * 4.0, n * 4.0 + 4.0) for n in range(10)]
    chunks = cut(segments, ChunkLimits(overlap_sentences=2))
    assert [chunk.text for chunk in chunks] == [segment.text for segment in segments]


def test_what_likely_nobody_said_is_in_no_chunk() -> None:
    segments = [
        spoken("The bread rises.", start=0),
        replace(spoken("Thanks for watching!", start=3), suspect="phantom"),
        spoken("Then it is baked.", start=9),
    ]
    assert [chunk.text for chunk in cut(segments)] == ["The bread rises. Then it is baked."]
    assert cut(segments[1:2]) == []


def test_a_chunk_is_of_one_language() -> None:
    segments = [
        replace(spoken("The bread rises. It is warm.", start=0), language="en"),
        replace(spoken("Dann wird es gebacken.", start=5), language="de"),
        replace(spoken("Fertig.", start=9), language="de"),
    ]
    chunks = cut(segments)
    assert [(chunk.language, chunk.text) for chunk in chunks] == [
        ("en", "The bread rises. It is warm."),
        ("de", "Dann wird es gebacken. Fertig."),
    ]
