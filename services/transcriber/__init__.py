"""Turns media into timed text: cuts its audio into slices, and recognizes the speech in each."""

import os

# Before gRPC is loaded. This service starts child processes from an event loop (uvloop) that forks; gRPC's own fork
# handlers then start threads in the child before it becomes another program, and now and then that crashes it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
