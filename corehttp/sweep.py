"""Look at the connections that are late: a few in a turn of the event loop, however many they are."""

import asyncio
from collections.abc import Collection
from typing import Protocol

from corehttp.clock import Clock

# Connections looked at in one turn. To refuse one takes about 20 us. When 4000 slow heads were late at once, another
# client had to wait for 98 ms, with batches for 7.
BATCH = 32


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float  # seconds, by the worker's clock

    def expire(self) -> None:
        """The deadline is over."""
        ...


class Sweep:
    """Lets those of the `connections` expire that are late; others are served in between.

    To be called at each tick; if it is not through by the next one, it begins anew.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, connections: Collection[Timed]) -> None:
        self._loop = loop
        self._clock = clock
        self._connections = connections
        self._late: list[Timed] = []
        self._under_way = False

    def __call__(self, now: float) -> None:
        self._late = [connection for connection in self._connections if connection.deadline <= now]
        if not self._under_way:
            self._go_on()

    def _go_on(self) -> None:
        batch = self._late[-BATCH:]
        del self._late[-BATCH:]
        self._under_way = bool(self._late)
        if self._under_way:
            self._loop.call_soon(self._go_on)
        for connection in batch:
            # It may be lost by now, or in time again.
            if connection in self._connections and connection.deadline <= self._clock.ticked:
                connection.expire()
