"""Signals become bytes on one descriptor; the handlers do nothing else."""

import contextlib
import signal
import socket
from types import FrameType, TracebackType
from typing import Self

HANDLED = (
    *(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP),
    *(signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2),
)


class SignalPipe:
    """While it is open, the signals in HANDLED make `fileno()` readable; what was there before is put back after."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def read(self) -> list[int]:
        """The numbers of the signals that have come in."""
        with contextlib.suppress(BlockingIOError):
            return list(self._reader.recv(4096))
        return []

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, _ignore) for number in HANDLED}
        self._wakeup_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_fd)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()


def _ignore(signum: int, frame: FrameType | None) -> None:
    """Only so that the signal reaches the wakeup descriptor."""
