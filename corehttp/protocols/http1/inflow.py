"""Whether a client is read, and until when it has to send what is awaited of it."""

import asyncio
from collections.abc import Callable

from corehttp.moments import NEVER
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.limits import Pace


class Inflow:
    """What comes in from one client: paused or not, and in time or not. All times are seconds by the worker's clock.

    It exists only while a client is not read or has to send something in time, so that an idle connection has none.
    """

    __slots__ = ("_context", "_resting", "_transport", "arrival", "paused")

    def __init__(self, context: WorkerContext, transport: asyncio.Transport) -> None:
        self._context = context
        self._transport = transport
        self.paused = False  # whether the client is not read
        self._resting = False  # whether that lasts until the next turn of the event loop at least
        self.arrival: Pace | None = None  # times what is awaited, a body or the rest of a head; None: nothing

    def pause(self) -> None:
        """Stop reading the client."""
        if not self.paused:
            self.paused = True
            self._transport.pause_reading()

    def rest(self, then: Callable[[], None]) -> None:
        """Stop reading for this turn of the event loop; `then` is called in the next one, and has to call `wake`."""
        if not self._resting:
            self._resting = True
            self.pause()
            self._context.soon(then)

    def wake(self) -> bool:
        """End the rest; answers whether there was one."""
        resting, self._resting = self._resting, False
        return resting

    def can_resume(self) -> bool:
        """Whether the client is not read, and could be."""
        return self.paused and not self._resting

    def resume(self) -> None:
        """Read the client again."""
        self.paused = False
        if not self._transport.is_closing():
            self._context.resume_reading(self._transport)

    @property
    def over(self) -> bool:
        """Whether the client is read, and nothing is awaited of it."""
        return self.arrival is None and not self.paused and not self._resting

    def time_head(self) -> None:
        """The rest of a head has to come within the time for a whole one."""
        self.arrival = Pace(self._context.limits.request_header, self._context.clock.now)

    def time_body(self) -> None:
        """A body has to come without a pause that is too long, unless it is timed already."""
        if self.arrival is None:
            self.arrival = Pace(self._context.limits.request_body_stall, self._context.clock.now)

    def stop_timing(self) -> None:
        """Nothing is awaited of the client, or it has its whole time again."""
        self.arrival = None

    def moved(self, size: int) -> None:
        """Count `size` bytes of the body that is timed."""
        if self.arrival is not None:
            self.arrival.moved(size, self._context.clock.now)

    @property
    def due(self) -> float:
        """When what is awaited is late; never while the client is not read."""
        return NEVER if self.arrival is None or self.paused else self.arrival.due
