"""Wait for many descriptors at once, each with what is to be called for it, and flush channels that are congested."""

import select
from collections.abc import Callable

from corehttp.ipc.polling import Flushable


class Poller:
    """Keeps for any number of descriptors what to call when each can be read, and waits for them (poll(2))."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._on_readable: dict[int, Callable[[], object]] = {}
        self._channels: dict[int, Flushable] = {}
        self._writing: set[int] = set()  # channels that are also polled for room to write

    def watch(self, fd: int, on_readable: Callable[[], object]) -> None:
        """Have `wait` return `on_readable` when the descriptor can be read, or its other end is closed."""
        self._on_readable[fd] = on_readable
        self._poll.register(fd, select.POLLIN)

    def watch_channel(self, channel: Flushable, on_readable: Callable[[], object]) -> None:
        """Watch the descriptor of a channel, and flush the channel whenever it is congested and can be written."""
        self.watch(channel.fileno(), on_readable)
        self._channels[channel.fileno()] = channel

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor, if it is watched. To be called before it is closed."""
        if self._on_readable.pop(fd, None) is not None:
            self._poll.unregister(fd)
        self._channels.pop(fd, None)
        self._writing.discard(fd)

    def descriptors(self) -> list[int]:
        """All descriptors that are watched."""
        return list(self._on_readable)

    def wait(self, milliseconds: float | None) -> list[tuple[int, Callable[[], object]]]:
        """Wait for so long at most (None: no limit), and return the ready descriptors, each with what to call."""
        for fd, channel in self._channels.items():
            if channel.congested != (fd in self._writing):
                self._poll_for_room(fd, channel.congested)
        due: list[tuple[int, Callable[[], object]]] = []
        for fd, events in self._poll.poll(milliseconds):
            if events & select.POLLOUT and fd in self._channels:
                due.append((fd, self._channels[fd].flush))
            if events & ~select.POLLOUT and fd in self._on_readable:
                due.append((fd, self._on_readable[fd]))
        return due

    def _poll_for_room(self, fd: int, wanted: bool) -> None:
        """Poll the descriptor of a channel for room to write, too, or not any more."""
        if wanted:
            self._writing.add(fd)
            self._poll.modify(fd, select.POLLIN | select.POLLOUT)
        else:
            self._writing.discard(fd)
            self._poll.modify(fd, select.POLLIN)
