"""Finds the place for bytes of uploads that the object store has."""

from __future__ import annotations

from contextlib import ExitStack

from services.common.objects import ObjectStore
from services.gateway.storing.bucket import BucketParts, part_bytes
from services.gateway.storing.folder import FolderParts
from services.gateway.storing.multipart import Multipart


def open_parts(
    objects: ObjectStore, url: str, *, public_endpoint: str, max_bytes: int, concurrency: int, stack: ExitStack
) -> tuple[FolderParts | BucketParts, Multipart | None]:
    """Gives the place for parts, and S3's multipart uploads where the store is S3.

    Args:
        objects: The object store.
        url: Its URL.
        public_endpoint: URL by which others reach S3; empty for the one used here.
        max_bytes: Size of the largest upload.
        concurrency: Uploads that are written to at once.
        stack: Closes what was opened.
    """
    if objects.root is not None:
        folder = FolderParts(objects.root, concurrency=concurrency)
        stack.callback(folder.close)
        return folder, None
    multipart = Multipart(url, public_endpoint=public_endpoint, concurrency=concurrency)
    stack.callback(multipart.close)
    return BucketParts(objects, multipart, size=part_bytes(max_bytes)), multipart
