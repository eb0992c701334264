"""The supervisor's policy: what is to be done now. Pure: no clock, no process, no socket.

`plan` compares the wanted fleet with the known one. It changes nothing, so asking twice gives the same answer. What
takes time is only begun, and an event tells its end, so that a signal is acted on at once in every situation.
`observe.observe` records in the fleet what happens; `deadlines.next_deadline` says when to ask again if nothing does.
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
    LoadTemplate,
    OpenSlot,
    RefuseConnections,
    Rescue,
    RetireTemplate,
    Spawn,
    Steer,
    Terminate,
)
from corehttp.supervisor.deadlines import (
    beat_due,
    close_at,
    crash_loop_at,
    kill_at,
    refuse_at,
    start_at,
    template_due,
    template_start_at,
)
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
    """Return what leads to one worker of the wanted generation in each wanted slot, and to no other slots."""
    if fleet.rollout is not None and fleet.broken:
        return [AbandonReload(fleet.rollout)]
    actions = _templates(fleet, now) + _open_slots(fleet, now)
    slots = [index for index in range(min(fleet.size, len(fleet.slots))) if fleet.slots[index].open]
    for slot in slots:
        actions += _fill(fleet, slot, now)
    actions += _replace(fleet, slots, now)
    leaving = {action.worker for action in actions if isinstance(action, Terminate)}
    others = any(worker.id not in leaving for slot in slots for worker in fleet.ready(slot))
    for slot in range(fleet.size, len(fleet.slots)):
        if fleet.slots[slot].open:
            actions += _give_up(fleet, slot, others, now)
    if (away := _away(fleet)) != fleet.away:
        actions.append(Steer(away))
    if (vacant := _vacant(fleet)) != fleet.rescued:
        actions.append(Rescue(vacant))
    if _has_taken_over(fleet):
        actions.append(FinishReload(fleet.wanted_generation))
    return actions + _dump(fleet, now) + _overdue(fleet, now)


def _fill(fleet: Fleet, slot: int, now: float) -> list[Action]:
    """Return what ends the workers that a slot does not need, and starts one if no other is there."""
    actions: list[Action] = []
    occupants = fleet.occupants(slot)
    fresh = any(worker.phase is WorkerPhase.READY and not fleet.is_due(worker) for worker in occupants)
    for worker in occupants:
        outdated = worker.phase is WorkerPhase.STARTING and worker.generation != fleet.wanted_generation
        if outdated or (fresh and (worker.phase is WorkerPhase.STARTING or fleet.is_due(worker))):
            actions.append(Terminate(worker.id, LeaveReason.REPLACED))
    if len(actions) == len(occupants) and not _has_to_wait(fleet, slot):
        actions += _spawn(fleet, slot, now)
    return actions


def _has_to_wait(fleet: Fleet, slot: int) -> bool:
    """Whether a worker that is replaced must end before its successor starts, since memory is short (stop-first)."""
    return fleet.strategy is Strategy.STOP_FIRST and any(
        worker.slot == slot and worker.why is LeaveReason.REPLACED for worker in fleet.workers.values()
    )


def _spawn(fleet: Fleet, slot: int, now: float) -> list[Action]:
    """Return what starts a worker in a slot.

    Nothing while its back-off lasts, its template is not ready, or the code under development cannot start.
    """
    if fleet.broken or start_at(fleet, fleet.slots[slot]) > now:
        return []
    template = fleet.templates.get(fleet.wanted_generation)
    if fleet.preload and (template is None or template.phase is not TemplatePhase.READY):
        return []
    return [Spawn(slot, fleet.wanted_generation)]


def _replace(fleet: Fleet, slots: list[int], now: float) -> list[Action]:
    """Return what begins to replace workers that are due, in so many slots as allowed, first where a worker hangs."""
    waiting = [slot for slot in slots if _awaits_successor(fleet, slot)]
    waiting.sort(key=lambda slot: not any(worker.hung_at is not None for worker in fleet.ready(slot)))
    room = _replaced_at_once(fleet) - sum(_is_in_transition(fleet, slot) for slot in slots)
    actions: list[Action] = []
    for slot in waiting[: max(0, room)]:
        match fleet.strategy:
            case Strategy.START_FIRST:
                actions += _spawn(fleet, slot, now)
            case Strategy.STOP_FIRST:
                actions += [Terminate(worker.id, LeaveReason.REPLACED) for worker in fleet.ready(slot)]
    return actions


def _replaced_at_once(fleet: Fleet) -> int:
    """In how many slots workers may be replaced at once."""
    if fleet.rollout is not None:
        return fleet.parallel
    return 1 if fleet.booted else fleet.size


def _is_in_transition(fleet: Fleet, slot: int) -> bool:
    """Whether the worker of a wanted slot is being replaced: its successor starts beside it, or it has left already."""
    match fleet.strategy:
        case Strategy.START_FIRST:
            return _has_successor(fleet, slot) and bool(fleet.ready(slot))
        case Strategy.STOP_FIRST:
            return not fleet.ready(slot)


def _awaits_successor(fleet: Fleet, slot: int) -> bool:
    """Whether a slot serves, but only with workers that are due, and no successor of theirs has been started.

    In a reload this is so only where a worker is of an older generation: those that are due for another reason are
    replaced after it.
    """
    ready = fleet.ready(slot)
    if not ready or not all(map(fleet.is_due, ready)) or _has_successor(fleet, slot):
        return False
    return fleet.rollout is None or any(worker.generation < fleet.rollout for worker in ready)


def _has_successor(fleet: Fleet, slot: int) -> bool:
    """Whether a worker of the wanted generation starts in a slot."""
    return any(
        worker.phase is WorkerPhase.STARTING and worker.generation == fleet.wanted_generation
        for worker in fleet.occupants(slot)
    )


def _open_slots(fleet: Fleet, now: float) -> list[Action]:
    """Return what opens the first wanted slot that is not open. If that fails, the next ones are not tried in vain."""
    for slot in range(fleet.size):
        if slot == len(fleet.slots):
            return [OpenSlot(slot)]
        if not fleet.slots[slot].open:
            return [OpenSlot(slot)] if start_at(fleet, fleet.slots[slot]) <= now else []
    return []


def _give_up(fleet: Fleet, slot: int, others: bool, now: float) -> list[Action]:
    """Return what closes a slot that is not wanted, after no client is led to it and no connection waits there.

    `others` says whether anybody serves in a wanted slot, and is not told to leave just now.
    """
    record = fleet.slots[slot]
    occupants = fleet.occupants(slot)
    emptied = record.emptied_at is not None or not record.served
    steered = record.steered_at is not None and record.steered_at + fleet.limits.settle <= now
    actions: list[Action] = []
    for worker in occupants:
        starting = worker.phase is WorkerPhase.STARTING
        if (starting and (emptied or fleet.ready(slot))) or (not starting and steered and others):
            actions.append(Terminate(worker.id, LeaveReason.SLOT_CLOSES))
    emptying = [w for w in fleet.workers.values() if w.slot == slot and w.why is LeaveReason.SLOT_CLOSES]
    if not occupants and emptied:
        actions.append(CloseSlot(slot))
    elif not occupants and not emptying:
        actions += _spawn(fleet, slot, now)  # to serve the connections that wait there
    return actions


def _away(fleet: Fleet) -> frozenset[int]:
    """Return the slots to steer new connections away from: those to be closed, and those without a worker that accepts.

    There are none if no other slot has a worker that accepts.
    """
    serving = {worker.slot for worker in fleet.accepting()}
    away = frozenset(
        index
        for index, slot in enumerate(fleet.slots)
        if slot.open and slot.served and (index >= fleet.size or index not in serving)
    )
    return away if serving - away else frozenset()


def _vacant(fleet: Fleet) -> frozenset[int]:
    """Return the slots in which connections may wait without a worker that accepts them, if another slot has one."""
    serving = {worker.slot for worker in fleet.accepting()}
    vacant = (index for index, slot in enumerate(fleet.slots) if slot.open and slot.served and index not in serving)
    return frozenset(vacant) if serving else frozenset()


def _has_taken_over(fleet: Fleet) -> bool:
    """Whether every connection reaches the generation of the reload from now on."""
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
    """Return what loads a template for each generation that a new worker may be of, and ends the other templates."""
    if not fleet.preload:
        return []
    needed = {fleet.generation, fleet.wanted_generation}
    actions: list[Action] = []
    for template in fleet.templates.values():
        ending = template.phase is TemplatePhase.ENDING
        if not ending and (template.generation not in needed or template_due(fleet, template) <= now):
            actions.append(RetireTemplate(template.generation))
    if template_start_at(fleet) <= now:
        actions += [LoadTemplate(generation) for generation in sorted(needed - set(fleet.templates))]
    return actions


def _dump(fleet: Fleet, now: float) -> list[Action]:
    """Return what logs the stacks of a worker whose event loop is blocked, and has it replaced: one at a time."""
    if any(worker.hung_at is not None for worker in fleet.workers.values()):
        return []
    hung = [worker for worker in fleet.ready() if beat_due(fleet, worker) <= now]
    return [Dump(worker.id) for worker in hung[:1]]


def _plan_stop(fleet: Fleet, now: float) -> list[Action]:
    """Return the next steps of a stop: refuse new connections, tell workers to leave, close their slots, and exit."""
    if fleet.rescued:
        return [Rescue(frozenset())]  # first of all, while workers still accept the connections that are rescued
    refused = fleet.handed_on or fleet.refused_at is not None
    actions: list[Action] = []
    if not refused and (refuse_at(fleet) <= now or not fleet.workers):
        return [RefuseConnections()]
    why = LeaveReason.REPLACED if fleet.handed_on else LeaveReason.STOP
    actions += [
        Terminate(w.id, why) for w in fleet.workers.values() if w.phase in (WorkerPhase.STARTING, WorkerPhase.READY)
    ]
    actions += _retire_templates(fleet)
    occupied = {worker.slot for worker in fleet.workers.values()}
    for index, slot in enumerate(fleet.slots):
        if slot.open and refused and (index not in occupied or close_at(fleet, slot) <= now):
            actions.append(CloseSlot(index))
    actions += _overdue(fleet, now)
    return actions if fleet.workers or fleet.templates or actions else [Exit(fleet.exit_code)]


def _overdue(fleet: Fleet, now: float) -> list[Action]:
    """Return what kills the workers that have exceeded a limit."""
    return [Kill(worker.id) for worker in fleet.workers.values() if kill_at(fleet, worker) <= now]


def _end(fleet: Fleet, code: ExitCode) -> list[Action]:
    """Return what kills all workers and templates, and exits with this code when they have ended."""
    actions: list[Action] = [Kill(w.id) for w in fleet.workers.values() if w.phase is not WorkerPhase.KILLED]
    actions += _retire_templates(fleet)
    return actions if fleet.workers or fleet.templates else [Exit(code)]


def _retire_templates(fleet: Fleet) -> list[Action]:
    """Return what ends all templates."""
    return [RetireTemplate(g) for g, t in fleet.templates.items() if t.phase is not TemplatePhase.ENDING]
