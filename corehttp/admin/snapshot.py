"""Everything that is published of a service at one moment, and how it is gathered."""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping

from corehttp.admin.content import Content, objects, seconds, status_of, whole, workers_of
from corehttp.control.process_figures import figures
from corehttp.ipc.counters import Counters, ServiceCounters, total
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.records import mutable_record, record

STATES = ("starting", "serving", "paused", "leaving", "blocked")


@record
class Build:
    """What serves."""

    version: str
    python: str
    loop: str
    http: str


@mutable_record
class SlotFigures:
    """What is true now of the workers of one slot, of which there are two while one replaces the other."""

    connections: int = 0
    websockets: int = 0
    in_flight: int = 0
    queued: int = 0
    lag: float = 0.0  # seconds
    rss: int | None = None  # bytes; None where the kernel does not tell
    descriptors: int | None = None
    started_at: float | None = None  # seconds since the epoch, of the worker that was started last


@record
class Snapshot:
    """A service at one moment. Slots are numbered from 1."""

    build: Build
    states: Mapping[str, int]  # how many workers are in each of STATES
    target: int
    started_at: float  # seconds since the epoch
    backlogs: Mapping[str, int]  # how many connections wait to be accepted, by listener
    slots: Mapping[int, SlotFigures]  # those that have a worker
    counters: Mapping[int, Counters]  # by slot, of all slots that there have been
    totals: Counters
    service: ServiceCounters
    certificates: Mapping[str, float] = {}  # when each ends (seconds since the epoch), by the path of its file


def take(overview: Content, board: Scoreboard, build: Build) -> Snapshot:
    """Return what the supervisor says, what the workers count and what the kernel tells."""
    status, workers = status_of(overview), workers_of(overview)
    counters = dict(enumerate(board.by_slot(), 1))
    states = dict.fromkeys(STATES, 0)
    for worker in workers:
        state = str(worker.get("state"))
        states[state] = states.get(state, 0) + 1
    return Snapshot(
        build=build,
        states=states,
        target=whole(status.get("target")),
        started_at=seconds(status.get("started_at")) or 0.0,
        backlogs={str(one.get("address")): whole(one.get("backlog")) for one in objects(status.get("listeners"))},
        slots=_slots(workers, board),
        counters=counters,
        totals=total(counters.values()),
        service=board.service,
        certificates={
            str(one.get("path")): end
            for one in objects(status.get("certificates"))
            if (end := seconds(one.get("not_after"))) is not None
        },
    )


def pid_of(overview: Content) -> int:
    """Return the process id of the supervisor."""
    return whole(status_of(overview).get("pid"))


def _slots(workers: Iterable[Content], board: Scoreboard) -> dict[int, SlotFigures]:
    slots: dict[int, SlotFigures] = {}
    now = time.monotonic()
    for row in board.rows():
        slot = slots.setdefault(row.slot + 1, SlotFigures())
        slot.connections += int(row.connections)
        slot.websockets += int(row.websockets)
        # The table of requests is up to date but has few places; the count is a second old at most.
        slot.in_flight += max(int(row.running), len(row.in_flight(now)))
        slot.queued += int(row.queued)
        slot.lag = max(slot.lag, row.late(now))
    for worker in workers:
        found, pid = slots.get(whole(worker.get("slot"))), whole(worker.get("pid"))
        if found is None:
            continue
        found.started_at = max(found.started_at or 0.0, seconds(worker.get("started_at")) or 0.0) or None
        for known in figures([pid]).values():
            found.rss = (found.rss or 0) + known.rss_bytes
        with contextlib.suppress(OSError):
            found.descriptors = (found.descriptors or 0) + len(os.listdir(f"/proc/{pid}/fd"))
    return slots
