"""S3's multipart uploads, which obstore does not show: begun, added to, signed for others, completed, aborted.

It reads the same `AWS_…` environment as obstore does, and what it names otherwise is translated here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from services.common.errors import ObjectNotFound, Unavailable
from services.common.executor import BoundedExecutor
from services.common.pending_uploads import StoredPart

T = TypeVar("T")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GONE = {"NoSuchUpload", "404", "NoSuchKey"}


class Multipart:
    """Multipart uploads of one bucket.

    Args:
        url: `s3://bucket/prefix`.
        public_endpoint: URL by which others reach S3, where that is not the one used here; empty where it is.
        concurrency: Calls under way at once.
        environment: Where credentials and the endpoint are.
    """

    def __init__(
        self,
        url: str,
        *,
        public_endpoint: str = "",
        concurrency: int,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        parts = urlsplit(url)
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._client = _client(environment, "", concurrency)
        self._signing = _client(environment, public_endpoint, 1) if public_endpoint else self._client
        self._calls = BoundedExecutor("s3-multipart", threads=min(16, concurrency), queue=4 * concurrency)

    def close(self) -> None:
        """Ends the threads."""
        self._calls.close()

    async def begin(self, key: str) -> str:
        """Begins an upload to `key`, and gives S3's name for it."""
        answer = await self._call(lambda: self._client.create_multipart_upload(**self._at(key)))
        return str(answer["UploadId"])

    async def put(self, key: str, name: str, number: int, data: bytes) -> str:
        """Sends a part, and gives its ETag."""
        answer = await self._call(
            lambda: self._client.upload_part(**self._at(key), UploadId=name, PartNumber=number, Body=data)
        )
        return str(answer["ETag"])

    def signed(self, key: str, name: str, number: int, seconds: int) -> str:
        """Gives the URL by which anybody may PUT a part for so long."""
        given = {**self._at(key), "UploadId": name, "PartNumber": number}
        return str(self._signing.generate_presigned_url("upload_part", Params=given, ExpiresIn=seconds))

    async def parts(self, key: str, name: str) -> list[StoredPart]:
        """Gives the parts that are there, in order. Raises ObjectNotFound when there is no such upload any more."""

        def listed() -> list[StoredPart]:
            pages = self._client.get_paginator("list_parts").paginate(**self._at(key), UploadId=name)
            return [
                StoredPart(part["PartNumber"], part["ETag"], part["Size"])
                for page in pages
                for part in page.get("Parts", ())
            ]

        return await self._call(listed)

    async def complete(self, key: str, name: str, parts: Sequence[StoredPart]) -> None:
        """Puts the parts together; what was put together before is left as it is."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            await self._call(
                lambda: self._client.complete_multipart_upload(
                    **self._at(key), UploadId=name, MultipartUpload={"Parts": listed}
                )
            )
        except ObjectNotFound:
            # Done before, if the object is there; whoever asks for its size finds out.
            return

    async def abort(self, key: str, name: str) -> None:
        """Forgets an upload with its parts; forgetting twice is fine."""
        try:
            await self._call(lambda: self._client.abort_multipart_upload(**self._at(key), UploadId=name))
        except ObjectNotFound:
            return

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{key}" if self._prefix else key}

    async def _call(self, call: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return await self._calls.run(call)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _GONE:
                raise ObjectNotFound("the object store knows nothing of this upload any more; begin it anew") from error
            raise Unavailable("the object store refuses; try again shortly", reason="OBJECT_STORE_REFUSES") from error
        except BotoCoreError as error:
            raise Unavailable(
                "the object store does not answer; try again shortly", reason="OBJECT_STORE_AWAY"
            ) from error


def _client(environment: Mapping[str, str], endpoint: str, connections: int) -> Any:
    # Imported here: where the object store is a folder nothing of it is needed.
    from botocore.config import Config
    from botocore.session import get_session

    hosted = environment.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in {"1", "true", "yes"}
    return get_session().create_client(
        "s3",
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_url=endpoint or next(filter(None, map(environment.get, _ENDPOINTS)), None),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual" if hosted else "path"},
            retries={"mode": "standard", "max_attempts": 4},
            max_pool_connections=max(10, connections),
            # Stores other than AWS's own do not all know the checksums that newer versions send unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
