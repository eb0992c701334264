"""Record in the fleet what has happened, and decide nothing. Pure: no clock, no process, no socket."""

from typing import assert_never

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.deadlines import has_lived_well
from corehttp.supervisor.events import (
    Appointed,
    Beat,
    BecameReady,
    Deposed,
    DrainFinished,
    Exited,
    FleetEvent,
    ForceRequested,
    HandedOn,
    LeadUntold,
    LoopBlocked,
    Refusing,
    ReloadAbandoned,
    ReloadFinished,
    ReloadRequested,
    ReopenRequested,
    Rescued,
    Resized,
    RestartRequested,
    RetireRequested,
    SlotClosed,
    SlotFailed,
    SlotOpened,
    Spawned,
    SpawnFailed,
    Steered,
    StoppedAccepting,
    StoppedLeading,
    StopRequested,
    TemplateGone,
    TemplateReady,
    TemplateRetired,
    TemplateStarted,
    ToldToLeave,
    UpgradeEnded,
    UpgradeRequested,
    UpgradeStarted,
    WasDumped,
    WasKilled,
    WasLate,
    WorkerEvent,
)
from corehttp.supervisor.fleet import (
    Fleet,
    SlotRecord,
    Stop,
    TemplatePhase,
    TemplateRecord,
    WorkerPhase,
    WorkerRecord,
)

APPOINT_AGAIN = 1.0  # seconds after which another attempt is made to have a worker lead

_ORDER = list(WorkerPhase)


def observe(fleet: Fleet, event: FleetEvent, now: float) -> None:
    """Record an event; `now` in seconds, monotonic. An event of a worker that is not known is ignored."""
    match event:
        case StopRequested() | ForceRequested() | HandedOn():
            _observe_stop(fleet, event, now)
        case Resized(size):
            fleet.size = max(1, size)
            _see_whether_complete(fleet)
        case RestartRequested(chosen):
            for worker in (fleet.workers[number] for number in chosen if number in fleet.workers):
                worker.retire = worker.retire or "an operator has asked for it"
        case WasLate(seconds):
            _forgive(fleet, seconds, now)
        case ReloadRequested() | ReloadAbandoned() | ReloadFinished():
            _observe_reload(fleet, event)
        case UpgradeRequested() | ReopenRequested():
            pass  # UpgradeStarted says that a new supervisor could be started
        case UpgradeStarted(pid):
            fleet.successor = pid
        case UpgradeEnded():
            fleet.successor = None
        case SlotOpened() | SlotFailed() | SlotClosed() | Steered() | Rescued() | Refusing():
            _observe_slot(fleet, event, now)
        case TemplateStarted() | TemplateReady() | TemplateRetired() | TemplateGone():
            _observe_template(fleet, event, now)
        case Spawned(worker, slot, generation):
            fleet.workers[worker] = WorkerRecord(worker, slot, generation, WorkerPhase.STARTING, now)
            fleet.slots[slot].emptied_at = None  # connections are accepted there again
        case SpawnFailed():
            _observe_failed_spawn(fleet, event, now)
        case _:
            known = fleet.workers.get(event.worker)
            if known is not None:
                _observe_worker(fleet, known, event, now)


def _observe_stop(fleet: Fleet, event: StopRequested | ForceRequested | HandedOn, now: float) -> None:
    """Record how everything is to end, and when that was asked for; the first time counts."""
    fleet.forced = fleet.forced or isinstance(event, ForceRequested)
    fleet.handed_on = fleet.handed_on or isinstance(event, HandedOn)
    if fleet.stop_requested_at is None:
        fleet.stop_requested_at = now


def _forgive(fleet: Fleet, seconds: float, now: float) -> None:
    """Record that the supervisor did not run for so many seconds: no limit counts them."""
    for worker in fleet.workers.values():
        worker.since += seconds
        worker.beat = now
    for template in fleet.templates.values():
        template.since += seconds
    for slot in fleet.slots:
        if slot.failing_since is not None:
            slot.failing_since += seconds


def _observe_worker(
    fleet: Fleet,
    worker: WorkerRecord,
    event: WorkerEvent,
    now: float,
) -> None:
    """Record what has happened to `worker`."""
    match event:
        case BecameReady():
            _become(worker, WorkerPhase.READY, now)
            worker.accepts = worker.phase is WorkerPhase.READY
            fleet.slots[worker.slot].served = True
            _see_whether_complete(fleet)
        case StoppedAccepting():
            _record_emptied_queue(fleet, worker, now)
        case DrainFinished():
            worker.accepts = False
            _become(worker, WorkerPhase.CLOSING, now)
        case ToldToLeave(_, why):
            worker.why = why
            worker.left_for_hang = worker.hung_at is not None or _is_spare(fleet, worker)
            _become(worker, WorkerPhase.DRAINING, now)
        case WasKilled():
            worker.late = worker.late or worker.phase is WorkerPhase.STARTING
            fleet.broken = fleet.broken or (worker.late and fleet.shows_bad_code(worker))
            _become(worker, WorkerPhase.KILLED, now)
        case WasDumped():
            worker.hung_at = now
        case LoopBlocked(_, blocked):
            worker.blocked = blocked
        case RetireRequested(_, cause):
            worker.retire = worker.retire or cause
        case Beat(_, at):
            worker.beat = max(worker.beat, at)
            if worker.hung_at is not None and at > worker.hung_at:
                worker.hung_at = None
        case Appointed() | LeadUntold() | Deposed() | StoppedLeading():
            _observe_leader(fleet, event, now)
        case Exited(_, code, jitter):
            if fleet.leader == worker.id:
                fleet.leader, fleet.deposed = None, False
            _record_exit(fleet, worker, code, jitter, now)
        case _:
            assert_never(event)


def _is_spare(fleet: Fleet, worker: WorkerRecord) -> bool:
    """Whether a worker is not needed any more before it is ready, since the blocked one runs again that it was for."""
    is_current = worker.phase is WorkerPhase.STARTING and worker.generation == fleet.wanted_generation
    return is_current and worker.why is LeaveReason.REPLACED


def _observe_leader(fleet: Fleet, event: Appointed | LeadUntold | Deposed | StoppedLeading, now: float) -> None:
    """Record which worker leads, and whether it is to step down."""
    match event:
        case Appointed(worker):
            fleet.leader, fleet.deposed = worker, False
        case LeadUntold():
            fleet.appoint_from = now + APPOINT_AGAIN
        case Deposed(worker):
            fleet.deposed = fleet.deposed or worker == fleet.leader
        case StoppedLeading(worker):
            if worker == fleet.leader:
                fleet.leader, fleet.deposed = None, False
        case _:
            assert_never(event)


def _record_emptied_queue(fleet: Fleet, worker: WorkerRecord, now: float) -> None:
    """Record that a worker has stopped accepting. One that was not told to leave has been told so by an operator."""
    worker.accepts = False
    if worker.phase is WorkerPhase.READY:
        worker.why = LeaveReason.REPLACED
        _become(worker, WorkerPhase.DRAINING, now)
    if worker.why in (LeaveReason.STOP, LeaveReason.SLOT_CLOSES):  # else a successor accepts there
        fleet.slots[worker.slot].emptied_at = now


def _see_whether_complete(fleet: Fleet) -> None:
    """Record it if every wanted slot has a ready worker for the first time."""
    fleet.booted = fleet.booted or all(fleet.ready(slot) for slot in range(fleet.size))


def _observe_reload(fleet: Fleet, event: ReloadRequested | ReloadAbandoned | ReloadFinished) -> None:
    """Record how far a reload has come; of a generation that is not taking over any more, nothing is recorded."""
    match event:
        case ReloadRequested():
            fleet.latest += 1
            fleet.broken = False
            if fleet.development:  # what has failed before delays no start of other code
                for slot in fleet.slots:
                    slot.failures, slot.failing_since = 0, None
            if fleet.booted:
                fleet.rollout = fleet.latest
            else:
                fleet.generation = fleet.latest  # nothing serves yet that could be kept
        case ReloadAbandoned(generation) if generation == fleet.rollout and fleet.development:
            fleet.generation, fleet.rollout = generation, None  # the code of before is gone
        case ReloadAbandoned(generation) if generation == fleet.rollout:
            fleet.rollout, fleet.broken = None, False
        case ReloadFinished(generation) if generation == fleet.rollout:
            fleet.generation, fleet.rollout = generation, None
        case _:
            pass


def _observe_slot(
    fleet: Fleet, event: SlotOpened | SlotFailed | SlotClosed | Steered | Rescued | Refusing, now: float
) -> None:
    """Record what has happened to one slot, or to the ways of new connections to all of them."""
    match event:
        case SlotOpened(index):
            fleet.slots[index : index + 1] = [SlotRecord()]
        case SlotFailed(index, jitter):
            if index == len(fleet.slots):
                fleet.slots.append(SlotRecord(open=False))
            slot = fleet.slots[index]
            slot.failures += 1
            slot.failed_at, slot.jitter = now, jitter
        case SlotClosed(index):
            fleet.slots[index] = SlotRecord(open=False)
            fleet.rescued -= {index}
        case Steered(away):
            fleet.away = away
            for index, slot in enumerate(fleet.slots):
                if index not in away:
                    slot.steered_at = None
                elif slot.steered_at is None:
                    slot.steered_at = now
        case Rescued(slots):
            fleet.rescued = slots
        case Refusing():
            fleet.refused_at = now
        case _:
            assert_never(event)


def _observe_failed_spawn(fleet: Fleet, event: SpawnFailed, now: float) -> None:
    """Record that a worker could not be started, unless it was told to leave before its template could fork it."""
    unforked = None if event.worker is None else fleet.workers.pop(event.worker, None)
    if unforked is not None and unforked.phase is not WorkerPhase.STARTING:
        return
    if event.generation == fleet.rollout and not fleet.development:
        fleet.broken = True
    else:
        _record_failure(fleet.slots[event.slot], now, event.jitter)


def _observe_template(
    fleet: Fleet, event: TemplateStarted | TemplateReady | TemplateRetired | TemplateGone, now: float
) -> None:
    """Record what has happened to a template."""
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
    """Record that a template has failed, unless its generation is not needed any more."""
    if fleet.stop is not Stop.NO or generation not in (fleet.generation, fleet.rollout):
        return
    if generation == fleet.rollout:
        fleet.broken = True
    elif not fleet.booted:
        fleet.start_failed_at = now
    else:
        fleet.template_failures += 1
        fleet.template_failed_at, fleet.template_jitter = now, jitter


def _become(worker: WorkerRecord, phase: WorkerPhase, now: float) -> None:
    """Record that a worker has reached a phase.

    A message of a worker may cross what it is told, so a phase before the present one is ignored.
    """
    if _ORDER.index(phase) > _ORDER.index(worker.phase):
        worker.phase, worker.since = phase, now


def _record_exit(fleet: Fleet, gone: WorkerRecord, code: int, jitter: float, now: float) -> None:
    """Record that a worker has ended. If nobody wanted that, it is a failure of its slot, and of its generation."""
    del fleet.workers[gone.id]
    slot = fleet.slots[gone.slot]
    if gone.phase in (WorkerPhase.DRAINING, WorkerPhase.CLOSING, WorkerPhase.KILLED) and not gone.late:
        overdue = gone.phase is WorkerPhase.KILLED or code == ExitCode.DRAIN
        if overdue and fleet.stop is Stop.GRACEFUL:
            fleet.overran = True
        return
    if fleet.stop is not Stop.NO or (gone.phase is WorkerPhase.READY and code == 0):
        return  # the whole service ends, or an operator has told this worker to leave
    if fleet.shows_bad_code(gone):
        fleet.broken = True
    if has_lived_well(fleet, gone, now):
        slot.failures, slot.failing_since = 0, None
    if gone.phase is WorkerPhase.READY or gone.generation <= fleet.generation:
        _record_failure(slot, now, jitter)
    if not fleet.booted and not fleet.development:
        fleet.start_failed_at = now


def _record_failure(slot: SlotRecord, now: float, jitter: float) -> None:
    """Record that a worker of the slot has failed, or could not be started."""
    slot.failures += 1
    slot.failed_at, slot.jitter = now, jitter
    if slot.failing_since is None:
        slot.failing_since = now
