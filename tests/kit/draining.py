"""What the tests of a drain control: its time, and an acceptor that accepts no more."""

import asyncio
from collections.abc import Callable

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
