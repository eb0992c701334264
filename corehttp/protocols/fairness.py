"""Who sends or asks without a pause takes turns: one goes on in each turn of the event loop, others wait in line."""

import asyncio
import contextvars
from collections import deque

AT_ONCE = 1  # that go on in one turn of the loop

FIRST = 256 * 1024  # bytes that a response sends before others get a turn; few, as many may begin in the same one
STRETCH = 4 * FIRST  # bytes between its later turns
MESSAGE = 4 * 1024  # what a message counts beside its bytes: to send it takes as long as to copy more than that


class Turns:
    """Who has sent a stretch, and has more, waits here; so what one turn of the loop takes does not grow with them.

    To yield alone would not do: a hundred downloads would each send a stretch in the same turn. What a healthy client
    waits for at most, beside a hundred that begin to be sent 100 MB at once (`benchmarks.slow_clients`): 330 to 500 ms
    without turns, 180 where all yield, 15 with turns.
    """

    __slots__ = ("_context", "_given", "_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = contextvars.copy_context()  # that of a request would be kept as long as others go on
        self._given = 0  # for the next turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Let others have a turn, and wait for the own one."""
        if self._given < AT_ONCE:
            self._give()
            await asyncio.sleep(0)
        else:
            waiter = self._loop.create_future()
            self._waiting.append(waiter)
            await waiter

    def _give(self) -> None:
        if not self._given:
            self._loop.call_soon(self._pass, context=self._context)
        self._given += 1

    def _pass(self) -> None:
        """A turn of the loop has begun: give those of the next one, first to whoever waits longest."""
        self._given = 0
        while self._waiting and self._given < AT_ONCE:
            waiter = self._waiting.popleft()
            if not waiter.done():  # it is, where its request was cancelled
                self._give()
                waiter.set_result(None)
