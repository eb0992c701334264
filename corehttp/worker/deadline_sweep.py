"""Let late connections expire: a few in each turn of the event loop, however many they are."""

import asyncio
from collections.abc import Collection
from typing import Protocol

from corehttp.moments import NEVER
from corehttp.protocols.clock import Clock
from corehttp.worker.periodic import Faults

# The most connections that expire in one turn of the loop. To refuse one takes about 20 us. When 4000 slow heads were
# late at once, another client had to wait for 98 ms, and for 7 ms with batches of this size.
BATCH = 32


class Timed(Protocol):
    """A connection with a deadline."""

    deadline: float  # when it is late, in seconds by the worker's clock

    def expire(self) -> None:
        """Act on the deadline, which is over, and set another one."""
        ...

    def cut(self) -> None:
        """End the connection at once."""
        ...


class Sweep:
    """Lets those of the `connections` expire that are late; other connections are served in between.

    To be called at each tick; a sweep that has not ended by then begins anew. No connection is judged before the loop
    has once more read what has come for all of them: a tick may be the first thing that runs after something has
    blocked the loop, and what clients have sent meanwhile is then still in the kernel. If one fails to expire, it is
    cut, and the sweep goes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, connections: Collection[Timed]) -> None:
        self._loop = loop
        self._clock = clock
        self._connections = connections
        self._late: list[Timed] = []
        self._under_way = False
        self._faults = Faults("the time-out of a connection")

    def __call__(self, now: float) -> None:
        """Begin a sweep of the connections that are late at `now` (seconds, by the worker's clock)."""
        self._late = [connection for connection in self._connections if connection.deadline <= now]
        if self._late and not self._under_way:
            self._under_way = True
            self._loop.call_soon(self._read_first)

    def _read_first(self) -> None:
        """Let a whole turn of the loop pass, in which it reads what has come."""
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Let the next batch expire, and the others in later turns of the loop."""
        batch = self._late[-BATCH:]
        del self._late[-BATCH:]
        self._under_way = bool(self._late)
        if self._under_way:
            self._loop.call_soon(self._go_on)
        for connection in batch:
            # Meanwhile a connection may be lost, or in time again.
            if connection in self._connections and connection.deadline <= self._clock.ticked:
                self._expire(connection)

    def _expire(self, connection: Timed) -> None:
        if not self._faults.attempt(connection.expire):
            connection.deadline = NEVER
            self._faults.attempt(connection.cut)
