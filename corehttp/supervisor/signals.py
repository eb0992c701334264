"""Keep the signals that come in until the loop reads them. The handlers only note the number and wake the loop up."""

import contextlib
import signal
import socket
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self

from corehttp import unused_signals
from corehttp.supervisor.commands import Command

COMMANDS = {
    signal.SIGTERM: Command.STOP,
    signal.SIGINT: Command.INTERRUPT,
    signal.SIGQUIT: Command.FORCE,
    signal.SIGHUP: Command.RELOAD,
    signal.SIGTTIN: Command.GROW,
    signal.SIGTTOU: Command.SHRINK,
    signal.SIGUSR2: Command.UPGRADE,
    signal.SIGUSR1: Command.REOPEN,
}
# SIGUSR1 is taken only where nothing else in the program handles or ignores it, as the signals that nobody uses.
HANDLED = (*(number for number in COMMANDS if number != signal.SIGUSR1), signal.SIGCHLD)
MOST = 64  # how often one signal is kept until it is read; more of the same say nothing new


@contextlib.contextmanager
def held_back(*, owns_process: bool) -> Iterator[None]:
    """Let the signals in HANDLED wait until a SignalPipe of the process takes them, or until the end of this context.

    So none ends a start by its default action, which would leave the path of a unix socket behind. Without
    `owns_process` the program that embeds the server decides about its signals, and nothing is held back.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED if owns_process else ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class SignalPipe:
    """A context in which the signals in HANDLED, and those that nobody uses, are kept and make `fileno()` readable.

    The descriptor only wakes the loop up. The numbers are kept in a list, so none is lost if the descriptor has no room
    for another byte. At the end the handlers of before are put back; if the process ends then (`owns_process`), signals
    are ignored instead, so that none changes the exit code.
    """

    def __init__(self, *, owns_process: bool = False) -> None:
        self._owns_process = owns_process
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._pending: list[int] = []

    def fileno(self) -> int:
        """The descriptor that can be read when a signal has come in."""
        return self._reader.fileno()

    def read(self) -> list[int]:
        """Return the numbers of the signals that have come in since the last call, in their order."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        pending, self._pending = self._pending, []
        return pending

    def __enter__(self) -> Self:
        self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._mark) for number in HANDLED}
        self._unused = unused_signals.handle(unused_signals.unused(HANDLED), self._mark)
        if self._owns_process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_fd)
        if self._owns_process:
            unused_signals.ignore_all()
            self._handlers, self._unused = {}, {}
        for number, handler in (*self._handlers.items(), *self._unused.items()):
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _mark(self, number: int, frame: FrameType | None) -> None:
        if self._pending.count(number) < MOST:
            self._pending.append(number)
