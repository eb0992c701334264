"""What watches the descriptors of a process that runs no event loop of asyncio: contracts. Pure."""

from collections.abc import Callable
from typing import Protocol


class Flushable(Protocol):
    """What can be sent to only when there is room. No call waits."""

    @property
    def congested(self) -> bool:
        """Whether something waits to be sent: `flush` is to be called when the descriptor can be written."""

    def fileno(self) -> int:
        """The number of the descriptor."""

    def flush(self) -> object:
        """Send what waits, as far as the other end takes it at once."""


class DescriptorPoller(Protocol):
    """Calls functions for descriptors that can be read, and flushes congested channels that can be written."""

    def watch(self, fd: int, on_readable: Callable[[], object]) -> None:
        """Have `on_readable` called whenever the descriptor can be read, or its other end is closed."""

    def watch_channel(self, channel: Flushable, on_readable: Callable[[], object]) -> None:
        """Do as `watch` does, and have the channel flushed whenever it is congested and can be written."""

    def forget(self, fd: int) -> None:
        """Stop watching a descriptor, if it is watched. To be called before it is closed."""
