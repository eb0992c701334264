"""The entry of the command, `corehttp` or `python -m corehttp`: it imports little, so that Ctrl-C works at once."""

import functools
import os
import signal
import sys
from types import FrameType

from corehttp.errors import ELSEWHERE, ExitCode


def main() -> None:
    """Run the command, which ends the process with an `ExitCode`."""
    if sys.platform != "win32":
        # The program that started this one may have blocked signals, and execve(2) keeps them blocked: SIGTERM would
        # not arrive.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # While modules are imported there is nothing to clean up. A KeyboardInterrupt would print a traceback, or get lost
    # where it is raised in a callback.
    signal.signal(signal.SIGINT, _leave)
    from corehttp.control.verb_names import is_verb

    if "_COREHTTP_COMPLETE" in os.environ:
        from corehttp.completion import complete as run
    elif is_verb(word := sys.argv[1] if len(sys.argv) > 1 else ""):
        if sys.platform == "win32":
            sys.stderr.write(f"Error: {word}: the verbs are not there on Windows itself; {ELSEWHERE}\n")
            sys.exit(ExitCode.USAGE)
        from corehttp.control.verbs import run
    else:
        run = _serve
    run()


def _serve() -> None:
    """Serve an application as the arguments say; click is imported only where it has something to say about them."""
    from corehttp.garbage import uncollected

    with uncollected(owns_process=True):
        from corehttp.arguments import named_as_written, read_plain

        given = read_plain(sys.argv[1:])
        if given is None:
            from corehttp.command import run
        else:
            from corehttp.serving import serve

            run = functools.partial(serve, named_as_written(given, sys.argv[1:]))
    run()


def _leave(signum: int, frame: FrameType | None) -> None:
    """Handle SIGINT: end the process at once."""
    os._exit(ExitCode.FORCED)
