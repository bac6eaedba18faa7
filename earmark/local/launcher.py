"""Becomes another program that dies with the supervisor: `python launcher.py PARENT_PID PROGRAM ARGUMENT…`.

A program of its own, run before the real one, because asking for it between fork and exec (`preexec_fn`) is not
safe in a supervisor that has threads. Imports nothing slow.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Does it; never returns."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        # SIGKILL, not SIGTERM: nobody would be left to enforce a deadline, and every part survives a kill.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the request above
            raise SystemExit(1)
    os.execv(program[0], program)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main()
