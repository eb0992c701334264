"""The supervisor's policy: record what happened, decide what to do. Pure: no clock, no process, no socket.

`observe` records and decides nothing. `plan` compares the wanted fleet with the known one; asked twice it answers the
same. Nothing here waits, so a signal is acted on at once in every situation.
"""

from typing import assert_never

from corehttp.errors import ExitCode
from corehttp.supervisor.fleet import (
    Action,
    BecameReady,
    CloseSlot,
    Drained,
    Event,
    Exit,
    Exited,
    Fleet,
    ForceRequested,
    Kill,
    Limits,
    Phase,
    RefuseConnections,
    Refusing,
    Slot,
    SlotClosed,
    Spawn,
    Spawned,
    SpawnFailed,
    Stop,
    StoppedAccepting,
    StopRequested,
    Terminate,
    Told,
    WasKilled,
    Worker,
)

NEVER = float("inf")
CLOSE_AFTER = 1.0  # seconds that a leaving worker gets to empty its accept queue


def observe(fleet: Fleet, event: Event, now: float) -> None:
    """Record an event; `now` in seconds, monotonic. An event of a worker that is not known is ignored."""
    match event:
        case Spawned(worker, place, generation):
            fleet.workers[worker] = Worker(worker, place, generation, Phase.STARTING, now)
        case SpawnFailed(index, jitter):
            _record_failure(fleet.slots[index], fleet.limits, now, jitter)
        case BecameReady(worker):
            _become(fleet, worker, Phase.READY, now)
            served = {w.slot for w in fleet.ready()}
            fleet.booted = fleet.booted or len(served) == fleet.size
        case StoppedAccepting(worker):
            if worker in fleet.workers:
                fleet.slots[fleet.workers[worker].slot].closes_at = now
        case Drained(worker):
            _become(fleet, worker, Phase.CLOSING, now)
        case Told(worker):
            _become(fleet, worker, Phase.DRAINING, now)
        case WasKilled(worker):
            _become(fleet, worker, Phase.KILLED, now)
        case Exited(worker, code, jitter):
            _record_exit(fleet, worker, code, jitter, now)
        case StopRequested():
            fleet.stop = Stop.GRACEFUL if fleet.stop is Stop.NO else fleet.stop
        case ForceRequested():
            fleet.stop, fleet.exit_code = Stop.FORCED, ExitCode.FORCED
        case Refusing():
            fleet.refusing = True
            for slot in fleet.slots:
                slot.closes_at = now + CLOSE_AFTER
        case SlotClosed(index):
            fleet.slots[index].open = False
        case _:
            assert_never(event)


def plan(fleet: Fleet, now: float) -> list[Action]:
    """What is to be done now; `now` in seconds, monotonic."""
    match fleet.stop:
        case Stop.NO if _is_crash_loop(fleet, now):
            return [Exit(ExitCode.CRASH_LOOP)] if not fleet.workers else _kill_all(fleet)
        case Stop.NO:
            return _plan_service(fleet, now)
        case Stop.GRACEFUL:
            return _plan_leave(fleet, now)
        case Stop.FORCED:
            return _kill_all(fleet) or ([] if fleet.workers else [Exit(fleet.exit_code)])


def next_deadline(fleet: Fleet, now: float) -> float:
    """When `plan` will have more to say though nothing happens; seconds, monotonic."""
    times = [_kill_at(fleet, worker) for worker in fleet.workers.values()]
    if fleet.stop is Stop.NO:
        times += [slot.retry_at for index, slot in enumerate(fleet.slots) if not fleet.occupants(index)]
        times.append(_crash_loop_at(fleet, now))
    elif fleet.refusing:
        times += [slot.closes_at for slot in fleet.slots if slot.open and slot.closes_at is not None]
    # A deadline that is over and still stands has been acted on: what is awaited then is an event.
    return min((time for time in times if time > now), default=NEVER)


def backoff(failures: int, limits: Limits, jitter: float) -> float:
    """Seconds before the successor after so many deaths in a row: 0, 0.5, 1, 2 … cap, each up to a quarter longer."""
    if failures <= 1:
        return 0.0
    return min(limits.backoff_cap, limits.backoff_first * 2.0 ** min(failures - 2, 16)) * (1 + jitter / 4)


def _plan_service(fleet: Fleet, now: float) -> list[Action]:
    """One worker of the current generation for each slot; an older one leaves when its successor is ready."""
    actions: list[Action] = []
    for index, slot in enumerate(fleet.slots):
        occupants = fleet.occupants(index)
        current = [worker for worker in occupants if worker.generation == fleet.generation]
        if not current and slot.retry_at <= now:
            actions.append(Spawn(index, fleet.generation))
        if any(worker.phase is Phase.READY for worker in current):
            actions += [Terminate(worker.id) for worker in occupants if worker.generation < fleet.generation]
    return actions + _overdue(fleet, now)


def _plan_leave(fleet: Fleet, now: float) -> list[Action]:
    if not fleet.refusing:
        return [RefuseConnections()]
    actions: list[Action] = [
        Terminate(worker.id) for worker in fleet.workers.values() if worker.phase in (Phase.STARTING, Phase.READY)
    ]
    occupied = {worker.slot for worker in fleet.workers.values()}
    for index, slot in enumerate(fleet.slots):
        if slot.open and (index not in occupied or (slot.closes_at is not None and slot.closes_at <= now)):
            actions.append(CloseSlot(index))
    actions += _overdue(fleet, now)
    return actions if fleet.workers or actions else [Exit(fleet.exit_code)]


def _overdue(fleet: Fleet, now: float) -> list[Action]:
    return [Kill(worker.id) for worker in fleet.workers.values() if _kill_at(fleet, worker) <= now]


def _kill_all(fleet: Fleet) -> list[Action]:
    return [Kill(worker.id) for worker in fleet.workers.values() if worker.phase is not Phase.KILLED]


def _kill_at(fleet: Fleet, worker: Worker) -> float:
    """One deadline for each worker; its phase says what it means."""
    limits = fleet.limits
    match worker.phase:
        case Phase.STARTING | Phase.READY | Phase.KILLED:
            return NEVER
        case Phase.DRAINING:
            return worker.since + limits.graceful + limits.margin
        case Phase.CLOSING:
            return worker.since + limits.lifespan + limits.margin


def _become(fleet: Fleet, worker: int, phase: Phase, now: float) -> None:
    known = fleet.workers.get(worker)
    order = list(Phase)
    # What a worker says may cross what it is told: its life only goes forward.
    if known is not None and order.index(phase) > order.index(known.phase):
        known.phase, known.since = phase, now


def _record_exit(fleet: Fleet, worker: int, code: int, jitter: float, now: float) -> None:
    gone = fleet.workers.pop(worker, None)
    if gone is None:
        return
    slot = fleet.slots[gone.slot]
    if gone.phase in (Phase.DRAINING, Phase.CLOSING, Phase.KILLED):
        overdue = gone.phase is Phase.KILLED or code == ExitCode.DRAIN
        if overdue and fleet.stop is Stop.GRACEFUL and fleet.exit_code is ExitCode.CLEAN:
            fleet.exit_code = ExitCode.DRAIN
    elif fleet.stop is Stop.NO:
        if gone.phase is Phase.READY and now - gone.since >= fleet.limits.good_life:
            slot.failures, slot.failing_since = 0, None
        _record_failure(slot, fleet.limits, now, jitter)
        if not fleet.booted:
            fleet.stop, fleet.exit_code = Stop.GRACEFUL, ExitCode.STARTUP


def _record_failure(slot: Slot, limits: Limits, now: float, jitter: float) -> None:
    slot.failures += 1
    slot.retry_at = now + backoff(slot.failures, limits, jitter)
    if slot.failing_since is None:
        slot.failing_since = now


def _is_crash_loop(fleet: Fleet, now: float) -> bool:
    return _crash_loop_at(fleet, now) <= now


def _crash_loop_at(fleet: Fleet, now: float) -> float:
    """When all slots will have been failing for the limit; a worker that lives well ends its slot's failing."""
    since: list[float] = []
    if not fleet.limits.crash_loop:
        return NEVER
    for index, slot in enumerate(fleet.slots):
        lives_well = any(
            worker.phase is Phase.READY and now - worker.since >= fleet.limits.good_life
            for worker in fleet.occupants(index)
        )
        if slot.failing_since is None or lives_well:
            return NEVER
        since.append(slot.failing_since)
    return max(since) + fleet.limits.crash_loop
