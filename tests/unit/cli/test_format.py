import pytest

from earmark.cli.demo import Question
from earmark.cli.format import clock, marked, size
from earmark.cli.ingesting import work_done
from earmark.client import Highlight, Hit, VideoStatus
from tests.unit.client.fake_gateway import status


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0:00"),
        (59.99, "0:59"),
        (83.4, "1:23"),
        (3600, "1:00:00"),
        (36_061.5, "10:01:01"),
        (-1, "0:00"),
        (None, "-"),
    ],
)
def test_clock(seconds: float | None, shown: str) -> None:
    assert clock(seconds) == shown


def test_size() -> None:
    assert [size(n) for n in (None, 0, 999, 1500, 2_500_000, 3_200_000_000)] == [
        "-", "0 B", "999 B", "2 kB", "2.5 MB", "3.2 GB",
    ]  # fmt: skip


def test_highlights_are_code_points() -> None:
    text = "🌊 the moon"
    shown = marked(text, [Highlight(6, 10)])
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["moon"]


@pytest.mark.parametrize("place", [0, 100, 300, 595])
def test_long_texts_are_cut_around_the_first_found_word(place: int) -> None:
    words = [f"w{number:03}" for number in range(120)]  # 5 characters a word
    text = " ".join(words)
    shown = marked(text, [Highlight(place, place + 4)], width=100)
    assert len(shown.plain) < 120
    assert [shown.plain[span.start : span.end] for span in shown.spans] == [text[place : place + 4]]
    assert set(shown.plain.split()) - {"…"} <= set(words)  # no word is cut


def test_a_text_cut_from_a_sentence_on_begins_with_it_and_goes_on_as_room_allows() -> None:
    text = "Bread is old. Salt keeps bacteria out. " + "More is said of it. " * 20
    shown = marked(text, [Highlight(0, 5), Highlight(14, 18)], width=60, begin=14)
    assert shown.plain.startswith("… Salt keeps bacteria out. More is said")
    assert shown.plain.endswith(" …")
    assert len(shown.plain) < 80
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["Salt"]
    assert marked(text[:38], [], width=60, begin=14).plain == "… Salt keeps bacteria out."


def test_work_done_counts_what_slices_went_through() -> None:
    def slices(*states: str) -> list[dict[str, object]]:
        return [
            {"slice_id": str(n), "start_time": n * 10.0, "end_time": n * 10.0 + 10, "state": state, "attempts": 1}
            for n, state in enumerate(states)
        ]

    def done(*states: str, known: bool = True) -> float | None:
        answer = status("processing", slices=slices(*states))
        answer["progress"] = {**answer["progress"], "slicing_done": known}
        return work_done(VideoStatus.parse(answer))

    assert done("cut", known=False) is None
    assert done("cut") < done("transcribed") < done("embedded") < done("indexed") == 1.0
    assert done("indexed", "cut") == pytest.approx(0.525)


def test_an_answer_is_right_within_five_seconds_of_its_window() -> None:
    question = Question("why", "Tides", 20.0, 30.0)

    def hit(title: str, at: float) -> Hit:
        return Hit.parse(
            {
                "video_id": "v",
                "title": title,
                "chunk_id": "c",
                "text": "",
                "start_time": 0,
                "end_time": 60,
                "match_time": at,
            }
        )

    assert [question.answered_by(hit("Tides", at)) for at in (14.9, 15.0, 25.0, 35.0, 35.1)] == [
        False, True, True, True, False,
    ]  # fmt: skip
    assert not question.answered_by(hit("Bees", 25.0))
