"""What is believed and what is not: segments as recognizers give them, and the voice activity under them."""

from dataclasses import replace

import numpy as np
import pytest

from services.common.transcript import SUSPICIONS, Segment, SliceTranscript, Word
from services.transcriber.honesty import judged, plain
from services.transcriber.phantoms import is_credit, is_farewell
from services.transcriber.voice import FRAME_SECONDS


def segment(start: float, end: float, text: str, *, probability: float = 0.95, compression: float = 1.2) -> Segment:
    said = text.split()
    step = (end - start) / len(said)
    words = [Word(start + i * step, start + (i + 1) * step, f" {word}", probability) for i, word in enumerate(said)]
    return Segment(start, end, text, words, -0.2, 0.05, compression)


def voiced(
    seconds: float, *spans: tuple[float, float], level: float = 0.9
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    voice = np.zeros(round(seconds / FRAME_SECONDS), np.float32)
    for start, end in spans:
        voice[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)] = level
    return voice


def one(given: Segment, *, spoken: bool, before: Segment | None = None, prompt: str = "") -> Segment:
    spans = [(given.start, given.end)] if spoken else []
    if before:
        spans.append((before.start, before.end))
    found = judged([*([before] if before else []), given], voiced(60, *spans), seconds=60, prompt=prompt)
    return found[-1]


def test_speech_is_believed_and_measured() -> None:
    found = one(segment(10, 14, "The bees dance to tell where the flowers are."), spoken=True)
    assert found.suspect == ""
    assert found.speech_share == pytest.approx(1, abs=0.02)
    assert found.confidence == pytest.approx(0.95, abs=0.01)
    half = judged([segment(10, 14, "Half of this.")], voiced(60, (10, 11)), seconds=60)[0]
    assert half.speech_share == pytest.approx(0.25, abs=0.02)
    assert half.confidence is not None
    assert 0.6 < half.confidence < 0.8


def test_words_over_silence_are_suspect() -> None:
    assert one(segment(10, 14, "And so it goes on."), spoken=False).suspect == "no_speech"


FAREWELLS = [
    "Thanks for watching!", "Thank you for watching.", "Thank you.", "Please subscribe to my channel.", "Bye.",
    "ご視聴ありがとうございました", "시청해주셔서 감사합니다.", "谢谢观看", "Vielen Dank fürs Zuschauen!",
    "Merci d'avoir regardé cette vidéo !", "¡Suscríbete al canal!", "Gracias por ver el video.",
    "Obrigado por assistir!",
    "Grazie per la visione!", "Спасибо за просмотр!", "Dziękuję za uwagę.", "İzlediğiniz için teşekkür ederim.",
    "شكرا للمشاهدة", "Tack för att ni tittade!", "Bedankt voor het kijken!", "Terima kasih telah menonton!", "you",
]  # fmt: skip
CREDITS = [
    "Untertitel der Amara.org-Community", "Untertitelung des ZDF für funk, 2017", "Untertitelung. BR 2018",
    "Sous-titres réalisés par la communauté d'Amara.org", "Sous-titrage Société Radio-Canada", "Sous-titrage ST' 501",
    "Subtítulos realizados por la comunidad de Amara.org", "Legendas pela comunidade Amara.org",
    "Sottotitoli creati dalla comunità Amara.org", "Субтитры сделал DimaTorzok",
    "Редактор субтитров А.Семкин Корректор А.Егорова", "字幕由Amara.org社区提供", "中文字幕志愿者 李宗盛",
    "Subtitles by the Amara.org community", "Transcribed by https://otter.ai", "한글자막 by 한효정",
    "Napisy stworzone przez społeczność Amara.org", "Ondertitels ingediend door de Amara.org gemeenschap",
    "Altyazı M.K.", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目", "Tekstet av Nicolai Winther",
]  # fmt: skip
REAL = [
    "Thanks for the flowers, they are lovely.", "The subtitles are important.",
    "Thank you for watching the children last night.",
    "You are here.", "Untertitel sind wichtig für alle.",
    "Subscribe is the name of the button you press to get the news.",
    "Die Legenden der Stadt.", "I bought it from the company.", "See you on the other side of the river.",
    "Music is by far the best of arts.", "La legenda di Roma.", "Translation is hard.", "感谢你的帮助，我们明天见面。",
]  # fmt: skip


@pytest.mark.parametrize("text", FAREWELLS)
def test_phantom_farewells_are_known_and_suspect_where_nothing_speaks_for_them(text: str) -> None:
    assert is_farewell(plain(text))
    assert one(segment(30, 32, text, probability=0.4), spoken=True).suspect == "phantom"
    barely = judged([segment(30, 32, text)], voiced(60, (30, 30.5)), seconds=60)[0]
    assert barely.suspect == "phantom"


@pytest.mark.parametrize("text", FAREWELLS)
def test_a_farewell_that_was_said_is_kept(text: str) -> None:
    before = segment(25, 29.5, "That is all about bread for today, and I hope that you bake some.")
    assert one(segment(30, 32, text, probability=0.7), spoken=True, before=before).suspect == ""
    assert one(segment(30, 32, text, probability=0.95), spoken=True).suspect == ""


@pytest.mark.parametrize("text", CREDITS)
def test_phantom_credits_are_known_and_suspect_unless_all_speaks_for_them(text: str) -> None:
    assert is_credit(plain(text))
    assert one(segment(30, 32, text, probability=0.7), spoken=True).suspect == "phantom"
    assert one(segment(30, 32, text, probability=0.97), spoken=True).suspect == ""


@pytest.mark.parametrize("text", REAL)
def test_sentences_that_only_look_like_them_are_not_meant(text: str) -> None:
    assert not is_credit(plain(text))
    assert not is_farewell(plain(text))


def test_loops_are_suspect_where_nobody_could_say_them() -> None:
    fast = segment(10, 13, " ".join(["I'm going to"] * 12))
    assert one(fast, spoken=True).suspect == "loop"
    squeezed = segment(10, 30, "and " * 3 + "so on", compression=3.1)
    assert one(squeezed, spoken=True).suspect == "loop"
    unvoiced = judged([segment(10, 20, "no no no no no")], voiced(60, (10, 12)), seconds=60)[0]
    assert unvoiced.suspect == "loop"
    kana = judged([segment(10, 20, "ああああああああああああ")], voiced(60, (10, 20)), seconds=60)[0]
    assert kana.suspect == "loop"


@pytest.mark.parametrize(
    "text", ["No, no, no, no!", "Banana, banana.", "Duck, duck, duck, duck, goose!", "Ha ha ha ha."]
)
def test_what_people_do_repeat_is_kept(text: str) -> None:
    assert one(segment(10, 12.5, text), spoken=True).suspect == ""


def test_the_same_segment_over_and_over_is_a_loop_only_without_speech() -> None:
    again = [segment(10 + 5 * i, 14 + 5 * i, "We will be right back.") for i in range(5)]
    thin = [(s.start, s.start + 1) for s in again]
    assert {s.suspect for s in judged(again, voiced(60, *thin), seconds=60)} == {"loop"}
    full = [(s.start, s.end) for s in again]
    assert {s.suspect for s in judged(again, voiced(60, *full), seconds=60)} == {""}


def test_an_echo_of_the_prompt_is_suspect_only_where_little_speaks_for_it() -> None:
    prompt = "A talk about Kubernetes, etcd and Argo CD."
    said = segment(10, 12, "A talk about Kubernetes,")
    assert one(said, spoken=True, prompt=prompt).suspect == ""
    assert (
        one(segment(10, 12, "A talk about Kubernetes,", probability=0.3), spoken=True, prompt=prompt).suspect == "echo"
    )


def test_what_is_known_is_stored_and_what_later_code_adds_is_passed_over() -> None:
    known = one(segment(10, 14, "And so it goes on."), spoken=False)
    transcript = SliceTranscript(
        "v", "00000", 0, 60, "en", 0.9, "m", [known, replace(known, suspect="", language="de")]
    )
    stored = transcript.to_bytes()
    assert SliceTranscript.from_bytes(stored) == transcript
    assert SliceTranscript.from_bytes(stored.replace(b'"compr', b'"mood":"fine","compr')) == transcript
    assert known.suspect in SUSPICIONS
