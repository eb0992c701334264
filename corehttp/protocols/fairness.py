"""Lets responses that are sent without a pause take turns, so that each turn of the event loop takes a bounded time."""

import asyncio
import contextvars
from collections import deque

AT_ONCE = 1  # how many of those that wait go on in one turn of the event loop

# Bytes that a connection sends before others get their first turn; few, since many connections may begin at once.
FIRST = 256 * 1024
STRETCH = 4 * FIRST  # bytes that a connection sends from then on between two turns
MESSAGE = 4 * 1024  # bytes that a message counts for beside its own, since sending it takes as long as copying so many


class Fairness:
    """A line in which senders wait that have sent a stretch and have more to send.

    In each turn of the event loop AT_ONCE of them go on, the one that has waited longest first, so that a turn does not
    take longer the more there are. If each merely yielded to the loop, a hundred downloads would each send a stretch in
    the same turn. While a hundred clients begin to be sent 100 MB each, another client waits at most 330 to 500 ms
    without turns, 180 ms if all yield, and 15 ms with turns (`benchmarks.slow_clients`).
    """

    __slots__ = ("_context", "_given", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # A callback in the context of a request would keep that context alive for as long as others take turns.
        self._context = contextvars.copy_context()
        self._given = 0  # how many senders go on in the next turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Let others go on, and return when it is the caller's turn; if nobody else waits, in the loop's next turn."""
        if self._given < AT_ONCE:
            self._give()
            await asyncio.sleep(0)
        else:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def _give(self) -> None:
        """Count one sender that goes on in the loop's next turn."""
        if not self._given:
            self._loop.call_soon(self._begin_turn, context=self._context)
        self._given += 1

    def _begin_turn(self) -> None:
        """Choose who goes on in the next turn of the loop; called at the beginning of a turn."""
        self._given = 0
        while self._waiting and self._given < AT_ONCE:
            waiter = self._waiting.popleft()
            if not waiter.done():  # a waiter is done already if its task was cancelled
                self._give()
                waiter.set_result(None)


class FairShare:
    """What one connection may still send before others get a turn; the `Allowance` of `contracts`.

    All responses that a connection sends at a time share one, so that a client does not get more by asking for more
    responses at once.
    """

    __slots__ = ("_fairness", "left")

    def __init__(self, fairness: Fairness) -> None:
        self.left = FIRST  # bytes; if below 0, the sender is to wait in `renew`
        self._fairness = fairness

    async def renew(self) -> None:
        """Wait for a turn; then, or if the wait is cancelled, a further STRETCH may be sent.

        A cancelled wait must not lead to the next one, since an application may ask again and again within a cancelled
        scope whether its client has left.
        """
        try:
            await self._fairness.turn()
        finally:
            self.left = STRETCH
