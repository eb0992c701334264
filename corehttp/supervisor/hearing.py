"""What the supervisor's children say over their channels, and what follows from the end of each."""

import logging
from functools import partial
from typing import assert_never

from corehttp.errors import StartupError
from corehttp.ipc import messages
from corehttp.ipc.messages import GarbledError, LeaveReason
from corehttp.supervisor.children import Child
from corehttp.supervisor.events import (
    BecameReady,
    Drained,
    Exited,
    HandedOn,
    RetireRequested,
    SpawnFailed,
    StoppedAccepting,
    StopRequested,
    TemplateGone,
    TemplateReady,
)
from corehttp.supervisor.fleet import Stop, WorkerPhase
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.processes import describe_exit
from corehttp.supervisor.service import Service
from corehttp.supervisor.templates import Template
from corehttp.supervisor.upgrade import Answer
from corehttp.supervisor.workers import Member
from corehttp.supervisor.world import ChildChannel

logger = logging.getLogger("corehttp.supervisor")


class Hearing:
    """Listens to workers, templates and a successor, and records what they say.

    What comes in is input like any other: a child that sends something that cannot be understood is ended.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._world = service.world
        self._observe = service.observe

    # Whom to listen to.

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

    def attend_successor(self, fd: int) -> None:
        """Listen to a new supervisor that was started, which answers over this descriptor."""
        upgrade, children = self._service.upgrade, self._service.children
        self._world.watch(fd, self._hear_successor)
        for pid in upgrade.pids():
            children.add(pid, Child("the new supervisor", lambda _: upgrade.ended(), upgrade.call_off))

    def _worker_child(self, member: Member) -> Child:
        return Child(str(member), partial(self._worker_ended, member), partial(self._world.processes.kill, member.pid))

    # What a worker says.

    def _hear_worker(self, member: Member) -> None:
        try:
            received, gone = member.channel.receive()
        except GarbledError as error:
            member.last_words = str(error)
            self._service.kill(member)
            self._distrust(str(member), member.channel, error)
            return
        for message in received:
            match message:
                case messages.Ready():
                    self._let_serve(member)
                case messages.Closed():
                    self._observe(StoppedAccepting(member.worker))
                case messages.Drained():
                    self._observe(Drained(member.worker))
                case messages.Retire(cause):
                    self._observe(RetireRequested(member.worker, cause))
                case messages.Failed(text, traceback):
                    self._service.report.blame(member, text, traceback)
                case messages.Forked() | messages.NotForked():
                    raise AssertionError("no worker is asked to fork, so its channel refuses the answer")
                case _:
                    assert_never(message)
        if gone:
            self._world.forget(member.channel.fileno())

    def _let_serve(self, member: Member) -> None:
        """Have the slot's sockets listen for a worker that is ready, and let it accept."""
        service = self._service
        if service.fleet.workers[member.worker].phase is not WorkerPhase.STARTING:
            return  # it has been told to leave
        try:
            service.slots.listen(member.slot, service.generations.config(member.generation).backlog)
        except StartupError as error:
            service.report.blame(member, str(error), "")
            service.workers.leave(member, LeaveReason.REPLACED)
            return
        complete = service.fleet.booted
        service.workers.serve(member, service.slots.inboxes())
        self._observe(BecameReady(member.worker))
        if complete:
            logger.info("%s is ready", member)

    def _worker_ended(self, member: Member, code: int) -> None:
        survived(f"the report of the end of {member}", partial(self._report_end, member, code))
        self._dismiss(member)
        service, world = self._service, self._world
        self._observe(Exited(member.worker, code, world.jitter()))
        service.report.starts_again(member.slot, service.slots.waiting(member.slot), world.now())

    def _report_end(self, member: Member, code: int) -> None:
        service, now = self._service, self._world.now()
        self._hear_worker(member)  # its last words
        phase = service.fleet.workers[member.worker].phase
        how, in_flight = service.workers.describe_exit(code), service.workers.in_flight(member, now)
        service.report.exit(member, phase, how, in_flight)
        if service.fleet.stop is not Stop.NO:
            service.report.account(*service.workers.account(member, code, now))

    def _not_born(self, member: Member) -> None:
        """A worker that its template was to fork will not exist."""
        self._dismiss(member)
        self._observe(SpawnFailed(member.slot, member.generation, self._world.jitter(), member.worker))

    def _dismiss(self, member: Member) -> None:
        self._world.forget(member.channel.fileno())
        self._service.workers.dismiss(member)

    # What a template says.

    def _hear_template(self, template: Template) -> None:
        generation = template.generation
        try:
            received, gone = template.channel.receive()
            for message in received:
                match message:
                    case messages.Ready():
                        self._observe(TemplateReady(generation))
                    case messages.Failed(text, traceback):
                        self._service.report.blame_template(generation, text, traceback)
                    case messages.Forked(pid):
                        self._bear(template, pid)
                    case messages.NotForked(reason):
                        self._miscarry(template, reason)
                    case messages.Closed() | messages.Drained() | messages.Retire():
                        pass  # what only a worker has reason to say
                    case _:
                        assert_never(message)
        except GarbledError as error:
            if template.pid in self._service.children:
                self._world.processes.kill(template.pid)
            self._distrust(str(template), template.channel, error)
            return
        if gone:
            self._world.forget(template.channel.fileno())

    def _miscarry(self, template: Template, reason: str) -> None:
        """Give up the worker that a template could not fork. Raises GarbledError if none is awaited."""
        unborn = self._service.workers.unborn(template.generation)
        if not unborn:
            raise GarbledError("that it could not fork a worker, which nobody has asked for,")
        logger.error("worker %d cannot be started: %s", unborn[0].slot + 1, reason)
        self._not_born(unborn[0])

    def _bear(self, template: Template, pid: int) -> None:
        """Take up the worker that a template says to have forked. Raises GarbledError.

        It must be a child of the supervisor that is not known yet.
        """
        service = self._service
        unborn = service.workers.unborn(template.generation)
        if not unborn or pid in service.children or not self._world.processes.is_child(pid):
            raise GarbledError(f"the pid {pid}, which is no process that it has forked,")
        service.workers.born(unborn[0], pid)
        service.children.adopt(pid, self._worker_child(unborn[0]))
        logger.debug("%s started", unborn[0])

    def _template_ended(self, template: Template, code: int) -> None:
        service = self._service
        self._hear_template(template)  # its last words
        service.report.template_exit(template.generation, describe_exit(code))
        self._world.forget(template.channel.fileno())
        service.templates.dismiss(template)
        for member in service.workers.unborn(template.generation):
            self._not_born(member)
        self._observe(TemplateGone(template.generation, self._world.jitter()))

    # What a new supervisor says.

    def _hear_successor(self) -> None:
        service = self._service
        started = service.upgrade.pids()
        self._world.forget(service.upgrade.fileno())
        answer = service.upgrade.answer()
        match answer:
            case Answer.TAKEN_OVER:
                service.slots.share(True)
                self._observe(HandedOn())
            case Answer.ELSEWHERE:
                self._observe(StopRequested())
            case Answer.FAILED:
                return
        for pid in started:
            service.children.disown(pid)

    def _distrust(self, who: str, channel: ChildChannel, error: GarbledError) -> None:
        """Listen no more to a process that was killed because its messages cannot be understood."""
        logger.warning("%s is killed: it has sent %s over its channel to the supervisor", who, error)
        self._world.forget(channel.fileno())
        channel.close()
