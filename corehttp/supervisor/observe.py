"""Records in the fleet what has happened, and decides nothing. Pure: no clock, no process, no socket."""

from typing import assert_never

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.events import (
    Beat,
    BecameReady,
    Drained,
    Exited,
    FleetEvent,
    ForceRequested,
    HandedOn,
    Refusing,
    ReloadAbandoned,
    ReloadFinished,
    ReloadRequested,
    Rescued,
    Resized,
    RetireRequested,
    SlotClosed,
    SlotFailed,
    SlotOpened,
    Spawned,
    SpawnFailed,
    Steered,
    StoppedAccepting,
    StopRequested,
    TemplateGone,
    TemplateReady,
    TemplateRetired,
    TemplateStarted,
    Told,
    UpgradeRequested,
    WasDumped,
    WasKilled,
    WasLate,
)
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

CLOSE_AFTER = 1.0  # seconds that a worker has at a stop to empty its accept queue

_ORDER = list(WorkerPhase)


def observe(fleet: Fleet, event: FleetEvent, now: float) -> None:
    """Record an event; `now` in seconds, monotonic. An event of a worker that is not known is ignored."""
    match event:
        case StopRequested():
            _request_stop(fleet, now)
        case ForceRequested():
            fleet.forced = True
            _request_stop(fleet, now)
        case HandedOn():
            fleet.handed_on = True
            _request_stop(fleet, now)
        case Resized(size):
            fleet.size = max(1, size)
            _see_whether_complete(fleet)
        case UpgradeRequested():
            pass  # the new supervisor has a fleet of its own
        case WasLate(seconds):
            for worker in fleet.workers.values():
                worker.since += seconds
                worker.beat = now
            for template in fleet.templates.values():
                template.since += seconds
            for slot in fleet.slots:
                if slot.failing_since is not None:
                    slot.failing_since += seconds
        case ReloadRequested() | ReloadAbandoned() | ReloadFinished():
            _observe_reload(fleet, event)
        case SlotOpened() | SlotFailed() | SlotClosed() | Steered() | Rescued() | Refusing() | SpawnFailed():
            _observe_slot(fleet, event, now)
        case TemplateStarted() | TemplateReady() | TemplateRetired() | TemplateGone():
            _observe_template(fleet, event, now)
        case Spawned(worker_id, place, generation):
            fleet.workers[worker_id] = WorkerRecord(worker_id, place, generation, WorkerPhase.STARTING, now)
            if fleet.stop is Stop.NO:
                fleet.slots[place].closes_at = None  # somebody accepts there again
        case _:
            known = fleet.workers.get(event.worker)
            if known is not None:
                _observe_worker(fleet, known, event, now)


def backoff(failures: int, limits: FleetLimits, jitter: float) -> float:
    """Seconds to wait for the next start after so many failures in a row: 0, 0.5, 1, 2 … cap.

    `jitter` in [0, 1) makes each up to a quarter longer.
    """
    if failures <= 1:
        return 0.0
    return min(limits.backoff_cap, limits.backoff_first * 2.0 ** min(failures - 2, 16)) * (1 + jitter / 4)


def _observe_worker(
    fleet: Fleet,
    worker: WorkerRecord,
    event: BecameReady | StoppedAccepting | Drained | Told | WasKilled | WasDumped | RetireRequested | Beat | Exited,
    now: float,
) -> None:
    match event:
        case BecameReady():
            _become(worker, WorkerPhase.READY, now)
            worker.accepts = worker.phase is WorkerPhase.READY
            fleet.slots[worker.slot].served = True
            _see_whether_complete(fleet)
        case StoppedAccepting():
            worker.accepts = False
            if worker.phase is WorkerPhase.READY:  # an operator has told it to leave
                worker.why = LeaveReason.REPLACED
                _become(worker, WorkerPhase.DRAINING, now)
            if worker.why in (LeaveReason.STOP, LeaveReason.SLOT_CLOSES):  # else another one accepts there
                fleet.slots[worker.slot].closes_at = now
        case Drained():
            worker.accepts = False
            _become(worker, WorkerPhase.CLOSING, now)
        case Told(_, why):
            worker.why = why
            _become(worker, WorkerPhase.DRAINING, now)
        case WasKilled():
            if worker.phase is WorkerPhase.STARTING:
                worker.late = True
                fleet.broken = fleet.broken or worker.generation == fleet.rollout
            _become(worker, WorkerPhase.KILLED, now)
        case WasDumped():
            worker.hung_at = now
        case RetireRequested(_, cause):
            worker.retire = worker.retire or cause
        case Beat(_, at):
            worker.beat = max(worker.beat, at)
            if worker.hung_at is not None and at > worker.hung_at:
                worker.hung_at = None
        case Exited(_, code, jitter):
            _record_exit(fleet, worker, code, jitter, now)
        case _:
            assert_never(event)


def _see_whether_complete(fleet: Fleet) -> None:
    fleet.booted = fleet.booted or all(fleet.ready(slot) for slot in range(fleet.size))


def _observe_reload(fleet: Fleet, event: ReloadRequested | ReloadAbandoned | ReloadFinished) -> None:
    match event:
        case ReloadRequested():
            fleet.latest += 1
            fleet.broken = False
            if fleet.booted:
                fleet.rollout = fleet.latest
            else:
                fleet.generation = fleet.latest  # nothing serves yet that could be kept
        case ReloadAbandoned(generation) if generation == fleet.rollout:
            fleet.rollout, fleet.broken = None, False
        case ReloadFinished(generation) if generation == fleet.rollout:
            fleet.generation, fleet.rollout = generation, None
        case _:
            pass


def _observe_slot(
    fleet: Fleet, event: SlotOpened | SlotFailed | SlotClosed | Steered | Rescued | Refusing | SpawnFailed, now: float
) -> None:
    match event:
        case SlotOpened(index):
            fleet.slots[index : index + 1] = [SlotRecord()]
        case SlotFailed(index, jitter):
            if index == len(fleet.slots):
                fleet.slots.append(SlotRecord(open=False))
            slot = fleet.slots[index]
            slot.failures += 1
            slot.retry_at = now + backoff(slot.failures + 1, fleet.limits, jitter)
        case SlotClosed(index):
            fleet.slots[index] = SlotRecord(open=False)
            fleet.rescued -= {index}
        case Steered(away):
            fleet.away = away
            for index, slot in enumerate(fleet.slots):
                slot.steered_at = None if index not in away else now if slot.steered_at is None else slot.steered_at
        case Rescued(slots):
            fleet.rescued = slots
        case Refusing():
            fleet.refusing = True
            for slot in fleet.slots:
                slot.closes_at = now + CLOSE_AFTER
        case SpawnFailed(index, generation, jitter, worker):
            unborn = None if worker is None else fleet.workers.pop(worker, None)
            if unborn is not None and unborn.phase is not WorkerPhase.STARTING:
                return  # it was told to leave before its template could fork it
            if generation == fleet.rollout:
                fleet.broken = True
            else:
                _record_failure(fleet.slots[index], fleet.limits, now, jitter)
        case _:
            assert_never(event)


def _observe_template(
    fleet: Fleet, event: TemplateStarted | TemplateReady | TemplateRetired | TemplateGone, now: float
) -> None:
    generation = event.generation
    template = fleet.templates.get(generation)
    match event:
        case TemplateStarted():
            fleet.templates[generation] = TemplateRecord(generation, TemplatePhase.LOADING, now)
        case TemplateReady():
            if template is not None and template.phase is TemplatePhase.LOADING:
                template.phase, template.since = TemplatePhase.READY, now
                fleet.template_failures = 0
        case TemplateRetired():
            if template is not None:
                if template.phase is TemplatePhase.LOADING:
                    _template_failed(fleet, generation, 0.0, now)
                template.phase, template.since = TemplatePhase.ENDING, now
        case TemplateGone(_, jitter):
            if template is None or template.phase is not TemplatePhase.ENDING:
                _template_failed(fleet, generation, jitter, now)
            fleet.templates.pop(generation, None)
        case _:
            assert_never(event)


def _template_failed(fleet: Fleet, generation: int, jitter: float, now: float) -> None:
    """Record that a template has failed, unless its generation is needed no more."""
    if fleet.stop is not Stop.NO or generation not in (fleet.generation, fleet.rollout):
        return
    if generation == fleet.rollout:
        fleet.broken = True
    elif not fleet.booted:
        fleet.start_failed_at = now
    else:
        fleet.template_failures += 1
        fleet.template_retry_at = now + backoff(fleet.template_failures + 1, fleet.limits, jitter)


def _become(worker: WorkerRecord, phase: WorkerPhase, now: float) -> None:
    # What a worker says may cross what it is told, so a phase that is behind the present one is ignored.
    if _ORDER.index(phase) > _ORDER.index(worker.phase):
        worker.phase, worker.since = phase, now


def _record_exit(fleet: Fleet, gone: WorkerRecord, code: int, jitter: float, now: float) -> None:
    del fleet.workers[gone.id]
    slot = fleet.slots[gone.slot]
    if gone.phase in (WorkerPhase.DRAINING, WorkerPhase.CLOSING, WorkerPhase.KILLED) and not gone.late:
        overdue = gone.phase is WorkerPhase.KILLED or code == ExitCode.DRAIN
        if overdue and fleet.stop is Stop.GRACEFUL:
            fleet.overran = True
        return
    if fleet.stop is not Stop.NO or (gone.phase is WorkerPhase.READY and code == 0):
        return  # the whole service ends, or an operator has told this worker to
    if gone.generation == fleet.rollout:
        fleet.broken = True
    if gone.phase is WorkerPhase.READY and now - gone.since >= fleet.limits.good_life:
        slot.failures, slot.failing_since = 0, None
    if gone.phase is WorkerPhase.READY or gone.generation <= fleet.generation:
        _record_failure(slot, fleet.limits, now, jitter)
    if not fleet.booted:
        fleet.start_failed_at = now


def _record_failure(slot: SlotRecord, limits: FleetLimits, now: float, jitter: float) -> None:
    slot.failures += 1
    slot.retry_at = now + backoff(slot.failures, limits, jitter)
    if slot.failing_since is None:
        slot.failing_since = now


def _request_stop(fleet: Fleet, now: float) -> None:
    """Record when a stop was asked for; the first time counts."""
    if fleet.stop_requested_at is None:
        fleet.stop_requested_at = now
