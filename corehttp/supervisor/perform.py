"""Perform the plan's actions, one by one. Each ends in an event, whatever goes wrong."""

import logging
from typing import assert_never

from corehttp.errors import StartupError
from corehttp.ipc.channel import FDS_AT_ONCE
from corehttp.ipc.messages import Seat
from corehttp.records import replaced
from corehttp.shortage import shortage
from corehttp.supervisor.actions import (
    AbandonReload,
    Appoint,
    CloseSlot,
    Depose,
    Doing,
    Dump,
    FinishReload,
    Kill,
    LoadTemplate,
    OpenSlot,
    Performable,
    RefuseConnections,
    Rescue,
    RetireTemplate,
    Spawn,
    Steer,
    Terminate,
    failed,
)
from corehttp.supervisor.events import FleetEvent, SlotOpened, Spawned, TemplateStarted
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.processes import WORKER
from corehttp.supervisor.service import Service
from corehttp.supervisor.workers import Member
from corehttp.supervisor.world import UndeliveredEnd

logger = logging.getLogger("corehttp.supervisor")


class Performer:
    """Performs actions on a service."""

    def __init__(self, service: Service, hearing: Hearing) -> None:
        self._service = service
        self._hearing = hearing
        self._spawned = 0  # how many workers were started so far, which is the number of the last one

    def perform(self, action: Performable) -> FleetEvent:
        """Perform an action, and return what is to be recorded of it. A failure is logged; nothing is raised."""
        events: list[FleetEvent] = []
        survived(str(action), lambda: events.append(self._perform(action)))
        return events[0] if events else failed(action, self._service.world.jitter())

    def _perform(self, action: Performable) -> FleetEvent:
        """Perform an action, and return what is to be recorded of it. Raises what stands in the way."""
        match action:
            case Spawn():
                return self._spawn(action)
            case OpenSlot():
                return self._open(action)
            case LoadTemplate():
                return self._load(action)
            case _:
                self._do(action)
                return action.done()

    def _do(self, action: Doing) -> None:
        """Perform an action of which `done` is recorded. Raises what stands in the way."""
        service, world = self._service, self._service.world
        workers, slots, report = service.workers, service.slots, service.report
        match action:
            case Terminate(worker, why):
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
                service.rescuer.rescue(wanted)
            case CloseSlot(slot):
                service.rescuer.finish(slot)
                slots.close(slot)
            case AbandonReload() | FinishReload() | RetireTemplate():
                self._end_generation(action)
            case Appoint(worker):
                workers.appoint(workers[worker])
            case Depose(worker):
                workers.depose(workers[worker])
            case _:
                assert_never(action)

    def _end_generation(self, action: AbandonReload | FinishReload | RetireTemplate) -> None:
        """End an attempt to reload, for better or worse, or the template of a generation that needs none."""
        service, generation = self._service, action.generation
        match action:
            case AbandonReload():
                service.report.reload_abandoned(generation)
                reason = service.report.failure(generation)
                service.history.reload_ended(ok=False, now=service.world.wall_clock(), reason=reason)
                if not service.fleet.development:
                    service.generations.apply(service.fleet, service.fleet.generation)
                service.binds.abandon(service.world.now())
            case FinishReload():
                service.binds.finish(service.world.now())
                service.tie_addresses(generation)
                service.report.reload_finished(generation, service.world.now())
                service.history.reload_ended(ok=True, now=service.world.wall_clock())
                service.resize_for(service.fleet.generation, generation)
            case RetireTemplate():
                service.report.retire_template(generation, service.world.now())
                service.templates.retire(generation)

    def _spawn(self, action: Spawn) -> FleetEvent:
        """Start a worker, or have a template fork it; return what is recorded of it."""
        service, slot, generation = self._service, action.slot, action.generation
        title = service.generations.title(generation)
        row = reader = mailbox = None
        try:
            if service.slots.is_cut_off(slot):
                self._renew_inbox(slot)
            row = service.board.claim(slot)
            reader, mailbox = service.world.processes.mailbox()
            if service.fleet.preload:
                pid, channel = 0, service.templates.fork(generation)
            else:
                pid, channel = service.spare.take() or service.world.processes.spawn(WORKER, title)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot + 1, shortage(error))
            if row is not None:
                service.board.release(row)
            for end in filter(None, (reader, mailbox)):
                end.close()
            return failed(action, service.world.jitter())
        self._spawned += 1
        member = Member(self._spawned, slot, generation, pid, channel, row, mailbox)
        service.history.worker_began(member.worker, slot, service.world.wall_clock())
        self._join(member, reader)
        self._hearing.attend_worker(member)
        if pid:
            logger.debug("%s started", member)
        return Spawned(member.worker, slot, generation)

    def _join(self, member: Member, reader: UndeliveredEnd) -> None:
        """Tell a new worker what to serve; if it cannot be told, it is ended, and its end makes room for another.

        `reader` is its own end of its mailbox, which is closed here when it was sent.
        """
        service, slots = self._service, self._service.slots
        fds = [*slots.fds(member.slot), slots.inbox(member.slot), service.board.fd]
        mail = [reader.fileno(), *service.workers.mailboxes(FDS_AT_ONCE - len(fds) - 1)]
        endpoints, row = slots.endpoints(member.slot), member.row
        anothers = tuple(number for number, endpoint in slots.served.items() if endpoint.is_anothers)
        seat = Seat(
            *(member.slot, row, endpoints, slots.shared, member.worker, member.generation, len(mail), service.node),
            *(anothers, service.binds.named(of_rollout=member.generation != service.fleet.generation)),
        )
        boot = replaced(service.generations.boot(member.generation), seat=seat)
        mishap = service.workers.join(member, boot, [*fds, *mail])
        reader.close()
        if mishap is not None:
            service.report.blame(member, f"a new worker cannot be told what to serve: {shortage(mishap)}", "")

    def _open(self, action: OpenSlot) -> FleetEvent:
        """Bind the sockets of a slot, and tell all workers the way to its inbox; return what is recorded of it."""
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
        service.rescuer.finish(slot)
        service.slots.renew_inbox(slot)
        service.rescuer.rescue(service.fleet.rescued)
        service.tell_inbox(slot)

    def _load(self, action: LoadTemplate) -> FleetEvent:
        """Start a template; return what is recorded of it."""
        service, generation = self._service, action.generation
        boot = service.generations.boot(generation)
        try:
            template = service.templates.load(generation, boot, service.generations.title(generation))
        except OSError as error:
            logger.error("the application's template cannot be started: %s", shortage(error))
            return failed(action, service.world.jitter())
        self._hearing.attend_template(template)
        return TemplateStarted(generation)
