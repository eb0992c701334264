"""The end of a worker's work: connections leave, streams are told to end, requests are finished, the rest is cut."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Application
from corehttp.worker.acceptor import Acceptor
from corehttp.worker.departure import WorkerDeparture
from corehttp.worker.periodic import Faults

logger = logging.getLogger("corehttp.error")

POLL = 0.02  # seconds between two looks at what is still in flight
LOOK = 0.25  # seconds between two looks for clients that have left unnoticed
LAST = 1.0  # seconds before an application is cancelled that goes on though nobody awaits its end
CANCEL_GRACE = 0.5  # seconds that cancelled applications get to clean up


class DrainClock(Protocol):
    """The time of a drain, and the way to let it pass."""

    def monotonic(self) -> float:
        """Return the time in seconds, as time.monotonic() does."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        ...


class SystemClock:
    """The time of the system and of the running event loop."""

    def monotonic(self) -> float:
        """Return the time in seconds, as time.monotonic() does."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)


class Drain:
    """The end of the work in one worker, which has stopped accepting connections, or is about to.

    Whatever protocol a connection speaks, it leaves by itself when it is asked to, as `departure` lets it.
    """

    def __init__(
        self,
        context: WorkerContext,
        acceptor: Acceptor,
        departure: WorkerDeparture,
        *,
        tell_at: float,
        clock: DrainClock,
    ) -> None:
        """`tell_at` is when responses that never end by themselves are told to end (seconds, by `clock`)."""
        self._context = context
        self._acceptor = acceptor
        self._departure = departure
        self._tell_at = tell_at
        self._clock = clock
        self._unawaited: dict[Application, float] = {}  # since when nobody has awaited the end of each
        self._cancelled: set[Application] = set()
        self._look_at = 0.0
        self._faults = Faults("the end of a connection")

    async def finish(self, deadline: float) -> bool:
        """Wait until nothing is in flight; return False if the deadline (seconds, by the clock) comes first."""
        context, clock = self._context, self._clock
        while self._waits_for_applications(clock.monotonic()) or context.connections or not self._acceptor.done:
            now = clock.monotonic()
            if now >= deadline:
                return False
            self._end_connections(now)
            if now >= self._tell_at:
                for exchange in tuple(context.running):
                    self._attempt(exchange.announce_leave, exchange.cancel)
            await clock.sleep(POLL)
        return True

    async def cut(self) -> int:
        """End what is still in flight, log each request and WebSocket that is cut, and return how many those are."""
        self._acceptor.close()
        context, clock = self._context, self._clock
        context.cutting = True
        now = clock.monotonic()
        going = [
            application
            for application in (*context.running, *context.websockets)
            if not application.ended and application not in self._cancelled
        ]
        unanswered = (exchange for connection in context.connections for exchange in connection.unanswered)
        cut = sum(self._cut(application, now) for application in {*going, *unanswered})
        give_up = now + CANCEL_GRACE
        while any(not application.ended for application in going) and clock.monotonic() < give_up:
            await clock.sleep(POLL)
        for connection in tuple(context.connections):
            self._faults.attempt(connection.cut)
        await asyncio.sleep(0)
        return cut

    def _cut(self, application: Application, now: float) -> bool:
        """Cancel an application; return whether that cuts anything, so False if nobody awaits its end any more."""
        self._faults.attempt(application.announce_leave)  # so that a request without a response is answered with 503
        awaited = not application.unawaited
        if awaited:
            age = max(0.0, now - application.started_at)
            logger.warning("cut at the end of the graceful time: %s after %.1f s", application.name, age)
        self._faults.attempt(application.cancel)
        return awaited

    def _attempt(self, act: Callable[[], object], otherwise: Callable[[], object]) -> None:
        """Call `act`; if it raises, report that and call `otherwise`, so that the stop goes on for all others."""
        if not self._faults.attempt(act):
            self._faults.attempt(otherwise)

    def _end_connections(self, now: float) -> None:
        """Ask every connection to leave, and every LOOK seconds to find out whether its client has left."""
        looks = now >= self._look_at
        if looks:
            self._look_at = now + LOOK
        for connection in tuple(self._context.connections):
            if looks:
                self._attempt(connection.suspect, connection.cut)
            if not self._faults.attempt(self._departure.ask_to_leave, connection, now):
                self._faults.attempt(connection.cut)

    def _waits_for_applications(self, now: float) -> bool:
        """Whether an application goes on that has to be waited for, at `now` (seconds, by the clock).

        One whose end nobody awaits is cancelled after LAST seconds. It gets that time because it was told that its
        client has left, and may have something to put in order.
        """
        waits = False
        for application in (*self._context.running, *self._context.websockets):
            if not application.unawaited:
                waits = True
                continue
            since = self._unawaited.setdefault(application, now)
            if now - since >= LAST and application not in self._cancelled:
                self._cancelled.add(application)
                self._faults.attempt(application.cancel)
            waits = waits or now - since < LAST + CANCEL_GRACE
        return waits
