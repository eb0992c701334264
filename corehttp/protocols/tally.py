"""What a worker counts, in the memory of its own process; `worker.counting` shows it to others once a second.

Whatever protocol a connection speaks, it counts here: bytes, responses that were written whole, requests that have had
none, and requests that were refused. What is done for every request is done without a call where that is possible.
"""

import math
from bisect import bisect_left
from time import monotonic

from corehttp.ipc.counters import ABORTS, BOUNDS, BUCKETS, METHODS, OPENINGS, OTHER, REFUSALS, Counters, Histogram

_FIRST = BOUNDS[0]
_ENDS = (-math.inf, *BOUNDS, math.inf)  # seconds: bucket N has what is more than end N, up to end N + 1
# The reason for which a request is refused, by the status of the answer; any other status means a malformed request.
_REASONS = {
    **dict.fromkeys((413, 414, 431), "too_large"),
    **dict.fromkeys((417, 426, 501, 505), "unsupported"),
    408: "too_slow",
    503: "overload",
}


class Tally:
    """What one worker has counted since its start. Connections add to `received` and `sent` themselves.

    Most responses are like the one before, and take as long. Who writes one adds it to `run`, and what it took to
    `seconds`. Only if it is not `repeated` of the last one, or its request had another `method`, `turn_to` is called
    before, and `turn_to_bucket` if it took no longer than `above`, or longer than `upto`. For any other response
    `count_response` is called, and its bytes are counted in `sent`.
    """

    __slots__ = (
        "_aborted",
        "_begun",
        "_bucket",
        "_by_method",
        "_durations",
        "_refused",
        "_size",
        "_status",
        "_untimed",
        "_waited",
        "_waits",
        "above",
        "accepted",
        "exceptions",
        "method",
        "openings",
        "received",
        "repeated",
        "run",
        "seconds",
        "sent",
        "upto",
    )

    def __init__(self) -> None:
        self.received = 0  # bytes
        self.sent = 0  # bytes, without those of the `run`
        self.accepted = 0  # connections from clients
        self.exceptions = 0  # faults of the application that were logged
        self.openings = dict.fromkeys(OPENINGS, 0)  # what became of the beginnings of connections
        self._refused = dict.fromkeys(REFUSALS, 0)
        self._untimed = 0  # responses to refused requests, which nobody has timed
        self._aborted = dict.fromkeys(ABORTS, 0)
        self._by_method: dict[str, dict[int, int]] = {}  # whole responses, by method and status
        # How many took how long, by bucket; but how many are in the first one, follows from all responses.
        self._durations = [0] * BUCKETS
        self._waits = [0] * BUCKETS  # the same for the time from a request's head to the call of its application
        self._waited = 0.0  # seconds of these waits
        self.seconds = 0.0  # that all responses took together
        self.run = 0  # responses that are counted nowhere else yet
        self.repeated: object = None  # the head of each response of the run; compared by identity
        self.method = ""  # of the request of each response of the run
        self._status = self._size = 0  # of each response of the run; the size in bytes
        self._begun = 0  # how long the run was when its durations came into the current bucket
        self._bucket = 0  # the number of the current bucket, in which the next duration is expected
        self.above, self.upto = _ENDS[:2]  # the ends of the current bucket (seconds)

    def turn_to(self, repeated: object, method: str, status: int, size: int) -> None:
        """Have a `run` of whole responses begin, each of them `repeated`: so many bytes, with this status."""
        self._settle()
        self.repeated, self.method = repeated, method
        self._status, self._size = status, size

    def _settle(self) -> None:
        """Count the responses of the `run` where all others are counted."""
        if self.run:
            _add(self._by_method, self.method, self._status, self.run)
            self.sent += self.run * self._size
            self._durations[self._bucket] += self.run - self._begun
            self.run = self._begun = 0

    def turn_to_bucket(self, seconds: float) -> None:
        """Have the next responses of the `run` be those that take about as long as this."""
        self._durations[self._bucket] += self.run - self._begun
        self._begun = self.run
        self._bucket = bucket = bisect_left(BOUNDS, seconds)
        self.above, self.upto = _ENDS[bucket], _ENDS[bucket + 1]

    def count_response(self, method: str, status: int, started_at: float) -> None:
        """Count a response that was written whole, to a request whose head was read then (seconds, monotonic)."""
        try:
            self._by_method[method][status] += 1
        except KeyError:
            _add(self._by_method, method, status, 1)
        seconds = monotonic() - started_at
        self.seconds += seconds
        if seconds > _FIRST:
            self._durations[bisect_left(BOUNDS, seconds)] += 1

    def count_wait(self, started_at: float) -> None:
        """Count the time from the end of a request's head (seconds, monotonic) until its application is called, now.

        A request for which this is not called has not waited.
        """
        seconds = monotonic() - started_at
        if seconds > _FIRST:
            self._waits[bisect_left(BOUNDS, seconds)] += 1
            self._waited += seconds

    def count_refusal(self, status: int, method: str) -> None:
        """Count a request that no application has seen, and its answer with `status`; `method` is empty if not known.

        `count_response` is not called for that answer.
        """
        self._refused[_REASONS.get(status, "malformed")] += 1
        self._untimed += 1
        _add(self._by_method, method, status, 1)

    def count_abort(self, reason: str) -> None:
        """Count a request that has had no whole response, for one of ABORTS."""
        self._aborted[reason] += 1

    def counters(
        self,
        begun: int,
        *,
        turned_away: int = 0,
        handed_over: int = 0,
        taken_over: int = 0,
        blocked: float = 0.0,
        cpu: float = 0.0,
    ) -> Counters:
        """Return all that was counted: here, and elsewhere as the arguments say (see Counters).

        `turned_away` is how many requests were refused because too many run and wait.
        """
        self._settle()
        requests = {
            (method, status): count
            for method, by_status in self._by_method.items()
            for status, count in by_status.items()
        }
        refused, aborted = dict(self._refused), dict(self._aborted)
        refused["overload"] += turned_away
        timed = sum(requests.values()) - self._untimed
        return Counters(
            requests,
            refused,
            aborted,
            begun,
            self.exceptions,
            self.received,
            self.sent,
            self.accepted,
            handed_over,
            taken_over,
            blocked,
            _histogram(self._durations, timed, self.seconds),
            _histogram(self._waits, begun, self._waited),
            cpu,
            dict(self.openings),
        )


def _add(by_method: dict[str, dict[int, int]], method: str, status: int, count: int) -> None:
    """Count so many responses, whose method may be one that is not known."""
    by_status = by_method.setdefault(method if method in METHODS else OTHER, {})
    by_status[int(status)] = by_status.get(status, 0) + count


def _histogram(longer: list[int], count: int, seconds: float) -> Histogram:
    """Return a histogram of `count` times, of which all in `longer` but its first exceeded the first bound."""
    return Histogram((max(0, count - sum(longer[1:])), *longer[1:]), seconds)
