"""What has become of a service, second by second: it is looked at regularly, and the last minutes are kept."""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from corehttp.admin.content import Content, objects, status_of, whole
from corehttp.admin.supervisor_link import SupervisorLink
from corehttp.control.process_figures import Measurement
from corehttp.ipc.counters import Counters
from corehttp.ipc.scoreboard import Scoreboard

INTERVAL = 1.0  # seconds between two looks
KEPT = 600  # how many samples are kept, one a second
RATE_WINDOW = 3  # samples over which rates are measured, since workers tell once a second what they have counted
WINDOW = 5  # samples over which latencies are measured
LONGEST_STACK = 8000  # characters of a stack that are kept
STACK_PATIENCE = 5.0  # seconds that a blocked worker's stack may take
EVENTS = 50  # how many events are shown
REQUESTS = 50  # how many requests are shown

# The time (seconds since the epoch), requests a second, errors a second, the latency that half of the requests and 99 %
# of them have not exceeded (milliseconds), and the use of CPUs (percent of one). What is not known is None.
Sample = tuple[float, float | None, float | None, float | None, float | None, float | None]


class Recorder:
    """Looks at the service once a second while `run` runs. `clock` is monotonic, `wall_clock` that of the calendar."""

    def __init__(
        self,
        link: SupervisorLink,
        board: Scoreboard,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._board = board
        self._clock = clock
        self._wall_clock = wall_clock
        self._measurement = Measurement(clock)
        self._status: dict[str, object] = {}  # the last one, with what the kernel tells
        self._totals: deque[tuple[float, Counters]] = deque(maxlen=WINDOW + 1)  # with their times, by the clock
        self._blocked: set[object] = set()  # the processes of workers whose event loop is blocked
        self._own: deque[dict[str, object]] = deque(maxlen=EVENTS)  # events that the supervisor does not tell
        self._told: list[dict[str, object]] = []  # those that it does
        self._stacks: set[asyncio.Task[None]] = set()  # asking for stacks at the moment
        self._looked: asyncio.Future[None] | None = None  # done with the next look
        self.samples: deque[Sample] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Look at the service again and again, until this is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL)

    async def look(self) -> None:
        """Look at the service now, and let those know who wait for it."""
        seen = await self._link.look(INTERVAL)
        answered = seen.overview is not None and seen.silent < INTERVAL  # others may have asked again meanwhile
        if seen.overview is not None and answered:
            self._record(seen.overview)
        elif self._status:
            self._status["state"] = "no answer"
        self.samples.append(self._sample(answered=answered))
        looked, self._looked = self._looked, None
        if looked is not None and not looked.done():
            looked.set_result(None)

    def next_look(self) -> asyncio.Future[None]:
        """Return what is done when the service has been looked at the next time. It must not be cancelled."""
        if self._looked is None:
            self._looked = asyncio.get_running_loop().create_future()
        return self._looked

    def with_figures(self, overview: Content) -> dict[str, object]:
        """Return the status in an overview, with what the kernel tells of the processes."""
        status = _status(overview)
        Measurement(self._clock).add_to([status])
        cpu = {worker.get("pid"): worker.get("cpu_percent") for worker in objects(self._status.get("workers"))}
        for worker in objects(status.get("workers")):
            worker["cpu_percent"] = cpu.get(worker.get("pid"))
        return status

    def now(self) -> dict[str, object]:
        """Return how the service was when it was looked at last."""
        service = {name: value for name, value in self._status.items() if name != "workers"}
        return {
            "sample": self.samples[-1] if self.samples else [self._wall_clock(), *[None] * 5],
            "service": service,
            "workers": objects(self._status.get("workers")),
            "requests": self._requests(),
        }

    def events(self) -> list[dict[str, object]]:
        """Return copies of the last events, the newest first."""
        found = sorted([*self._told, *self._own], key=lambda event: str(event.get("at")), reverse=True)
        return [dict(event) for event in found[:EVENTS]]

    def _record(self, overview: Content) -> None:
        self._status = _status(overview)
        self._measurement.add_to([self._status])
        self._told = objects(overview.get("events"))
        workers = objects(self._status.get("workers"))
        blocked = {worker.get("pid"): worker for worker in workers if worker.get("state") == "blocked"}
        for pid, worker in blocked.items():
            if pid not in self._blocked:
                self._note_blocked(whole(worker.get("slot")))
        self._blocked = set(blocked)

    def _note_blocked(self, slot: int) -> None:
        """Add the event that the event loop of a worker is blocked, and its stack when that has come."""
        at = datetime.fromtimestamp(self._wall_clock(), UTC).isoformat(timespec="milliseconds")
        event: dict[str, object] = {"at": at, "kind": "blocked", "ok": False}
        event["text"] = f"worker {slot}: its event loop is blocked"
        self._own.append(event)
        task = asyncio.get_running_loop().create_task(self._add_stack(slot, event))
        self._stacks.add(task)
        task.add_done_callback(self._stacks.discard)

    async def _add_stack(self, slot: int, event: dict[str, object]) -> None:
        answer = await self._link.ask("stacks", {"worker": slot}, STACK_PATIENCE)
        if answer is not None and isinstance(text := answer.get("text"), str):
            event["stack"] = text[:LONGEST_STACK]

    def _sample(self, *, answered: bool) -> Sample:
        """Return what has happened since the last sample."""
        now, at = self._clock(), round(self._wall_clock(), 3)
        totals = self._board.totals()
        self._totals.append((now, totals))
        if len(self._totals) < 2:
            return at, None, None, None, None, None
        before, earlier = self._totals[max(0, len(self._totals) - 1 - RATE_WINDOW)]
        earliest = self._totals[0][1]
        since, durations = totals.since(earlier), totals.since(earliest).duration
        seconds = max(0.001, now - before)
        p50, p99 = durations.quantile(0.5), durations.quantile(0.99)
        cpu = [worker.get("cpu_percent") for worker in objects(self._status.get("workers"))]
        known = [value for value in cpu if isinstance(value, int | float)]
        return (
            at,
            round(since.responses / seconds, 2),
            round(since.errors / seconds, 2),
            None if p50 is None else round(p50 * 1000, 3),
            None if p99 is None else round(p99 * 1000, 3),
            round(sum(known), 1) if known and answered else None,
        )

    def _requests(self) -> list[dict[str, object]]:
        """Return the requests that have not ended, the oldest first."""
        now = self._clock()
        found: list[dict[str, object]] = [
            {
                "slot": row.slot + 1,
                "method": request.method,
                "path": request.path,
                "age": round(request.age, 1),
                "state": "running" if request.running else "waiting",
            }
            for row in self._board.rows()
            for request in row.in_flight(now)
        ]
        return sorted(found, key=lambda request: -float(str(request["age"])))[:REQUESTS]


def _status(overview: Content) -> dict[str, object]:
    """Return a copy of the status in an overview, which may be changed."""
    return copy.deepcopy(dict(status_of(overview)))
