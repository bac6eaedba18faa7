"""Resumable uploads by the tus protocol, 1.0.0: <https://tus.io/protocols/resumable-upload>.

Of its extensions: creation, creation-with-upload, creation-defer-length, checksum, expiration, termination.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import EarmarkError, FailedPrecondition, InvalidArgument, UnsupportedMediaType
from services.common.pending_uploads import PendingUpload, UploadState
from services.gateway import digests
from services.gateway.attributes import checked_collection, checked_speech, checked_tags, checked_title
from services.gateway.http import models
from services.gateway.http.errors import render
from services.gateway.idempotency import checked_key
from services.gateway.resumable import Resumable
from services.gateway.uploads import Details
from services.gateway.versions import plain, versioned

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,checksum,expiration,termination"
BYTES = "application/offset+octet-stream"
_MAX_METADATA_CHARS = 16 * 1024
# Clients in browsers send the last ones unasked; they say nothing that is not said otherwise.
_NAMES = {
    *("filename", "name", "filetype", "type", "content_type", "title", "collection", "tags", "tag"),
    *("language", "prompt", "hotwords", "task", "sha256", "duplicate", "relativePath", "size"),
}
_OVERRIDDEN = {"PATCH", "DELETE"}

Handler = Callable[..., Awaitable[Response]]


def _header(name: str, description: str, example: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }


_RESUMABLE = _header("Tus-Resumable", "Version of the protocol.", VERSION, required=True)
_CHECKSUM = _header("Upload-Checksum", "Algorithm and base64 of the bytes sent.", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=")
_BYTES_BODY = {"content": {BYTES: {"schema": {"type": "string", "format": "binary"}, "example": "the file's bytes"}}}
_CREATION: dict[str, Any] = {
    "parameters": [
        _RESUMABLE,
        _header("Upload-Length", "Bytes that are to come, unless Upload-Defer-Length is 1.", "104857600"),
        _header("Upload-Defer-Length", "1 where the length is said with a later PATCH.", "1"),
        _header(
            "Upload-Metadata",
            "Names and base64 of their values: filename, filetype, title, collection, tags (comma-separated), "
            "language, prompt, hotwords, task, sha256, duplicate.",
            "filename dGFsay5tcDQ=,title TXkgdGFsaw==",
        ),
        _CHECKSUM,
        _header("Idempotency-Key", "Sent again, it gives the upload that was begun.", "5f3c0a52"),
    ],
    "requestBody": _BYTES_BODY,
}
_APPENDING: dict[str, Any] = {
    "parameters": [
        _RESUMABLE,
        _header("Upload-Offset", "Where these bytes go: what HEAD says.", "0", required=True),
        _header("Upload-Length", "Bytes of the whole, where that was not said before.", "104857600"),
        _CHECKSUM,
    ],
    "requestBody": {**_BYTES_BODY, "required": True},
}
_LOCATION = {"headers": {"Location": {"schema": {"type": "string"}, "description": "Path of the upload."}}}
_PLACE = {
    "headers": {
        "Upload-Offset": {"schema": {"type": "integer"}, "description": "Bytes that are stored."},
        "Earmark-Video-Id": {"schema": {"type": "string"}, "description": "The video, once all bytes are there."},
        "Earmark-Existing": {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "Where a video with the same bytes was there already.",
        },
    }
}


def _spoken(handler: Handler) -> Handler:
    """Makes a route speak the protocol: its version in, its version out, also with errors."""

    @functools.wraps(handler)
    async def wrapped(request: Request, **given: Any) -> Response:
        try:
            if request.headers.get("tus-resumable", "") != VERSION:
                raise FailedPrecondition(f"send Tus-Resumable: {VERSION}", reason="TUS_VERSION", field="Tus-Resumable")
            response = await handler(request=request, **given)
        except EarmarkError as error:
            response = render(error)
            if error.reason == "TUS_VERSION":
                response.headers["Tus-Version"] = VERSION
        response.headers["Tus-Resumable"] = VERSION
        return response

    return wrapped


def router(*, resumable: Resumable) -> APIRouter:
    """Makes the routes."""
    routes = APIRouter(tags=["uploads"], responses=models.ERRORS)

    @routes.options("/files", status_code=204, summary="What the tus server can")
    @routes.options("/files/{upload_id}", status_code=204, include_in_schema=False)
    async def discover() -> Response:
        """Says which version and extensions of tus are spoken, and how large an upload may be."""
        return Response(
            status_code=204,
            headers={
                "Tus-Resumable": VERSION,
                "Tus-Version": VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(resumable.max_bytes),
                "Tus-Checksum-Algorithm": ",".join(digests.TUS_ALGORITHMS),
            },
        )

    @routes.post(
        "/files",
        status_code=201,
        responses={201: {"description": "It has begun.", "headers": {**_LOCATION["headers"], **_PLACE["headers"]}}},
        response_class=Response,
        openapi_extra=_CREATION,
        summary="Begin a resumable upload (tus)",
    )
    @_spoken
    async def create(request: Request) -> Response:
        """Begins an upload, and takes its first bytes where some are sent along."""
        headers = request.headers
        if "upload-concat" in headers:  # a part would become a video of its own
            raise InvalidArgument(
                "uploads are not put together; Tus-Extension says what is done", field="Upload-Concat"
            )
        length = _length(headers)
        with_bytes = _kind(headers) == BYTES
        checksum = digests.of_tus(headers.get("upload-checksum", ""))
        details = details_of(metadata(headers.get("upload-metadata", "")))
        key = checked_key(headers.get("idempotency-key", ""))
        upload = await resumable.begin(details, length=length, key=key)
        # One that was begun before may have bytes already: then the client goes on with HEAD.
        if with_bytes and upload.stored.offset == 0 and upload.state is UploadState.OPEN:
            upload = await resumable.append(upload.upload_id, 0, request.stream(), checksum=checksum)
        location = versioned(f"/files/{upload.upload_id}")
        return Response(status_code=201, headers={"Location": location, **_state(upload)})

    @routes.head(
        "/files/{upload_id}",
        responses={200: {"description": "How far it is.", **_PLACE}},
        response_class=Response,
        openapi_extra={"parameters": [_RESUMABLE]},
        summary="How far an upload is (tus)",
    )
    @_spoken
    async def look(request: Request, upload_id: str) -> Response:  # noqa: ARG001  (read by what wraps it)
        """Says how many bytes are stored: where to go on; and which video it came to."""
        upload = await resumable.get(upload_id)
        length = {"Upload-Defer-Length": "1"} if upload.length is None else {"Upload-Length": str(upload.length)}
        told = {"Upload-Metadata": said} if (said := _metadata_of(upload)) else {}
        return Response(headers={**_state(upload), **length, **told, "Cache-Control": "no-store"})

    @routes.patch(
        "/files/{upload_id}",
        status_code=204,
        responses={204: {"description": "They are stored.", **_PLACE}},
        openapi_extra=_APPENDING,
        summary="Send bytes of an upload (tus)",
    )
    @_spoken
    async def append(request: Request, upload_id: str) -> Response:
        """Stores bytes behind those that are there; with the last of them the upload becomes a video."""
        headers = request.headers
        if _kind(headers) != BYTES:
            raise UnsupportedMediaType(f"send bytes with Content-Type: {BYTES}", field="content-type")
        offset = _number(headers, "upload-offset")
        if offset is None:
            raise InvalidArgument("Upload-Offset is missing; HEAD says where to go on", field="Upload-Offset")
        upload = await resumable.append(
            upload_id,
            offset,
            request.stream(),
            checksum=digests.of_tus(headers.get("upload-checksum", "")),
            length=_number(headers, "upload-length"),
        )
        return Response(status_code=204, headers=_state(upload))

    @routes.delete(
        "/files/{upload_id}",
        status_code=204,
        openapi_extra={"parameters": [_RESUMABLE]},
        summary="Give an upload up (tus)",
    )
    @_spoken
    async def drop(request: Request, upload_id: str) -> Response:  # noqa: ARG001  (read by what wraps it)
        """Removes an upload with its bytes; a video that it has become stays."""
        await resumable.drop(upload_id)
        return Response(status_code=204)

    return routes


class MethodOverride:
    """ASGI middleware: `X-HTTP-Method-Override`, as tus has it, for clients that can only POST."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and plain(scope["path"]).startswith("/files/"):
            given = next((value for name, value in scope["headers"] if name == b"x-http-method-override"), b"")
            if (method := given.decode("latin-1").upper()) in _OVERRIDDEN:
                scope["method"] = method
        await self._app(scope, receive, send)


def metadata(header: str) -> dict[str, str]:
    """Reads `Upload-Metadata`: names, each with base64 of UTF-8.

    Raises:
        InvalidArgument: It is of another form, or has a name that nothing is known of.
    """
    if len(header) > _MAX_METADATA_CHARS:
        raise _wrong(f"is over {_MAX_METADATA_CHARS} characters")
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        name, _, value = pair.partition(" ")
        if name in found:
            raise _wrong(f"has {name[:40]!r} twice")
        if name not in _NAMES:
            raise _wrong(f"has {name[:40]!r}, of which nothing is known; there are {', '.join(sorted(_NAMES))}")
        try:
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise _wrong(f"has a value of {name!r} that is not base64 of UTF-8") from None
    return found


def details_of(said: Mapping[str, str]) -> Details:
    """Gives what metadata says of a file. Raises InvalidArgument."""
    tags = [tag for text in (said.get("tags", ""), said.get("tag", "")) for tag in text.split(",") if tag.strip()]
    return Details(
        title=checked_title(said.get("title", "")),
        filename=said.get("filename") or said.get("name", ""),
        content_type=said.get("filetype") or said.get("content_type") or said.get("type", ""),
        collection=checked_collection(said.get("collection", "")),
        tags=checked_tags(tags),
        speech=checked_speech(
            language=said.get("language", ""),
            prompt=said.get("prompt", ""),
            hotwords=said.get("hotwords", ""),
            task=said.get("task", ""),
        ),
        sha256=digests.checked_sha256(said.get("sha256", "")),
        duplicate=checked_duplicate(said.get("duplicate", "")),
    )


def checked_duplicate(text: str) -> bool:
    """Says whether a second video of the same bytes is wanted. Raises InvalidArgument."""
    if text not in {"", "allow"}:
        raise InvalidArgument(
            "duplicate is allow, or left out to have the video given that has the same bytes", field="duplicate"
        )
    return text == "allow"


def _length(headers: Mapping[str, str]) -> int | None:
    length, deferred = _number(headers, "upload-length"), headers.get("upload-defer-length", "")
    if deferred not in {"", "1"}:
        raise InvalidArgument("Upload-Defer-Length can only be 1", field="Upload-Defer-Length")
    if (length is None) != bool(deferred):
        raise InvalidArgument("send either Upload-Length or Upload-Defer-Length: 1", field="Upload-Length")
    return length


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidArgument(f"{name.title()} is not a number of bytes", field=name.title())
    return int(text)


def _kind(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").split(";", 1)[0].strip().lower()


def _state(upload: PendingUpload) -> dict[str, str]:
    """Gives the headers that say how far an upload is."""
    headers = {
        "Upload-Offset": str(upload.stored.offset),
        "Upload-Expires": formatdate(upload.expires_at.timestamp(), usegmt=True),
    }
    if upload.result:
        headers["Earmark-Video-Id"] = upload.result
    if upload.existing:
        headers["Earmark-Existing"] = "true"
    return headers


def _metadata_of(upload: PendingUpload) -> str:
    told = {"filename": upload.details["filename"], "filetype": upload.details["content_type"]}
    told["title"] = upload.details["title"]
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in told.items() if text)


def _wrong(why: str) -> InvalidArgument:
    return InvalidArgument(f"Upload-Metadata {why}", field="Upload-Metadata")
