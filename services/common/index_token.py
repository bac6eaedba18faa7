"""Index tokens: a receipt for what of a video is searchable."""

from __future__ import annotations

import re
from typing import NamedTuple

from services.common.errors import InvalidArgument
from services.common.ids import SLOTS

_FORM = re.compile(r"ix1-([0-9a-f]{2})-([0-9a-f]{1,16})")


class IndexToken(NamedTuple):
    """A replica that holds `slot` and has applied the stream up to `sequence` finds what the token stands for."""

    slot: int
    sequence: int

    def encode(self) -> str:
        """Gives the token as text, opaque to those outside."""
        return f"ix1-{self.slot:02x}-{self.sequence:x}"

    @classmethod
    def decode(cls, text: str, *, field: str = "min_tokens") -> IndexToken:
        """Reads a token. Raises InvalidArgument when it is not one."""
        match = _FORM.fullmatch(text)
        if match is None or int(match[1], 16) >= SLOTS:
            raise InvalidArgument(
                f"{text[:40]!r} is not an index token; take `index_token` of a video as it is", field=field
            )
        return cls(int(match[1], 16), int(match[2], 16))
