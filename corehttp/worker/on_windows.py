"""What a worker does in its own way on Windows: its event loop, its signals, and how many files it may open."""

import asyncio
import contextlib
import functools
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator
from types import FrameType

from corehttp.errors import StartupError

Handler = Callable[[int, FrameType | None], object]

# The signals that stop a service. On Windows Ctrl-C and Ctrl-Break are the only ones that arrive (`os.kill` in the
# library reference).
STOPPING: tuple[signal.Signals, ...]
FORCING: tuple[signal.Signals, ...]  # those among them that end a service at once, SIGINT at its second time
REOPENING: signal.Signals | None  # the one at which log files are opened anew
if sys.platform == "win32":
    STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGBREAK)
    FORCING = (signal.SIGINT,)
    REOPENING = None
else:
    STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    FORCING = (signal.SIGINT, signal.SIGQUIT)
    REOPENING = signal.SIGUSR1


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop of asyncio that can watch sockets; the usual one of Windows cannot (`add_reader`)."""
    return asyncio.SelectorEventLoop() if sys.platform == "win32" else asyncio.new_event_loop()


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Raise StartupError if an event loop cannot watch sockets, as the usual one of Windows."""
    if sys.platform == "win32" and not isinstance(loop, asyncio.SelectorEventLoop):
        raise StartupError(
            f"{type(loop).__name__} cannot watch sockets (add_reader): on Windows run the program in another event "
            "loop, as by asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop)"
        )


if sys.platform == "win32":

    def most_files() -> int:
        """Return how many files this process may have open: as many as the C library has places for."""
        return 512

else:
    import resource  # now, since there may be no file left to import it from when the limit is to be told

    def most_files() -> int:
        """Return how many files this process may have open (getrlimit(2))."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def heed(
    loop: asyncio.AbstractEventLoop, number: signal.Signals, callback: Callable[..., object], *args: object
) -> None:
    """Have the event loop, which runs in the main thread, call `callback` with these arguments when a signal comes."""
    try:
        loop.add_signal_handler(number, callback, *args)
    except NotImplementedError:
        signal.signal(number, functools.partial(_pass_on, loop, callback, args))


def unheed(loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
    """Undo `heed`; what the signal does afterwards is for the caller to set."""
    with contextlib.suppress(NotImplementedError):
        loop.remove_signal_handler(number)


def _pass_on(
    loop: asyncio.AbstractEventLoop,
    callback: Callable[..., object],
    args: tuple[object, ...],
    signum: int,
    frame: FrameType | None,
) -> None:
    """Handle a signal where the event loop cannot: have the loop call `callback` in its next turn."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(callback, *args)


@contextlib.contextmanager
def woken(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have signals wake the event loop up while the context is open, where the loop does not see to it itself.

    On Windows a signal does not interrupt select(2), and its handler in Python would run only when the wait is over. To
    be entered in the main thread.
    """
    if sys.platform != "win32":
        yield
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, _drain, reader)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)


def _drain(reader: socket.socket) -> None:
    """Take out what signals have written; their handlers have run by now, or run next."""
    with contextlib.suppress(BlockingIOError):
        reader.recv(4096)


@contextlib.contextmanager
def blocked(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Have signals wait while the context is open; on Windows, where they cannot, they arrive all the same."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
