"""Pictures in the store, as the transcriber leaves them, without making any."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ulid import ULID

from services.common.objects import ObjectStore, pictures_prefix
from services.common.videos.model import PictureSet
from services.common.videos.store import VideoStore


def pixels(width: int, second: float) -> bytes:
    """What stands for the picture of a second at a width."""
    return f"<{width} wide at {second:g}>".encode()


async def put_pictures(
    videos: VideoStore, objects: ObjectStore, video_id: str, times: Sequence[float] = (0.0, 10.0, 20.0)
) -> str:
    """Puts pictures of these seconds into the store and gives the name of the set."""
    name = str(ULID()).lower()
    prefix = pictures_prefix(video_id, name)
    sizes = []
    for width in (240, 480):
        offsets, data = [0], b""
        for second in times:
            data += pixels(width, second)
            offsets.append(len(data))
        await objects.put(f"{prefix}{width}.jpgs", data)
        sizes.append({"longest": width, "offsets": offsets})
    tile = {"width": 160, "height": 90, "columns": 2, "rows": 1}
    for number in range(-(-len(times) // 2)):
        await objects.put(f"{prefix}sheet-{number}.jpg", f"<sheet {number}>".encode())
    index = {"times": list(times), "sizes": sizes, "tile": tile}
    await objects.put(f"{prefix}index.json", json.dumps(index).encode())
    await videos.set_pictures(video_id, PictureSet(name, len(times)))
    return name
