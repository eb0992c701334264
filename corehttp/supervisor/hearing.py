"""What the supervisor's children say over their channels, and what follows from the end of each."""

import logging
from functools import partial
from typing import assert_never

from corehttp.errors import ExitCode, StartupError
from corehttp.ipc import messages, sticky_area
from corehttp.ipc.message_stream import GarbledError
from corehttp.supervisor.children import Child
from corehttp.supervisor.events import (
    BecameReady,
    DrainFinished,
    Exited,
    HandedOn,
    RetireRequested,
    SpawnFailed,
    StoppedAccepting,
    StoppedLeading,
    StopRequested,
    TemplateGone,
    TemplateReady,
    UpgradeEnded,
)
from corehttp.supervisor.fleet import Stop, WorkerPhase
from corehttp.supervisor.history import exit_cause
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.processes import describe_exit, exit_status
from corehttp.supervisor.service import Service
from corehttp.supervisor.templates import Template
from corehttp.supervisor.upgrade import TakeoverResult
from corehttp.supervisor.workers import Member

logger = logging.getLogger("corehttp.supervisor")


class Hearing:
    """Listens to workers, templates and a successor, and records what they say.

    What comes in is input like any other: a child that sends something that cannot be understood is ended.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._world = service.world
        self._observe = service.observe

    def attend_worker(self, member: Member) -> None:
        """Listen to a worker that was started or asked for; one that has a pid is a child from now on."""
        self._world.watch_channel(member.channel, partial(self._hear_worker, member))
        if member.pid:
            self._service.children.add(member.pid, self._worker_child(member))

    def attend_template(self, template: Template) -> None:
        """Listen to a template that was started."""
        self._world.watch_channel(template.channel, partial(self._hear_template, template))
        end = partial(self._world.processes.kill, template.pid)
        self._service.children.add(template.pid, Child(str(template), partial(self._template_ended, template), end))

    def attend_successor(self, pid: int) -> None:
        """Listen to a new supervisor that was started."""
        upgrade = self._service.upgrade
        self._world.watch(upgrade.fileno(), partial(self._hear_successor, pid))
        self._service.children.add(pid, Child("the new supervisor", self._successor_ended, upgrade.call_off))

    def _worker_child(self, member: Member) -> Child:
        return Child(str(member), partial(self._worker_ended, member), partial(self._world.processes.kill, member.pid))

    # What a worker says.

    def _hear_worker(self, member: Member) -> None:
        """Record what a worker has said; one that cannot be understood is killed."""
        try:
            received, gone = member.channel.receive()
        except GarbledError as error:
            member.last_words = str(error)
            self._service.kill(member)
            self._service.distrust(str(member), member.channel, error)
            return
        for message in received:
            match message:
                case messages.Ready():
                    self._let_serve(member)
                case messages.Closed():
                    self._observe(StoppedAccepting(member.worker))
                case messages.Drained():
                    self._observe(DrainFinished(member.worker))
                case messages.Retire(cause):
                    self._observe(RetireRequested(member.worker, cause))
                case messages.Reopened(fault):
                    self._service.log_files.heard(member.worker, fault)
                case messages.SteppedDown():
                    self._observe(StoppedLeading(member.worker))
                case messages.StartFailed(text, traceback):
                    self._service.report.blame(member, text, traceback)
                case messages.Forked() | messages.NotForked() | messages.Ask() | messages.Changed():
                    raise AssertionError("the channel of a worker refuses what it is never asked for")
                case _:
                    assert_never(message)
        if gone:
            self._world.forget(member.channel.fileno())

    def _let_serve(self, member: Member) -> None:
        """Have the slot's sockets listen for a worker that is ready, and let it accept.

        If they cannot listen the worker is killed, so that it counts as one that could not start.
        """
        service = self._service
        if service.fleet.workers[member.worker].phase is not WorkerPhase.STARTING:
            return  # it has been told to leave
        try:
            service.slots.listen(member.slot, service.generations.config(member.generation).backlog)
        except StartupError as error:
            service.report.blame(member, str(error), "")
            service.kill(member)
            return
        complete = service.fleet.booted
        service.workers.serve(member, service.slots.inboxes())
        self._observe(BecameReady(member.worker))
        if complete:
            logger.info("%s is ready", member)

    def _worker_ended(self, member: Member, code: int) -> None:
        """Report and record the end of a worker, whose exit code is `code` (minus the signal that has ended it)."""
        survived(f"the report of the end of {member}", partial(self._report_end, member, code))
        self._dismiss(member)
        service, world = self._service, self._world
        if code not in (ExitCode.CLEAN, ExitCode.DRAIN):
            service.aftermath.worker_died(member.pid)
        self._observe(Exited(member.worker, code, world.jitter()))
        if service.fleet.development and service.fleet.broken:
            self._let_clients_wait(member)
        service.report.starts_again(member.slot, service.slots.waiting(member.slot), world.now())

    def _let_clients_wait(self, member: Member) -> None:
        """Have the slot's sockets listen though the code under development cannot start, and say so to operators."""
        service = self._service
        reason = service.report.failure(member.generation)
        service.history.reload_ended(ok=False, now=self._world.wall_clock(), reason=reason)
        if service.fleet.stop is Stop.NO and service.fleet.slots[member.slot].open:
            try:
                service.slots.listen(member.slot, service.generations.config(member.generation).backlog)
            except StartupError as error:
                logger.error("%s", error)

    def _report_end(self, member: Member, code: int) -> None:
        """Say in the log, in the history and in the account of a stop how a worker has ended."""
        service, now = self._service, self._world.now()
        self._hear_worker(member)  # its last words
        record, stopping = service.fleet.workers[member.worker], service.fleet.stop is not Stop.NO
        out_of_memory = service.workers.ran_out_of_memory(code)
        how, in_flight = describe_exit(code, out_of_memory), service.workers.in_flight(member, now)
        service.report.exit(member, record.phase, how, in_flight)
        cause = exit_cause(record, stopping=stopping, out_of_memory=out_of_memory)
        service.history.worker_ended(member.worker, member.slot, cause, exit_status(code), self._world.wall_clock())
        if stopping:
            service.report.account(*service.workers.account(member, code, now))

    def _give_up_unforked(self, member: Member) -> None:
        """Forget a worker that its template was to fork, and record that it could not be started."""
        self._dismiss(member)
        self._observe(SpawnFailed(member.slot, member.generation, self._world.jitter(), member.worker))

    def _dismiss(self, member: Member) -> None:
        """Stop listening to a worker, and forget it."""
        self._world.forget(member.channel.fileno())
        self._service.workers.dismiss(member)

    # What a template says.

    def _hear_template(self, template: Template) -> None:
        """Record what a template has said; one that cannot be understood is killed."""
        generation = template.generation
        try:
            received, gone = template.channel.receive()
            for message in received:
                match message:
                    case messages.Ready():
                        template.is_ready = True
                        self._observe(TemplateReady(generation))
                    case messages.StartFailed(text, traceback):
                        self._service.report.blame_template(generation, text, traceback)
                    case messages.Forked(pid):
                        self._hear_forked(template, pid)
                    case messages.NotForked(reason):
                        self._hear_not_forked(template, reason)
                    case (
                        messages.Closed()
                        | messages.Drained()
                        | messages.Retire()
                        | messages.Reopened()
                        | messages.SteppedDown()
                        | messages.Ask()
                        | messages.Changed()
                    ):
                        pass  # what only a worker has reason to say
                    case _:
                        assert_never(message)
        except GarbledError as error:
            self._service.kill_child(template.pid)
            self._service.distrust(str(template), template.channel, error)
            return
        if gone:
            self._world.forget(template.channel.fileno())

    def _hear_not_forked(self, template: Template, reason: str) -> None:
        """Note that a template could not fork a worker. Raises GarbledError if none was asked for."""
        unforked = self._service.workers.unforked(template.generation)
        if not unforked:
            raise GarbledError("that it could not fork a worker, which nobody has asked for,")
        logger.error("worker %d cannot be started: %s", unforked[0].slot + 1, reason)
        self._give_up_unforked(unforked[0])

    def _hear_forked(self, template: Template, pid: int) -> None:
        """Note that a template has forked a worker, which is a child of the supervisor from now on.

        Raises GarbledError if none was asked for, or if `pid` is not that of a child which is not known yet.
        """
        service = self._service
        unforked = service.workers.unforked(template.generation)
        if not unforked or pid in service.children or not self._world.processes.is_child(pid):
            raise GarbledError(f"the pid {pid}, which is no process that it has forked,")
        service.workers.forked(unforked[0], pid)
        service.children.adopt(pid, self._worker_child(unforked[0]))
        logger.debug("%s started", unforked[0])

    def _template_ended(self, template: Template, code: int) -> None:
        """Report and record the end of a template, with the workers that it was still to fork."""
        service = self._service
        self._hear_template(template)  # its last words
        service.report.template_exit(template.generation, describe_exit(code))
        self._world.forget(template.channel.fileno())
        service.templates.dismiss(template)
        for member in service.workers.unforked(template.generation):
            self._give_up_unforked(member)
        self._observe(TemplateGone(template.generation, self._world.jitter()))

    # What a new supervisor says.

    def _hear_successor(self, pid: int) -> None:
        """Record what a new supervisor has said: whether this one is to end, and who has the sockets."""
        service = self._service
        self._world.forget(service.upgrade.fileno())
        answer = service.upgrade.answer()
        match answer:
            case TakeoverResult.TAKEN_OVER:
                service.slots.lend(True)
                sticky_area.share_inboxes(service.board.fd, len(service.fleet.slots))
                self._observe(HandedOn())
            case TakeoverResult.ELSEWHERE:
                self._observe(StopRequested())
            case TakeoverResult.FAILED:
                return
        service.children.disown(pid)
        self._observe(UpgradeEnded())

    def _successor_ended(self, code: int) -> None:
        """Record that a new supervisor has ended before it took over."""
        self._service.upgrade.ended()
        self._observe(UpgradeEnded())
