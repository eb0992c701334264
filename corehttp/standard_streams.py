"""The standard streams of a process: those that were closed at its start are opened, to /dev/null."""

import os
import stat
import sys

from corehttp.windows import shows_colours

# For each stream its descriptor, its name in `sys`, and how descriptor and object are opened.
_STREAMS = ((0, "stdin", os.O_RDONLY, "r"), (1, "stdout", os.O_WRONLY, "w"), (2, "stderr", os.O_WRONLY, "w"))


def open_standard_streams() -> None:
    """Open /dev/null in the place of each standard stream that is closed, as `>&-` and some init scripts leave it.

    To be called before anything else is opened: a socket or file that became descriptor 1 or 2 would get the log.
    """
    for fd, _, flags, _ in _STREAMS:
        if not _is_open(fd):
            _open_null(fd, flags)
    for _, name, _, mode in _STREAMS:
        if getattr(sys, name) is None:
            # The descriptor may be open all the same: by now it can be a file of the program, which is left alone.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def output(fd: int) -> int | None:
    """Return the descriptor `fd`, 1 or 2, if it is the standard stream that the process was started with.

    Returns None if that stream was closed: the number may be that of a file or socket of the program by now.
    """
    return fd if _is_open(fd) and (sys.__stdout__, sys.__stderr__)[fd - 1] is not None else None


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is a terminal; the objects in `sys` are not asked, as the application may replace them."""
    return _is_open(fd) and shows_colours(fd)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _open_null(fd: int, flags: int) -> None:
    """Open /dev/null as descriptor `fd`, which workers and programs of the application inherit."""
    null = os.open(os.devnull, flags)
    if null != fd:
        os.dup2(null, fd)
        os.close(null)
    os.set_inheritable(fd, True)


def destination(fd: int) -> dict[str, str]:
    """Return where the standard stream `fd`, 1 or 2, leads.

    `kind` is `file`, `terminal`, `journal`, `pipe`, `socket` or `nothing`. A file and a terminal have their `path`, and
    the journal has the `unit` of systemd, where there is one.
    """
    if output(fd) is None:
        return {"kind": "nothing"}
    found = os.fstat(fd)
    if os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}":  # systemd.exec(5)
        return {"kind": "journal", **_unit()}
    if sys.platform == "win32":
        raise NotImplementedError
    if os.isatty(fd):
        return {"kind": "terminal", "path": os.ttyname(fd)}
    if stat.S_ISREG(found.st_mode):
        try:
            return {"kind": "file", "path": os.readlink(f"/proc/self/fd/{fd}")}
        except OSError:  # a system without /proc
            return {"kind": "file", "path": ""}
    if stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        return {"kind": "pipe" if stat.S_ISFIFO(found.st_mode) else "socket"}
    return {"kind": "nothing"}  # /dev/null


def _unit() -> dict[str, str]:
    """Return the unit of systemd that this process belongs to, by its control group (cgroups(7), proc(5))."""
    try:
        with open("/proc/self/cgroup") as groups:
            names = groups.read().split()
    except OSError:
        return {}
    units = [part for name in names for part in name.split("/") if part.endswith(".service")]
    return {"unit": units[-1]} if units else {}
