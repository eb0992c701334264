"""What to do when which descriptor can be read; and when one can be written whose channel is congested."""

import select
from collections.abc import Callable

from corehttp.ipc.channel import Channel


class Poller:
    """Waits for many descriptors at once."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._heed: dict[int, Callable[[], object]] = {}
        self._channels: dict[int, Channel] = {}
        self._writing: set[int] = set()  # they are asked about whether they can be written, too

    def watch(self, fd: int, heed: Callable[[], object]) -> None:
        """Have `heed` called when the descriptor can be read, or its other end is gone."""
        self._heed[fd] = heed
        self._poll.register(fd, select.POLLIN)

    def watch_channel(self, channel: Channel, heed: Callable[[], object]) -> None:
        """The same for a channel, which is also flushed when it has something to send."""
        self.watch(channel.fileno(), heed)
        self._channels[channel.fileno()] = channel

    def forget(self, fd: int) -> None:
        """Watch a descriptor no more, if it is; to be called before it is closed."""
        if self._heed.pop(fd, None) is not None:
            self._poll.unregister(fd)
        self._channels.pop(fd, None)
        self._writing.discard(fd)

    def descriptors(self) -> list[int]:
        """All that are watched."""
        return list(self._heed)

    def wait(self, milliseconds: float | None) -> list[tuple[int, Callable[[], object]]]:
        """What is to be done, with the descriptors; waits for so long at most."""
        for fd, channel in self._channels.items():
            if channel.congested is not (fd in self._writing):
                self._writing ^= {fd}
                self._poll.modify(fd, select.POLLIN | (select.POLLOUT if channel.congested else 0))
        due: list[tuple[int, Callable[[], object]]] = []
        for fd, events in self._poll.poll(milliseconds):
            if events & select.POLLOUT and fd in self._channels:
                due.append((fd, self._channels[fd].flush))
            if events & ~select.POLLOUT and fd in self._heed:
                due.append((fd, self._heed[fd]))
        return due
