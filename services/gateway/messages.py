"""What the gRPC API shows: the domain's objects as messages of `earmark.v1`."""

from __future__ import annotations

import datetime as dt

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from earmark.v1 import search_service_pb2 as search_pb
from earmark.v1 import transcript_pb2 as transcript_pb
from earmark.v1 import video_pb2 as video_pb
from earmark.v1 import video_service_pb2 as video_service_pb
from services.common.transcript import Segment
from services.common.videos.model import Playable, SliceState, Video, VideoStatus
from services.gateway import captions
from services.gateway.captions import CaptionFormat
from services.gateway.library import Spoken
from services.gateway.ranking import LegScore
from services.gateway.search import Hit, SearchAnswer, SearchMode
from services.gateway.views import index_token

STATES = {
    VideoStatus.UPLOADED: video_pb.VIDEO_STATE_UPLOADED,
    VideoStatus.PROCESSING: video_pb.VIDEO_STATE_PROCESSING,
    VideoStatus.READY: video_pb.VIDEO_STATE_READY,
    VideoStatus.FAILED: video_pb.VIDEO_STATE_FAILED,
    VideoStatus.DELETING: video_pb.VIDEO_STATE_DELETING,
}
SLICE_STATES = {
    SliceState.CUT: video_pb.SLICE_STATE_CUT,
    SliceState.TRANSCRIBED: video_pb.SLICE_STATE_TRANSCRIBED,
    SliceState.EMBEDDED: video_pb.SLICE_STATE_EMBEDDED,
    SliceState.INDEXED: video_pb.SLICE_STATE_INDEXED,
    SliceState.FAILED: video_pb.SLICE_STATE_FAILED,
}
PLAYABLE = {
    Playable.ORIGINAL: video_pb.PLAYABLE_ORIGINAL,
    Playable.PREPARING: video_pb.PLAYABLE_PREPARING,
    Playable.RENDITION: video_pb.PLAYABLE_RENDITION,
    Playable.FAILED: video_pb.PLAYABLE_FAILED,
}
MODES = {
    search_pb.SEARCH_MODE_UNSPECIFIED: "",
    search_pb.SEARCH_MODE_HYBRID: SearchMode.HYBRID.value,
    search_pb.SEARCH_MODE_SEMANTIC: SearchMode.SEMANTIC.value,
    search_pb.SEARCH_MODE_KEYWORD: SearchMode.KEYWORD.value,
}
TASKS = {
    video_service_pb.SPEECH_TASK_UNSPECIFIED: "",
    video_service_pb.SPEECH_TASK_TRANSCRIBE: "transcribe",
    video_service_pb.SPEECH_TASK_TRANSLATE: "translate",
}
FORMATS = {
    transcript_pb.CAPTION_FORMAT_VTT: CaptionFormat.VTT.value,
    transcript_pb.CAPTION_FORMAT_SRT: CaptionFormat.SRT.value,
    transcript_pb.CAPTION_FORMAT_TXT: CaptionFormat.TXT.value,
}
SUSPECT = {
    transcript_pb.SUSPECT_SEGMENTS_UNSPECIFIED: "",
    transcript_pb.SUSPECT_SEGMENTS_INCLUDE: "include",
    transcript_pb.SUSPECT_SEGMENTS_EXCLUDE: "exclude",
}


def video(shown: Video, *, slices: bool = True) -> video_pb.Video:
    """Gives a video, with its slices unless told otherwise."""
    progress = shown.progress
    meta = shown.metadata
    message = video_pb.Video(
        video_id=shown.video_id,
        title=shown.title,
        url=shown.url or "",
        state=STATES[shown.status],
        duration=None if shown.duration is None else _duration(shown.duration),
        progress=video_pb.VideoProgress(
            slices_known=progress.slices_known,
            slicing_done=progress.slicing_done,
            slices_done=progress.slices_done,
            slices_failed=progress.slices_failed,
            searchable_duration=_duration(progress.seconds_searchable),
            known_duration=_duration(progress.seconds_known),
        ),
        metadata=video_pb.VideoMetadata(
            uploaded_at=_timestamp(meta.uploaded_at),
            processed_at=_timestamp(meta.processed_at) if meta.processed_at else None,
            language=meta.language or "",
            asr_model=meta.asr_model or "",
            embedding_model=meta.embedding_model or "",
            speaker_count=meta.speaker_count or 0,
            languages=meta.languages,
        ),
        warnings=[video_pb.VideoWarning(reason=warning.reason, message=warning.message) for warning in shown.warnings],
        revision=shown.revision,
        collection=shown.collection,
        tags=shown.tags,
        index_token=index_token(shown) or "",
        transcript_revision=shown.transcript_revision,
        playable=PLAYABLE[shown.playback.state] if shown.playback else video_pb.PLAYABLE_UNSPECIFIED,
        playable_message=shown.playback.message if shown.playback else "",
        restorable_until=_timestamp(shown.purge_at) if shown.restorable and shown.purge_at else None,
    )
    if slices:
        message.progress.slices.extend(
            video_pb.Slice(
                slice_id=part.slice_id,
                start_offset=_duration(part.start_time),
                end_offset=_duration(part.end_time),
                state=SLICE_STATES[part.state],
                attempts=part.attempts,
            )
            for part in shown.slices
        )
    if (source := shown.source) is not None:
        message.source.CopyFrom(
            video_pb.MediaSource(
                filename=source.filename,
                content_type=source.content_type,
                size_bytes=source.bytes,
                sha256=source.sha256,
            )
        )
    if (failure := shown.error) is not None:
        message.error.CopyFrom(
            video_pb.VideoError(
                stage=failure.stage,
                reason=failure.reason,
                message=failure.message,
                at=_timestamp(failure.at),
                slice_id=failure.slice_id or "",
            )
        )
    return message


def transcript(spoken: Spoken, *, suspect: bool) -> transcript_pb.Transcript:
    """Gives what was said; `suspect` is whether what likely nobody said is in it."""
    return transcript_pb.Transcript(
        video_id=spoken.video.video_id,
        language=spoken.video.metadata.language or "",
        complete=spoken.complete,
        revision=spoken.video.transcript_revision,
        segments=[segment(name, shown) for name, shown in captions.named(spoken.transcripts, suspect=suspect)],
    )


def segment(name: str, shown: Segment) -> transcript_pb.Segment:
    """Gives a segment of a transcript."""
    return transcript_pb.Segment(
        segment_id=name,
        start_offset=_duration(shown.start),
        end_offset=_duration(shown.end),
        text=shown.text,
        speaker=shown.speaker,
        language=shown.language,
        words=[
            transcript_pb.Word(
                start_offset=_duration(word.start),
                end_offset=_duration(word.end),
                text=word.text,
                probability=word.probability,
            )
            for word in shown.words
        ],
        suspect=shown.suspect,
        confidence=shown.confidence,
        speech_share=shown.speech_share,
        average_log_probability=shown.average_log_probability,
        no_speech_probability=shown.no_speech_probability,
        compression_ratio=shown.compression_ratio,
    )


def search(answer: SearchAnswer) -> search_pb.SearchResponse:
    """Gives the answer to a search."""
    coverage, timing = answer.coverage, answer.timing
    return search_pb.SearchResponse(
        hits=[_hit(hit) for hit in answer.hits],
        next_page_token=answer.next_cursor,
        coverage=search_pb.SearchCoverage(
            shards_total=coverage.shards_total,
            shards_answered=coverage.shards_answered,
            complete=coverage.complete,
            legs=coverage.legs,
            embedding_model=coverage.embedding_model,
            missing=[
                search_pb.MissingShard(shard=missing.shard, reason=missing.reason) for missing in coverage.missing
            ],
            replicas=[
                search_pb.ReplicaCoverage(
                    shard=replica.shard,
                    replica=replica.replica,
                    applied_sequence=replica.applied_sequence,
                    lag=replica.lag,
                )
                for replica in coverage.replicas
            ],
            tokens_reached=coverage.tokens_reached,
        ),
        timing=search_pb.SearchTiming(
            total=_duration(timing.total),
            embed=_duration(timing.embed),
            shards=_duration(timing.shards),
            fuse=_duration(timing.fuse),
        ),
    )


def _hit(hit: Hit) -> search_pb.SearchHit:
    return search_pb.SearchHit(
        video_id=hit.video_id,
        title=hit.title,
        language=hit.language,
        chunk_id=hit.chunk_id,
        text=hit.text,
        highlights=[search_pb.TextRange(start=start, end=end) for start, end in hit.highlights],
        start_offset=_duration(hit.start_time),
        end_offset=_duration(hit.end_time),
        match_offset=_duration(hit.match_time),
        score=hit.score,
        semantic=_leg(hit.semantic),
        keyword=_leg(hit.keyword),
        more=[_hit(further) for further in hit.more],
        speaker=hit.speaker,
        sentence=search_pb.TextRange(start=hit.sentence[0], end=hit.sentence[1]) if hit.sentence else None,
    )


def _leg(score: LegScore | None) -> search_pb.LegScore | None:
    return search_pb.LegScore(score=score.score, rank=score.rank) if score else None


def seconds(duration: Duration) -> float:
    """Gives the seconds of a duration."""
    return duration.seconds + duration.nanos / 1e9


def _duration(seconds: float) -> Duration:
    whole, nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)


def _timestamp(at: dt.datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
