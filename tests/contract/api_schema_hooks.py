"""What schemathesis is told of this API: bytes of a tus upload are bytes, and SubRip is text."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
schemathesis.serializer.alias("application/x-subrip", "text/plain")
