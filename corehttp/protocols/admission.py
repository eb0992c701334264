"""How many requests run at once: the ones beyond it wait in line, and the ones beyond that are turned away."""

import logging
import math
from collections.abc import Callable, Collection, Sized
from enum import Enum
from typing import Protocol

logger = logging.getLogger("corehttp.error")

REPORT_EVERY = 60.0  # seconds between two log lines about requests that were turned away
STATUS = 503
LATE = 0.25  # seconds that a timer may come late on a busy loop; what is beyond it, the loop did not run


class Verdict(Enum):
    """What happens to a request whose turn on its connection has come."""

    RUN = "run"
    WAIT = "wait"
    TURN_AWAY = "turn away"


class Applicant(Protocol):
    """A connection with a request that waits in line."""

    def proceed(self) -> None:
        """Its turn has come: ask for a verdict again."""
        ...

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer it without running it."""
        ...


class Timers(Protocol):
    """The part of an event loop that keeps time."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object: ...


class Admission:
    """Counts running requests, not connections: idle ones cost nothing.

    `running` is what runs now; a request that never waits for anything is not in it and needs no place.
    """

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
        self._running = running
        self._time = timers.time
        self._call_later = timers.call_later
        self._limit = limit
        self._queue = queue
        self._queue_timeout = queue_timeout  # seconds
        self._exempt = frozenset(exempt)
        self._waiting: dict[Applicant, float] = {}  # in order, with the time when it has waited too long
        self._admitted: Applicant | None = None  # it has waited long enough
        self._timer: object = None  # for who has waited longest
        self._timer_due = 0.0
        self._turned_away = 0  # since the last report
        self._report_at = -math.inf

    @property
    def waits(self) -> bool:
        """Whether anybody waits in line."""
        return bool(self._waiting)

    def verdict(self, applicant: Applicant, path: str) -> Verdict:
        """What happens to the next request of `applicant`; one that waits will be told by a call."""
        if applicant is self._admitted:
            self._admitted = None  # a place is for one request
            return Verdict.RUN
        if applicant in self._waiting:
            return Verdict.WAIT
        if (len(self._running) < self._limit and not self._waiting) or path in self._exempt:
            return Verdict.RUN
        # Places that are free already are for the first in line: they are about to begin, and take up no room there.
        if len(self._waiting) >= self._queue + max(0, self._limit - len(self._running)):
            return Verdict.TURN_AWAY
        self._waiting[applicant] = self._time() + self._queue_timeout
        if self._timer is None:
            self._set_timer(self._queue_timeout)
        return Verdict.WAIT

    def turn_away(self, applicant: Applicant) -> None:
        """Answer its next request with 503 and when to come again (RFC 9110, 15.6.4)."""
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
        """A request has ended: its place is for whoever waits longest."""
        while self._waiting and len(self._running) < self._limit:
            applicant = next(iter(self._waiting))
            self.forget(applicant)
            self._admitted = applicant
            applicant.proceed()
            self._admitted = None

    def forget(self, applicant: Applicant) -> None:
        """It waits no more."""
        self._waiting.pop(applicant, None)

    def _expire(self) -> None:
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
        """The event loop did not run, so no request could end: nobody has waited in vain meanwhile."""
        for applicant in self._waiting:
            self._waiting[applicant] += seconds

    def _set_timer(self, seconds: float) -> None:
        self._timer_due = self._time() + seconds
        self._timer = self._call_later(seconds, self._expire)
