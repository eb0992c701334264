"""Signals become marks, and one descriptor that can be read; the handlers do nothing else."""

import contextlib
import signal
import socket
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
}
HANDLED = (*COMMANDS, signal.SIGCHLD)
MOST = 64  # of one signal that are kept until they are read


class SignalPipe:
    """While it is open, the signals in HANDLED, and those that nobody uses, make `fileno()` readable.

    The descriptor only wakes up: it may have no room for another byte, and no signal is lost. What was there before is
    put back at the end; unless the process ends then (`owns_process`): no signal changes its exit code any more.
    """

    def __init__(self, *, owns_process: bool = False) -> None:
        self._owns_process = owns_process
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._pending: list[int] = []

    def fileno(self) -> int:
        return self._reader.fileno()

    def read(self) -> list[int]:
        """The numbers of the signals that have come in, in their order."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass
        pending, self._pending = self._pending, []
        return pending

    def __enter__(self) -> Self:
        self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, self._mark) for number in HANDLED}
        self._unused = unused_signals.handle(unused_signals.unused(HANDLED), self._mark)
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
