"""Look at the connections that are late: a few in a turn of the event loop, however many they are."""

import asyncio
from collections.abc import Collection
from typing import Protocol

from corehttp.protocols.clock import Clock
from corehttp.protocols.limits import NEVER
from corehttp.worker.periodic import Faults

# Connections looked at in one turn. To refuse one takes about 20 us. When 4000 slow heads were late at once, another
# client had to wait for 98 ms, with batches for 7.
BATCH = 32


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float  # seconds, by the worker's clock

    def expire(self) -> None:
        """The deadline is over."""
        ...

    def cut(self) -> None:
        """End it at once."""
        ...


class Sweep:
    """Lets those of the `connections` expire that are late; others are served in between.

    To be called at each tick; if it is not through by the next one, it begins anew. Nobody is judged before the loop
    has asked the kernel once more and read what has come for everybody: a tick may be the first thing that runs after
    something has blocked the loop, and what clients sent meanwhile is then still in the kernel. One that fails is cut,
    and the others go on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, connections: Collection[Timed]) -> None:
        self._loop = loop
        self._clock = clock
        self._connections = connections
        self._late: list[Timed] = []
        self._under_way = False
        self._faults = Faults("the time-out of a connection")

    def __call__(self, now: float) -> None:
        self._late = [connection for connection in self._connections if connection.deadline <= now]
        if self._late and not self._under_way:
            self._under_way = True
            self._loop.call_soon(self._read_first)

    def _read_first(self) -> None:
        """Let a whole turn of the loop pass: between what was scheduled before a turn and after it, all is read."""
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        batch = self._late[-BATCH:]
        del self._late[-BATCH:]
        self._under_way = bool(self._late)
        if self._under_way:
            self._loop.call_soon(self._go_on)
        for connection in batch:
            # It may be lost by now, or in time again.
            if connection in self._connections and connection.deadline <= self._clock.ticked:
                self._expire(connection)

    def _expire(self, connection: Timed) -> None:
        if not self._faults.attempt(connection.expire):
            connection.deadline = NEVER
            self._faults.attempt(connection.cut)
