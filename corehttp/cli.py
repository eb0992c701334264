"""The entry of the command, `corehttp` or `python -m corehttp`: it imports little, so that Ctrl-C is heeded at once."""

import os
import signal
from types import FrameType

from corehttp.errors import ExitCode


def main() -> None:
    """Run the command; it ends the process with an `ExitCode`."""
    # A launcher may have left some blocked, which exec(2) keeps: a SIGTERM would never arrive.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Nothing is there yet to put in order. A KeyboardInterrupt would be a traceback, or be lost in a callback.
    signal.signal(signal.SIGINT, _leave)
    from corehttp.command import run

    run()


def _leave(signum: int, frame: FrameType | None) -> None:
    os._exit(ExitCode.FORCED)
