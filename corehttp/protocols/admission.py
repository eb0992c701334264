"""Limits how many requests run at once: further ones wait in line, and while the line is full they are turned away."""

import logging
import math
from collections.abc import Callable, Collection, Sized
from enum import Enum
from typing import Protocol

logger = logging.getLogger("corehttp.error")

REPORT_EVERY = 60.0  # seconds between two log lines about requests that were turned away
STATUS = 503  # the answer to a request that is turned away (RFC 9110, 15.6.4)
LATE = 0.25  # seconds by which a timer may be late on a busy event loop; one that is later shows that it did not run


class Verdict(Enum):
    """What is to happen to a request that is ready to run."""

    RUN = "run"
    WAIT = "wait"
    TURN_AWAY = "turn away"


class Applicant(Protocol):
    """A stream with a request that is to run. Several streams of one connection may wait in line, each for itself.

    An HTTP/1.1 connection is one stream, which applies for one request after the other.
    """

    def proceed(self) -> None:
        """Ask for a verdict again, since there is a place for the request that has waited."""

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer the request with `status` and `reason` instead of running it.

        The client may come again after `retry_after` seconds.
        """


class Timers(Protocol):
    """The part of an event loop that keeps time."""

    def time(self) -> float:
        """Return the time in seconds, by a clock that never goes back."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        """Call `callback` after `delay` seconds."""


class Admission:
    """Decides which requests run now. It counts requests, not connections, so that idle connections take no place."""

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
        """Let `limit` requests run at once, and `queue` wait, each for at most `queue_timeout` seconds.

        `running` has the requests that run now. A request whose application never waits for anything is not among them,
        and needs no place. A request for one of the paths `exempt` always runs.
        """
        self._running = running
        self._time = timers.time
        self._call_later = timers.call_later
        self._limit = limit
        self._queue = queue
        self._queue_timeout = queue_timeout  # seconds
        self._exempt = frozenset(exempt)
        self._waiting: dict[Applicant, float] = {}  # those in line, and when each has waited too long (seconds)
        self._admitted: Applicant | None = None  # the one whose wait is over, while its `proceed` is called
        self._timer: object = None  # calls `_expire` for the one that has waited longest; None while nobody waits
        self._timer_due = 0.0  # seconds
        self.refused = 0  # how many requests were turned away so far
        self._turned_away = 0  # requests since the last log line about them
        self._report_at = -math.inf  # from when on there may be another line (seconds)

    @property
    def waiting(self) -> int:
        """How many applicants wait in line."""
        return len(self._waiting)

    @property
    def waits(self) -> bool:
        """Whether any applicant waits in line."""
        return bool(self._waiting)

    def verdict(self, applicant: Applicant, path: str) -> Verdict:
        """Decide about the next request of `applicant`, which is for `path`.

        If it has to wait, `proceed` or `turn_away` of the applicant is called later.
        """
        if applicant is self._admitted:
            self._admitted = None  # a place is for one request
            return Verdict.RUN
        if applicant in self._waiting:
            return Verdict.WAIT
        if (len(self._running) < self._limit and not self._waiting) or path in self._exempt:
            return Verdict.RUN
        # Those that are about to get the places that are free take up no room in the queue.
        if len(self._waiting) >= self._queue + max(0, self._limit - len(self._running)):
            return Verdict.TURN_AWAY
        self._waiting[applicant] = self._time() + self._queue_timeout
        if self._timer is None:
            self._set_timer(self._queue_timeout)
        return Verdict.WAIT

    def turn_away(self, applicant: Applicant) -> None:
        """Have the next request of `applicant` answered with 503 and a Retry-After (RFC 9110, 10.2.3)."""
        self.refused += 1
        self._turned_away += 1
        now = self._time()
        if now >= self._report_at:
            logger.warning(
                "turned away %d requests (503): %d run and %d wait already", self._turned_away, self._limit, self._queue
            )
            self._turned_away = 0
            self._report_at = now + REPORT_EVERY
        applicant.turn_away(STATUS, "the server is busy", max(1, math.ceil(self._queue_timeout)))

    def admit_waiting(self) -> None:
        """Give free places to those that have waited longest; to be called when a request has ended."""
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
        """Turn away those that have waited too long, and set the timer for the next."""
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
        """Call `_expire` after `seconds`."""
        self._timer_due = self._time() + seconds
        self._timer = self._call_later(seconds, self._expire)
