"""What the HTTP API shows, as plain dictionaries: nothing is validated on the way out, so that it stays quick."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from services.common.ids import slot_of
from services.common.index_token import IndexToken
from services.common.transcript import Segment
from services.common.videos.model import Failure, Progress, Slice, Source, Video
from services.gateway.access.caller import link
from services.gateway.ranking import LegScore
from services.gateway.search import Hit, SearchAnswer
from services.gateway.versions import versioned

Json = dict[str, Any]


def video(shown: Video, seconds_left: float | None = None) -> Json:
    """Gives a video, without its slices; `seconds_left` is what it still takes, where that is known."""
    meta = shown.metadata
    return {
        "video_id": shown.video_id,
        "title": shown.title,
        "url": shown.url,
        "status": shown.status.value,
        "duration": shown.duration,
        "source": _source(shown.source),
        "metadata": {
            "uploaded_at": meta.uploaded_at,
            "processed_at": meta.processed_at,
            "language": meta.language,
            "languages": list(meta.languages),
            "asr_model": meta.asr_model,
            "embedding_model": meta.embedding_model,
            "speaker_count": meta.speaker_count,
        },
        "progress": _progress(shown.progress, seconds_left),
        "error": _failure(shown.error),
        "warnings": _warnings(shown),
        "playable": shown.playback.state.value if shown.playback else None,
        "playable_message": (shown.playback.message or None) if shown.playback else None,
        "revision": shown.revision,
        "transcript_revision": shown.transcript_revision,
        "collection": shown.collection or None,
        "tags": list(shown.tags),
        "index_token": index_token(shown),
        "restorable_until": shown.purge_at if shown.restorable else None,
        "links": links(shown),
    }


def status(shown: Video, seconds_left: float | None = None) -> Json:
    """Gives where a video stands, slice by slice; `seconds_left` is what it still takes, where that is known."""
    return {
        "video_id": shown.video_id,
        "status": shown.status.value,
        "progress": _progress(shown.progress, seconds_left),
        "slices": [_slice(part) for part in shown.slices],
        "error": _failure(shown.error),
        "warnings": _warnings(shown),
        "playable": shown.playback.state.value if shown.playback else None,
        "playable_message": (shown.playback.message or None) if shown.playback else None,
        "duration": shown.duration,
        "revision": shown.revision,
        "collection": shown.collection or None,
        "tags": list(shown.tags),
        "index_token": index_token(shown),
        "links": links(shown),
    }


def index_token(shown: Video) -> str | None:
    """Gives what stands for that of a video which is searchable; None while nothing is."""
    if not shown.index_sequence:
        return None
    return IndexToken(slot_of(shown.video_id), shown.index_sequence).encode()


def links(shown: Video) -> Json:
    """Gives the paths of everything about a video; null for what it never has."""
    path = versioned(f"/videos/{shown.video_id}")
    return {
        "self": path,
        "status": f"{path}/status",
        "events": link(f"{path}/events"),
        "transcript": link(f"{path}/transcript"),
        "media": link(f"{path}/media") if shown.has_media else None,
        "thumbnail": link(f"{path}/thumbnail") if _may_have_pictures(shown) else None,
        "sprites": link(f"{path}/sprites.vtt") if _may_have_pictures(shown) else None,
        "page": f"/v/{shown.video_id}",
    }


def _may_have_pictures(shown: Video) -> bool:
    return bool(shown.pictures.name) if shown.pictures else shown.has_media


def with_parameters(path: str, parameters: str) -> str:
    """Gives a path, signed or not, with more parameters."""
    return f"{path}{'&' if '?' in path else '?'}{parameters}"


def segment(name: str, shown: Segment) -> Json:
    """Gives a segment of a transcript."""
    return {"segment_id": name, **{one.name: getattr(shown, one.name) for one in fields(shown)}}


def search(answer: SearchAnswer) -> Json:
    """Gives the answer to a search."""
    coverage, timing = answer.coverage, answer.timing
    return {
        "query": answer.query,
        "mode": answer.mode.value,
        "hits": [{**_hit(hit), "more": [_hit(further) for further in hit.more]} for hit in answer.hits],
        "next_cursor": answer.next_cursor or None,
        "coverage": {
            "shards_total": coverage.shards_total,
            "shards_answered": coverage.shards_answered,
            "complete": coverage.complete,
            "legs": coverage.legs,
            "embedding_model": coverage.embedding_model or None,
            "missing": [{"shard": missing.shard, "reason": missing.reason} for missing in coverage.missing],
            "replicas": [
                {
                    "shard": replica.shard,
                    "replica": replica.replica,
                    "applied_sequence": replica.applied_sequence,
                    "lag": replica.lag,
                }
                for replica in coverage.replicas
            ],
            "tokens_reached": coverage.tokens_reached,
        },
        "timing": {
            "total_ms": _ms(timing.total),
            "embed_ms": _ms(timing.embed),
            "shards_ms": _ms(timing.shards),
            "fuse_ms": _ms(timing.fuse),
            "cached": timing.cached,
        },
    }


def _hit(hit: Hit) -> Json:
    path = versioned(f"/videos/{hit.video_id}")
    return {
        "video_id": hit.video_id,
        "title": hit.title,
        "language": hit.language or None,
        "speaker": hit.speaker or None,
        "chunk_id": hit.chunk_id,
        "text": hit.text,
        "highlights": [{"start": start, "end": end} for start, end in hit.highlights],
        "start_time": round(hit.start_time, 3),
        "end_time": round(hit.end_time, 3),
        "match_time": round(hit.match_time, 3),
        "sentence": {"start": hit.sentence[0], "end": hit.sentence[1]} if hit.sentence else None,
        "score": hit.score,
        "scores": {"semantic": _leg(hit.semantic), "keyword": _leg(hit.keyword)},
        "links": {
            "video": path,
            "media": link(f"{path}/media") + f"#t={hit.match_time:.1f}",
            "thumbnail": with_parameters(link(f"{path}/thumbnail"), f"t={hit.match_time:.1f}"),
            "page": f"/v/{hit.video_id}?t={int(hit.match_time)}",
        },
    }


def _leg(score: LegScore | None) -> Json | None:
    return {"score": round(score.score, 4), "rank": score.rank} if score else None


def _source(source: Source | None) -> Json:
    """Gives what was uploaded; before a URL is fetched nothing is known of it."""
    return {
        "filename": source.filename if source else None,
        "content_type": source.content_type if source else None,
        "bytes": source.bytes if source else None,
        "sha256": source.sha256 if source else None,
    }


def _progress(progress: Progress, seconds_left: float | None) -> Json:
    return {
        "slices_known": progress.slices_known,
        "slicing_done": progress.slicing_done,
        "slices_done": progress.slices_done,
        "slices_failed": progress.slices_failed,
        "seconds_searchable": round(progress.seconds_searchable, 3),
        "seconds_known": round(progress.seconds_known, 3),
        "fraction": progress.fraction,
        "seconds_left": seconds_left,
    }


def _slice(part: Slice) -> Json:
    return {
        "slice_id": part.slice_id,
        "start_time": part.start_time,
        "end_time": part.end_time,
        "state": part.state.value,
        "attempts": part.attempts,
    }


def _failure(failure: Failure | None) -> Json | None:
    if failure is None:
        return None
    return {
        "stage": failure.stage,
        "reason": failure.reason,
        "message": failure.message,
        "at": failure.at,
        "slice_id": failure.slice_id,
    }


def _warnings(shown: Video) -> list[Json]:
    return [{"reason": warning.reason, "message": warning.message} for warning in shown.warnings]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
