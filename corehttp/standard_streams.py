"""The standard streams of a process: what was closed when it was started is opened again, to nowhere."""

import os
import sys

# Descriptor, name in `sys`, and how it is opened.
_STREAMS = ((0, "stdin", os.O_RDONLY, "r"), (1, "stdout", os.O_WRONLY, "w"), (2, "stderr", os.O_WRONLY, "w"))


def open_standard_streams() -> None:
    """Open /dev/null in the place of each standard stream that is closed, as `>&-` and some init scripts leave it.

    To be called before anything else is opened: a socket or a file that becomes descriptor 1 or 2 would get the log.
    """
    for fd, _, flags, _ in _STREAMS:
        if not _is_open(fd):
            _open_null(fd, flags)
    for _, name, _, mode in _STREAMS:
        if getattr(sys, name) is None:
            # The descriptor may be open all the same, as something that the program has opened since: that is not ours.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def output(fd: int) -> int | None:
    """The descriptor `fd`, 1 or 2, if it is the standard stream that the process was started with.

    None if that was closed: the number may be anything by now, a socket of the program or a file.
    """
    return fd if _is_open(fd) and (sys.__stdout__, sys.__stderr__)[fd - 1] is not None else None


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is a terminal. The objects in `sys` cannot tell: they are the application's to replace."""
    return _is_open(fd) and os.isatty(fd)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _open_null(fd: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null != fd:
        os.dup2(null, fd)
        os.close(null)
    os.set_inheritable(fd, True)  # by the workers, and by what the application starts
