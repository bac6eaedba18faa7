"""What browsers play as it is, and what is to be made of the rest."""

import pytest

from services.transcriber.playability import Look, plan


def look(formats: str, video: str = "", audio: str = "", *, brand: str = "", pixels: str = "yuv420p") -> Look:
    return Look(frozenset(formats.split(",")), brand, video, pixels if video else "", audio)


MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"


@pytest.mark.parametrize(
    "found",
    [
        look(MP4, "h264", "aac", brand="isom"),
        look(MP4, "h264", "", brand="mp42", pixels="yuvj420p"),
        look(MP4, "", "aac", brand="M4A"),
        look(MP4, "av1", "opus", brand="iso5"),
        look(MATROSKA, "vp9", "opus", brand="webm"),
        look(MATROSKA, "vp8", "vorbis", brand="webm"),
        look("mp3", "", "mp3"),
        look("wav", "", "pcm_s16le"),
        look("ogg", "", "opus"),
        look("flac", "", "flac"),
    ],
)
def test_what_plays_is_left_alone(found: Look) -> None:
    assert plan(found) is None


@pytest.mark.parametrize(
    ("found", "container", "copies"),
    [
        (look(MATROSKA, "h264", "aac", brand="matroska"), "mp4", (True, True)),
        (look(MATROSKA, "vp9", "opus", brand="matroska"), "webm", (True, True)),
        (look(MATROSKA, "vp8", "aac", brand="matroska"), "webm", (True, False)),
        (look(MATROSKA, "h264", "vorbis", brand="matroska"), "mp4", (True, False)),
        (look(MP4, "h264", "aac", brand="qt"), "mp4", (True, True)),
        (look(MP4, "hevc", "aac", brand="isom"), "mp4", (False, True)),
        (look(MP4, "h264", "ac3", brand="isom"), "mp4", (True, False)),
        (look(MP4, "h264", "aac", brand="isom", pixels="yuv420p10le"), "mp4", (False, True)),
        (look(MP4, "prores", "pcm_s16le", brand="qt", pixels="yuv422p10le"), "mp4", (False, False)),
        (look(MP4, "", "alac", brand="M4A"), "mp4", (True, False)),
        (look("avi", "mpeg4", "mp3"), "mp4", (False, True)),
        (look("asf", "", "wmav2"), "mp4", (True, False)),
        (look("mpegts", "h264", "aac"), "mp4", (True, True)),
        (look("ogg", "theora", "vorbis"), "mp4", (False, False)),
        (look("wav", "", "adpcm_ms"), "mp4", (True, False)),
    ],
)
def test_of_the_rest_as_much_as_possible_is_taken_over(found: Look, container: str, copies: tuple[bool, bool]) -> None:
    made = plan(found)
    assert made is not None
    assert (made.container, (made.copy_video, made.copy_audio)) == (container, copies)
    assert made.copies is all(copies)
    assert made.why.startswith("browsers do not")
