"""The supervisor's loop: wait for an event or the next deadline; observe; plan; perform."""

import logging
import signal
from collections.abc import Callable
from functools import partial
from typing import assert_never

from corehttp.errors import ConfigError, ExitCode
from corehttp.shortage import shortage
from corehttp.supervisor.actions import Exit
from corehttp.supervisor.commands import Command, Refusal, decide
from corehttp.supervisor.deadlines import NEVER, next_deadline
from corehttp.supervisor.events import (
    ForceRequested,
    ReloadRequested,
    Resized,
    StopRequested,
    UpgradeRequested,
    WasLate,
)
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.health import HealthChecks
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.perform import Performer
from corehttp.supervisor.plan import plan
from corehttp.supervisor.service import Service
from corehttp.supervisor.signals import COMMANDS
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.world import World
from corehttp.unused_signals import name as signal_name

logger = logging.getLogger("corehttp.supervisor")

LATE = 2.0  # seconds that the supervisor may wake up too late before nobody is blamed for that time


class Supervisor:
    """Keeps a fleet of workers as the plan wants it, in a world of processes and sockets.

    `on_ready` is called once, when all workers serve for the first time. Raises OSError if there is no room for what
    the supervisor needs.
    """

    def __init__(
        self,
        fleet: Fleet,
        world: World,
        generations: Generations,
        upgrade: Upgrade,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._world = world
        self._fleet = fleet
        self._service = Service(world, fleet, generations, upgrade)
        self._hearing = Hearing(self._service)
        self._performer = Performer(self._service, self._hearing)
        self._health = HealthChecks(self._service)
        self._report = self._service.report
        self._observe = self._service.observe
        self._on_ready = on_ready
        self._greeted = False

    def run(self) -> ExitCode:
        """Supervise until the end, and return the exit code; must be called in the main thread."""
        with self._world.entered():
            try:
                while (code := self._act()) is None:
                    self._wait()
            finally:
                self._leave_nothing()
        self._report.stopped(code, self._world.now())
        return code

    def take_over(self, size: int) -> None:
        """Use the sockets as their only owner, now that the supervisor of before lets go of them, and resize."""
        slots = self._service.slots
        slots.share(False)
        slots.let_in()
        slots.steer(self._fleet.away)  # in place of what the supervisor of before has left
        self._fleet.handed_on = False
        self._observe(Resized(size))

    def _act(self) -> ExitCode | None:
        """Do all that is to be done now. Returns the exit code if that is to end."""
        while actions := plan(self._fleet, self._world.now()):
            for action in actions:
                if isinstance(action, Exit):
                    return action.code
                self._observe(self._performer.perform(action))
        return None

    def _wait(self) -> None:
        """Wait for something to happen or to be due, and let everything follow from it that is no plan's."""
        before = self._world.now()
        deadline = min(next_deadline(self._fleet, before), self._health.due())
        due = self._world.wait(None if deadline == NEVER else max(0.0, deadline - before))
        late = self._world.now() - max(before, deadline)
        if late > LATE:
            logger.warning("the supervisor was held up for %.1f s: no worker is blamed for that time", late)
            self._observe(WasLate(late))
        for fd, act in due:
            if not survived("listening", act):
                self._world.forget(fd)  # or it would fail again at once
        for number in self._world.signals():
            survived(signal_name(number), partial(self._on_signal, number))
        if self._service.children.unheard:
            self._service.children.unheard = False
            self._reap()
        survived("looking after the workers", self._health.look)
        survived("greeting", self._greet)

    def _greet(self) -> None:
        """Say once that the service is complete, when all workers serve for the first time."""
        if self._greeted or not self._fleet.booted:
            return
        self._greeted = True
        workers = self._service.workers
        pids = [member.pid for member in sorted(workers, key=lambda member: member.slot)]
        self._report.complete(pids, self._world.pid, self._world.now())
        if self._fleet.preload:
            logger.info("%s", workers.memory_saved())
        self._on_ready()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in COMMANDS:
            self._on_command(COMMANDS[signal.Signals(number)], signal_name(number))
        else:
            self._report.unused_signal(number)

    def _on_command(self, command: Command, source: str) -> None:
        """Do what an operator asks for, or say why not; `source` is how the command came in, for log lines."""
        decision = decide(self._fleet, command)
        self._report.command(source, command, decision, self._world.now())
        match decision:
            case Refusal():
                pass
            case ReloadRequested():
                self._reload()
            case UpgradeRequested():
                self._start_successor()
            case StopRequested():
                self._observe(decision)
                self._service.upgrade.call_off()
            case ForceRequested() | Resized():
                self._observe(decision)
            case _:
                assert_never(decision)

    def _reload(self) -> None:
        """Read the configuration afresh; if it is wrong, nothing changes."""
        fleet, generations = self._fleet, self._service.generations
        before = fleet.generation
        try:
            config = generations.read(before)
        except ConfigError as error:
            logger.error("the reload has failed, the old workers serve on: %s", error)
            return
        except OSError as error:
            logger.error("the reload has failed, the old workers serve on: %s", shortage(error))
            return
        self._observe(ReloadRequested())
        generations.assign(fleet.latest, config)
        if fleet.generation != before:  # nothing served yet that could be kept
            self._service.resize_for(before, fleet.generation)
        generations.apply(fleet, fleet.latest)

    def _start_successor(self) -> None:
        fd = self._service.upgrade.start(self._service.slots)
        if fd is not None:
            self._hearing.attend_successor(fd)

    def _reap(self) -> None:
        children, world = self._service.children, self._world
        # A worker of which the supervisor has not heard yet is no orphan.
        orphans = (self._fleet.preload or world.pid == 1) and not self._service.workers.unborn()
        for pid, code in world.processes.reap(children.pids(), orphans=orphans):
            children.ended(pid, code)

    def _leave_nothing(self) -> None:
        """Let no process and no path of the service stay behind, whatever has happened."""
        service = self._service
        for close in (service.children.end_all, service.templates.stop_adopting, service.orphans.close):
            survived("the end", close)
        survived("the end", service.slots.close_all)
        service.board.close()
        if service.upgrade.outlived:
            self._fleet.handed_on = False
        if not self._fleet.handed_on:
            self._world.end_leftovers(service.children.pids())
