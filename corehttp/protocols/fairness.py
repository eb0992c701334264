"""Who sends without a pause takes turns with others, so that one turn of the event loop takes a bounded time."""

import asyncio
import contextvars
from collections import deque

AT_ONCE = 1  # how many of those who wait go on in one turn of the event loop

FIRST = 256 * 1024  # bytes that a connection sends before others get a turn; few, as many connections may begin at once
STRETCH = 4 * FIRST  # bytes that it sends from then on between two turns
MESSAGE = 4 * 1024  # bytes that a message counts beside its own: to send it takes longer than to copy so many


class Fairness:
    """The line in which those wait who have sent a stretch and have more to send.

    In each turn of the event loop AT_ONCE of them go on, whoever has waited longest first, so that what a turn takes
    does not grow with their number. To let each of them merely yield would not do: a hundred downloads would each send
    a stretch in the same turn. A healthy client beside a hundred that begin to be sent 100 MB at once waits at most
    330 to 500 ms without turns, 180 ms where all yield, and 15 ms with turns (`benchmarks.slow_clients`).
    """

    __slots__ = ("_context", "_given", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # A callback in the context of a request would keep that context alive for as long as others take turns.
        self._context = contextvars.copy_context()
        self._given = 0  # how many go on in the next turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Let others go on, and return when it is the caller's turn: in the loop's next turn if nobody else waits."""
        if self._given < AT_ONCE:
            self._give()
            await asyncio.sleep(0)
        else:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def _give(self) -> None:
        if not self._given:
            self._loop.call_soon(self._begin_turn, context=self._context)
        self._given += 1

    def _begin_turn(self) -> None:
        """A turn of the loop has begun: choose who goes on in the next one."""
        self._given = 0
        while self._waiting and self._given < AT_ONCE:
            waiter = self._waiting.popleft()
            if not waiter.done():  # a waiter is done already if its task was cancelled
                self._give()
                waiter.set_result(None)


class FairShare:
    """What one connection may still send before others get a turn; the `Allowance` of `contracts`.

    All responses that a connection sends at a time share one, so that a client gets no more turns' worth by asking for
    more responses at once.
    """

    __slots__ = ("_fairness", "left")

    def __init__(self, fairness: Fairness) -> None:
        self.left = FIRST  # bytes; below 0 whoever has sent has to wait in `renew`
        self._fairness = fairness

    async def renew(self) -> None:
        """Wait for a turn, which brings a further STRETCH.

        A wait that is cancelled brings it too: an application may ask in a cancelled scope again and again whether its
        client has left, and is to be told at last.
        """
        try:
            await self._fairness.turn()
        finally:
            self.left = STRETCH
