"""Wait for an event or the next deadline; observe; plan; perform. No policy here: that is plan.py's."""

import logging
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import assert_never

from corehttp.errors import ConfigError, ExitCode, StartupError
from corehttp.forks import protect
from corehttp.ipc import messages
from corehttp.ipc.balance import Load
from corehttp.ipc.channel import Channel
from corehttp.ipc.messages import GarbledError, LeaveReason
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.supervisor import processes
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
from corehttp.supervisor.deadlines import next_deadline
from corehttp.supervisor.events import (
    Beat,
    BecameReady,
    Drained,
    Event,
    Exited,
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
    WasDumped,
    WasKilled,
    WasLate,
)
from corehttp.supervisor.fleet import Fleet, Stop, WorkerPhase
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.leftovers import end_marked
from corehttp.supervisor.mishaps import failed, survived
from corehttp.supervisor.observe import observe
from corehttp.supervisor.orphans import Orphans
from corehttp.supervisor.plan import plan
from corehttp.supervisor.poller import Poller
from corehttp.supervisor.report import Report
from corehttp.supervisor.signals import SignalPipe
from corehttp.supervisor.slots import Slots
from corehttp.supervisor.templates import Template, Templates
from corehttp.supervisor.upgrade import Answer, Upgrade
from corehttp.supervisor.workers import Crew, Member
from corehttp.unused_signals import name as signal_name

logger = logging.getLogger("corehttp.supervisor")

LOOK = 1.0  # seconds between two looks at the workers' heartbeats
LATE = 2.0  # seconds that we may wake up too late before nobody is blamed for anything


class Supervisor:
    """Keeps a fleet of workers as the plan wants it."""

    def __init__(
        self,
        fleet: Fleet,
        slots: Slots,
        generations: Generations,
        upgrade: Upgrade,
        on_ready: Callable[[], None] = lambda: None,
        *,
        owns_process: bool,
    ) -> None:
        self._fleet = fleet
        self._slots = slots
        self._generations = generations
        self._upgrade = upgrade
        self._on_ready = on_ready  # called when all workers are ready for the first time
        self._greeted = False
        self._board = Scoreboard.create()
        self._crew = Crew(self._board)
        self._templates = Templates()
        self._report = Report(fleet, slots.urls)
        self._spawned = 0
        self._reap_again = False
        self._look_at = time.monotonic() + LOOK
        self._poller = Poller()
        self._signals = SignalPipe(owns_process=owns_process)
        self._orphans = Orphans(slots, self._poller, self._loads, self._keep_alive)

    def run(self) -> ExitCode:
        """Supervise until the end, which may be that of the process too; must be called in the main thread."""
        # A program whose main thread we run in may fork in another one.
        unprotect = protect(lambda: [*self._slots.descriptors(), *self._poller.descriptors()], signals=True)
        with self._signals as pipe:
            self._poller.watch(pipe.fileno(), lambda: None)
            try:
                while (code := self._act()) is None:
                    self._wait(pipe)
            finally:
                self._leave_nothing()
                unprotect()
        self._report.stopped(code)
        return code

    def take_over(self, size: int) -> None:
        """The sockets are ours alone now; from now on so many workers are wanted."""
        self._slots.share(False)
        self._slots.let_in()
        self._slots.steer(self._fleet.away)  # not as the old supervisor may have left it
        self._fleet.handed_on = False
        self._observe(Resized(size))

    def _act(self) -> ExitCode | None:
        fleet = self._fleet
        while actions := plan(fleet, time.monotonic()):
            for action in actions:
                if isinstance(action, Exit):
                    return action.code
                observe(fleet, self._attempt(action), time.monotonic())
        return None

    def _greet(self) -> None:
        """Once, when all workers serve for the first time."""
        if self._fleet.booted and not self._greeted:
            self._greeted = True
            self._report.complete([member.pid for member in sorted(self._crew, key=lambda member: member.slot)])
            if self._fleet.preload:
                logger.info("%s", self._crew.memory_saved())
            self._on_ready()

    def _wait(self, pipe: SignalPipe) -> None:
        now = time.monotonic()
        deadline = min(next_deadline(self._fleet, now), self._look_at if self._has_to_look() else float("inf"))
        timeout = None if deadline == float("inf") else max(0, deadline - now) * 1000 + 1
        due = self._poller.wait(timeout)
        late = time.monotonic() - max(now, deadline)
        if late > LATE:
            logger.warning("the supervisor was held up for %.1f s: no worker is blamed for that time", late)
            self._observe(WasLate(late))
        for fd, heed in due:
            if not survived("listening", heed):
                self._poller.forget(fd)  # or it would fail again at once
        for number in pipe.read():
            survived(signal_name(number), partial(self._on_signal, number))
        if self._reap_again:
            self._reap_again = False
            self._reap()
        survived("looking after the workers", self._look)
        survived("greeting", self._greet)

    def _observe(self, event: Event) -> None:
        observe(self._fleet, event, time.monotonic())

    # What happens.

    def _on_signal(self, number: int) -> None:
        fleet = self._fleet
        self._report.signal(number)
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGINT if fleet.stop is not Stop.NO:
                self._observe(ForceRequested())
            case signal.SIGQUIT:
                self._observe(ForceRequested())
            case signal.SIGTERM | signal.SIGINT:
                self._observe(StopRequested())
                self._upgrade.call_off()
            case signal.SIGHUP if fleet.stop is Stop.NO:
                self._reload()
            case signal.SIGTTIN if fleet.stop is Stop.NO:
                self._observe(Resized(fleet.size + 1))
            case signal.SIGTTOU if fleet.stop is Stop.NO:
                self._observe(Resized(max(1, fleet.size - 1)))
            case signal.SIGUSR2 if fleet.stop is Stop.NO and fleet.booted:
                self._start_successor()
            case _:
                pass

    def _reload(self) -> None:
        """Read the configuration afresh; if it is wrong, nothing changes."""
        fleet = self._fleet
        before = fleet.generation
        try:
            config = self._generations.read(before)
        except ConfigError as error:
            logger.error("the reload has failed, the old workers serve on: %s", error)
            return
        except OSError as error:
            logger.error("the reload has failed, the old workers serve on: %s", shortage(error))
            return
        self._observe(ReloadRequested())
        self._generations.assign(fleet.latest, config)
        if fleet.generation != before:  # nothing served yet that could be kept
            self._resize_for(before, fleet.generation)
        self._generations.apply(fleet, fleet.latest)

    def _resize_for(self, before: int, after: int) -> None:
        """A generation has taken over: its configuration may want another number of workers."""
        size = self._generations.resized(before, after)
        if size is not None:
            self._observe(Resized(size))

    def _start_successor(self) -> None:
        fd = self._upgrade.start(self._slots)
        if fd is not None:
            self._poller.watch(fd, self._hear_successor)

    def _hear_successor(self) -> None:
        self._poller.forget(self._upgrade.fileno())
        match self._upgrade.answer():
            case Answer.TAKEN_OVER:
                self._slots.share(True)
                self._observe(HandedOn())
            case Answer.ELSEWHERE:
                self._observe(StopRequested())
            case Answer.FAILED:
                pass

    def _listen(self, member: Member) -> None:
        try:
            received, gone = member.channel.receive()
        except GarbledError as error:
            member.last_words = str(error)
            self._kill(member)
            self._distrust(str(member), member.channel, error)
            return
        for kind, *details in received:
            match kind:
                case messages.READY:
                    self._let_serve(member)
                case messages.CLOSED:
                    self._observe(StoppedAccepting(member.worker))
                case messages.DRAINED:
                    self._observe(Drained(member.worker))
                case messages.RETIRE:
                    self._observe(RetireRequested(member.worker, str(details[0])))
                case messages.FAILED:
                    self._report.blame(member, *(str(detail) for detail in details))
                case _:
                    raise AssertionError(f"unknown message {kind!r}")
        if gone:
            self._poller.forget(member.channel.fileno())

    def _distrust(self, who: str, channel: Channel, error: GarbledError) -> None:
        """What a process says over its channel cannot be understood: it is not listened to any more."""
        logger.warning("%s is killed: it has sent %s over its channel to the supervisor", who, error)
        self._poller.forget(channel.fileno())
        channel.close()

    def _kill(self, member: Member) -> None:
        """End a worker at once; if its template has not forked it yet, the template."""
        if member.pid:
            processes.kill(member.pid)
        else:
            self._templates.retire(member.generation)

    def _let_serve(self, member: Member) -> None:
        """A worker is ready: now its slot's sockets may listen."""
        if self._fleet.workers[member.worker].phase is not WorkerPhase.STARTING:
            return  # it has been told to leave
        try:
            self._slots.listen(member.slot, self._generations.config(member.generation).backlog)
        except StartupError as error:
            self._report.blame(member, str(error), "")
            self._crew.leave(member, LeaveReason.REPLACED)
            return
        self._crew.serve(member, self._slots.inboxes())
        self._observe(BecameReady(member.worker))
        if self._greeted:
            logger.info("%s is ready", member)

    def _reap(self) -> None:
        by_pid = self._crew.by_pid()
        others = [*self._templates.pids(), *self._upgrade.pids()]
        # A worker of which we have not heard yet is no orphan.
        orphans = (self._fleet.preload or os.getpid() == 1) and not self._crew.unborn()
        for pid, code in processes.reap([*by_pid, *others], orphans=orphans):
            if pid in by_pid:
                survived(f"the report of the end of {by_pid[pid]}", partial(self._report_end, by_pid[pid], code))
                self._dismiss(by_pid[pid], code)
            else:
                survived(f"the end of process {pid}", partial(self._other_ended, pid, code))

    def _report_end(self, member: Member, code: int) -> None:
        self._listen(member)  # its last words
        phase = self._fleet.workers[member.worker].phase
        in_flight = self._crew.in_flight(member, time.monotonic())
        self._report.exit(member, phase, self._crew.describe_exit(code), in_flight)
        if self._fleet.stop is not Stop.NO:
            self._report.account(*self._crew.account(member, code))

    def _dismiss(self, member: Member, code: int) -> None:
        self._poller.forget(member.channel.fileno())
        self._crew.dismiss(member)
        self._observe(Exited(member.worker, code, random.random()))
        self._report.starts_again(member.slot, self._slots.waiting(member.slot), time.monotonic())

    def _not_born(self, member: Member) -> None:
        self._poller.forget(member.channel.fileno())
        self._crew.dismiss(member)
        self._observe(SpawnFailed(member.slot, member.generation, random.random(), member.worker))

    def _other_ended(self, pid: int, code: int) -> None:
        self._upgrade.ended(pid)
        template = self._templates.ended(pid)
        if template is not None:
            self._listen_to_template(template)  # its last words
            self._report.template_exit(template.generation, processes.describe_exit(code))
            self._poller.forget(template.channel.fileno())
            self._templates.dismiss(template)
            for member in self._crew.unborn(template.generation):
                self._not_born(member)
            self._observe(TemplateGone(template.generation, random.random()))

    def _listen_to_template(self, template: Template) -> None:
        generation = template.generation
        try:
            received, gone = template.channel.receive()
            for kind, *details in received:
                if kind in (messages.FORKED, messages.NOT_FORKED):
                    self._bear(template, details[0])
        except GarbledError as error:
            processes.kill(template.pid)
            self._distrust(str(template), template.channel, error)
            return
        for kind, *details in received:
            match kind:
                case messages.READY:
                    self._observe(TemplateReady(generation))
                case messages.FAILED:
                    self._report.blame_template(generation, *(str(detail) for detail in details))
                case _:
                    pass
        if gone:
            self._poller.forget(template.channel.fileno())

    def _bear(self, template: Template, pid: object) -> None:
        """A template has forked a worker: if that is true, it is a child of ours that nobody else has claimed.

        Or it could not, and `pid` says why. Raises GarbledError.
        """
        unborn = self._crew.unborn(template.generation)
        if unborn and not isinstance(pid, int):
            logger.error("worker %d cannot be started: %s", unborn[0].slot + 1, pid)
            self._not_born(unborn[0])
            return
        known = {*self._crew.by_pid(), *self._templates.pids(), *self._upgrade.pids()}
        if not unborn or not isinstance(pid, int) or pid in known or not processes.is_child(pid):
            raise GarbledError(f"the pid {pid}, which is no process that it has forked,")
        self._crew.born(unborn[0], pid)
        logger.debug("%s started", unborn[0])
        self._reap_again = True  # it may have ended already

    def _has_to_look(self) -> bool:
        deaf = any(member.channel.lost and member.deaf_looks < 2 for member in self._crew)
        return self._watched() or self._orphans.paused or deaf

    def _loads(self) -> list[Load]:
        """The workers that take connections in, and how many they have."""
        members = [self._crew[worker.id] for worker in self._fleet.takes_in()]
        rows = [(member.slot, self._board.row(member.row)) for member in members]
        return [Load(slot, int(row.connections), int(row.limit)) for slot, row in rows]

    def _keep_alive(self) -> float:
        """Seconds that a connection may be idle."""
        return self._generations.config(self._fleet.generation).timeout_keep_alive

    def _watched(self) -> bool:
        return self._fleet.stop is Stop.NO and self._fleet.limits.healthcheck > 0

    def _look(self) -> None:
        """See who has been alive of late, and who hears nothing any more, about once a second."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK
        for member in self._crew.newly_deaf():
            self._observe(RetireRequested(member.worker, "nothing can be said to it over its channel any more"))
        if self._orphans.paused:
            self._orphans.look_again()
        for member in self._crew if self._watched() else ():
            if member.serves:
                beat = self._board.row(member.row).beaten_by(time.monotonic())
                stopped = now - beat > LOOK and processes.is_stopped(member.pid)
                self._observe(Beat(member.worker, now if stopped else beat))

    # What is done.

    def _attempt(self, action: Action) -> Event:
        done: list[Event] = []
        survived(str(action), lambda: done.append(self._perform(action)))
        return done[0] if done else failed(action, random.random())

    def _perform(self, action: Action) -> Event:
        match action:
            case Spawn(slot, generation):
                return self._spawn(slot, generation)
            case Leave(worker, why):
                self._crew.leave(self._crew[worker], why)
                self._report.leave(self._crew[worker], why)
                return Told(worker, why)
            case Kill(worker):
                self._report.kill(self._crew[worker])
                self._kill(self._crew[worker])
                return WasKilled(worker)
            case Dump(worker):
                member = self._crew[worker]
                self._report.hang(member, self._crew.in_flight(member, time.monotonic()))
                processes.dump(member.pid)
                return WasDumped(worker)
            case RefuseConnections():
                self._slots.refuse_new()
                return Refusing()
            case Steer(away):
                self._slots.steer(away)
                return Steered(away)
            case Rescue(slots):
                self._orphans.rescue(slots)
                return Rescued(slots)
            case OpenSlot(slot):
                return self._open(slot)
            case CloseSlot(slot):
                self._orphans.leave(slot)
                self._slots.close(slot)
                return SlotClosed(slot)
            case AbandonReload(generation):
                self._report.reload_abandoned(generation)
                self._generations.apply(self._fleet, self._fleet.generation)
                return ReloadAbandoned(generation)
            case FinishReload(generation):
                self._report.reload_finished(generation)
                self._resize_for(self._fleet.generation, generation)
                return ReloadFinished(generation)
            case LoadTemplate(generation):
                return self._load(generation)
            case RetireTemplate(generation):
                self._report.retire_template(generation)
                self._templates.retire(generation)
                return TemplateRetired(generation)
            case Exit():
                raise AssertionError("Exit is not performed")
            case _:
                assert_never(action)

    def _spawn(self, slot: int, generation: int) -> Event:
        title = self._generations.title(generation)
        row = None
        try:
            if self._slots.is_cut_off(slot):
                self._renew_inbox(slot)
            row = self._board.claim(slot)
            if self._fleet.preload:
                pid, channel = 0, self._templates.fork(generation)
            else:
                pid, channel = processes.spawn(processes.WORKER, title)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot + 1, shortage(error))
            if row is not None:
                self._board.release(row)
            return SpawnFailed(slot, generation, random.random())
        self._spawned += 1
        member = Member(self._spawned, slot, generation, pid, channel, row)
        fds = self._slots.fds(slot)
        boot = {**self._generations.boot(generation), "sockets": len(fds), "shared": self._slots.shared}
        mishap = self._crew.join(member, boot, [*fds, self._slots.inbox(slot), self._board.fd])
        if mishap is not None:
            self._report.blame(member, f"a new worker cannot be told what to serve: {shortage(mishap)}", "")
        self._poller.watch_channel(channel, lambda: self._listen(member))
        if pid:
            logger.debug("%s started", member)
        return Spawned(member.worker, slot, generation)

    def _open(self, slot: int) -> Event:
        try:
            self._slots.open(slot)
        except StartupError as error:
            logger.error("worker %d cannot be added: %s", slot + 1, error)
            return SlotFailed(slot, random.random())
        self._tell_inbox(slot)
        return SlotOpened(slot)

    def _renew_inbox(self, slot: int) -> None:
        """A worker has shut the inbox of a slot down: its next occupant gets another one, and all the way to it.

        Raises OSError.
        """
        self._orphans.leave(slot)
        self._slots.renew_inbox(slot)
        self._orphans.rescue(self._fleet.rescued)
        self._tell_inbox(slot)

    def _tell_inbox(self, slot: int) -> None:
        for member in self._crew:
            self._crew.tell_inboxes(member, {slot: self._slots.inboxes()[slot]})

    def _load(self, generation: int) -> Event:
        boot = self._generations.boot(generation)
        try:
            template = self._templates.load(generation, boot, self._generations.title(generation))
        except OSError as error:
            logger.error("the application's template cannot be started: %s", shortage(error))
            return TemplateGone(generation, random.random())
        self._poller.watch_channel(template.channel, lambda: self._listen_to_template(template))
        return TemplateStarted(generation)

    def _leave_nothing(self) -> None:
        """Whatever happened, no process and no path of ours stays behind."""
        processes_first = (self._crew.kill_all, self._upgrade.call_off, self._templates.kill_all)
        for act in (*processes_first, self._orphans.close, self._slots.close_all):
            survived("the end", act)
        self._board.close()
        if self._upgrade.outlived:
            self._fleet.handed_on = False
        if not self._fleet.handed_on:
            end_marked({*self._crew.by_pid(), *self._templates.pids()})
