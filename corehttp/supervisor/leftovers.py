"""Processes that the application has started and not ended: none outlives the service, unless it is detached.

A process is detached if it is in a session of its own (setsid(2); `start_new_session=True` of subprocess.Popen). Before
anything is signalled, a process has a moment to end by itself. The helpers of Python's multiprocessing do so once no
process uses them any more, and remove what others have left in shared memory. But the processes of a pool do not:
each holds both ends of the pipe over which it gets its work, so it never sees that nobody is left to give it any.
"""

import contextlib
import logging
import os
import re
import select
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator

from corehttp.ipc.messages import WORKER_PID
from corehttp.supervisor.interpreters import MARK, mark
from corehttp.text import printable

logger = logging.getLogger("corehttp.error")

SELF = 0.5  # seconds that a process has to end by itself
GRACE = 2.0  # seconds between SIGTERM and SIGKILL
NAMED = 5  # how many processes the log names

_HERITAGE = "COREHTTP_HERITAGE"  # the variable with the marks of all supervisors before this one

_inherited: list[str] = []  # the marks of the supervisors before this one


def bequeath() -> dict[str, str]:
    """Return a variable for the environment of the supervisor that takes the place of this one: all marks so far."""
    return {_HERITAGE: " ".join([mark()[MARK], *_inherited])}


def inherit() -> None:
    """Take over the marks of the supervisors before this one.

    Once such a supervisor has ended, `end_marked` ends what descends from its workers, too.
    """
    text = os.environ.pop(_HERITAGE, "")
    _inherited[:] = [each for each in text.split() if re.fullmatch(r"[1-9]\d*-[0-9a-f]{16}", each)]


def runs(pid: int) -> bool:
    """Whether there is a process of this id that has not ended; a zombie has."""
    return _read(pid, "stat").rpartition(b") ")[2][:1] not in (b"", b"Z")


def end_marked(ours: Collection[int]) -> None:
    """End what descends from workers of this service, except the processes `ours` and what is detached.

    Waits until they have ended, for at most SELF + 2 * GRACE seconds.
    """
    _end(_marked(_in_our_session()) - set(ours))


def left_by(worker: int, ours: Collection[int]) -> "Leftovers":
    """Return what a worker that has ended has left running, except what is detached; `worker` is its process id.

    That is what descends from workers of this service but from none of the processes `ours`, which live. A program has
    the process id of the worker that has started it in its environment. What a worker has forked has the environment of
    the worker's own start, without it; so it counts whichever worker it was.
    """
    found = set(_in_our_session())
    orphans = _marked(found) - set(ours) - _descendants(found, ours)
    return Leftovers(pid for pid in orphans if _starter(pid) in (None, worker))


def end_started(parent: int) -> None:
    """End what descends from this process, whose id is `parent`, except what is detached. Waits as `end_marked` does.

    In any other process nothing is done: one that this process has forked inherits its exit handlers. Descendants are
    told by their parents, and by the mark, since some have lost their parents by now.
    """
    if sys.platform != "win32" and os.getpid() == parent:
        _let_go_of_helpers()
        found = set(_in_our_session())
        _end(_marked(found) | _descendants(found, [parent]))


def _in_our_session() -> Iterator[int]:
    """Yield the ids of all other processes in the session of this one."""
    if sys.platform != "linux":
        return
    session = os.getsid(0)
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.getsid(int(name)) == session and int(name) != os.getpid():
                yield int(name)


def _marked(pids: Iterable[int]) -> set[int]:
    """Return those of these processes that have the mark of this supervisor, or of one before it that has ended."""
    before = [each for each in _inherited if not runs(int(each.partition("-")[0]))]
    entries = {f"{MARK}={each}".encode() for each in (mark()[MARK], *before)}
    return {pid for pid in pids if not entries.isdisjoint(_read(pid, "environ").split(b"\0"))}


def _descendants(pids: Iterable[int], ancestors: Iterable[int]) -> set[int]:
    """Return those of these processes that descend from one of the `ancestors` and have not ended."""
    children: dict[int, list[int]] = {}
    for pid in pids:
        state, above, *_ = _read(pid, "stat").rpartition(b") ")[2].split() or (b"Z", b"0")
        if state != b"Z":
            children.setdefault(int(above), []).append(pid)
    found: set[int] = set()
    waiting = list(ancestors)
    while waiting:
        below = children.pop(waiting.pop(), [])
        found.update(below)
        waiting += below
    return found


def _starter(pid: int) -> int | None:
    """Return the process id of the worker that has started this program; None for a process that was only forked."""
    for entry in _read(pid, "environ").split(b"\0"):
        name, _, value = entry.partition(b"=")
        if name == WORKER_PID.encode() and value.isdigit():
            return int(value)
    return None


def _let_go_of_helpers() -> None:
    """Tell the helpers of Python's multiprocessing that this process does not need them any more.

    Each helper reads from a pipe, and ends when no process has the other end. SIGTERM would not do: one helper ignores
    it, and the other one would end before its last work is done.
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
    """Return the content of a file in /proc/pid; nothing if the process has ended or is another user's."""
    try:
        with open(f"/proc/{pid}/{file}", "rb") as content:
            return content.read()
    except OSError:
        return b""


def _end(pids: Iterable[int]) -> None:
    """End these processes: wait for SELF seconds, then send SIGTERM, and SIGKILL after GRACE seconds."""
    found = Leftovers(pids)
    found.wait(SELF)
    found.terminate()
    found.wait(GRACE)
    found.kill()
    found.wait(GRACE)
    found.close()


class Leftovers:
    """Processes that are to end; on a system that is not Linux there are none."""

    def __init__(self, pids: Iterable[int]) -> None:
        # By a pidfd of each (pidfd_open(2)): a pid may be given to another process, a pidfd never stands for another.
        self._left: dict[int, int] = {}
        self._named: list[str] = []  # those that were signalled, for the log
        if sys.platform == "linux":
            for pid in pids:
                with contextlib.suppress(OSError):
                    self._left[os.pidfd_open(pid)] = pid

    def __bool__(self) -> bool:
        """Whether one of the processes has not ended, as far as `wait` has seen."""
        return bool(self._left)

    def wait(self, seconds: float) -> None:
        """Wait until all processes have ended, for at most `seconds`."""
        if sys.platform == "win32":
            raise NotImplementedError
        deadline = time.monotonic() + seconds
        poll = select.poll()
        for fd in self._left:
            poll.register(fd, select.POLLIN)
        patience = seconds
        while self._left and patience >= 0:
            for fd, _ in poll.poll(patience * 1000):
                poll.unregister(fd)
                del self._left[fd]
                os.close(fd)
            patience = deadline - time.monotonic()

    def terminate(self) -> None:
        """Send SIGTERM to those that have not ended."""
        for pid in sorted(self._left.values()):
            name = printable(_read(pid, "comm").decode(errors="replace").strip())
            self._named.append(f"{name} (pid {pid})")
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to those that have not ended."""
        if sys.platform == "win32":
            raise NotImplementedError
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Stop watching the processes, and log the names of those that `terminate` has signalled."""
        for fd in self._left:
            os.close(fd)
        self._left.clear()
        if self._named:
            rest = len(self._named) - NAMED
            logger.warning(
                "ended what the application had left running: %s%s; a session of its own would detach it",
                ", ".join(self._named[:NAMED]),
                f" and {rest} more" if rest > 0 else "",
            )
            self._named.clear()

    def _signal(self, number: signal.Signals) -> None:
        if sys.platform == "win32":
            raise NotImplementedError
        for fd in self._left:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(fd, number)
