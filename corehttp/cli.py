"""The entry of the command, `corehttp` or `python -m corehttp`: it imports little, so that Ctrl-C works at once."""

import os
import signal
from types import FrameType

from corehttp.errors import ExitCode


def main() -> None:
    """Run the command, which ends the process with an `ExitCode`."""
    # A launcher may have blocked signals, and exec(2) keeps them blocked: a SIGTERM would never arrive.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Nothing has to be cleaned up yet. A KeyboardInterrupt would print a traceback, or be lost in a callback.
    signal.signal(signal.SIGINT, _leave)
    from corehttp.command import run

    run()


def _leave(signum: int, frame: FrameType | None) -> None:
    os._exit(ExitCode.FORCED)
