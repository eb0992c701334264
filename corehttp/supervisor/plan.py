"""The supervisor's policy: what is to be done now. Pure: no clock, no process, no socket.

`plan` compares the wanted fleet with the known one. It changes nothing, so asking twice gives the same answer. Nothing
here waits, so a signal is acted on at once in every situation. `observe.observe` records in the fleet what happens;
`deadlines.next_deadline` says when to ask again if nothing does.
"""

from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import (
    AbandonReload,
    Action,
    CloseSlot,
    Dump,
    Exit,
    FinishReload,
    Kill,
    Leave,
    LoadTemplate,
    OpenSlot,
    RefuseConnections,
    Rescue,
    RetireTemplate,
    Spawn,
    Steer,
)
from corehttp.supervisor.deadlines import beat_due, crash_loop_at, kill_at, refuse_at, template_due
from corehttp.supervisor.fleet import Fleet, Stop, Strategy, TemplatePhase, WorkerPhase


def plan(fleet: Fleet, now: float) -> list[Action]:
    """Return what is to be done now, in this order; `now` in seconds, monotonic."""
    match fleet.stop:
        case Stop.NO if crash_loop_at(fleet, now) <= now:
            return _end(fleet, ExitCode.CRASH_LOOP)
        case Stop.NO:
            return _plan_service(fleet, now)
        case Stop.GRACEFUL:
            return _plan_stop(fleet, now)
        case Stop.FORCED:
            return _end(fleet, fleet.exit_code)


def _plan_service(fleet: Fleet, now: float) -> list[Action]:
    """Come to one worker of the wanted generation in each wanted slot, and to no other slots."""
    if fleet.rollout is not None and fleet.broken:
        return [AbandonReload(fleet.rollout)]
    actions = _templates(fleet, now) + _open_slots(fleet, now)
    slots = [index for index in range(min(fleet.size, len(fleet.slots))) if fleet.slots[index].open]
    for slot in slots:
        actions += _settle(fleet, slot, now)
    actions += _replace(fleet, slots, now)
    for slot in range(fleet.size, len(fleet.slots)):
        if fleet.slots[slot].open:
            actions += _give_up(fleet, slot, slots, now)
    if (away := _away(fleet)) != fleet.away:
        actions.append(Steer(away))
    if (orphaned := _orphaned(fleet)) != fleet.rescued:
        actions.append(Rescue(orphaned))
    if _has_taken_over(fleet):
        actions.append(FinishReload(fleet.wanted))
    return actions + _dump(fleet, now) + _overdue(fleet, now)


def _settle(fleet: Fleet, slot: int, now: float) -> list[Action]:
    """End the workers that a slot does not need, and fill the slot if no worker is there."""
    actions: list[Action] = []
    occupants = fleet.occupants(slot)
    fresh = any(worker.phase is WorkerPhase.READY and not fleet.is_due(worker) for worker in occupants)
    for worker in occupants:
        outdated = worker.phase is WorkerPhase.STARTING and worker.generation != fleet.wanted
        if outdated or (fresh and (worker.phase is WorkerPhase.STARTING or fleet.is_due(worker))):
            actions.append(Leave(worker.id, LeaveReason.REPLACED))
    if len(actions) == len(occupants) and not _has_to_wait(fleet, slot):
        actions += _spawn(fleet, slot, now)
    return actions


def _has_to_wait(fleet: Fleet, slot: int) -> bool:
    """Whether a worker that is replaced still holds the memory that its successor needs (stop-first)."""
    return fleet.strategy is Strategy.STOP_FIRST and any(
        worker.slot == slot and worker.why is LeaveReason.REPLACED for worker in fleet.workers.values()
    )


def _spawn(fleet: Fleet, slot: int, now: float) -> list[Action]:
    if fleet.slots[slot].retry_at > now:
        return []
    template = fleet.templates.get(fleet.wanted)
    if fleet.preload and (template is None or template.phase is not TemplatePhase.READY):
        return []
    return [Spawn(slot, fleet.wanted)]


def _replace(fleet: Fleet, slots: list[int], now: float) -> list[Action]:
    """Begin to replace workers that are due, in a limited number of slots at once.

    The limit is `fleet.parallel` in a reload, one for any other cause, and none before the service was complete. Slots
    whose worker hangs come first.
    """
    ready = {slot: fleet.ready(slot) for slot in slots}
    starting = {
        w.slot for w in fleet.workers.values() if w.phase is WorkerPhase.STARTING and w.generation == fleet.wanted
    }
    waiting = [slot for slot in slots if ready[slot] and slot not in starting and all(map(fleet.is_due, ready[slot]))]
    if fleet.rollout is not None:  # workers that are due for another reason are replaced after the reload
        waiting = [slot for slot in waiting if any(worker.generation < fleet.wanted for worker in ready[slot])]
    start_first = fleet.strategy is Strategy.START_FIRST
    in_transition = sum(slot in starting and bool(ready[slot]) if start_first else not ready[slot] for slot in slots)
    at_once = fleet.parallel if fleet.rollout is not None else 1 if fleet.booted else fleet.size
    actions: list[Action] = []
    waiting.sort(key=lambda slot: not any(worker.hung_at is not None for worker in ready[slot]))
    for slot in waiting[: max(0, at_once - in_transition)]:
        match fleet.strategy:
            case Strategy.START_FIRST:
                actions += _spawn(fleet, slot, now)
            case Strategy.STOP_FIRST:
                actions += [Leave(worker.id, LeaveReason.REPLACED) for worker in ready[slot]]
    return actions


def _open_slots(fleet: Fleet, now: float) -> list[Action]:
    """Open the wanted slots one after the other: if one cannot be opened, the next ones are not tried in vain."""
    for slot in range(fleet.size):
        if slot == len(fleet.slots):
            return [OpenSlot(slot)]
        if not fleet.slots[slot].open:
            return [OpenSlot(slot)] if fleet.slots[slot].retry_at <= now else []
    return []


def _give_up(fleet: Fleet, slot: int, wanted: list[int], now: float) -> list[Action]:
    """Close a slot that is not wanted, once clients are steered away from it and no connection waits there any more."""
    place = fleet.slots[slot]
    occupants = fleet.occupants(slot)
    emptied = place.closes_at is not None or not place.served
    steered = place.steered_at is not None and place.steered_at + fleet.limits.settle <= now
    others = any(fleet.ready(other) for other in wanted)
    actions: list[Action] = []
    for worker in occupants:
        starting = worker.phase is WorkerPhase.STARTING
        if (starting and (emptied or fleet.ready(slot))) or (not starting and steered and others):
            actions.append(Leave(worker.id, LeaveReason.SLOT_CLOSES))
    emptying = [w for w in fleet.workers.values() if w.slot == slot and w.why is LeaveReason.SLOT_CLOSES]
    if not occupants and emptied:
        actions.append(CloseSlot(slot))
    elif not occupants and not emptying:
        actions += _spawn(fleet, slot, now)  # a worker has to serve the connections that wait there
    return actions


def _away(fleet: Fleet) -> frozenset[int]:
    """The slots that new connections are to be steered away from: they will be closed, or have no worker that accepts.

    Empty if no other slot has a worker that accepts.
    """
    serving = {worker.slot for worker in fleet.takes_in()}
    away = frozenset(
        index
        for index, slot in enumerate(fleet.slots)
        if slot.open and slot.served and (index >= fleet.size or index not in serving)
    )
    return away if serving - away else frozenset()


def _orphaned(fleet: Fleet) -> frozenset[int]:
    """The slots in which connections may wait without a worker that accepts them, if a worker of another slot can."""
    serving = {worker.slot for worker in fleet.takes_in()}
    vacant = (index for index, slot in enumerate(fleet.slots) if slot.open and slot.served and index not in serving)
    return frozenset(vacant) if serving else frozenset()


def _has_taken_over(fleet: Fleet) -> bool:
    """Whether every connection from now on reaches the generation that is being rolled out."""
    return (
        fleet.rollout is not None
        and all(
            any(worker.generation == fleet.rollout for worker in fleet.ready(slot))
            and all(worker.generation == fleet.rollout for worker in fleet.occupants(slot))
            for slot in range(fleet.size)
        )
        and not any(worker.accepts and worker.generation != fleet.rollout for worker in fleet.workers.values())
    )


def _templates(fleet: Fleet, now: float) -> list[Action]:
    """Load a template for each generation that a new worker may be of, and end the other templates."""
    if not fleet.preload:
        return []
    needed = {fleet.generation, fleet.wanted}
    actions: list[Action] = []
    for template in fleet.templates.values():
        ending = template.phase is TemplatePhase.ENDING
        if not ending and (template.generation not in needed or template_due(fleet, template) <= now):
            actions.append(RetireTemplate(template.generation))
    if fleet.template_retry_at <= now:
        actions += [LoadTemplate(generation) for generation in sorted(needed - set(fleet.templates))]
    return actions


def _dump(fleet: Fleet, now: float) -> list[Action]:
    """Log the stacks of a worker whose event loop is blocked, which has it replaced: one worker at a time."""
    if any(worker.hung_at is not None for worker in fleet.workers.values()):
        return []
    hung = [worker for worker in fleet.ready() if beat_due(fleet, worker) <= now]
    return [Dump(worker.id) for worker in hung[:1]]


def _plan_stop(fleet: Fleet, now: float) -> list[Action]:
    """Refuse new connections, tell all workers to leave, close the slots that have none, and exit."""
    if fleet.rescued:
        return [Rescue(frozenset())]  # first of all: the workers still take in the connections that wait elsewhere
    refused = fleet.handed_on or fleet.refusing
    actions: list[Action] = []
    if not refused and (refuse_at(fleet) <= now or not fleet.workers):
        return [RefuseConnections()]
    why = LeaveReason.REPLACED if fleet.handed_on else LeaveReason.STOP
    actions += [
        Leave(w.id, why) for w in fleet.workers.values() if w.phase in (WorkerPhase.STARTING, WorkerPhase.READY)
    ]
    actions += _retire_templates(fleet)
    occupied = {worker.slot for worker in fleet.workers.values()}
    for index, slot in enumerate(fleet.slots):
        over = fleet.refusing and slot.closes_at is not None and slot.closes_at <= now
        if slot.open and refused and (index not in occupied or over):
            actions.append(CloseSlot(index))
    actions += _overdue(fleet, now)
    return actions if fleet.workers or fleet.templates or actions else [Exit(fleet.exit_code)]


def _overdue(fleet: Fleet, now: float) -> list[Action]:
    return [Kill(worker.id) for worker in fleet.workers.values() if kill_at(fleet, worker) <= now]


def _end(fleet: Fleet, code: ExitCode) -> list[Action]:
    """Kill all workers and templates, and exit when they have ended."""
    actions: list[Action] = [Kill(w.id) for w in fleet.workers.values() if w.phase is not WorkerPhase.KILLED]
    actions += _retire_templates(fleet)
    return actions if fleet.workers or fleet.templates else [Exit(code)]


def _retire_templates(fleet: Fleet) -> list[Action]:
    return [RetireTemplate(g) for g, t in fleet.templates.items() if t.phase is not TemplatePhase.ENDING]
