"""Transcripts, and what an uploader says of the speech, over the public gRPC API of a whole gateway."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from earmark.v1 import transcript_pb2, video_pb2
from earmark.v1 import transcript_service_pb2 as pb
from earmark.v1 import transcript_service_pb2_grpc as transcript_grpc
from earmark.v1 import video_service_pb2 as video_pb
from earmark.v1 import video_service_pb2_grpc as video_grpc
from services.common.ids import new_video_id
from services.common.objects import transcript_key
from services.common.speech import SpeechOptions
from services.common.transcript import Segment, SliceTranscript, Word
from services.common.videos.model import Source
from tests.integration.test_gateway_grpc import details_of
from tests.support.gateway import Gateway

VTT = "WEBVTT\n\n00:01.000 --> 00:03.000\n<v Ann>Hello there.\n"


GATEWAY = {"import_max_bytes": 2000, "stalled_after_seconds": 3600}


@pytest.fixture
def transcripts(mesh: Gateway) -> transcript_grpc.TranscriptServiceStub:
    return transcript_grpc.TranscriptServiceStub(mesh.channel)


@pytest.fixture
def videos(mesh: Gateway) -> video_grpc.VideoServiceStub:
    return video_grpc.VideoServiceStub(mesh.channel)


async def heard(mesh: Gateway, *, cut: bool = True) -> str:
    """A video of one slice that a recognizer has gone through, or that is still being cut."""
    videos, video_id = mesh.backbone.videos, new_video_id()
    await videos.create(video_id, title="Bread", source=Source("talk.mp4", "video/mp4", 5, "0" * 64))
    await videos.begin_processing(video_id)
    await videos.add_slice(video_id, "00000", start_time=0.0, end_time=60.0)
    if cut:
        await videos.finish_slicing(video_id, duration=60.0)
        segments = [
            Segment(0.0, 2.5, " Bread rises.", [Word(0.0, 0.5, " Bread", 0.9), Word(0.5, 2.5, " rises.", 0.8)],
                    confidence=0.7, language="en"),
            Segment(40.0, 42.0, "Thanks for watching!", suspect="phantom", speech_share=0.1),
        ]  # fmt: skip
        transcript = SliceTranscript(video_id, "00000", 0.0, 60.0, "en", 1.0, "base", segments)
        await mesh.backbone.objects.put(transcript_key(video_id, "00000"), transcript.to_bytes())
        await videos.slice_transcribed(video_id, "00000", language="en", asr_model="base", spoken={"en": 4.5})
    return video_id


async def index(mesh: Gateway, video_id: str, sequence: int) -> None:
    """Does what embedder and indexer do."""
    videos = mesh.backbone.videos
    edit = (await videos.get(video_id)).slices[0].edit
    await videos.slice_embedded(video_id, "00000", chunks=[], embedding_model="hash", edit=edit)
    await videos.slice_indexed(video_id, "00000", sequence=sequence, edit=edit)


async def refusal(call: Awaitable[Any]) -> tuple[str, str, list[str]]:
    """Status, reason and fields of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code().name, *details_of(refused.value)


def seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9


async def test_a_transcript_is_what_http_gives(
    mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub
) -> None:
    video_id = await heard(mesh)
    found = (await transcripts.GetTranscript(pb.GetTranscriptRequest(video_id=video_id))).transcript
    over_http = (await mesh.http.get(f"/videos/{video_id}/transcript")).json()
    assert (found.video_id, found.language, found.complete, found.revision) == (video_id, "en", True, 0)
    for segment, shown in zip(found.segments, over_http["segments"], strict=True):
        assert (segment.segment_id, segment.text, segment.suspect) == (
            shown["segment_id"], shown["text"], shown["suspect"],
        )  # fmt: skip
        assert (seconds(segment.start_offset), seconds(segment.end_offset)) == (shown["start"], shown["end"])
        assert (segment.confidence if segment.HasField("confidence") else None) == shown["confidence"]
        assert (segment.speech_share if segment.HasField("speech_share") else None) == shown["speech_share"]
        assert [(word.text, seconds(word.end_offset), word.probability) for word in segment.words] == [
            (word["text"], word["end"], word["probability"]) for word in shown["words"]
        ]
    believed = pb.GetTranscriptRequest(video_id=video_id, suspect=transcript_pb2.SUSPECT_SEGMENTS_EXCLUDE)
    assert len((await transcripts.GetTranscript(believed)).transcript.segments) == 1


async def test_captions_are_what_http_gives(mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub) -> None:
    video_id = await heard(mesh)
    forms = {
        "vtt": transcript_pb2.CAPTION_FORMAT_VTT,
        "srt": transcript_pb2.CAPTION_FORMAT_SRT,
        "txt": transcript_pb2.CAPTION_FORMAT_TXT,
    }
    for form, number in forms.items():
        for suspect in (False, True):
            words = form == "vtt"
            answer = await transcripts.GetCaptions(
                pb.GetCaptionsRequest(
                    video_id=video_id,
                    format=number,
                    suspect=transcript_pb2.SUSPECT_SEGMENTS_INCLUDE if suspect else 0,
                    words=words,
                )
            )
            asked = {"format": form, "words": str(words).lower(), "suspect": "include" if suspect else ""}
            over_http = await mesh.http.get(f"/videos/{video_id}/transcript", params=asked)
            assert (answer.text, answer.complete) == (over_http.text, True)
            assert ("watching" in answer.text) is suspect
    wrong = pb.GetCaptionsRequest(video_id=video_id)
    assert await refusal(transcripts.GetCaptions(wrong)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["format"])
    wrong = pb.GetCaptionsRequest(video_id=video_id, format=forms["srt"], words=True)
    assert await refusal(transcripts.GetCaptions(wrong)) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["words"])


async def test_a_correction_is_kept_and_its_receipt_comes_when_it_is_searchable(
    mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub, videos: video_grpc.VideoServiceStub
) -> None:
    video_id = await heard(mesh)
    await index(mesh, video_id, sequence=7)
    before = (await videos.GetVideo(video_pb.GetVideoRequest(video_id=video_id))).video
    assert (before.state, before.metadata.languages) == (video_pb2.VIDEO_STATE_READY, ["en"])
    change = pb.UpdateSegmentRequest(
        video_id=video_id, segment_id="00000.1", base_revision=0, text="See you.", speaker="Ann", suspect="",
        end_offset=Duration(seconds=41),
    )  # fmt: skip
    answer = await transcripts.UpdateSegment(change)
    assert (answer.segment.text, answer.segment.speaker, answer.segment.suspect) == ("See you.", "Ann", "")
    assert (seconds(answer.segment.start_offset), seconds(answer.segment.end_offset)) == (40.0, 41.0)
    assert (answer.video.transcript_revision, answer.video.state) == (1, video_pb2.VIDEO_STATE_PROCESSING)
    assert (await refusal(transcripts.UpdateSegment(change)))[:2] == ("FAILED_PRECONDITION", "TRANSCRIPT_CHANGED")
    watched = videos.WatchVideo(video_pb.WatchVideoRequest(video_id=video_id))
    await index(mesh, video_id, sequence=9)
    last = [response.video async for response in watched][-1]
    assert (last.state, last.index_token != before.index_token) == (video_pb2.VIDEO_STATE_READY, True)
    original = pb.GetTranscriptRequest(video_id=video_id, original=True)
    assert (await transcripts.GetTranscript(original)).transcript.segments[1].text == "Thanks for watching!"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"segment_id": "00000.9", "text": "x"}, ("NOT_FOUND", "SEGMENT_NOT_FOUND", [])),
        ({"video_id": f"vid_{'0' * 26}", "text": "x"}, ("NOT_FOUND", "VIDEO_NOT_FOUND", [])),
        ({"text": " "}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["text"])),
        ({"suspect": "rumour"}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["suspect"])),
        ({"end_offset": Duration(seconds=50)}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["end_offset"])),
        ({"start_offset": Duration(seconds=-1)}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ["start_offset"])),
        ({}, ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [])),
    ],
)
async def test_wrong_corrections_are_refused_as_over_http(
    mesh: Gateway,
    transcripts: transcript_grpc.TranscriptServiceStub,
    change: dict[str, Any],
    told: tuple[str, str, list[str]],
) -> None:
    video_id = await heard(mesh)
    request = pb.UpdateSegmentRequest(**{"video_id": video_id, "segment_id": "00000.0", **change})
    assert await refusal(transcripts.UpdateSegment(request)) == told
    assert (await mesh.backbone.videos.get(video_id)).transcript_revision == 0


async def test_a_transcript_is_put_as_segments_and_as_captions(
    mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub
) -> None:
    video_id = await heard(mesh)
    get = pb.GetTranscriptRequest(video_id=video_id)
    given = pb.SegmentList(segments=(await transcripts.GetTranscript(get)).transcript.segments)
    put = await transcripts.PutTranscript(pb.PutTranscriptRequest(video_id=video_id, segments=given))
    assert put.video.transcript_revision == 0  # what was got and is put back changes nothing

    given.segments[0].text = "Bread grows."
    given.segments.add(start_offset=Duration(seconds=50), end_offset=Duration(seconds=51), text="Um.", suspect="loop")
    request = pb.PutTranscriptRequest(video_id=video_id, base_revision=0, segments=given)
    assert (await transcripts.PutTranscript(request)).video.transcript_revision == 1
    found = (await transcripts.GetTranscript(get)).transcript
    assert [(segment.text, segment.suspect) for segment in found.segments] == [
        ("Bread grows.", ""), ("Thanks for watching!", "phantom"), ("Um.", "loop"),
    ]  # fmt: skip
    assert [(word.text, word.probability) for word in found.segments[0].words] == [(" Bread", 0.9), (" grows.", 1.0)]
    assert (await refusal(transcripts.PutTranscript(request)))[:2] == ("FAILED_PRECONDITION", "TRANSCRIPT_CHANGED")

    captions = pb.CaptionsFile(format=transcript_pb2.CAPTION_FORMAT_VTT, content=VTT.encode())
    put = await transcripts.PutTranscript(pb.PutTranscriptRequest(video_id=video_id, captions=captions))
    assert (put.video.transcript_revision, put.video.state) == (2, video_pb2.VIDEO_STATE_PROCESSING)
    found = (await transcripts.GetTranscript(get)).transcript
    assert [(segment.text, segment.speaker) for segment in found.segments] == [("Hello there.", "Ann")]


@pytest.mark.parametrize(
    ("given", "reason", "field"),
    [
        ({}, "INVALID_ARGUMENT", "transcript"),
        ({"segments": pb.SegmentList()}, "INVALID_ARGUMENT", "transcript"),
        ({"captions": pb.CaptionsFile(format=1, content=b"hello")}, "INVALID_ARGUMENT", "captions.content"),
        ({"captions": pb.CaptionsFile(format=3, content=b"hello")}, "INVALID_ARGUMENT", "captions.format"),
        ({"captions": pb.CaptionsFile(content=VTT.encode())}, "INVALID_ARGUMENT", "captions.format"),
        ({"captions": pb.CaptionsFile(format=1, content=b"x" * 2001)}, "IMPORT_TOO_LARGE", "captions.content"),
        ({"segments": pb.SegmentList(segments=[transcript_pb2.Segment(text="x", end_offset=Duration(seconds=-1))])},
         "INVALID_ARGUMENT", "segments[0].end"),
        ({"segments": pb.SegmentList(segments=[transcript_pb2.Segment(text="x", suspect="rumour")])},
         "INVALID_ARGUMENT", "segments[0].suspect"),
    ],
)  # fmt: skip
async def test_wrong_transcripts_are_refused_as_over_http(
    mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub, given: dict[str, Any], reason: str, field: str
) -> None:
    video_id = await heard(mesh)
    request = pb.PutTranscriptRequest(video_id=video_id, **given)
    assert await refusal(transcripts.PutTranscript(request)) == ("INVALID_ARGUMENT", reason, [field])
    assert (await mesh.backbone.videos.get(video_id)).transcript_revision == 0


async def test_a_transcript_waits_until_the_video_is_cut(
    mesh: Gateway, transcripts: transcript_grpc.TranscriptServiceStub
) -> None:
    video_id = await heard(mesh, cut=False)
    captions = pb.CaptionsFile(format=transcript_pb2.CAPTION_FORMAT_VTT, content=VTT.encode())
    early = await refusal(transcripts.PutTranscript(pb.PutTranscriptRequest(video_id=video_id, captions=captions)))
    assert early[:2] == ("FAILED_PRECONDITION", "TRANSCRIPT_IN_THE_MAKING")
    for call in (transcripts.GetTranscript, transcripts.GetCaptions):
        request = pb.GetTranscriptRequest if call is transcripts.GetTranscript else pb.GetCaptionsRequest
        given = {} if call is transcripts.GetTranscript else {"format": transcript_pb2.CAPTION_FORMAT_VTT}
        assert (await refusal(call(request(video_id=new_video_id(), **given))))[:2] == ("NOT_FOUND", "VIDEO_NOT_FOUND")


async def uploaded(**given: Any) -> AsyncIterator[video_pb.CreateVideoRequest]:
    yield video_pb.CreateVideoRequest(video=video_pb.NewVideo(filename="talk.mp4", **given))
    if "uri" not in given:
        yield video_pb.CreateVideoRequest(data=b"media")


async def test_what_is_said_of_the_speech_is_kept_for_the_recognizer(
    mesh: Gateway, videos: video_grpc.VideoServiceStub
) -> None:
    speech = video_pb.SpeechOptions(
        language=" DE ", prompt="Ein Vortrag\nüber Brot.", hotwords="Teigling", task=video_pb.SPEECH_TASK_TRANSLATE
    )
    for given in ({}, {"uri": "https://1.1.1.1/a.mp4"}):
        video = (await videos.CreateVideo(uploaded(speech=speech, **given))).video
        kept = (await mesh.backbone.videos.get(video.video_id)).speech
        assert kept == SpeechOptions("de", "Ein Vortrag über Brot.", "Teigling", "translate")
    video = (await videos.CreateVideo(uploaded(allow_duplicate=True))).video
    assert (await mesh.backbone.videos.get(video.video_id)).speech == SpeechOptions()


async def test_an_upload_with_captions_needs_no_recognizer(mesh: Gateway, videos: video_grpc.VideoServiceStub) -> None:
    video = (await videos.CreateVideo(uploaded(captions=VTT.encode()))).video
    assert (video.state, video.metadata.asr_model) == (video_pb2.VIDEO_STATE_PROCESSING, "imported")
    assert (video.duration.seconds, video.source.size_bytes) == (3, 5)
    shown = (await mesh.http.get(f"/videos/{video.video_id}/transcript")).json()
    assert [segment["text"] for segment in shown["segments"]] == ["Hello there."]


async def test_captions_without_a_form_are_told_which_there_are(
    transcripts: transcript_grpc.TranscriptServiceStub,
) -> None:
    given = pb.PutTranscriptRequest(video_id="vid_x", captions=pb.CaptionsFile(content=VTT.encode()))
    for call, field, choice in (
        (transcripts.GetCaptions(pb.GetCaptionsRequest(video_id="vid_x")), "format", "VTT, SRT or TXT"),
        (transcripts.PutTranscript(given), "captions.format", "VTT or SRT"),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match=f"{field} is missing; give {choice}") as refused:
            await call
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_captions_may_be_of_a_language_that_no_recognizer_knows(videos: video_grpc.VideoServiceStub) -> None:
    speech = video_pb.SpeechOptions(language="ga")
    video = (await videos.CreateVideo(uploaded(captions=VTT.encode(), speech=speech))).video
    assert video.metadata.language == "ga"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"speech": {"language": "German!"}}, "video.speech.language"),
        ({"speech": {"language": "xx"}}, "video.speech.language"),
        ({"speech": {"prompt": "x" * 601}}, "video.speech.prompt"),
        ({"speech": {"hotwords": "y " * 400}}, "video.speech.hotwords"),
        ({"speech": {"task": 9}}, "video.speech.task"),
        ({"uri": "https://1.1.1.1/a.mp4", "speech": {"task": 9}}, "video.speech.task"),
        ({"uri": "https://1.1.1.1/a.mp4", "captions": VTT.encode()}, "video.captions"),
        ({"captions": b"hello"}, "video.captions"),
        ({"captions": b"x" * (8 * 2**20 + 1)}, "video.captions"),
    ],
)
async def test_what_is_of_no_use_is_refused_by_name_and_leaves_nothing(
    mesh: Gateway, videos: video_grpc.VideoServiceStub, given: dict[str, Any], field: str
) -> None:
    if "speech" in given:
        given = {**given, "speech": video_pb.SpeechOptions(**given["speech"])}
    assert await refusal(videos.CreateVideo(uploaded(**given))) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [field])
    assert await mesh.backbone.objects.list("videos/") == []
    assert await mesh.backbone.videos.page(limit=1) == []


async def test_an_import_is_not_heard(videos: video_grpc.VideoServiceStub) -> None:
    for new, field in (
        (video_pb.NewVideo(title="x", speech=video_pb.SpeechOptions(language="de")), "video.speech"),
        (video_pb.NewVideo(title="x", captions=VTT.encode()), "video.captions"),
    ):
        told = await refusal(videos.ImportVideo(video_pb.ImportVideoRequest(video=new)))
        assert told == ("INVALID_ARGUMENT", "INVALID_ARGUMENT", [field])
