"""The one ticker of a worker: it moves the clock on, and calls what is to be done once a second."""

import time
from collections.abc import Callable

from corehttp.moments import NEVER
from corehttp.protocols.clock import Clock
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import MakeTimer, Timer

TICK = 1.0  # seconds
WOBBLE = 0.05  # seconds by which a tick may come early or late: what is due that soon after a tick is due at the tick


class Ticker:
    """Sets the `clock` once a second, just after a full second of the wall clock, and calls the work that was given.

    Between two ticks, `clock.now` is the time of the next one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work: list[Periodic] = []
        self._timer: Timer | None = None
        self._due = NEVER  # when the next tick is to come (seconds, by time.monotonic)
        clock.update(time.monotonic(), time.time())

    def each_tick(self, what: str, work: Callable[[float], object]) -> None:
        """Call `work(now)` once a second, whatever it raises; `what` names the work in the log line about that.

        `now` is the time in seconds by the clock.
        """
        self._work.append(Periodic(what, work))

    def start(self, make_timer: MakeTimer) -> None:
        """Begin to tick; the first tick comes before this returns."""
        self._timer = make_timer(self._tick)
        self._tick()

    def stop(self) -> None:
        """Stop ticking, and forget the work."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._work.clear()

    def _tick(self) -> None:
        """Set the clock, do the work, and set the timer for the next tick."""
        clock, now, wall = self._clock, time.monotonic(), time.time()
        late = now - self._due
        if late > WOBBLE:
            clock.lost += late
        # Wake just after the wall clock's next full second, so that the Date line is never late.
        pause = TICK - wall % TICK + 0.001
        self._due = now + pause
        try:
            clock.update(now + WOBBLE, wall)
            for work in self._work:
                work(clock.ticked)
        finally:  # whatever was raised, the next tick comes
            if self._timer is not None:
                self._timer.set(pause)
            clock.monotonic = self._due
            clock.now = self._due - clock.lost
