"""What schemathesis is told of this API: bytes of a tus upload are bytes."""

import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
