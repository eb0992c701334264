"""Requests to other workers that wait for what becomes of them."""

import asyncio
from itertools import count

from corehttp.bus.transport import OtherWorker, delivered

GONE, UNSENT = -1, -2  # what has become of a request, beside what a worker can say: its worker is gone; it was not sent
Outcome = tuple[int, bytes]  # what has become of a request, and the reply


class Calls:
    """The requests of this worker to others, each with a number of its own."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._waiting: dict[int, tuple[OtherWorker, asyncio.Future[Outcome]]] = {}

    async def ask(self, worker: OtherWorker, name: bytes, data: bytes, *, for_leader: bool) -> Outcome:
        """Send a request to a worker and return what becomes of it; `name` are the bytes of its topic."""
        number = next(self._numbers)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = worker, future
        try:
            if not await delivered(worker.request(number, name, data, for_leader=for_leader)):
                return UNSENT, b""
            return await future
        finally:
            del self._waiting[number]

    def resolve(self, worker: OtherWorker, number: int, outcome: int, data: bytes) -> None:
        """Record what a worker says of a request. What it was not asked, or nobody waits for any more, is ignored."""
        asked, future = self._waiting.get(number, (None, None))
        if asked is worker and future is not None and not future.done():
            future.set_result((outcome, data))

    def lose(self, worker: OtherWorker) -> None:
        """Record that a worker is gone, so that it answers no request any more."""
        for asked, future in self._waiting.values():
            if asked is worker and not future.done():
                future.set_result((GONE, b""))
