"""What the tests of a drain control: its time, and an acceptor that accepts no more."""

import asyncio
from collections.abc import Callable
from typing import cast

from corehttp.protocols.context import WorkerContext
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.departure import WorkerDeparture
from corehttp.worker.drain import Drain
from tests.kit.fakes import NOW, TURNS


class Time:
    """The drain's time: it passes while the drain sleeps, and `meanwhile` is what happens then."""

    def __init__(self) -> None:
        self.now = NOW
        self.meanwhile: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile()
        for _ in range(TURNS):
            await asyncio.sleep(0)


class Full:
    """An acceptor that accepts no more."""

    done = True

    def close(self) -> None: ...


def drain_of(
    context: WorkerContext, time: Time, *, idle_grace: float = 0.2, stream_grace: float = 0.0, grace: float = 0.0
) -> Drain:
    """The drain of a worker that leaves now; `grace` is over how many seconds its WebSockets are closed."""
    departure = WorkerDeparture(time.now, hand_over=context.hand_over, idle_grace=idle_grace, reconnect_grace=grace)
    return Drain(context, cast(Acceptor, Full()), departure, tell_at=time.now + stream_grace, clock=time)
