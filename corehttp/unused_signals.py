"""Ignore the signals that the server has no use for, most of which would end the process; each is logged once.

Operators send such signals by habit (SIGUSR1 in a logrotate rule), to the wrong process, or to all that have a name.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection
from types import FrameType

from corehttp.standard_streams import is_terminal

Handlers = dict[int, Callable[[int, FrameType | None], object] | int | None]

# Signals that report a fault of the process itself, or cannot be caught.
_FATAL = {"SIGABRT", "SIGBUS", "SIGEMT", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTRAP"}
# Signals whose default action does nothing to a process, or is what somebody at the terminal wants (Ctrl-Z).
_HARMLESS = {"SIGCHLD", "SIGCONT", "SIGINFO", "SIGTSTP", "SIGURG"}


def unused(used: Collection[int]) -> list[int]:
    """Return the signals that could end or stop this process, except the `used` ones, and SIGWINCH.

    SIGWINCH does nothing by default, but operators of gunicorn expect something of it. It is left out where standard
    error is a terminal, since it then comes whenever the terminal changes its size.
    """
    left = set(_FATAL | _HARMLESS)
    if is_terminal(2):
        left.add("SIGWINCH")
    known = {getattr(signal, name) for name in left if hasattr(signal, name)}
    return sorted(number for number in signal.valid_signals() - known if number not in used)


def name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM or SIGRTMIN+3."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first = getattr(signal, "SIGRTMIN", number)
        return f"SIGRTMIN+{number - first}" if number > first else f"signal {number}"


def handle(numbers: Collection[int], handler: Callable[[int, FrameType | None], object]) -> Handlers:
    """Have these signals handled, except those that are handled or ignored already; return the handlers of before.

    Python itself ignores SIGPIPE and SIGXFSZ. To be called in the main thread.
    """
    before: Handlers = {}
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(OSError, ValueError):  # the C library keeps some signals to itself
                before[number] = signal.signal(number, handler)
    return before


def ignore(used: Collection[int]) -> Handlers:
    """Ignore all signals but the `used` ones, and log each once when it comes; return what `restore` needs.

    SIG_IGN is not used, because the programs that the application starts would inherit it. A process that is forked
    gets the default actions back.
    """
    return handle(unused(used), _tell)


def is_free(number: int) -> bool:
    """Whether nothing but this module handles a signal, so that it can be given a meaning."""
    return signal.getsignal(number) in (signal.SIG_DFL, _tell)


def restore(handlers: Handlers) -> None:
    """Put back the handlers of before, except where something else has changed them meanwhile."""
    for number, handler in handlers.items():
        if signal.getsignal(number) is _tell:
            signal.signal(number, handler)


def ignore_all() -> None:
    """Let no signal change the exit code of this process any more; to be called last of all.

    This takes SIG_IGN, because Python gives signals that it handles their default actions when it finalizes. Programs
    that are started afterwards inherit it.
    """
    for number in unused(()):
        with contextlib.suppress(OSError, ValueError):  # the C library keeps some signals to itself
            signal.signal(number, signal.SIG_IGN)


def told(number: int) -> str:
    """Return the log line for such a signal."""
    return f"{name(number)}: ignored, nothing here uses it"


_told: set[int] = set()


def _tell(number: int, frame: FrameType | None) -> None:
    if number not in _told:
        _told.add(number)
        import logging  # imported here, since what starts interpreters needs this module before any log line

        # Safe in a handler: the locks of logging can be taken again by their thread.
        logging.getLogger("corehttp.error").warning("%s", told(number))


def _restore_in_child() -> None:
    restore(dict.fromkeys(signal.valid_signals(), signal.SIG_DFL))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_restore_in_child)
