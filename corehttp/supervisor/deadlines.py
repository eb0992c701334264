"""When the plan has something to do although nothing happens. Pure. All times are in seconds, monotonic."""

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.fleet import Fleet, Stop, TemplatePhase, TemplateRecord, WorkerPhase, WorkerRecord

NEVER = float("inf")


def next_deadline(fleet: Fleet, now: float) -> float:
    """Return when to ask `plan` again if nothing happens before; NEVER if only an event can change its answer."""
    times = [kill_at(fleet, worker) for worker in fleet.workers.values()]
    times += [template_due(fleet, template) for template in fleet.templates.values()]
    if fleet.stop is Stop.NO:
        times += [slot.retry_at for slot in fleet.slots]
        times += [slot.steered_at + fleet.limits.settle for slot in fleet.slots if slot.steered_at is not None]
        times += [beat_due(fleet, worker) for worker in fleet.ready()]
        times += [fleet.template_retry_at, crash_loop_at(fleet, now)]
    elif fleet.refusing:
        times += [slot.closes_at for slot in fleet.slots if slot.open and slot.closes_at is not None]
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
            return worker.since + delay + limits.graceful + limits.margin
        case WorkerPhase.CLOSING:
            return worker.since + limits.lifespan + limits.exit + limits.margin


def beat_due(fleet: Fleet, worker: WorkerRecord) -> float:
    """Return when a worker that serves counts as hung, unless its event loop has run before."""
    if not fleet.limits.healthcheck or worker.hung_at is not None:
        return NEVER
    return max(worker.beat, worker.since) + fleet.limits.healthcheck


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
        lives_well = any(now - worker.since >= fleet.limits.good_life for worker in fleet.ready(index))
        if slot.failing_since is None or lives_well:
            return NEVER
        since.append(slot.failing_since)
    return max(since, default=NEVER) + fleet.limits.crash_loop
