"""Routes for operators: how the shards are, and where slots are to go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.common.errors import InvalidArgument
from services.gateway.http import models, shard_models
from services.gateway.http.respond import json
from services.gateway.peers import ReplicaState
from services.gateway.shards import Overview, Plan, ShardLoad, Shards


def router(*, shards: Shards) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["shards"], responses=models.ERRORS)

    @routes.get("/shards", responses={200: {"model": shard_models.Index}}, summary="How the index is")
    async def overview(
        replicas: Annotated[bool, Query(description="Whether each replica is asked how it is.")] = True,
    ) -> Response:
        """Gives the slot table, the replicas of each shard, and the moves under way with why they wait."""
        return json(_overview(await shards.overview(ask_replicas=replicas)))

    @routes.get(
        "/shards/digests", responses={200: {"model": shard_models.IndexDigests}}, summary="What each replica holds"
    )
    async def digests() -> Response:
        """Has every replica count and hash what it holds, slot by slot. Replicas of a shard have to agree."""
        sequence, found = await shards.digests()
        return json(
            {
                "stream_sequence": sequence,
                "replicas": [
                    {
                        "shard": one.peer.shard,
                        "replica": one.peer.replica,
                        "problem": one.problem or None,
                        "slots": [
                            {"slot": slot, "chunk_count": content.chunk_count, "digest": content.digest.hex()}
                            for slot, content in sorted(one.slots.items())
                        ],
                    }
                    for one in found
                ],
            }
        )

    @routes.post("/shards/plan", responses={200: {"model": shard_models.Plan}}, summary="What would move")
    async def plan(wanted: shard_models.PlanRequest) -> Response:
        """Says what would move, and changes nothing. Give `shards`, or `moves`."""
        if (wanted.shards is None) == (not wanted.moves):
            raise InvalidArgument("give either shards or moves", field="shards")
        if wanted.shards is not None:
            return json(_plan(await shards.plan_scale(wanted.shards)))
        targets = {slot: move.to for move in wanted.moves for slot in move.slots}
        return json(_plan(await shards.plan_moves(targets)))

    @routes.post("/shards/move", status_code=202, responses={202: {"model": shard_models.Plan}}, summary="Move slots")
    async def move(wanted: shard_models.MoveRequest) -> Response:
        """Has slots moved to another shard while searches and ingest go on; `GET /shards` says how far it is."""
        return json(_plan(await shards.move(dict.fromkeys(wanted.slots, wanted.to))), 202)

    @routes.post(
        "/shards/scale", status_code=202, responses={202: {"model": shard_models.Plan}}, summary="Change their number"
    )
    async def scale(wanted: shard_models.ScaleRequest) -> Response:
        """Has the slots spread over another number of shards, as few of them moved as possible.

        Whoever runs the indexers starts those of new shards, and stops the others when `shards_total` falls.
        """
        return json(_plan(await shards.scale(wanted.shards)), 202)

    @routes.post(
        "/shards/cancel", status_code=202, responses={202: {"model": shard_models.Cancelled}}, summary="Call moves off"
    )
    async def cancel(_: shard_models.CancelRequest) -> Response:
        """Calls off what has not changed over yet; slots that have stay at their new shard. The body is `{}`."""
        return json({"called_off": await shards.cancel()}, 202)

    @routes.post(
        "/shards/rebuild", status_code=202, responses={202: {"model": shard_models.RebuildAnswer}}, summary="Build anew"
    )
    async def rebuild(wanted: shard_models.RebuildRequest) -> Response:
        """Has replicas build their index anew from the documents, behind the present one, which answers until then.

        A replica is done when its `rebuilds` in `GET /shards` is above what is given here.
        """
        if wanted.all == (wanted.shard is not None):
            raise InvalidArgument("give either a shard or all", field="shard")
        if wanted.replica is not None and wanted.shard is None:
            raise InvalidArgument("a replica is one of a shard: give the shard too", field="replica")
        asked = await shards.rebuild(wanted.shard, wanted.replica)
        return json({"replicas": [_rebuilt(state) for state in asked]}, 202)

    return routes


def _overview(seen: Overview) -> dict[str, Any]:
    table = seen.table
    by_shard: dict[int, list[ReplicaState]] = {shard: [] for shard in range(table.shards)}
    for state in seen.replicas:
        by_shard.setdefault(state.peer.shard, []).append(state)
    goal = seen.goal
    return {
        "version": table.version,
        "shards_total": table.shards,
        "stream_sequence": seen.last_sequence,
        "shards": [
            {"shard": shard, "slots": sorted(table.slots_of(shard)), "replicas": [_replica(state) for state in states]}
            for shard, states in sorted(by_shard.items())
        ],
        "moves": [
            {
                "slot": move.slot,
                "source": move.source,
                "target": move.target,
                "phase": move.phase,
                "reason": seen.reasons.get(move.slot),
            }
            for move in sorted(table.moves, key=lambda move: move.slot)
        ],
        "goal": None
        if goal is None
        else {
            "shards": goal.shards,
            "set_at": goal.set_at,
            "slots_total": goal.slots_total,
            "slots_left": seen.slots_left,
            "waiting": [reason for _, reason in sorted(seen.waiting.items())],
        },
    }


def _replica(state: ReplicaState) -> dict[str, Any]:
    said = state.shard_state
    own: dict[str, Any] = {
        "replica": state.peer.replica,
        "target": state.peer.target,
        "answers": state.live,
        "problem": state.problem or None,
    }
    if said is None:
        return {**own, "ready": False}
    return {
        **own,
        "ready": said.ready,
        "chunk_count": said.chunk_count,
        "video_count": said.video_count,
        "applied_sequence": said.applied_sequence,
        "snapshot_sequence": said.snapshot_sequence,
        "lag": said.lag,
        "model": said.model_revision or None,
        "origin": said.origin,
        "slots_held": len(state.held),
        "slot_table_version": said.slot_table_version,
        "rebuilds": said.rebuilds,
        "rebuilding": said.rebuilding,
        "repaired": list(said.repaired),
        "trouble": list(said.trouble),
        "resident_bytes": said.resident_bytes,
        "segments": [
            {
                "segment_id": part.segment_id,
                "kind": part.kind,
                "live": part.live,
                "deleted": part.deleted,
                "bytes": part.bytes,
            }
            for part in said.segments
        ],
    }


def _plan(plan: Plan) -> dict[str, Any]:
    chunks = plan.chunks
    return {
        "shards": plan.shards,
        "moves": [{**move._asdict(), "chunks": chunks[move.slot] if chunks else None} for move in plan.moves],
        "slots": len(plan.moves),
        "chunks": sum(chunks[move.slot] for move in plan.moves) if chunks else None,
        "before": _loads(plan.before),
        "after": _loads(plan.after),
    }


def _loads(loads: Mapping[int, ShardLoad]) -> list[dict[str, Any]]:
    return [{"shard": shard, "slots": load.slots, "chunks": load.chunks} for shard, load in sorted(loads.items())]


def _rebuilt(state: ReplicaState) -> dict[str, int]:
    before = state.shard_state.rebuilds if state.shard_state is not None else 0
    return {"shard": state.peer.shard, "replica": state.peer.replica, "rebuilds": before}
