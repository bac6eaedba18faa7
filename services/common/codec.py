"""How documents are read, in every process alike."""

from typing import Any, Final

from bson.codec_options import CodecOptions

CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True)
"""Dates come in UTC and say so."""
