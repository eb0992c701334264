"""Signals that nobody here uses: by default most of them end a process; here each is told once, and ignored.

Operators send them by habit (SIGUSR1 from a logrotate rule), to the wrong process, or to all that have a name.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Collection
from types import FrameType

from corehttp.standard_streams import is_terminal

logger = logging.getLogger("corehttp.error")

Handlers = dict[int, Callable[[int, FrameType | None], object] | int | None]

# They report a fault of the process itself, or cannot be caught.
_FATAL = {"SIGABRT", "SIGBUS", "SIGEMT", "SIGFPE", "SIGILL", "SIGKILL", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTRAP"}
# Their default does nothing to a process, or is what somebody at the terminal wants (Ctrl-Z).
_HARMLESS = {"SIGCHLD", "SIGCONT", "SIGINFO", "SIGTSTP", "SIGURG"}


def unused(used: Collection[int]) -> list[int]:
    """All signals that could end or stop this process for nothing; and SIGWINCH, which gunicorn has a use for."""
    left = set(_FATAL | _HARMLESS)
    if is_terminal(2):
        left.add("SIGWINCH")  # comes whenever the terminal's size changes
    return sorted(number for number in signal.valid_signals() if number not in used and name(number) not in left)


def name(number: int) -> str:
    """What people call a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first = getattr(signal, "SIGRTMIN", number)
        return f"SIGRTMIN+{number - first}" if number > first else f"signal {number}"


def handle(numbers: Collection[int], handler: Callable[[int, FrameType | None], object]) -> Handlers:
    """Have these signals handled, apart from those that somebody handles or ignores; answers what was there before.

    Python ignores SIGPIPE and SIGXFSZ by itself. To be called in the main thread.
    """
    before: Handlers = {}
    for number in numbers:
        if signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(OSError, ValueError):  # the C library keeps it to itself
                before[number] = signal.signal(number, handler)
    return before


def ignore(used: Collection[int]) -> Handlers:
    """From now on all but the `used` ones are told once and ignored; answers what `restore` needs.

    Not by SIG_IGN, which programs that the application starts would inherit. What it forks gets the defaults back.
    """
    return handle(unused(used), _tell)


def restore(handlers: Handlers) -> None:
    """Put back what was there before, where nobody else has changed it."""
    for number, handler in handlers.items():
        if signal.getsignal(number) is _tell:
            signal.signal(number, handler)


def ignore_all() -> None:
    """The last thing a process does: no signal changes its exit code any more.

    By SIG_IGN, for while Python finalizes, it gives whatever it handled its default back; so nothing that would inherit
    this can be started afterwards.
    """
    for number in unused(()):
        with contextlib.suppress(OSError, ValueError):  # the C library keeps it to itself
            signal.signal(number, signal.SIG_IGN)


def told(number: int) -> str:
    """What to log of one."""
    return f"{name(number)}: ignored, nothing here uses it"


_told: set[int] = set()


def _tell(number: int, frame: FrameType | None) -> None:
    if number not in _told:
        _told.add(number)
        logger.warning("%s", told(number))  # whose locks are for one thread to take again


def _restore_in_child() -> None:
    restore(dict.fromkeys(signal.valid_signals(), signal.SIG_DFL))


os.register_at_fork(after_in_child=_restore_in_child)
