"""The supervisor's loop: wait for an event or the next deadline; observe; plan; perform."""

import logging
import signal
from collections.abc import Callable
from functools import partial

from corehttp.errors import ExitCode
from corehttp.ipc import sticky_area
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.moments import NEVER
from corehttp.supervisor.actions import Action, Exit
from corehttp.supervisor.admin_child import AdminChild, AdminPoint
from corehttp.supervisor.appointments import appointments
from corehttp.supervisor.deadlines import next_deadline
from corehttp.supervisor.events import Resized
from corehttp.supervisor.file_watch import FileWatch
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.health import HealthChecks
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.operator import ControlPoint
from corehttp.supervisor.operators import Operators
from corehttp.supervisor.orders import Orders
from corehttp.supervisor.perform import Performer
from corehttp.supervisor.plan import plan
from corehttp.supervisor.service import Service
from corehttp.supervisor.service_manager import Manager, Telling
from corehttp.supervisor.signals import COMMANDS
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.world import World
from corehttp.unused_signals import name as signal_name

logger = logging.getLogger("corehttp.supervisor")

# Seconds of acting, as of starting many workers, after which signals, operators and workers are heard.
DEAF_SECONDS = 0.2


class Supervisor:
    """Keeps a fleet of workers as the plan wants it, in a world of processes and sockets.

    `on_ready` is called once, when all workers serve for the first time. `name` is what operators call the service,
    `control` where they connect, and `admin` where the admin child listens. These are open from the beginning, or from
    `take_over` on where the supervisor `takes_over` from another one, whose process id is `elder`. Raises OSError if
    there is no room for what the supervisor needs.
    """

    def __init__(
        self,
        fleet: Fleet,
        world: World,
        generations: Generations,
        upgrade: Upgrade,
        on_ready: Callable[[], None] = lambda: None,
        *,
        name: str = "",
        control: ControlPoint | None = None,
        admin: AdminPoint | None = None,
        takes_over: bool = False,
        elder: int = 0,
    ) -> None:
        self._world = world
        self._fleet = fleet
        fleet.replaceable = world.pid != 1
        self._service = Service(world, fleet, generations, upgrade)
        self._hearing = Hearing(self._service)
        self._performer = Performer(self._service, self._hearing)
        self._orders = Orders(self._service, self._hearing)
        self._health = HealthChecks(self._service)
        self._operators = Operators(self._service, name, control, self._orders.obey)
        self._service.admin_urls = admin.urls if admin is not None else ""
        self._admin = AdminChild(self._service, name, admin, self._operators.hear)
        self._files = FileWatch(self._service, self._orders.obey)
        self._service.log_files.tell_others = self._admin.reopen_logs
        self.report_to(None)
        self._report = self._service.report
        self._observe = self._service.observe
        self._on_ready = on_ready
        self._greeted = False
        self._has_more = False  # whether there was more to be done than the time for acting allowed
        self._takes_over = takes_over
        self._elder = elder
        self._look_for_elder()

    def run(self) -> ExitCode:
        """Supervise until everything has ended, and return the exit code. To be called in the main thread."""
        code: ExitCode | None = None
        with self._world.entered():
            try:
                self._service.tie_addresses(self._fleet.generation)
                if not self._takes_over:
                    self._open_to_operators()
                while (code := self._act()) is None:
                    self._wait()
            finally:
                self._leave_nothing()
                survived("the end", partial(self._operators.end, code))
        self._report.stopped(code, self._world.now())
        return code

    def report_to(self, manager: Manager | None) -> None:
        """Tell this service manager, if there is one, what becomes of the service. To be called before `run`."""
        self._telling = Telling(self._service, manager)
        self._orders.before_reload = self._telling.reload_asked

    @property
    def board(self) -> Scoreboard:
        """The scoreboard of the service."""
        return self._service.board

    def take_over(self, size: int) -> None:
        """Use the sockets as their only owner, since the supervisor before this one lets go of them, and resize."""
        slots = self._service.slots
        slots.lend(False)
        sticky_area.share_inboxes(self.board.fd, 0)
        slots.let_in()
        slots.steer(self._fleet.away)  # in place of how the supervisor before this one has steered
        self._fleet.handed_on = False
        self._observe(Resized(size))
        self._open_to_operators()

    def _open_to_operators(self) -> None:
        survived("listening to operators", self._operators.begin)
        survived("the start of the admin child", self._admin.begin)
        self._files.begin()

    def _act(self) -> ExitCode | None:
        """Do what is to be done now, for DEAF_SECONDS and one action more at most; the rest is planned anew after that.

        Returns the exit code when the supervisor is to end, else None.
        """
        until = self._world.now() + DEAF_SECONDS
        self._has_more = False
        while actions := self._plan():
            for action in actions:
                if isinstance(action, Exit):
                    return action.code
                self._observe(self._performer.perform(action))
                if self._world.now() > until:
                    self._has_more = True
                    return None
        return None

    def _plan(self) -> list[Action]:
        """Return what is to be done now; who leads is decided when all else is done."""
        now = self._world.now()
        return plan(self._fleet, now) or appointments(self._fleet, now)

    def _wait(self) -> None:
        """Wait until something happens or is due, and record it with what else follows at once."""
        before = self._world.now()
        service = self._service
        others = (
            *(self._health, self._operators, service.log_files, service.aftermath, self._admin, self._files),
            *(service.binds, service.tls_sessions, self._telling),
        )
        next_due = min(next_deadline(self._fleet, before), *(other.due() for other in others))
        deadline = before if self._has_more else next_due
        due = self._world.wait(None if deadline == NEVER else max(0.0, deadline - before))
        self._health.woke(max(before, deadline))
        for fd, act in due:
            if not survived("listening", act):
                self._world.forget(fd)  # or it would fail again at once
        for number in self._world.signals():
            survived(signal_name(number), partial(self._on_signal, number))
        if service.children.unheard:
            service.children.unheard = False
            self._reap()
        survived("looking after the workers", self._health.look)
        survived("looking after the log files", service.log_files.look)
        survived("ending what dead workers have left", service.aftermath.look)
        survived("closing removed binds", lambda: service.binds.look(self._world.now()))
        survived("renewing the secret of TLS sessions", lambda: service.tls_sessions.look(self._world.now()))
        survived("greeting", self._greet)
        survived("telling the service manager", self._telling.look)
        survived("showing what was counted", service.show_counters)
        survived("telling operators", self._operators.look)
        survived("looking after the admin child", self._admin.look)
        survived("looking after the watcher", self._files.look)
        survived("the start of a spare process", self._service.prepare_spare)
        self._look_for_elder()

    def _look_for_elder(self) -> None:
        """Record whether the supervisor before this one still runs: a child whose parent has ended gets another one."""
        self._fleet.has_elder = self._takes_over and self._world.parent == self._elder

    def _greet(self) -> None:
        """Say once that the service is complete, when all workers serve for the first time."""
        if self._greeted or not self._fleet.booted:
            return
        self._greeted = True
        workers = self._service.workers
        pids = [member.pid for member in sorted(workers, key=lambda member: member.slot)]
        self._report.all_ready(pids, self._world.pid, self._world.now())
        if self._fleet.preload:
            logger.info("%s", workers.memory_saved())
        if self._fleet.rollout is None:  # a reload before the service was complete has ended with that
            self._service.history.reload_ended(ok=True, now=self._world.wall_clock())
        self._on_ready()

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            self._reap()
        elif number in COMMANDS:
            self._orders.obey(COMMANDS[signal.Signals(number)], signal_name(number))
        else:
            self._report.unused_signal(number)

    def _reap(self) -> None:
        children, world = self._service.children, self._world
        # A worker that its template has forked is a child of which the supervisor may not know yet, and no orphan.
        orphans = (self._fleet.preload or world.pid == 1) and not self._service.workers.unforked()
        for pid, code in world.processes.reap(children.pids(), orphans=orphans):
            children.ended(pid, code)

    def _leave_nothing(self) -> None:
        """Let no process and no path of the service stay behind, whatever has happened."""
        service = self._service
        closing = (service.children.end_all, self._admin.end, service.templates.stop_adopting, service.rescuer.close)
        for close in closing:
            survived("the end", close)
        survived("the end", service.slots.close_all)
        service.aftermath.end()
        service.board.close()
        if service.upgrade.outlived:
            self._fleet.handed_on = False
        if not self._fleet.handed_on:
            self._world.end_leftovers(service.children.pids())
