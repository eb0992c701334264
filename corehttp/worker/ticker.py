"""A worker's one ticker: it moves the clock on, and does what is to be done once a second."""

import time
from collections.abc import Callable

from corehttp.protocols.clock import Clock
from corehttp.protocols.limits import NEVER
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import MakeTimer, Timer

TICK = 1.0  # seconds
WOBBLE = 0.05  # seconds that a tick may come early or late: what is due so soon after it is due


class Ticker:
    """Sets the `clock` once a second, just after the wall clock's next full second, and calls what asked for it.

    Between two ticks `clock.now` is when the next one comes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._work: list[Periodic] = []
        self._timer: Timer | None = None
        self._due = NEVER  # when the next tick is to come, by time.monotonic()
        clock.update(time.monotonic(), time.time())

    def each_tick(self, what: str, work: Callable[[float], object]) -> None:
        """Call `work(now)` once a second, whatever it raises; `what` names it in the log line about that."""
        self._work.append(Periodic(what, work))

    def start(self, make_timer: MakeTimer) -> None:
        """Begin to tick; the first tick comes before this returns."""
        self._timer = make_timer(self._tick)
        self._tick()

    def stop(self) -> None:
        """Stop ticking, and let go of what was called."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._work.clear()

    def _tick(self) -> None:
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
        finally:  # whatever is raised here, time goes on
            if self._timer is not None:
                self._timer.set(pause)
            clock.monotonic = self._due
            clock.now = self._due - clock.lost
