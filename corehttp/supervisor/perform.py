"""Perform the plan's actions, one by one. Each ends in an event, whatever goes wrong."""

import logging
from dataclasses import replace
from typing import assert_never

from corehttp.errors import StartupError
from corehttp.ipc.messages import Seat
from corehttp.shortage import shortage
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
from corehttp.supervisor.events import FleetEvent, SlotOpened, Spawned, TemplateStarted
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.mishaps import Doing, done, failed, survived
from corehttp.supervisor.processes import WORKER
from corehttp.supervisor.service import Service
from corehttp.supervisor.workers import Member

logger = logging.getLogger("corehttp.supervisor")


class Performer:
    """Performs actions on a service."""

    def __init__(self, service: Service, hearing: Hearing) -> None:
        self._service = service
        self._hearing = hearing
        self._spawned = 0  # workers so far, which gives each its number

    def perform(self, action: Action) -> FleetEvent:
        """Perform an action, and return what is to be recorded of it. A failure is logged; nothing is raised."""
        events: list[FleetEvent] = []
        survived(str(action), lambda: events.append(self._perform(action)))
        return events[0] if events else failed(action, self._service.world.jitter())

    def _perform(self, action: Action) -> FleetEvent:
        """Raises what stands in the way, of which nothing is told yet."""
        match action:
            case Spawn():
                return self._spawn(action)
            case OpenSlot():
                return self._open(action)
            case LoadTemplate():
                return self._load(action)
            case Exit():
                raise AssertionError("the loop ends at Exit, which is not performed")
            case _:
                self._do(action)
                return done(action)

    def _do(self, action: Doing) -> None:
        service, world = self._service, self._service.world
        workers, slots, report = service.workers, service.slots, service.report
        match action:
            case Leave(worker, why):
                workers.leave(workers[worker], why)
                report.leave(workers[worker], why)
            case Kill(worker):
                report.kill(workers[worker], world.now())
                service.kill(workers[worker])
            case Dump(worker):
                member, now = workers[worker], world.now()
                report.hang(member, workers.in_flight(member, now), now)
                world.processes.dump(member.pid)
            case RefuseConnections():
                slots.refuse_new()
            case Steer(away):
                slots.steer(away)
            case Rescue(wanted):
                service.orphans.rescue(wanted)
            case CloseSlot(slot):
                service.orphans.leave(slot)
                slots.close(slot)
            case AbandonReload() | FinishReload() | RetireTemplate():
                self._end_generation(action)
            case _:
                assert_never(action)

    def _end_generation(self, action: AbandonReload | FinishReload | RetireTemplate) -> None:
        """End an attempt to reload, for better or worse, or the template of a generation that needs none."""
        service, generation = self._service, action.generation
        match action:
            case AbandonReload():
                service.report.reload_abandoned(generation)
                service.generations.apply(service.fleet, service.fleet.generation)
            case FinishReload():
                service.report.reload_finished(generation, service.world.now())
                service.resize_for(service.fleet.generation, generation)
            case RetireTemplate():
                service.report.retire_template(generation, service.world.now())
                service.templates.retire(generation)

    def _spawn(self, action: Spawn) -> FleetEvent:
        service, slot, generation = self._service, action.slot, action.generation
        title = service.generations.title(generation)
        row = None
        try:
            if service.slots.is_cut_off(slot):
                self._renew_inbox(slot)
            row = service.board.claim(slot)
            if service.fleet.preload:
                pid, channel = 0, service.templates.fork(generation)
            else:
                pid, channel = service.world.processes.spawn(WORKER, title)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot + 1, shortage(error))
            if row is not None:
                service.board.release(row)
            return failed(action, service.world.jitter())
        self._spawned += 1
        member = Member(self._spawned, slot, generation, pid, channel, row)
        self._join(member)
        self._hearing.attend_worker(member)
        if pid:
            logger.debug("%s started", member)
        return Spawned(member.worker, slot, generation)

    def _join(self, member: Member) -> None:
        """Tell a new worker what to serve; if it cannot be told, it is ended, and its end makes room for another."""
        service, slots = self._service, self._service.slots
        fds = slots.fds(member.slot)
        seat = Seat(member.slot, member.row, len(fds), slots.shared)
        boot = replace(service.generations.boot(member.generation), seat=seat)
        mishap = service.workers.join(member, boot, [*fds, slots.inbox(member.slot), service.board.fd])
        if mishap is not None:
            service.report.blame(member, f"a new worker cannot be told what to serve: {shortage(mishap)}", "")

    def _open(self, action: OpenSlot) -> FleetEvent:
        slot = action.slot
        try:
            self._service.slots.open(slot)
        except StartupError as error:
            logger.error("worker %d cannot be added: %s", slot + 1, error)
            return failed(action, self._service.world.jitter())
        self._service.tell_inbox(slot)
        return SlotOpened(slot)

    def _renew_inbox(self, slot: int) -> None:
        """Give a slot whose inbox a worker has shut down another one, and all workers the way to it. Raises OSError."""
        service = self._service
        service.orphans.leave(slot)
        service.slots.renew_inbox(slot)
        service.orphans.rescue(service.fleet.rescued)
        service.tell_inbox(slot)

    def _load(self, action: LoadTemplate) -> FleetEvent:
        service, generation = self._service, action.generation
        boot = service.generations.boot(generation)
        try:
            template = service.templates.load(generation, boot, service.generations.title(generation))
        except OSError as error:
            logger.error("the application's template cannot be started: %s", shortage(error))
            return failed(action, service.world.jitter())
        self._hearing.attend_template(template)
        return TemplateStarted(generation)
