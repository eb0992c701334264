"""What has happened in a service so far, for operators: reloads, starts and ends of workers. Pure.

Wall-clock times are in seconds since the epoch. Slots are counted from 0.
"""

from collections import Counter, deque
from typing import NamedTuple

from corehttp.ipc.counters import Counters, ServiceCounters
from corehttp.ipc.messages import LeaveReason
from corehttp.records import mutable_record, record
from corehttp.supervisor.fleet import WorkerRecord

SAMPLES = 6  # how many counts of requests are kept for a rate, one about every second
EVENTS = 50  # how many of the last events are kept
# The causes of the ends of workers that somebody has wished, or that options ask for.
_WISHED = ("reload", "scale", "restart", "stop", "max_requests", "max_age", "max_rss")


@mutable_record
class Reload:
    """An attempt to bring in a new generation."""

    generation: int  # 0: its configuration was wrong, so it never had a number
    began_at: float
    ended_at: float | None = None  # None while it goes on
    ok: bool = False
    reason: str = ""  # why it has failed


@record
class LastExit:
    """How the last worker of a slot has ended."""

    cause: str
    status: str  # the signal's name, or the exit code
    at: float


@record
class PastEvent:
    """Something that has happened, in words for operators."""

    number: int  # one more than that of the event before
    at: float
    kind: str  # reload or exit
    ok: bool  # whether it is as it should be
    text: str


class _Sample(NamedTuple):
    """What a worker has counted until some moment."""

    at: float  # seconds, monotonic
    requests: float
    counters: bytes  # packed


class History:
    """What the loop records, beside the fleet, whose present state says nothing of it."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.reload: Reload | None = None  # the last one
        self.reloads: Counter[bool] = Counter()  # how many have ended, by whether they went well
        self.starts: Counter[int] = Counter()  # how many workers were started, by slot
        self.exits: dict[int, LastExit] = {}  # the last end of a worker, by slot
        self.exit_causes: Counter[str] = Counter()
        self.events: deque[PastEvent] = deque(maxlen=EVENTS)  # the last ones, the oldest first
        self._last_reload_failed = False
        self._reload_done_at = 0.0  # when a reload ended well last; 0: none has
        self._began: dict[int, float] = {}  # by the worker's number: when it was started
        self._samples: dict[int, deque[_Sample]] = {}  # by the worker's number

    def reload_began(self, generation: int, now: float) -> None:
        """Record a reload that has begun; it takes the place of one that goes on."""
        self.reload_ended(ok=False, now=now, reason="another reload has begun")
        self.reload = Reload(generation, now)

    def reload_ended(self, *, ok: bool, now: float, reason: str = "") -> None:
        """Record how the reload that goes on has ended, if one does."""
        if self.reload is not None and self.reload.ended_at is None:
            self.reload.ended_at, self.reload.ok, self.reload.reason = now, ok, reason
            self._count_reload(ok=ok, now=now)
            text = (
                f"all workers are of generation {self.reload.generation}" if ok else f"the reload has failed: {reason}"
            )
            self._note("reload", text, ok=ok, now=now)

    def reload_refused(self, reason: str, now: float) -> None:
        """Record that a new configuration is wrong. A reload that goes on is not concerned."""
        self._count_reload(ok=False, now=now)
        if self.reload is None or self.reload.ended_at is not None:
            self.reload = Reload(0, now, now, ok=False, reason=reason)
        self._note("reload", f"the reload has failed: {reason}", ok=False, now=now)

    def worker_began(self, worker: int, slot: int, now: float) -> None:
        """Record the start of a worker."""
        self.starts[slot] += 1
        self._began[worker] = now

    def worker_ended(self, worker: int, slot: int, cause: str, status: str, now: float) -> None:
        """Record the end of a worker."""
        self._began.pop(worker, None)
        self._samples.pop(worker, None)
        self.exits[slot] = LastExit(cause, status, now)
        self.exit_causes[cause] += 1
        self._note("exit", f"worker {slot + 1} has ended: {cause} ({status})", ok=cause in _WISHED, now=now)

    def _note(self, kind: str, text: str, *, ok: bool, now: float) -> None:
        """Add an event."""
        number = self.events[-1].number + 1 if self.events else 1
        self.events.append(PastEvent(number, now, kind, ok, text))

    def began_at(self, worker: int) -> float | None:
        """When a worker that has not ended was started."""
        return self._began.get(worker)

    def count(self, worker: int, requests: float, now: float, counters: bytes = b"") -> None:
        """Record how many requests a worker has begun until `now` (seconds, monotonic), and its packed counters."""
        self._samples.setdefault(worker, deque(maxlen=SAMPLES)).append(_Sample(now, requests, counters))

    def requests_per_second(self, worker: int) -> float | None:
        """How many requests a second a worker has begun in the last few seconds; None if that is not known."""
        found = self._window(worker)
        return None if found is None else max(0.0, found[1].requests - found[0].requests) / found[2]

    def recent(self, worker: int) -> tuple[Counters, float] | None:
        """What a worker has counted in the last few seconds, and how many those are; None if that is not known."""
        found = self._window(worker)
        if found is None or not found[0].counters:
            return None
        first, last, seconds = found
        return Counters.unpack(last.counters).since(Counters.unpack(first.counters)), seconds

    def counters(self) -> ServiceCounters:
        """Return what was counted since the start of the service."""
        return ServiceCounters(
            dict(self.exit_causes),
            self.starts.total(),
            self.reloads[True],
            self.reloads[False],
            last_reload_failed=self._last_reload_failed,
            last_reload_done_at=self._reload_done_at,
        )

    def _count_reload(self, *, ok: bool, now: float) -> None:
        self.reloads[ok] += 1
        self._last_reload_failed = not ok
        if ok:
            self._reload_done_at = now

    def _window(self, worker: int) -> "tuple[_Sample, _Sample, float] | None":
        """The first and the last sample that is kept of a worker, and the seconds between them, more than 0."""
        samples = self._samples.get(worker)
        if not samples or samples[-1].at <= samples[0].at:
            return None
        return samples[0], samples[-1], samples[-1].at - samples[0].at


def exit_cause(worker: WorkerRecord, *, stopping: bool, out_of_memory: bool) -> str:
    """Return in a word why a worker has ended: that of the last act which led to its end."""
    if out_of_memory:
        return "oom"
    if worker.hung_at is not None or worker.left_for_hang:
        return "hang"
    match worker.why:
        case LeaveReason.SLOT_CLOSES:
            return "scale"
        case LeaveReason.STOP | LeaveReason.ORPHANED:
            return "stop"
        case LeaveReason.REPLACED:
            return _retirement(worker.retire)
        case None if stopping:
            return "stop"
        case None:
            return "timeout" if worker.late else "crash"


def _retirement(cause: str | None) -> str:
    """Why a worker was replaced, if it was for its own sake; the texts are those of the modules that ask for it."""
    if cause is None:
        return "reload"
    words = {"max-requests": "max_requests", "max-age": "max_age", "max-rss": "max_rss", "operator": "restart"}
    return next((name for word, name in words.items() if word in cause), "fault")
