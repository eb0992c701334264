"""Keep the server apart from processes that the application forks: they get none of its handlers and descriptors.

A fork that is not followed by execve(2) inherits the signal handlers, the descriptor through which signals wake the
event loop, and every open descriptor. Without this module such a process ignores SIGTERM, or (Python before 3.12) has
its parent obey it; it keeps the port open, and connections that its parent has closed; and it changes what the event
loop of its parent watches, since both have the same epoll instance (epoll(7), "Q6").
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
_masks = threading.local()  # in a thread that forks: the signals that it had blocked before
_registered = False
_off = False


def protect(descriptors: Descriptors, *, signals: bool = False) -> Callable[[], None]:
    """Let every process that is forked from now on have none of these descriptors; return what ends that.

    `descriptors` is called in the new process. With `signals`, the new process has none of the server's signal handlers
    either; a server in the event loop of a program sets no handlers, so it leaves that off.
    """
    global _registered
    if sys.platform == "win32":  # no process is forked there
        return lambda: None
    if not _registered:
        _registered = True  # `register_at_fork` cannot be undone
        os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
    entry = (descriptors, signals)
    _protected.append(entry)

    def end() -> None:
        with contextlib.suppress(ValueError):
            _protected.remove(entry)

    return end


@contextlib.contextmanager
def own() -> Iterator[None]:
    """Let a process that is forked meanwhile be one of the server: it keeps what it inherits.

    That process then has no protection of its own until it calls `protect`.
    """
    global _off
    _off, process = True, os.getpid()
    try:
        yield
    finally:
        _off = False
        if os.getpid() != process:
            _protected.clear()


def poller(loop: Unchecked) -> int:
    """Return the descriptor of the epoll instance of an event loop, or -1 if it is not known."""
    selector = getattr(loop, "_selector", None)
    try:
        return int(selector.fileno() if selector is not None else loop._get_backend_id())
    except (AttributeError, OSError, ValueError):
        return -1


def _before() -> None:
    """Block all signals before a fork, so that none reaches the new process while it has the server's handlers."""
    if sys.platform == "win32":
        raise NotImplementedError
    if _protected and not _off:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def _unblock() -> None:
    """Undo `_before`, in both processes."""
    if sys.platform == "win32":
        raise NotImplementedError
    before, _masks.before = getattr(_masks, "before", None), None
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child() -> None:
    """Take everything of the server from the new process."""
    try:
        if _protected and not _off:
            entries = _protected.copy()
            _protected.clear()  # later forks of this process may have files of their own with these numbers
            if any(signals for _, signals in entries):
                _reset_signals()
            _replace({fd for each, _ in entries for fd in each() if fd >= 0})
    finally:
        _unblock()


def _replace(descriptors: Iterable[int]) -> None:
    """Put something harmless in the place of each: it can still be closed, but nothing can be read from it."""
    if sys.platform == "win32":
        raise NotImplementedError
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
    except OSError:  # a system without /proc has no epoll instances
        return False


def _reset_signals() -> None:
    """Give the signals that the server or the event loop handles their default action."""
    if sys.platform == "win32":
        raise NotImplementedError
    # Otherwise a signal to this process would wake the event loop of its parent (Python before 3.12).
    signal.set_wakeup_fd(-1)
    # This puts back what the kernel had before `watchdog.install_dump`; `getsignal` may not know what that was.
    faulthandler.unregister(signal.SIGUSR2)
    if signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL:
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    for number in signal.valid_signals():
        if _is_ours(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _is_ours(handler: Unchecked) -> bool:
    """Whether a signal handler is the server's, or the event loop's, which does nothing without the loop."""
    if type(handler) is functools.partial:
        handler = handler.func
    if type(handler) is MethodType:
        handler = handler.__func__
    if type(handler) is not FunctionType and type(handler).__name__ != "cython_function_or_method":
        return False
    return handler.__module__.partition(".")[0] in ("corehttp", "asyncio", "uvloop")
