"""A subscription: the messages of some topics, one after the other, for the tasks that iterate over it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from corehttp.bus.backlog import Backlog
from corehttp.bus.message import Gap, Message

QUEUE = 1024  # the most messages that wait for a subscriber, unless it says otherwise
BYTES = 8 << 20  # the most bytes of data that wait for a subscriber
AT_ONCE = 32  # how many messages a subscriber takes before the event loop gets a turn


class Subscription:
    """The messages of `topics` since the context was entered. Several tasks may share one; each message goes to one.

    `begin` is called when it is to get messages, and returns what ends that. At most `max_queue` messages wait, and
    BYTES of data; beyond that the oldest are dropped, and the next one says how many in `lost`. Where messages of other
    machines may be missing a Gap comes if `gaps` is true; if not, `lost` of the next message is 1 at least.
    """

    def __init__(
        self,
        topics: tuple[str, ...],
        max_queue: int,
        begin: Callable[["Subscription"], Callable[[], None]],
        *,
        gaps: bool = False,
    ) -> None:
        self.topics = topics
        self._gaps = gaps
        self._backlog: Backlog[Message] = Backlog(max_queue, BYTES)
        self._begin = begin
        self._end: Callable[[], None] = lambda: None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._taken = 0

    async def __aenter__(self) -> Self:
        self._end = self._begin(self)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._end()
        while (message := self._backlog.take()) is not None:
            message.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Wait for the next message and return it."""
        self._taken += 1
        if not self._taken % AT_ONCE:
            await asyncio.sleep(0)  # a subscriber that always finds a message must not keep the loop to itself
        while (message := self._backlog.take()) is None:
            arrival = asyncio.get_running_loop().create_future()
            self._waiting.append(arrival)
            try:
                await arrival
            except asyncio.CancelledError:
                self._pass_on(arrival)
                raise
        return message

    def miss(self) -> None:
        """Note that messages of other machines may be missing from now on. Several gaps in a row are one."""
        if not self._gaps:
            self._backlog.miss()
        elif not isinstance(self._backlog.newest, Gap):
            self.put(Gap())

    def put(self, message: Message) -> None:
        """Add a message, and wake a task that waits for one."""
        for dropped in self._backlog.put(message):
            dropped.drop()
        self._wake()

    def _wake(self) -> None:
        """Wake the first task that waits and was not woken yet."""
        while self._waiting:
            arrival = self._waiting.popleft()
            if not arrival.done():
                arrival.set_result(None)
                return

    def _pass_on(self, arrival: asyncio.Future[None]) -> None:
        """Let another task have the message for which a task was woken that is cancelled."""
        if arrival.cancelled():
            if arrival in self._waiting:
                self._waiting.remove(arrival)
        elif len(self._backlog):
            self._wake()
