"""The messages that wait for one subscriber: bounded; the oldest are dropped, and counted. Pure."""

from collections import deque
from typing import Generic, Protocol, TypeVar


class Counted(Protocol):
    """A message that says how many of its kind are missing directly before it."""

    data: bytes
    lost: int


M = TypeVar("M", bound=Counted)


class Backlog(Generic[M]):
    """At most `count` messages with `size` bytes of data together; one message is kept whatever its size."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._messages: deque[M] = deque()
        self._bytes = 0
        self._missing = 0  # how many messages before the next one are missing, beyond what that will say

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: M) -> list[M]:
        """Add a message, and return those that were dropped for it, the oldest first.

        The message that follows those says in `lost` how many they are, with those that they counted themselves.
        """
        messages = self._messages
        messages.append(message)
        message.lost += self._missing
        self._missing = 0
        self._bytes += len(message.data)
        dropped: list[M] = []
        while len(messages) > self._count or (self._bytes > self._size and len(messages) > 1):
            oldest = messages.popleft()
            self._bytes -= len(oldest.data)
            messages[0].lost += oldest.lost + 1
            dropped.append(oldest)
        return dropped

    def miss(self) -> None:
        """Have the next message count one more that is missing before it, unless it does so already."""
        self._missing = 1

    @property
    def newest(self) -> M | None:
        """The message that was added last; None if none waits."""
        return self._messages[-1] if self._messages else None

    def take(self) -> M | None:
        """Remove the oldest message and return it; None if there is none."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._bytes -= len(message.data)
        return message
