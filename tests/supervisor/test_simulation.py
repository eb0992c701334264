"""Thousands of lives of a service, with no process and no sleep, and what must hold in all of them.

The real loop runs in a simulated world: workers boot, fail, crash, hang, drain or refuse to, and talk nonsense, at
random; so does an operator reload, resize, upgrade, stop and force; so do calls to the operating system fail.
"""

import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR2

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError, ExitCode
from corehttp.ipc import messages
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import (
    Action,
    CloseSlot,
    Dump,
    FinishReload,
    Kill,
    Performable,
    Spawn,
    Terminate,
    failed,
)
from corehttp.supervisor.appointments import appointments
from corehttp.supervisor.deadlines import crash_loop_at
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import BecameReady, FleetEvent, Spawned, WasLate
from corehttp.supervisor.fleet import Fleet, FleetLimits, Stop, Strategy, TemplatePhase, WorkerPhase
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.loop import Supervisor
from corehttp.supervisor.observe import observe
from corehttp.supervisor.perform import Performer
from corehttp.supervisor.plan import plan
from corehttp.supervisor.upgrade import Upgrade
from tests.kit.extent import FULL
from tests.supervisor.simulated_operators import SimulatedControl
from tests.supervisor.simulated_world import Process, SimulatedWorld

LIVES = int(os.environ.get("LIVES", 10_000 if FULL else 150))
BLOCKS = min(8, max(1, LIVES // 500))  # each with so many lives that everything happens in it
CALM = 90.0  # seconds after the operator's last act, in which everything settles
LIMITS = FleetLimits(
    graceful=5.0, lifespan=2.0, exit=1.0, startup=8.0, healthcheck=6.0, shutdown_delay=1.5, crash_loop=60.0
)
DEPLOYMENT = Deployment()


class Faults(logging.Handler):
    """Formats all log lines, and keeps those of exceptions that the loop has survived but should not have met."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()
        if record.exc_info:
            self.lines.append(self.format(record))


@pytest.fixture
def faults() -> Iterator[Faults]:
    logger, handler = logging.getLogger("corehttp.supervisor"), Faults()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before[0])
    logger.propagate = before[1]


class CheckedPerformer(Performer):
    """Performs actions after a check of each; about one in a hundred fails before anything of it was done."""

    life: "Life"

    def perform(self, action: Performable) -> FleetEvent:
        life = self.life
        life.done[type(action).__name__] += 1
        life.turns += 1
        assert life.turns < 500, "the plan finds no end"
        life.check(action)
        # Only to end a process does not fail.
        if life.world.happens(0.01) and type(action).__name__ not in ("Kill", "RetireTemplate"):
            return failed(action, life.chance.random())
        return super().perform(action)


class CheckedSupervisor(Supervisor):
    """The real loop, which asks for every plan twice."""

    def _act(self) -> ExitCode | None:
        now = self._world.now()
        assert plan(self._fleet, now) == plan(self._fleet, now), "the plan is not idempotent"
        return super()._act()


@dataclass
class Life:
    """One service from its start to its end."""

    seed: int
    faults: Faults

    def __post_init__(self) -> None:
        self.chance = chance = random.Random(self.seed)
        size = chance.randint(1, 4)
        self.config = Config(
            app="application:app",
            backlog=1,
            workers=str(size),
            reload_strategy=chance.choice(["start-first", "start-first", "stop-first"]),
            reload_parallel=chance.randint(1, 3),
            preload=chance.random() < 0.3 and self.seed % 5 != 4,
            reload=self.seed % 5 == 4,
            timeout_graceful_shutdown=LIMITS.graceful,
            timeout_lifespan_shutdown=LIMITS.lifespan,
            timeout_exit=LIMITS.exit,
            timeout_worker_startup=LIMITS.startup,
            timeout_worker_healthcheck=LIMITS.healthcheck,
            shutdown_delay=LIMITS.shutdown_delay,
            crash_loop_timeout=LIMITS.crash_loop,
        )
        self.world = world = SimulatedWorld(chance, size, LIMITS.shutdown_delay)
        self.fleet = Fleet(size, preload=self.config.preload)
        generations = Generations(self.config, self.read, DEPLOYMENT, set_up=lambda *settings: None)
        generations.apply(self.fleet, 1)
        upgrade = Upgrade(("address",), DEPLOYMENT, world.processes)
        self.control = SimulatedControl(world.now)
        self.supervisor = CheckedSupervisor(self.fleet, world, generations, upgrade, control=self.control)
        self.service = self.supervisor._service
        self.supervisor._performer = performer = CheckedPerformer(self.service, self.supervisor._hearing)
        performer.life = self
        world.board = self.service.board
        world.before_wait = self.check_state
        world.processes.on_reap = self.note_failure
        self.done: Counter[str] = Counter()
        self.turns = 0
        self.stopped_since: float | None = None
        self.failed: int | None = None  # the generation of which a worker could not start
        self.plan_acts()

    def plan_acts(self) -> None:
        """Choose what the operator does in this life, and when; times are of a life that is not held up."""
        chance, world = self.chance, self.world
        ends = chance.uniform(0, 120)
        for _ in range(chance.randint(0, 5)):
            world.later(chance.uniform(0, ends), self.act)
        self.calm_at = ends
        world.later(ends, world.calm_down)
        stop_at = ends + (CALM if chance.random() < 0.5 else 0.0)
        world.later(stop_at, lambda: self.signal(SIGTERM))
        if self.config.reload:
            for _ in range(chance.randint(0, 8)):
                world.later(chance.uniform(0, ends), self.save)
            world.later(ends + CALM / 2, self.save)  # with which all is well at last
        if chance.random() < 0.2:
            world.later(stop_at + chance.uniform(0, 3), lambda: self.signal(chance.choice([SIGINT, SIGQUIT])))

    def signal(self, number: int) -> None:
        self.world.pending.append(number)

    def save(self) -> None:
        """A file changes, of which the watcher tells if there is one just now."""
        for process in self.world.processes.alive:
            if process.is_watcher and not process.dying:
                process.say(messages.Changed("main.py has changed"))

    def act(self) -> None:
        chance, world = self.chance, self.world
        if chance.random() < 0.5:
            self.control.ask_anything(chance)
            return
        chosen = chance.choice([SIGHUP, SIGHUP, SIGHUP, SIGTTIN, SIGTTOU, SIGTTOU, SIGUSR2, None, None])
        if chosen is not None:
            self.signal(chosen)
            return
        seconds = chance.uniform(2.1, 1e6)
        world.hold_up(seconds)
        self.calm_at += seconds
        if self.stopped_since is not None:
            self.stopped_since += seconds

    def read(self) -> Config:
        """The configuration afresh, which may be wrong, or wants something else. Its backlog is its generation."""
        chance, generation = self.chance, self.fleet.latest + 1
        if self.world.happens(0.1):
            raise ConfigError("a mistake")
        self.world.fail_at_times(0.05)
        if self.world.happens(0.3):
            self.world.broken.add(generation)
        workers = chance.choice([self.config.workers, str(chance.randint(1, 4))])
        parallel = chance.randint(1, 3)
        self.config = replace(self.config, backlog=generation, workers=workers, reload_parallel=parallel)
        return self.config

    def run(self) -> ExitCode:
        try:
            code = self.supervisor.run()
            self.check_end(code)
        finally:
            for process in self.world.processes.alive:
                if process.writer >= 0:
                    os.close(process.writer)
            reader = self.service.upgrade.fileno()
            if reader >= 0:
                os.close(reader)
        return code

    def note_failure(self, pid: int) -> None:
        """Note of a process that has ended whether it is a worker that could not start."""
        for member in self.service.workers:
            record = self.fleet.workers.get(member.worker)
            starting = record is not None and record.phase is WorkerPhase.STARTING
            if member.pid == pid and starting and self.fleet.stop is Stop.NO:
                self.failed = member.generation

    @property
    def accepting(self) -> set[int]:
        """The workers that accept connections, whatever the supervisor knows."""
        accepting = {process.pid for process in self.world.processes.alive if process.accepts}
        return {member.worker for member in self.service.workers if member.pid in accepting}

    def process(self, worker: int) -> Process:
        return self.world.processes.all[self.service.workers[worker].pid]

    # What must hold.

    def check(self, action: Action) -> None:
        """What an action of ours may never do."""
        fleet = self.fleet
        match action:
            case Terminate(worker, why):
                self._check_leave(worker, why)
            case FinishReload(generation):
                old = [w for w in self.accepting if fleet.workers[w].generation != generation]
                assert not old, "a reload was over while an old worker accepted"
            case Spawn(slot, generation):
                assert fleet.stop is Stop.NO, "a worker was spawned during a stop"
                same = [w for w in fleet.occupants(slot) if w.phase is WorkerPhase.STARTING]
                assert not fleet.development or not fleet.broken, "code that cannot start is started again"
                assert not [w for w in same if w.generation == generation], "two of one generation start in a slot"
            case Kill(worker) if fleet.stop is Stop.NO:
                known = fleet.workers[worker]
                if known.phase is WorkerPhase.READY:
                    assert all(slot.failing_since is not None for slot in fleet.slots[: fleet.size] if slot.open)
                elif known.phase is WorkerPhase.STARTING and crash_loop_at(fleet, self.world.time) > self.world.time:
                    self._check_patience(worker)
            case Dump(worker):
                assert not [w for w in fleet.workers.values() if w.hung_at is not None], "two hung ones at once"
                start, end = self.process(worker).silent
                assert start <= self.world.time <= end + 2.51, "a worker that is alive was found hung"
            case CloseSlot(slot):
                assert fleet.stop is not Stop.NO or not fleet.occupants(slot), "a slot was closed under its worker"
            case _:
                pass

    def _check_patience(self, worker: int) -> None:
        """A worker that is killed has had the time that it may take to start; a second is lost at each hold-up.

        Its time begins when its template is asked to fork it, and so before the process if the template reads late.
        """
        if self.service.workers[worker].pid:
            took = self.world.time - self.process(worker).started
            lost = 1.1 * (self.world.hold_ups + self.world.late_forks)
            assert took >= LIMITS.startup - 0.5 - lost, "a late supervisor blames a worker"

    def _check_leave(self, worker: int, why: LeaveReason) -> None:
        fleet = self.fleet
        known = fleet.workers[worker]
        if fleet.stop is not Stop.NO or known.phase is WorkerPhase.STARTING:
            return
        others = [w for w in fleet.ready(known.slot) if w.id != worker]
        if why is LeaveReason.SLOT_CLOSES:
            assert known.slot >= fleet.size
            assert [w for w in fleet.ready() if w.slot < fleet.size], "a shrink left nobody who serves"
            assert known.slot in fleet.away, "a slot goes while clients are sent there"
        elif fleet.strategy is Strategy.START_FIRST:
            assert others, "our own act took the last ready worker of a slot"
        else:
            wanted = [index for index, slot in enumerate(fleet.slots[: fleet.size]) if slot.open and slot.served]
            vacant = [slot for slot in wanted if slot != known.slot and not fleet.ready(slot)]
            room = fleet.parallel if fleet.rollout is not None else 1 if fleet.booted else fleet.size
            assert others or len(vacant) < room, "too many slots were out of service at once"

    def check_state(self) -> None:
        """What must hold when everything that could be done was done."""
        fleet, world, service = self.fleet, self.world, self.service
        self.turns = 0
        assert not self.faults.lines, "".join(self.faults.lines)
        assert plan(fleet, world.time) == [], "something that could be done is not done"
        assert appointments(fleet, world.time) == [], "who leads is not decided"
        assert {member.worker for member in service.workers} == set(fleet.workers)
        assert {member.pid for member in service.workers if member.pid} <= set(service.children.pids())
        templates = {process.pid for process in world.processes.alive if process.is_template and not process.dying}
        assert templates <= set(service.children.pids()), "a template is not known"
        assert not fleet.development or fleet.start_failed_at is None, "code under development ends the service"
        if fleet.stop is not Stop.NO:
            self.check_stop()
        if fleet.stop is not Stop.NO or crash_loop_at(fleet, world.time) <= world.time:
            return
        if fleet.strategy is Strategy.START_FIRST and fleet.rollout is not None:
            coming = [w.slot for w in fleet.workers.values() if w.generation == fleet.rollout and w.slot < fleet.size]
            moving = {slot for slot in coming if len(fleet.occupants(slot)) > 1}
            assert len(moving) <= fleet.parallel, "a reload is in more slots at once than it may"
        assert fleet.rollout is None or fleet.rollout != self.failed, "a reload goes on though a worker has failed"
        serving = {worker.slot for worker in fleet.ready()}
        assert not fleet.away or serving - fleet.away, "clients are steered away from everybody who serves"
        taking = {worker.slot for worker in fleet.accepting()}
        for index, slot in enumerate(fleet.slots):
            if slot.open and slot.served and index not in taking:
                assert (index in fleet.rescued) is bool(taking), "clients wait in a slot though others could serve them"
        assert not fleet.rescued & taking, "what a worker can take in itself is given to others"
        if world.time >= self.calm_at + CALM - 1 and not world.troubles:
            self._check_settled()

    def check_stop(self) -> None:
        now = self.world.time
        self.stopped_since = now if self.stopped_since is None else self.stopped_since
        limit = LIMITS.shutdown_delay + LIMITS.graceful + LIMITS.lifespan + LIMITS.exit + 2 * LIMITS.margin + 1.5
        assert now - self.stopped_since <= limit, "a stop did not end in time"

    def _check_settled(self) -> None:
        fleet = self.fleet
        assert fleet.rollout is None, "a reload did not end"
        if fleet.development:
            assert {w.generation for w in fleet.ready()} == {fleet.latest}, (
                "somebody serves code of before the last save"
            )
        hung = any(w.hung_at is not None or self.process(w.id).silent[1] for w in fleet.workers.values())
        for slot in range(fleet.size):
            assert fleet.slots[slot].open, "a wanted slot was not opened"
            if not hung:
                assert len(fleet.ready(slot)) == 1, "a slot has not its one worker"
        if not hung:
            assert fleet.leader is not None, "nobody leads"
            leader = self.process(fleet.leader)
            # One that ignores what it is told keeps all others from leading, until it has ended.
            assert not fleet.deposed or leader.stubborn, "a leader did not step down"
            assert leader.leads, "the leader was not told"
        assert not [slot for slot in fleet.slots[fleet.size :] if slot.open], "a slot was not closed"
        assert all(template.phase is not TemplatePhase.ENDING for template in fleet.templates.values())

    def check_end(self, code: ExitCode) -> None:
        fleet, world, service = self.fleet, self.world, self.service
        assert not self.faults.lines, "".join(self.faults.lines)
        left = [process for process in world.processes.alive if not process.dying]
        assert not [process for process in left if process.channel is not None], "a process was left behind"
        assert not left or fleet.handed_on or fleet.successor is None, "a new supervisor was left behind"
        assert not list(service.workers)
        assert not fleet.templates, "a template was left behind"
        assert fleet.stop is not Stop.GRACEFUL or not [slot for slot in fleet.slots if slot.open]
        assert world.slots.closed
        assert world.ended_leftovers or fleet.handed_on
        assert code is not ExitCode.CLEAN or fleet.stop is Stop.GRACEFUL
        self.control.check_end()


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_life_keeps_the_promises_and_ends(block: int, faults: Faults) -> None:
    ends: Counter[ExitCode] = Counter()
    done: Counter[str] = Counter()
    upgrades = 0
    for seed in range(block * LIVES // BLOCKS, (block + 1) * LIVES // BLOCKS):
        life = Life(seed, faults)
        ends[life.run()] += 1
        done += life.done
        upgrades += life.world.slots.lent
    assert upgrades, "no new supervisor ever takes over"
    assert len(ends) >= 4, "the simulation is too tame to mean anything"
    assert not {action.__name__ for action in Action.__args__} - set(done) - {"Exit"}, "some action never happens"


def test_a_clock_that_jumps_kills_nobody_that_serves() -> None:
    fleet = Fleet(3, LIMITS)
    for slot in range(3):
        observe(fleet, Spawned(slot + 1, slot, 1), 0.0)
        observe(fleet, BecameReady(slot + 1), 1.0)
    for jump in (1e3, 1e9):
        observe(fleet, WasLate(jump), jump)
        assert plan(fleet, jump) == []
