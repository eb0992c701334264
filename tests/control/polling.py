"""A supervisor's loop as far as the control socket sees it, with a clock of its own."""

import select
from collections.abc import Callable

from corehttp.ipc.polling import Flushable


class FakePoller:
    """Implements `server.ControlHost`. Nothing happens by itself: the test calls `turn`."""

    def __init__(self) -> None:
        self.time = 100.0
        self.readers: dict[int, Callable[[], object]] = {}
        self.channels: dict[int, Flushable] = {}

    def now(self) -> float:
        return self.time

    def watch(self, fd: int, on_readable: Callable[[], object]) -> None:
        self.readers[fd] = on_readable

    def watch_channel(self, channel: Flushable, on_readable: Callable[[], object]) -> None:
        self.watch(channel.fileno(), on_readable)
        self.channels[channel.fileno()] = channel

    def forget(self, fd: int) -> None:
        self.readers.pop(fd, None)
        self.channels.pop(fd, None)

    def turn(self) -> None:
        """Do all that is possible now, until nothing is."""
        while True:
            congested = [fd for fd, channel in self.channels.items() if channel.congested]
            readable, writable, _ = select.select(list(self.readers), congested, [], 0)
            if not readable and not writable:
                return
            for fd in writable:
                self.channels[fd].flush()
            for fd in readable:
                if fd in self.readers:
                    self.readers[fd]()
