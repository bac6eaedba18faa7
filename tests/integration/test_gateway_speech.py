"""What an uploader says of the speech in a video, and what is shown of what likely nobody said."""

import io
from typing import Any

import pytest

from earmark.client import AsyncClient, InvalidRequest
from services.common.objects import transcript_key
from services.common.speech import SpeechOptions
from services.common.transcript import Segment, SliceTranscript
from tests.support.gateway import Gateway

FILE = ("file", ("talk.mp4", b"media", "video/mp4"))
ANEW: tuple[str, Any] = ("duplicate", (None, "allow"))
TOLD = {"language": " DE ", "prompt": "Ein Vortrag\nüber Brot.", "hotwords": "Teigling, Stückgare", "task": "translate"}
KEPT = SpeechOptions("de", "Ein Vortrag über Brot.", "Teigling, Stückgare", "translate")


async def test_what_is_said_of_the_speech_is_kept_for_the_recognizer(mesh: Gateway) -> None:
    form: list[tuple[str, Any]] = [(name, (None, text)) for name, text in TOLD.items()]
    for parts in ([FILE, ANEW, *form], [*form, ANEW, FILE]):
        uploaded = await mesh.http.post("/videos/upload", files=parts)
        assert uploaded.status_code == 202, uploaded.text
        assert (await mesh.backbone.videos.get(uploaded.json()["video_id"])).speech == KEPT
    added = await mesh.http.post("/videos", json={"url": "https://1.1.1.1/a.mp4", **TOLD})
    assert (await mesh.backbone.videos.get(added.json()["video_id"])).speech == KEPT
    silent = await mesh.http.post("/videos/upload", files=[FILE, ANEW])
    assert (await mesh.backbone.videos.get(silent.json()["video_id"])).speech == SpeechOptions()


async def test_the_client_says_it_as_a_form_does(mesh: Gateway) -> None:
    speech = SpeechOptions.to_document(KEPT)
    async with AsyncClient(str(mesh.http.base_url)) as client:
        uploaded = await client.upload(io.BytesIO(b"media"), **speech)
        added = await client.create_from_url("https://1.1.1.1/a.mp4", **speech)
        captioned = await client.upload(io.BytesIO(b"media"), captions="WEBVTT\n\n00:01.000 --> 00:03.000\nHéllo.\n")
        transcript = await client.transcript(captioned.video_id)
    for video in (uploaded, added):
        assert (await mesh.backbone.videos.get(video.video_id)).speech == KEPT
    assert (captioned.metadata.asr_model, captioned.source.bytes) == ("imported", 5)
    assert [segment.text for segment in transcript.segments] == ["Héllo."]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language", "German!"),
        ("language", "xx"),
        ("hotword", "Teigling"),
        ("task", "summarize"),
        ("prompt", "x" * 601),
        ("hotwords", "y " * 400),
    ],
)
async def test_what_is_of_no_use_is_refused_by_name(mesh: Gateway, name: str, value: str) -> None:
    for response in (
        await mesh.http.post("/videos/upload", files=[FILE, (name, (None, value))]),
        await mesh.http.post("/videos", json={"url": "https://1.1.1.1/a.mp4", name: value}),
    ):
        assert response.status_code == 400, response.text
        assert name in str(response.json()["error"]["details"])
    assert await mesh.backbone.videos.page(limit=1) == []


async def test_what_is_refused_says_what_there_is(mesh: Gateway) -> None:
    for part, field, told in (
        (("language", (None, "xx")), "language", "it knows 100, among them en, de"),
        (("bogus", (None, "1")), "bogus", "there are file, title, collection, tag, language, prompt, hotwords, task"),
    ):
        for parts in ([part, FILE], [FILE, part]):
            error = (await mesh.http.post("/videos/upload", files=parts)).json()["error"]
            assert error["code"] == 400
            assert error["details"][1]["field"] == field
            assert told in error["message"]
    assert await mesh.backbone.objects.list("videos/") == []


async def test_captions_may_be_of_a_language_that_no_recognizer_knows(mesh: Gateway) -> None:
    captions = ("captions", ("t.vtt", b"WEBVTT\n\n00:01.000 --> 00:03.000\nDia duit.\n"))
    language = ("language", (None, "ga"))
    for parts in ([language, captions, FILE], [FILE, captions, language]):
        uploaded = await mesh.http.post("/videos/upload", files=parts)
        assert (uploaded.status_code, uploaded.json()["metadata"]["language"]) == (202, "ga")


async def test_empty_captions_are_refused_as_no_captions_are_not(mesh: Gateway) -> None:
    for captions in (("zero.srt", b""), (None, b"")):
        for parts in ([("captions", captions), FILE], [FILE, ("captions", captions)]):
            refused = await mesh.http.post("/videos/upload", files=parts)
            assert refused.status_code == 400, refused.text
            assert refused.json()["error"]["details"][1]["field"] == "captions"
    async with AsyncClient(str(mesh.http.base_url)) as client:
        with pytest.raises(InvalidRequest, match="the captions are empty"):
            await client.upload(io.BytesIO(b"media"), captions="")
        heard = await client.upload(io.BytesIO(b"media"))
    assert heard.status == "uploaded"
    # As a browser sends a form in which no captions were chosen.
    body = (
        b'--b\r\nContent-Disposition: form-data; name="captions"; filename=""\r\n\r\n\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nmedium\r\n--b--\r\n'
    )
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert (await mesh.http.post("/videos/upload", content=body, headers=kind)).json()["status"] == "uploaded"
    assert len(await mesh.backbone.videos.page(limit=9)) == 2


async def test_what_is_suspect_is_in_json_with_its_reason_and_in_captions_on_request(mesh: Gateway) -> None:
    video_id = (await mesh.http.post("/videos/upload", files=[FILE])).json()["video_id"]
    videos = mesh.backbone.videos
    await videos.begin_processing(video_id)
    await videos.add_slice(video_id, "00000", start_time=0, end_time=60)
    segments = [
        Segment(0, 4, "The bread rises.", language="en", speech_share=0.9, confidence=0.93),
        Segment(40, 42, "Thanks for watching!", language="en", speech_share=0.1, confidence=0.4, suspect="phantom"),
    ]
    transcript = SliceTranscript(video_id, "00000", 0, 60, "en", 0.9, "base", segments)
    await mesh.backbone.objects.put(transcript_key(video_id, "00000"), transcript.to_bytes())
    spoken = {"en": 4.0, "de": 9.0, "cy": 0.01}
    await videos.slice_transcribed(video_id, "00000", language="en", asr_model="base", spoken=spoken)

    async def text(**params: str) -> str:
        response = await mesh.http.get(f"/videos/{video_id}/transcript", params=params)
        assert response.status_code == 200, response.text
        return response.text

    for form in ("vtt", "srt", "txt"):
        assert "watching" not in await text(format=form)
        assert "bread rises" in await text(format=form)
        assert "watching" in await text(format=form, suspect="include")
    shown = (await mesh.http.get(f"/videos/{video_id}/transcript")).json()["segments"]
    assert [segment["suspect"] for segment in shown] == ["", "phantom"]
    assert (shown[0]["confidence"], shown[0]["speech_share"], shown[0]["language"]) == (0.93, 0.9, "en")
    assert "watching" not in await text(suspect="exclude")
    refused = await mesh.http.get(f"/videos/{video_id}/transcript", params={"suspect": "perhaps"})
    assert refused.status_code == 400

    metadata = (await mesh.http.get(f"/videos/{video_id}")).json()["metadata"]
    assert (metadata["language"], metadata["languages"]) == ("de", ["de", "en"])
