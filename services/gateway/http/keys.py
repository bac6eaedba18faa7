"""Routes of API keys."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.common.api_keys import ApiKey
from services.gateway.access.caller import caller
from services.gateway.access.keys import Keys, NewKey
from services.gateway.http import key_models, models
from services.gateway.http.respond import json
from services.gateway.versions import versioned


def router(*, keys: Keys) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["keys"], responses=models.ERRORS)

    @routes.post("/keys", status_code=201, responses={201: {"model": key_models.CreatedKey}}, summary="Make a key")
    async def create(new: key_models.NewKey) -> Response:
        """Makes a key. Its text is in this answer and nowhere else: it cannot be had again."""
        key, text = await keys.create(NewKey(**new.model_dump()))
        return json({**_shown(key), "key": text}, 201, {"Location": versioned(f"/keys/{key.key_id}")})

    @routes.get("/keys", responses={200: {"model": key_models.KeyList}}, summary="List keys")
    async def list_keys(
        limit: Annotated[int, Query(description="Above 200 is taken as 200, below 1 as 50.")] = 50,
        cursor: Annotated[str, Query(description="`next_cursor` of the page before.")] = "",
    ) -> Response:
        """Gives keys, newest first, also those that are over; never their texts."""
        found, after = await keys.list(limit=limit, cursor=cursor)
        return json({"keys": [_shown(key) for key in found], "next_cursor": after or None})

    @routes.get("/keys/self", responses={200: {"model": key_models.Self}}, summary="What this key may do")
    async def own() -> Response:
        """Says what whoever asks may do and see."""
        who = caller()
        return json(
            {
                "key_id": who.key_id or None,
                "scopes": sorted(who.scopes),
                "collections": None if who.collections is None else sorted(who.collections),
                "default_collection": who.default_collection or None,
            }
        )

    @routes.get("/keys/{key_id}", responses={200: {"model": key_models.Key}}, summary="Get a key")
    async def get(key_id: str) -> Response:
        """Gives what a key may do, not its text."""
        return json(_shown(await keys.get(key_id)))

    @routes.delete("/keys/{key_id}", responses={200: {"model": key_models.Key}}, summary="Revoke a key")
    async def revoke(key_id: str) -> Response:
        """Ends a key for good: at this gateway at once, at others within seconds."""
        return json(_shown(await keys.revoke(key_id)))

    return routes


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": list(key.scopes),
        "collections": None if key.collections is None else list(key.collections),
        "default_collection": key.default_collection or None,
        "requests_per_second": key.requests_per_second,
        "bytes_per_day": key.bytes_per_day,
        "videos_per_day": key.videos_per_day,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "holds": key.revoked_at is None and (key.expires_at is None or key.expires_at > dt.datetime.now(dt.UTC)),
    }
