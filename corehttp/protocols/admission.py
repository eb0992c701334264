"""How many requests run at once: further ones wait in line, and those for which the line is full are turned away."""

import logging
import math
from collections.abc import Callable, Collection, Sized
from enum import Enum
from typing import Protocol

logger = logging.getLogger("corehttp.error")

REPORT_EVERY = 60.0  # seconds between two log lines about requests that were turned away
STATUS = 503  # the answer to a request that is turned away (RFC 9110, 15.6.4)
LATE = 0.25  # seconds that a timer may come late on a busy event loop; beyond them, the loop did not run


class Verdict(Enum):
    """What happens to a request that is ready to run."""

    RUN = "run"
    WAIT = "wait"
    TURN_AWAY = "turn away"


class Applicant(Protocol):
    """A stream with a request that is to run; of one connection several may wait in line, each for itself.

    An HTTP/1.1 connection is one stream, which applies for one request after the other.
    """

    def proceed(self) -> None:
        """Ask for a verdict again: there is a place for the request that has waited."""
        ...

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer the request with `status` and `reason` instead of running it.

        The client may come again after `retry_after` seconds.
        """
        ...


class Timers(Protocol):
    """The part of an event loop that keeps time."""

    def time(self) -> float:
        """The time in seconds, by a clock that never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        """Call `callback` after `delay` seconds."""
        ...


class Admission:
    """Decides which requests run now. It counts running requests, not connections, so that idle ones cost nothing."""

    def __init__(
        self,
        running: Sized,
        timers: Timers,
        *,
        limit: int,
        queue: int,
        queue_timeout: float,
        exempt: Collection[str] = (),
    ) -> None:
        """Let `limit` requests run at once, `queue` wait, each for `queue_timeout` seconds at most.

        `running` are the requests that run now; one that never waits for anything is not among them, and needs no
        place. A request for one of the paths `exempt` always runs.
        """
        self._running = running
        self._time = timers.time
        self._call_later = timers.call_later
        self._limit = limit
        self._queue = queue
        self._queue_timeout = queue_timeout  # seconds
        self._exempt = frozenset(exempt)
        self._waiting: dict[Applicant, float] = {}  # in line, with the time when each has waited too long
        self._admitted: Applicant | None = None  # whose wait is over, while it is told
        self._timer: object = None  # of the applicant that has waited longest
        self._timer_due = 0.0
        self._turned_away = 0  # requests since the last report
        self._report_at = -math.inf

    @property
    def waits(self) -> bool:
        """Whether any applicant waits in line."""
        return bool(self._waiting)

    def verdict(self, applicant: Applicant, path: str) -> Verdict:
        """Decide about the next request of `applicant`, for `path`; one that has to wait is told later by a call."""
        if applicant is self._admitted:
            self._admitted = None  # a place is for one request
            return Verdict.RUN
        if applicant in self._waiting:
            return Verdict.WAIT
        if (len(self._running) < self._limit and not self._waiting) or path in self._exempt:
            return Verdict.RUN
        # The first in line are about to get the places that are free already, so they take up no room in the queue.
        if len(self._waiting) >= self._queue + max(0, self._limit - len(self._running)):
            return Verdict.TURN_AWAY
        self._waiting[applicant] = self._time() + self._queue_timeout
        if self._timer is None:
            self._set_timer(self._queue_timeout)
        return Verdict.WAIT

    def turn_away(self, applicant: Applicant) -> None:
        """Have the next request of `applicant` answered with 503 and when to come again (RFC 9110, 10.2.3)."""
        self._turned_away += 1
        now = self._time()
        if now >= self._report_at:
            logger.warning(
                "turned away %d requests (503): %d run and %d wait already", self._turned_away, self._limit, self._queue
            )
            self._turned_away = 0
            self._report_at = now + REPORT_EVERY
        applicant.turn_away(STATUS, "the server is busy", max(1, math.ceil(self._queue_timeout)))

    def release(self) -> None:
        """Give the places that are free to those that have waited longest; to be called when a request has ended."""
        while self._waiting and len(self._running) < self._limit:
            applicant = next(iter(self._waiting))
            self.forget(applicant)
            self._admitted = applicant
            applicant.proceed()
            self._admitted = None

    def forget(self, applicant: Applicant) -> None:
        """Take an applicant out of the line, if it waits."""
        self._waiting.pop(applicant, None)

    def _expire(self) -> None:
        """Turn away those that have waited too long."""
        self._timer = None
        now = self._time()
        if now - self._timer_due > LATE:
            self._wait_longer(now - self._timer_due + LATE)
        for applicant, due in tuple(self._waiting.items()):
            if due > now:
                self._set_timer(due - now)
                return
            self.forget(applicant)
            self.turn_away(applicant)

    def _wait_longer(self, seconds: float) -> None:
        """Add the time in which the event loop did not run to all waits, since no request could end meanwhile."""
        for applicant in self._waiting:
            self._waiting[applicant] += seconds

    def _set_timer(self, seconds: float) -> None:
        self._timer_due = self._time() + seconds
        self._timer = self._call_later(seconds, self._expire)
