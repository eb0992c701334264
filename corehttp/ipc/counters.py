"""What a service counts, as plain values: what a worker has counted, and what the supervisor has. Pure.

Both are packed into bytes for the shared memory. Whoever unpacks them gets counts between 0 and MOST and finite
seconds, whatever bytes there are, since a faulty worker could write anywhere in that memory.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import TypeVar

from corehttp.records import fresh, record

MOST = 1 << 48  # the largest count, or number of seconds, that is believed

OTHER = "_OTHER"  # stands for every method that is not known (OpenTelemetry's name for it)
# The methods of RFC 9110, 9.3, and PATCH (RFC 5789). The position of each is its number in the memory.
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", OTHER)

# Why a request was answered without the application: the worker had no room for it, something was larger than its
# limit, it was not what RFC 9110 and RFC 9112 allow, it came too slowly, or it asked for what is not served.
REFUSALS = ("overload", "too_large", "malformed", "too_slow", "unsupported")

# Why a request whose application was called has had no whole response: its client has left, it took too long, the
# worker's graceful time was over, or the application broke off.
ABORTS = ("client", "timeout", "cut", "error")

# What became of the beginning of a connection: a TLS handshake was done or has failed, or it was cut because it had no
# right PROXY header.
OPENINGS = ("tls_done", "tls_failed", "proxy_failed")

# Why a worker process has ended, as the supervisor says it.
EXITS = (
    *("reload", "scale", "crash", "oom", "hang", "max_requests", "max_age", "max_rss"),
    *("stop", "timeout", "restart", "fault"),
)

# The upper bounds of the buckets of a histogram that are published, in seconds.
PUBLISHED = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# Those of all buckets; there is one more, for what took longer. Most requests take less than the first published
# bound, so there are finer ones below it, without which no quantile could say more than "up to 5 ms".
BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, *PUBLISHED)
BUCKETS = len(BOUNDS) + 1

_HISTOGRAM = struct.Struct(f"@{BUCKETS}Qd")
# The seven whole numbers of Counters in their order, those by reason or outcome, and the seconds.
_SCALARS = struct.Struct(f"@{7 + len(REFUSALS) + len(ABORTS) + len(OPENINGS)}Qdd")
_ENTRY = struct.Struct("@HHQ")  # the number of a method, a status, and how many requests had both
_LENGTH = struct.Struct("@Q")
_ENTRIES = _SCALARS.size + 2 * _HISTOGRAM.size + _LENGTH.size  # where the entries begin
ROOM = 4080  # bytes that packed counters take at most
_MOST_ENTRIES = (ROOM - _ENTRIES) // _ENTRY.size
# What does not fit is counted under OTHER and the first status of its class, for which there is always room.
_RESERVED = 10
_SERVICE = struct.Struct(f"@{len(EXITS) + 4}Qd")


@record
class Histogram:
    """How many times something took how long: a count for each bucket of BOUNDS, one for more, and all the seconds."""

    counts: tuple[int, ...] = (0,) * BUCKETS
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """How many times it was measured."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound of PUBLISHED how many times it took at most so long."""
        sums = accumulate(self.counts)
        return [(bound, total) for bound, total in zip(BOUNDS, sums, strict=False) if bound in PUBLISHED]

    def quantile(self, part: float) -> float | None:
        """Return the seconds that the fastest `part` (0 to 1) took at most; None if nothing was measured.

        It is interpolated within a bucket, and at most the largest of BOUNDS.
        """
        sums = list(accumulate(self.counts))
        if not sums[-1]:
            return None
        rank = part * sums[-1]
        bucket = min(bisect_left(sums, rank), BUCKETS - 1)
        while not self.counts[bucket]:  # the least of all lies in the first bucket that has any
            bucket += 1
        if bucket == len(BOUNDS):
            return BOUNDS[-1]
        lower = BOUNDS[bucket - 1] if bucket else 0.0
        within = (rank - (sums[bucket] - self.counts[bucket])) / self.counts[bucket]
        return lower + (BOUNDS[bucket] - lower) * within

    def plus(self, other: "Histogram") -> "Histogram":
        """Return what this one and the other have measured."""
        counts = tuple(_sum(mine, its) for mine, its in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, min(float(MOST), self.seconds + other.seconds))

    def since(self, earlier: "Histogram") -> "Histogram":
        """Return what was measured since this histogram was like the `earlier` one."""
        counts = tuple(max(0, now - then) for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts, max(0.0, self.seconds - earlier.seconds))


@record
class Counters:
    """What a worker has counted since its start, or what several have."""

    requests: Mapping[tuple[str, int], int] = fresh(factory=dict)  # whole responses, by method and status
    refused: Mapping[str, int] = fresh(factory=dict)  # by the reason, one of REFUSALS; they are among `requests`, too
    aborted: Mapping[str, int] = fresh(factory=dict)  # by the reason, one of ABORTS; they are not among `requests`
    begun: int = 0  # how many times the application was called for a request
    exceptions: int = 0  # faults of the application that were logged
    received: int = 0  # bytes
    sent: int = 0  # bytes
    accepted: int = 0  # connections from clients
    handed_over: int = 0  # connections passed to other workers
    taken_over: int = 0  # connections that came from other workers
    blocked: float = 0.0  # seconds in which the event loop did not run although it was to
    duration: Histogram = Histogram()  # from the end of a request's head to that of its response
    queue_time: Histogram = Histogram()  # from the end of a request's head to the call of the application
    cpu: float = 0.0  # seconds of CPU time that the process has used
    openings: Mapping[str, int] = fresh(factory=dict)  # by what became of them, one of OPENINGS

    @property
    def responses(self) -> int:
        """How many requests have had a whole response."""
        return sum(self.requests.values())

    @property
    def errors(self) -> int:
        """How many requests have failed by a fault of the service: status 5xx, or no whole response.

        Those whose client has left are not among them.
        """
        failed = sum(count for (_, status), count in self.requests.items() if status >= 500)
        return failed + sum(count for reason, count in self.aborted.items() if reason != "client")

    def plus(self, other: "Counters") -> "Counters":
        """Return the sums of these counters and the others."""
        return Counters(
            _merged(self.requests, other.requests),
            _merged(self.refused, other.refused),
            _merged(self.aborted, other.aborted),
            _sum(self.begun, other.begun),
            _sum(self.exceptions, other.exceptions),
            _sum(self.received, other.received),
            _sum(self.sent, other.sent),
            _sum(self.accepted, other.accepted),
            _sum(self.handed_over, other.handed_over),
            _sum(self.taken_over, other.taken_over),
            blocked=min(float(MOST), self.blocked + other.blocked),
            duration=self.duration.plus(other.duration),
            queue_time=self.queue_time.plus(other.queue_time),
            cpu=min(float(MOST), self.cpu + other.cpu),
            openings=_merged(self.openings, other.openings),
        )

    def since(self, earlier: "Counters") -> "Counters":
        """Return what was counted since these counters were like the `earlier` ones."""
        return Counters(
            _difference(self.requests, earlier.requests),
            _difference(self.refused, earlier.refused),
            _difference(self.aborted, earlier.aborted),
            max(0, self.begun - earlier.begun),
            max(0, self.exceptions - earlier.exceptions),
            max(0, self.received - earlier.received),
            max(0, self.sent - earlier.sent),
            max(0, self.accepted - earlier.accepted),
            max(0, self.handed_over - earlier.handed_over),
            max(0, self.taken_over - earlier.taken_over),
            blocked=max(0.0, self.blocked - earlier.blocked),
            duration=self.duration.since(earlier.duration),
            queue_time=self.queue_time.since(earlier.queue_time),
            cpu=max(0.0, self.cpu - earlier.cpu),
            openings=_difference(self.openings, earlier.openings),
        )

    def pack(self) -> bytes:
        """Return the counters as at most ROOM bytes, of which `unpack` makes them again.

        Methods that are not among METHODS become OTHER. If there are too many pairs of method and status, the later
        ones are counted under OTHER and the first status of their class.
        """
        numbers = (self.begun, self.exceptions, self.received, self.sent)
        connections = (self.accepted, self.handed_over, self.taken_over)
        refused = [self.refused.get(reason, 0) for reason in REFUSALS]
        aborted = [self.aborted.get(reason, 0) for reason in ABORTS]
        openings = [self.openings.get(outcome, 0) for outcome in OPENINGS]
        counts = map(_count, (*numbers, *connections, *refused, *aborted, *openings))
        entries = [
            _ENTRY.pack(METHODS.index(method), status, _count(count))
            for (method, status), count in _entries(self.requests).items()
        ]
        scalars = _SCALARS.pack(*counts, _seconds(self.blocked), _seconds(self.cpu))
        histograms = _packed(self.duration), _packed(self.queue_time)
        return b"".join((scalars, *histograms, _LENGTH.pack(len(entries)), *entries))

    @classmethod
    def unpack(cls, content: bytes) -> "Counters":
        """Return the counters in `content`, of at least ROOM bytes; what cannot be true counts as 0."""
        *numbers, blocked, cpu = _SCALARS.unpack_from(content)
        counts = [_believed(number) for number in numbers]
        begun, exceptions, received, sent, accepted, handed_over, taken_over, *rest = counts
        reasons = iter(rest)
        return cls(
            _requests(content),
            {reason: next(reasons) for reason in REFUSALS},
            {reason: next(reasons) for reason in ABORTS},
            begun,
            exceptions,
            received,
            sent,
            accepted,
            handed_over,
            taken_over,
            _believed_seconds(blocked),
            _unpacked(content, _SCALARS.size),
            _unpacked(content, _SCALARS.size + _HISTOGRAM.size),
            _believed_seconds(cpu),
            {outcome: next(reasons) for outcome in OPENINGS},
        )


@record
class ServiceCounters:
    """What the supervisor has counted since its start."""

    exits: Mapping[str, int] = fresh(factory=dict)  # ended workers, by the cause, one of EXITS
    starts: int = 0  # started workers
    reloads_done: int = 0
    reloads_failed: int = 0
    last_reload_failed: bool = False  # whether the last reload that has ended has failed
    last_reload_done_at: float = 0.0  # when a reload ended well last (seconds since the epoch); 0: none has

    def pack(self) -> bytes:
        """Return the counters as bytes, of which `unpack` makes them again."""
        return _SERVICE.pack(
            *(_count(self.exits.get(cause, 0)) for cause in EXITS),
            _count(self.starts),
            _count(self.reloads_done),
            _count(self.reloads_failed),
            self.last_reload_failed,
            _seconds(self.last_reload_done_at),
        )

    @classmethod
    def unpack(cls, content: bytes) -> "ServiceCounters":
        """Return the counters in `content`; what cannot be true counts as 0."""
        *numbers, last_done_at = _SERVICE.unpack_from(content)
        *exits, starts, done, failed, last_failed = (_believed(number) for number in numbers)
        return cls(
            dict(zip(EXITS, exits, strict=True)), starts, done, failed, last_failed > 0, _believed_seconds(last_done_at)
        )


def total(counters: Iterable[Counters]) -> Counters:
    """Return the sums of all these counters."""
    result = Counters()
    for one in counters:
        result = result.plus(one)
    return result


def _entries(requests: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """Return counts by method and status for which there is room."""
    entries: dict[tuple[str, int], int] = {}
    for (method, status), count in requests.items():
        key = (method if method in METHODS else OTHER, min(999, max(100, status)))
        if key not in entries and len(entries) >= _MOST_ENTRIES - _RESERVED:
            key = (OTHER, key[1] // 100 * 100)
        entries[key] = entries.get(key, 0) + count
    return entries


def _requests(content: bytes) -> dict[tuple[str, int], int]:
    """Return the counts by method and status of packed counters."""
    length = min(_LENGTH.unpack_from(content, _ENTRIES - _LENGTH.size)[0], _MOST_ENTRIES)
    entries = _ENTRY.iter_unpack(content[_ENTRIES : _ENTRIES + length * _ENTRY.size])
    return {
        (METHODS[method], status): _believed(count)
        for method, status, count in entries
        if method < len(METHODS) and 100 <= status <= 999
    }


def _packed(histogram: Histogram) -> bytes:
    return _HISTOGRAM.pack(*map(_count, histogram.counts), _seconds(histogram.seconds))


def _unpacked(content: bytes, offset: int) -> Histogram:
    *counts, seconds = _HISTOGRAM.unpack_from(content, offset)
    return Histogram(tuple(_believed(count) for count in counts), _believed_seconds(seconds))


def _believed(number: int) -> int:
    """Return a count from the shared memory, or 0 if it is none that can be true."""
    return number if number <= MOST else 0


def _believed_seconds(number: float) -> float:
    """Return seconds from the shared memory, or 0 if they cannot be true."""
    return number if 0 <= number <= MOST else 0.0


def _count(number: int) -> int:
    return min(MOST, max(0, number))


def _seconds(number: float) -> float:
    return min(float(MOST), max(0.0, number))


def _sum(one: int, other: int) -> int:
    return min(MOST, one + other)


Key = TypeVar("Key")


def _merged(ones: Mapping[Key, int], others: Mapping[Key, int]) -> dict[Key, int]:
    result = dict(ones)
    for key, count in others.items():
        result[key] = _sum(result.get(key, 0), count)
    return result


def _difference(now: Mapping[Key, int], then: Mapping[Key, int]) -> dict[Key, int]:
    return {key: max(0, count - then.get(key, 0)) for key, count in now.items()}
