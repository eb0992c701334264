"""Shows on the scoreboard what a worker counts, and how late its event loop is."""

import time

from corehttp.ipc.scoreboard import Row
from corehttp.moments import BEAT
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.tally import Tally

WOBBLE = 0.05  # seconds by which a heartbeat may be late without anything that has blocked the loop


class Counting:
    """Has the connections of `context` count, and writes the counters into the worker's `row`.

    Other processes see what was counted until the last `write`; if the worker is killed, the rest is lost.
    """

    def __init__(self, context: WorkerContext, row: Row) -> None:
        self._context = context
        self._row = row
        self._tally = Tally()
        self._beaten_at: float | None = None  # when the event loop ran last (seconds, monotonic); None: it has not yet
        self._lag = 0.0  # seconds by which a heartbeat was late at most since the last `write`
        self._blocked = 0.0  # seconds by which heartbeats were later than WOBBLE, in all
        context.count_in(self._tally)

    def beat(self, now: float) -> None:
        """Note that the event loop runs at `now` (seconds, monotonic), as it should every BEAT seconds."""
        if self._beaten_at is not None:
            late = now - self._beaten_at - BEAT
            self._lag = max(self._lag, late)
            if late > WOBBLE:
                self._blocked += late
        self._beaten_at = now

    def write(self) -> None:
        """Write what was counted; to be called once a second, and when the worker ends."""
        context, row = self._context, self._row
        row.lag, self._lag = self._lag, 0.0
        refused = 0
        if context.admission is not None:
            row.queued, refused = context.admission.waiting, context.admission.refused
        row.counters = self._tally.counters(
            context.begun,
            turned_away=refused,
            handed_over=int(row.handed_over),
            taken_over=int(row.taken_over),
            blocked=self._blocked,
            cpu=time.process_time(),
        )
