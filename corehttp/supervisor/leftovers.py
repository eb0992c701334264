"""Processes that the application has started and not ended: none outlives the service, unless it is detached.

A process is detached if it is in a session of its own (setsid(2); `start_new_session=True` of subprocess.Popen).
One that ends by itself once it has nobody to work for is left to do so: what Python's multiprocessing runs beside its
processes does, and removes what those have left in shared memory.
"""

import contextlib
import functools
import logging
import os
import re
import select
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator

from corehttp.text import printable

logger = logging.getLogger("corehttp.error")

SELF = 0.5  # seconds for those that end by themselves
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
NAMED = 5  # processes that are named in the log

_VARIABLE = "COREHTTP_SUPERVISOR"
_HERITAGE = "COREHTTP_HERITAGE"  # the marks of the supervisors in whose place this one is

_inherited: list[str] = []


@functools.cache
def mark() -> dict[str, str]:
    """A variable for the environment of a process: all that descend from it can be told by it (proc(5), environ)."""
    return {_VARIABLE: f"{os.getpid()}-{os.urandom(8).hex()}"}


def bequeath() -> dict[str, str]:
    """A variable for the environment of the supervisor that takes the place of this one."""
    return {_HERITAGE: " ".join([mark()[_VARIABLE], *_inherited])}


def inherit() -> None:
    """From now on what descends from the supervisors before this one is ended by it, once they have ended."""
    text = os.environ.pop(_HERITAGE, "")
    _inherited[:] = [mark for mark in text.split() if re.fullmatch(r"[1-9]\d*-[0-9a-f]{16}", mark)]


def runs(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    return _read(pid, "stat").rpartition(b") ")[2][:1] not in (b"", b"Z")


def end_marked(ours: Collection[int]) -> None:
    """End what descends from our workers, but for these processes and whatever is detached. Waits for the end."""
    _end(_marked(_in_our_session()) - set(ours))


def end_started(parent: int) -> None:
    """End what descends from this process itself, which is `parent`, unless it is detached. Waits for the end.

    The variable of `mark` is in its environment, but what it forks is told by its parent: that variable was not there
    when this process was started. An exit handler is inherited by what the process forks: there it does nothing.
    """
    if os.getpid() == parent:
        _let_go_of_helpers()
        found = set(_in_our_session())
        _end(_marked(found) | _descendants(found, parent))


def _in_our_session() -> Iterator[int]:
    if sys.platform != "linux":
        return
    session = os.getsid(0)
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(name)) == session and int(name) != os.getpid():
                yield int(name)


def _marked(pids: Iterable[int]) -> set[int]:
    before = [each for each in _inherited if not runs(int(each.partition("-")[0]))]
    entries = {f"{_VARIABLE}={each}".encode() for each in (mark()[_VARIABLE], *before)}
    return {pid for pid in pids if not entries.isdisjoint(_read(pid, "environ").split(b"\0"))}


def _descendants(pids: Iterable[int], parent: int) -> set[int]:
    """Those of these processes that descend from `parent` and run."""
    children: dict[int, list[int]] = {}
    for pid in pids:
        state, above, *_ = _read(pid, "stat").rpartition(b") ")[2].split() or (b"Z", b"0")
        if state != b"Z":
            children.setdefault(int(above), []).append(pid)
    found: set[int] = set()
    waiting = [parent]
    while waiting:
        below = children.pop(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def _let_go_of_helpers() -> None:
    """Tell the processes that multiprocessing runs beside its own that this one needs them no more.

    Each reads from a pipe until nobody has its other end. They ignore SIGTERM, or end without their last work.
    """
    for module, place, attribute in (
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_alive_fd"),
        ("multiprocessing.resource_tracker", "_resource_tracker", "_fd"),
    ):
        owner = getattr(sys.modules.get(module), place, None)
        fd = getattr(owner, attribute, None)
        if isinstance(fd, int):
            setattr(owner, attribute, None)
            with contextlib.suppress(OSError):
                os.close(fd)


def _read(pid: int, file: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{file}", "rb") as content:
            return content.read()
    except OSError:  # it has ended, or is another user's
        return b""


def _end(pids: Collection[int]) -> None:
    if sys.platform != "linux":
        return
    left: dict[int, int] = {}  # by a descriptor of each, which no other process can come to have
    for pid in pids:
        with contextlib.suppress(OSError):
            left[os.pidfd_open(pid)] = pid
    _wait(left, SELF)
    still = sorted(left.values())
    names = [f"{printable(_read(pid, 'comm').decode(errors='replace').strip())} (pid {pid})" for pid in still]
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        for fd in left:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fd, number)
        _wait(left, seconds)
    for fd in left:
        os.close(fd)
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        logger.warning(
            "ended what the application had left running: %s%s; a session of its own would detach it",
            *(", ".join(names[:NAMED]), more),
        )


def _wait(left: dict[int, int], seconds: float) -> None:
    """Wait until these have ended, and forget each that has (pidfd_open(2))."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left and (patience := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(patience * 1000):
            poll.unregister(fd)
            del left[fd]
            os.close(fd)
