"""When the plan has something to do although nothing happens. Pure. All times are in seconds, monotonic."""

from corehttp.ipc.messages import LeaveReason
from corehttp.moments import NEVER, doubling
from corehttp.supervisor.fleet import (
    Fleet,
    FleetLimits,
    SlotRecord,
    Stop,
    TemplatePhase,
    TemplateRecord,
    WorkerPhase,
    WorkerRecord,
)


def next_deadline(fleet: Fleet, now: float) -> float:
    """Return when to ask `plan` again if nothing happens before; NEVER if only an event can change its answer."""
    times = [kill_at(fleet, worker) for worker in fleet.workers.values()]
    times += [template_due(fleet, template) for template in fleet.templates.values()]
    if fleet.stop is Stop.NO:
        times += [start_at(fleet, slot) for slot in fleet.slots]
        times += [slot.steered_at + fleet.limits.settle for slot in fleet.slots if slot.steered_at is not None]
        times += [beat_due(fleet, worker) for worker in fleet.ready()]
        times += [template_start_at(fleet), crash_loop_at(fleet, now)]
    elif fleet.refused_at is not None:
        times += [close_at(fleet, slot) for slot in fleet.slots if slot.open]
    else:
        times.append(refuse_at(fleet))
    # A deadline that has passed was acted on already: the plan waits for the event that follows from that action.
    return min((time for time in times if time > now), default=NEVER)


def kill_at(fleet: Fleet, worker: WorkerRecord) -> float:
    """Return when a worker is to be killed: it has not started, drained or ended by then, depending on its phase."""
    limits = fleet.limits
    match worker.phase:
        case WorkerPhase.STARTING:
            return worker.since + limits.startup if limits.startup else NEVER
        case WorkerPhase.READY | WorkerPhase.KILLED:
            return NEVER
        case WorkerPhase.DRAINING if worker.hung_at is not None:
            return worker.since + limits.margin
        case WorkerPhase.DRAINING:
            delay = limits.shutdown_delay if worker.why is LeaveReason.STOP else 0.0
            replaced = worker.why is LeaveReason.REPLACED
            graceful = limits.graceful_replaced if replaced else limits.graceful
            return worker.since + delay + graceful + limits.margin
        case WorkerPhase.CLOSING:
            return worker.since + limits.lifespan + limits.exit + limits.margin


def beat_due(fleet: Fleet, worker: WorkerRecord) -> float:
    """Return when a worker that serves counts as hung, unless its event loop has run before."""
    if not fleet.limits.healthcheck or worker.hung_at is not None:
        return NEVER
    return max(worker.beat, worker.since) + fleet.limits.healthcheck


def backoff(failures: int, limits: FleetLimits, jitter: float) -> float:
    """Seconds to wait for the next start after so many failures in a row: 0, 0.5, 1, 2 … cap.

    `jitter` in [0, 1) makes each up to a quarter longer.
    """
    if failures <= 1:
        return 0.0
    return doubling(failures - 1, limits.backoff_first, limits.backoff_cap, jitter)


def start_at(fleet: Fleet, slot: SlotRecord) -> float:
    """Return the earliest time to start a worker in a slot, or to open the slot if it is closed.

    A worker that has failed for the first time is replaced at once. What could not be bound is not tried again at once.
    """
    failures = slot.failures if slot.open else slot.failures + 1
    return slot.failed_at + backoff(failures, fleet.limits, slot.jitter)


def template_start_at(fleet: Fleet) -> float:
    """Return the earliest time to start a template: not at once after one has failed."""
    return fleet.template_failed_at + backoff(fleet.template_failures + 1, fleet.limits, fleet.template_jitter)


def close_at(fleet: Fleet, slot: SlotRecord) -> float:
    """Return when a slot is closed at a stop although its worker may still have the sockets; NEVER before the stop.

    The worker has emptied its accept queue by then, or has had the time to do so.
    """
    if fleet.refused_at is None:
        return NEVER
    if slot.emptied_at is not None and slot.emptied_at >= fleet.refused_at:
        return slot.emptied_at
    return fleet.refused_at + fleet.limits.emptying


def has_lived_well(fleet: Fleet, worker: WorkerRecord, now: float) -> bool:
    """Whether a worker has served for so long that a failure after that counts as the first one again."""
    return worker.phase is WorkerPhase.READY and now - worker.since >= fleet.limits.good_life


def template_due(fleet: Fleet, template: TemplateRecord) -> float:
    """Return when a template is to be ended, unless it has loaded the application before."""
    if template.phase is not TemplatePhase.LOADING or not fleet.limits.startup:
        return NEVER
    return template.since + fleet.limits.startup


def refuse_at(fleet: Fleet) -> float:
    """Return when a stop begins to refuse new connections: at once if the service was never complete."""
    return fleet.stop_since + (fleet.limits.shutdown_delay if fleet.booted else 0.0)


def crash_loop_at(fleet: Fleet, now: float) -> float:
    """Return when the supervisor gives up: all wanted slots have then done nothing but fail for the crash-loop limit.

    A slot fails from its first failure until it has a worker that has been ready for `good_life` seconds.
    """
    since: list[float] = []
    if not fleet.limits.crash_loop:
        return NEVER
    for index, slot in enumerate(fleet.slots):
        if not slot.open or index >= fleet.size:
            continue
        lives_well = any(has_lived_well(fleet, worker, now) for worker in fleet.ready(index))
        if slot.failing_since is None or lives_well:
            return NEVER
        since.append(slot.failing_since)
    return max(since, default=NEVER) + fleet.limits.crash_loop
