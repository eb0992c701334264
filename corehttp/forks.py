"""Processes that the application forks: signals have their default action in them, and they hold nothing of the server.

A fork (not one that is followed by exec) inherits the signal handlers, the descriptor through which signals wake the
event loop, and every open descriptor. Left alone, such a process ignores SIGTERM, or has this one obey it (Python
before 3.12); keeps the port and clients' connections open that this one has closed; and changes what the event loop
watches, since both have the same epoll instance (epoll(7), "Q6").
"""

import contextlib
import faulthandler
import functools
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType, MethodType

from corehttp.asgi import Unchecked

Descriptors = Callable[[], Iterable[int]]

_protected: list[tuple[Descriptors, bool]] = []
_masks = threading.local()  # of the thread that forks: the signals that were blocked before
_registered = False
_off = False


def protect(descriptors: Descriptors, *, signals: bool = False) -> Callable[[], None]:
    """From now on a process that is forked here has none of these descriptors.

    `descriptors` is asked when it is forked. `signals`: it has none of our signal handlers either; not for a server in
    somebody's event loop, where signals are not ours. Answers what ends the protection.
    """
    global _registered
    if not _registered:
        _registered = True  # such handlers cannot be taken back
        os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
    entry = (descriptors, signals)
    _protected.append(entry)

    def end() -> None:
        with contextlib.suppress(ValueError):
            _protected.remove(entry)

    return end


@contextlib.contextmanager
def own() -> Iterator[None]:
    """What is forked meanwhile is a process of the server, which keeps what it inherits and is not protected itself."""
    global _off
    _off, process = True, os.getpid()
    try:
        yield
    finally:
        _off = False
        if os.getpid() != process:
            _protected.clear()


def poller(loop: Unchecked) -> int:
    """The descriptor of the epoll instance of an event loop; -1 where that cannot be told."""
    selector = getattr(loop, "_selector", None)
    try:
        return int(selector.fileno() if selector is not None else loop._get_backend_id())
    except (AttributeError, OSError, ValueError):
        return -1


def _before() -> None:
    """A signal must not reach the new process while it still has our handlers."""
    if _protected and not _off:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _unblock() -> None:
    before, _masks.before = getattr(_masks, "before", None), None
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child() -> None:
    try:
        if _protected and not _off:
            entries = _protected.copy()
            _protected.clear()  # from now on their numbers may be those of files of this process
            if any(signals for _, signals in entries):
                _reset_signals()
            _replace({fd for each, _ in entries for fd in each() if fd >= 0})
    finally:
        _unblock()


def _replace(descriptors: Iterable[int]) -> None:
    """Put something harmless in the place of each, so that it can still be closed, but nothing comes from it."""
    sources: list[Unchecked] = []
    try:
        end, other = socket.socketpair()
        other.close()
        sources = [end, select.epoll() if sys.platform == "linux" else end]
    except OSError:  # no descriptor is free
        pass
    sock, epoll = [source.fileno() for source in sources] or [0, 0]
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.dup2(epoll if _is_epoll(fd) else sock, fd, inheritable=False)
    for source in sources:
        source.close()


def _is_epoll(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    except OSError:  # another system, which has none
        return False


def _reset_signals() -> None:
    # Otherwise a signal to this process would wake the event loop of the other (Python before 3.12).
    signal.set_wakeup_fd(-1)
    # It puts back whatever the kernel had before (see `watchdog.install_dump`), which `getsignal` may not tell.
    faulthandler.unregister(signal.SIGUSR2)
    if signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    for number in signal.valid_signals():
        if _is_ours(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _is_ours(handler: Unchecked) -> bool:
    """Whether it is the server's or the event loop's, which does nothing without the loop."""
    if type(handler) is functools.partial:
        handler = handler.func
    if type(handler) is MethodType:
        handler = handler.__func__
    if type(handler) is not FunctionType and type(handler).__name__ != "cython_function_or_method":
        return False
    return handler.__module__.partition(".")[0] in ("corehttp", "asyncio", "uvloop")
