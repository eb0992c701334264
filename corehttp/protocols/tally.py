"""What a worker counts, in the memory of its own process; `worker.counting` shows it to others once a second.

Whatever protocol a connection speaks, it counts here: bytes, responses that were written whole, requests that have had
none, and requests that were refused. What is done for every request is done without a call where that is possible.
"""

from bisect import bisect_left
from collections.abc import Callable
from time import monotonic

from corehttp.ipc.counters import ABORTS, BOUNDS, BUCKETS, METHODS, OPENINGS, OTHER, REFUSALS, Counters, Histogram

# Counts a whole response: the method of its request, its status, and when that was read (seconds, monotonic).
CountResponse = Callable[[str, int, float], None]

_FIRST = BOUNDS[0]
# The reason for which a request is refused, by the status of the answer; any other status means a malformed request.
_REASONS = {
    **dict.fromkeys((413, 414, 431), "too_large"),
    **dict.fromkeys((417, 426, 501, 505), "unsupported"),
    408: "too_slow",
    503: "overload",
}


class Tally:
    """What one worker has counted since its start. Connections add to `received` and `sent` themselves."""

    __slots__ = (
        "_aborted",
        "_by_method",
        "_durations",
        "_refused",
        "_settle",
        "_untimed",
        "_waited",
        "_waits",
        "accepted",
        "count_response",
        "exceptions",
        "openings",
        "received",
        "sent",
    )

    def __init__(self) -> None:
        self.received = 0  # bytes
        self.sent = 0  # bytes
        self.accepted = 0  # connections from clients
        self.exceptions = 0  # faults of the application that were logged
        self.openings = dict.fromkeys(OPENINGS, 0)  # what became of the beginnings of connections
        self._refused = dict.fromkeys(REFUSALS, 0)
        self._untimed = 0  # responses to refused requests, which nobody has timed
        self._aborted = dict.fromkeys(ABORTS, 0)
        self._by_method: dict[str, dict[int, int]] = {}  # whole responses, by method and status
        # How many took longer than the first bound of all, by bucket: how many did not, follows from all responses.
        self._durations = [0] * BUCKETS
        self._waits = [0] * BUCKETS  # the same for the time from a request's head to the call of its application
        self._waited = 0.0  # seconds of these waits
        # count_response(method, status, started_at) counts a response that was written whole. It is a closure, which
        # takes no longer than the same lines would where it is called, on attributes of this object (benchmarks.micro).
        self.count_response, self._settle = _response_counter(self._by_method, self._durations)

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
        seconds = self._settle()
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
            _histogram(self._durations, timed, seconds),
            _histogram(self._waits, begun, self._waited),
            cpu,
            dict(self.openings),
        )


def _response_counter(
    by_method: dict[str, dict[int, int]], durations: list[int]
) -> tuple[CountResponse, Callable[[], float]]:
    """Return what counts a response, and what brings `by_method` up to date and returns the seconds of all responses.

    Responses like the one before are counted in a number of their own, which takes 0.1 us less than in a dictionary.
    """
    total = 0.0
    last_method, last_status, run = "", 0, 0  # the method and status of the last `run` responses, if there are any

    def count_response(method: str, status: int, started_at: float) -> None:
        nonlocal total, last_method, last_status, run
        if status == last_status and method == last_method:
            run += 1
        else:
            try:
                by_method[last_method][last_status] += run
            except KeyError:
                settle()
            last_method, last_status, run = method, status, 1
        seconds = monotonic() - started_at
        total += seconds
        if seconds > _FIRST:
            durations[bisect_left(BOUNDS, seconds)] += 1

    def settle() -> float:
        nonlocal run
        if run:
            _add(by_method, last_method, last_status, run)
            run = 0
        return total

    return count_response, settle


def _add(by_method: dict[str, dict[int, int]], method: str, status: int, count: int) -> None:
    """Count so many responses, whose method may be one that is not known."""
    by_status = by_method.setdefault(method if method in METHODS else OTHER, {})
    by_status[int(status)] = by_status.get(status, 0) + count


def _histogram(longer: list[int], count: int, seconds: float) -> Histogram:
    """Return a histogram of `count` times, of which those in `longer` exceeded the first bound."""
    return Histogram((max(0, count - sum(longer)), *longer[1:]), seconds)
