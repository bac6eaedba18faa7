"""Every public RPC of Earmark once, from Python: read what you need, or run it against a mesh of yours.

    python examples/grpc_calls.py 127.0.0.1:PORT [talk.mp4]      # `earmark status` shows the port

It needs `earmark` only (the generated protocol and grpcio). Where the gateway takes keys, EARMARK_API_KEY is sent.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from earmark.v1 import (
    search_service_pb2,
    search_service_pb2_grpc,
    transcript_pb2,
    transcript_service_pb2,
    transcript_service_pb2_grpc,
    video_pb2,
    video_service_pb2,
    video_service_pb2_grpc,
)

BLOCK_BYTES = 1024 * 1024
DEADLINE_SECONDS = 30.0
Metadata = Sequence[tuple[str, str]]


class Calls:
    """The three services over one channel.

    Args:
        channel: To the gateway's gRPC port; `grpc.secure_channel` where it is behind TLS.
        key: An API key; empty where none is needed.
    """

    def __init__(self, channel: grpc.Channel, key: str = "") -> None:
        self._videos = video_service_pb2_grpc.VideoServiceStub(channel)
        self._transcripts = transcript_service_pb2_grpc.TranscriptServiceStub(channel)
        self._search = search_service_pb2_grpc.SearchServiceStub(channel)
        self._with = {"metadata": [("authorization", f"Bearer {key}")] if key else [], "timeout": DEADLINE_SECONDS}

    # ── VideoService ─────────────────────────────────────────────────────────────────────────────

    def create_video(self, path: Path) -> video_service_pb2.CreateVideoResponse:
        """CreateVideo, a client stream: what the video is, then its bytes. The same bytes give the video there is."""

        def requests() -> Iterator[video_service_pb2.CreateVideoRequest]:
            yield video_service_pb2.CreateVideoRequest(video=video_service_pb2.NewVideo(filename=path.name))
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield video_service_pb2.CreateVideoRequest(data=block)

        return self._videos.CreateVideo(requests(), **self._with)

    def create_from_uri(self, uri: str) -> video_pb2.Video:
        """CreateVideo with a URI that the gateway fetches; the `request_id` makes it safe to send again."""
        new = video_service_pb2.NewVideo(uri=uri, collection="talks", request_id=f"fetch {uri}"[:256])
        request = video_service_pb2.CreateVideoRequest(video=new)
        return self._videos.CreateVideo(iter([request]), **self._with).video

    def import_video(self, title: str, lines: Sequence[tuple[float, float, str]]) -> video_pb2.Video:
        """ImportVideo: a video of a transcript that exists already."""
        segments = [
            video_service_pb2.TranscriptSegment(
                start_offset=Duration(nanos=round(start % 1 * 1e9), seconds=int(start)),
                end_offset=Duration(nanos=round(end % 1 * 1e9), seconds=int(end)),
                text=text,
            )
            for start, end, text in lines
        ]
        new = video_service_pb2.NewVideo(title=title)
        request = video_service_pb2.ImportVideoRequest(video=new, language="en", segments=segments)
        return self._videos.ImportVideo(request, **self._with).video

    def update_video(self, video_id: str) -> video_pb2.Video:
        """UpdateVideo: what is set changes, what is not stays."""
        request = video_service_pb2.UpdateVideoRequest(
            video_id=video_id, title="A new title", tags=video_service_pb2.TagList(tags=["bread", "baking"])
        )
        return self._videos.UpdateVideo(request, **self._with).video

    def get_video(self, video_id: str) -> video_pb2.Video:
        """GetVideo."""
        return self._videos.GetVideo(video_service_pb2.GetVideoRequest(video_id=video_id), **self._with).video

    def list_videos(self) -> Iterator[video_pb2.Video]:
        """ListVideos: page by page, until there is no token for another."""
        token = ""
        while True:
            request = video_service_pb2.ListVideosRequest(page_size=100, page_token=token)
            page = self._videos.ListVideos(request, **self._with)
            yield from page.videos
            if not (token := page.next_page_token):
                return

    def delete_video(self, video_id: str) -> video_pb2.Video:
        """DeleteVideo: hidden at once, and gone when `restorable_until` is over."""
        return self._videos.DeleteVideo(video_service_pb2.DeleteVideoRequest(video_id=video_id), **self._with).video

    def restore_video(self, video_id: str) -> video_pb2.Video:
        """RestoreVideo."""
        return self._videos.RestoreVideo(video_service_pb2.RestoreVideoRequest(video_id=video_id), **self._with).video

    def retry_video(self, video_id: str) -> video_pb2.Video:
        """RetryVideo: FAILED_PRECONDITION where it has not failed."""
        return self._videos.RetryVideo(video_service_pb2.RetryVideoRequest(video_id=video_id), **self._with).video

    def watch_video(self, video_id: str) -> Iterator[video_pb2.Video]:
        """WatchVideo, a server stream: now and after every change. It may take hours, so it has no deadline."""
        request = video_service_pb2.WatchVideoRequest(video_id=video_id)
        for response in self._videos.WatchVideo(request, metadata=self._with["metadata"]):
            yield response.video

    # ── TranscriptService ────────────────────────────────────────────────────────────────────────

    def get_transcript(self, video_id: str) -> transcript_pb2.Transcript:
        """GetTranscript: segments with the times of their words."""
        request = transcript_service_pb2.GetTranscriptRequest(video_id=video_id)
        return self._transcripts.GetTranscript(request, **self._with).transcript

    def get_captions(self, video_id: str) -> str:
        """GetCaptions: WebVTT, SubRip or text."""
        request = transcript_service_pb2.GetCaptionsRequest(video_id=video_id, format=transcript_pb2.CAPTION_FORMAT_VTT)
        return self._transcripts.GetCaptions(request, **self._with).text

    def put_transcript(self, video_id: str, captions: bytes) -> video_pb2.Video:
        """PutTranscript: captions in place of the transcript there is."""
        file = transcript_service_pb2.CaptionsFile(format=transcript_pb2.CAPTION_FORMAT_VTT, content=captions)
        request = transcript_service_pb2.PutTranscriptRequest(video_id=video_id, captions=file)
        return self._transcripts.PutTranscript(request, **self._with).video

    def update_segment(self, video_id: str, segment: transcript_pb2.Segment, text: str) -> transcript_pb2.Segment:
        """UpdateSegment: corrects what was heard."""
        request = transcript_service_pb2.UpdateSegmentRequest(
            video_id=video_id, segment_id=segment.segment_id, text=text
        )
        return self._transcripts.UpdateSegment(request, **self._with).segment

    # ── SearchService ────────────────────────────────────────────────────────────────────────────

    def search(self, query: str) -> search_service_pb2.SearchResponse:
        """Search: the best moment of each video, and what the answer covers."""
        request = search_service_pb2.SearchRequest(query=query, page_size=5)
        return self._search.Search(request, **self._with)


def main(target: str, media: Sequence[str]) -> None:
    """Imports a short transcript, waits until it is searchable, asks for it, and takes it out again."""
    with grpc.insecure_channel(target) as channel:  # noqa: TID251  (on loopback, and without the services' helpers)
        calls = Calls(channel, os.environ.get("EARMARK_API_KEY", ""))
        lines = [(0.0, 4.2, "The yeast eats the sugar."), (4.2, 9.0, "That is what makes the bread rise.")]
        video = calls.import_video("How bread rises", lines)
        for path in media:
            created = calls.create_video(Path(path))
            print(created.video.video_id, "was there already" if created.already_there else "is being processed")
        for state in calls.watch_video(video.video_id):
            print(video_pb2.VideoState.Name(state.state))
        for hit in calls.search("why does bread rise").hits:
            print(f"{hit.title} at {hit.match_offset.ToSeconds()} s: {hit.text}")
        print(calls.get_captions(video.video_id))
        deleted = calls.delete_video(video.video_id)
        print("can be restored until", deleted.restorable_until.ToDatetime())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
