"""Tens of thousands of lives of a fleet, with no process and no sleep, and what must hold in all of them.

A small world performs the plan's actions: workers boot, fail, crash, hang, drain or refuse to, at random; an operator
reloads, resizes, stops, forces and upgrades at random. Time jumps from event to event.
"""

import heapq
import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

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
from corehttp.supervisor.deadlines import crash_loop_at, next_deadline
from corehttp.supervisor.events import (
    Beat,
    BecameReady,
    Drained,
    Exited,
    FleetEvent,
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
from corehttp.supervisor.fleet import Fleet, FleetLimits, Stop, Strategy, TemplatePhase, WorkerPhase
from corehttp.supervisor.mishaps import failed
from corehttp.supervisor.observe import observe
from corehttp.supervisor.plan import plan

LIVES = 20_000 if os.environ.get("FULL") else 5_000
BLOCKS = 8
CALM = 90.0  # seconds after the operator's last act, in which everything settles
LIMITS = FleetLimits(
    graceful=5.0, lifespan=2.0, exit=1.0, startup=8.0, healthcheck=6.0, shutdown_delay=1.5, crash_loop=60.0
)


@dataclass
class World:
    """Processes that are only numbers, and the events they will cause."""

    chance: random.Random
    fleet: Fleet
    now: float = 0.0
    spawned: int = 0
    alive: set[int] = field(default_factory=set)
    accepting: set[int] = field(default_factory=set)
    templates: set[int] = field(default_factory=set)
    agenda: list[tuple[float, int, FleetEvent]] = field(default_factory=list)
    order: int = 0
    stubborn: set[int] = field(default_factory=set)  # they do not leave when told to
    silent: dict[int, tuple[float, float]] = field(default_factory=dict)  # from when till when the loop is blocked
    broken: set[int] = field(default_factory=set)  # generations that cannot start
    troubles: bool = True
    done: Counter[str] = field(default_factory=Counter)

    def later(self, seconds: float, event: FleetEvent) -> None:
        self.order += 1
        heapq.heappush(self.agenda, (self.now + seconds, self.order, event))

    def perform(self, action: Action) -> FleetEvent:
        chance = self.chance
        self.done[type(action).__name__] += 1
        # Only to end a process does not fail.
        if self.troubles and not isinstance(action, Kill | RetireTemplate) and chance.random() < 0.01:
            return failed(action, chance.random())
        match action:
            case Spawn(slot, generation):
                return self._spawn(slot, generation)
            case Leave(worker, why):
                assert worker in self.alive
                if self.fleet.workers[worker].phase is WorkerPhase.STARTING:
                    self.later(chance.uniform(0, 0.05), Exited(worker, -15, chance.random()))
                elif worker not in self.stubborn and not self._is_silent(worker):
                    wait = LIMITS.shutdown_delay if why is LeaveReason.STOP else 0.0
                    self.later(wait + chance.uniform(0, 0.1), StoppedAccepting(worker))
                    self.later(wait + chance.uniform(0.1, 5), Drained(worker))
                    self.later(wait + chance.uniform(5, 6), Exited(worker, chance.choice([0, 0, 5]), chance.random()))
                return Told(worker, why)
            case Kill(worker):
                assert worker in self.alive
                self.later(chance.uniform(0, 0.01), Exited(worker, -9, chance.random()))
                return WasKilled(worker)
            case Dump(worker):
                return WasDumped(worker)
            case RefuseConnections():
                return Refusing()
            case Steer(away):
                return Steered(away)
            case Rescue(slots):
                return Rescued(slots)
            case OpenSlot(slot):
                if self.troubles and chance.random() < 0.05:
                    return SlotFailed(slot, chance.random())
                return SlotOpened(slot)
            case CloseSlot(slot):
                return SlotClosed(slot)
            case AbandonReload(generation):
                return ReloadAbandoned(generation)
            case FinishReload(generation):
                return ReloadFinished(generation)
            case LoadTemplate(generation):
                return self._load(generation)
            case RetireTemplate(generation):
                assert generation in self.templates
                self.later(chance.uniform(0, 0.5), TemplateGone(generation, chance.random()))
                return TemplateRetired(generation)
            case Exit():
                raise AssertionError("the loop ends on Exit")

    def beat(self) -> None:
        """Every worker's event loop runs, unless it is blocked."""
        for worker in self.alive:
            if not self._is_silent(worker):
                observe(self.fleet, Beat(worker, self.now), self.now)

    def _is_silent(self, worker: int) -> bool:
        start, end = self.silent.get(worker, (0.0, 0.0))
        return start <= self.now < end

    def _spawn(self, slot: int, generation: int) -> FleetEvent:
        chance = self.chance
        if self.fleet.preload:
            assert generation in self.templates
        if self.troubles and chance.random() < 0.02:
            return SpawnFailed(slot, generation, chance.random())
        self.spawned += 1
        worker = self.spawned
        self.alive.add(worker)
        fate = chance.random() if self.troubles else 0.9
        boot = chance.uniform(0.1, 3)
        if generation in self.broken or fate < 0.05:
            self.later(boot, Exited(worker, 3, chance.random()))
        elif fate < 0.07:
            pass  # it never becomes ready
        else:
            self.later(boot, BecameReady(worker))
            if fate < 0.25:
                self.later(boot + chance.expovariate(1 / 20), Exited(worker, chance.choice([-11, 0]), chance.random()))
            elif fate < 0.32:
                blocked = boot + chance.uniform(1, 40)
                self.silent[worker] = (self.now + blocked, self.now + blocked + chance.choice([4, 9, 1e9]))
            elif fate < 0.4:
                self.later(boot + chance.uniform(1, 40), RetireRequested(worker, "old"))
            elif fate < 0.45:
                self.stubborn.add(worker)
            elif fate < 0.48:  # an operator tells it to leave
                leaves = boot + chance.uniform(1, 40)
                self.later(leaves, StoppedAccepting(worker))
                self.later(leaves + chance.uniform(0.1, 4), Drained(worker))
                self.later(leaves + chance.uniform(4, 5), Exited(worker, 0, chance.random()))
        return Spawned(worker, slot, generation)

    def _load(self, generation: int) -> FleetEvent:
        chance = self.chance
        if self.troubles and chance.random() < 0.03:
            return TemplateGone(generation, chance.random())
        self.templates.add(generation)
        fate = chance.random() if self.troubles else 0.9
        if generation in self.broken or fate < 0.05:
            self.later(chance.uniform(0.1, 3), TemplateGone(generation, chance.random()))
        elif fate > 0.07:
            self.later(chance.uniform(0.1, 3), TemplateReady(generation))
            if fate < 0.15:
                self.later(chance.uniform(3, 60), TemplateGone(generation, chance.random()))
        return TemplateStarted(generation)


@dataclass
class Life:
    """One fleet from its start to its end."""

    seed: int

    def __post_init__(self) -> None:
        self.chance = chance = random.Random(self.seed)
        self.fleet = Fleet(
            chance.randint(1, 4),
            LIMITS,
            strategy=chance.choice([Strategy.START_FIRST, Strategy.START_FIRST, Strategy.STOP_FIRST]),
            parallel=chance.randint(1, 3),
            preload=chance.random() < 0.3,
        )
        self.world = World(chance, self.fleet)
        ends = chance.uniform(0, 120)
        acts: list[tuple[float, FleetEvent]] = []
        for _ in range(chance.randint(0, 5)):
            acts.append((chance.uniform(0, ends), self._act()))
        self.calm_at = ends
        stop_at = ends + (CALM if chance.random() < 0.5 else 0.0)
        acts.append((stop_at, HandedOn() if chance.random() < 0.3 else StopRequested()))
        if chance.random() < 0.2:
            acts.append((stop_at + chance.uniform(0, 3), ForceRequested()))
        self.acts = sorted(acts, key=lambda act: act[0])
        self.stop_at = stop_at
        self.stopped_since: float | None = None
        self.failed: int | None = None  # the generation of which a worker could not start

    def _act(self) -> FleetEvent:
        chance = self.chance
        acts: list[FleetEvent] = [ReloadRequested(), Resized(chance.randint(0, 5)), WasLate(chance.uniform(2, 1e6))]
        return chance.choice([ReloadRequested(), *acts])

    def run(self) -> ExitCode:
        world, fleet = self.world, self.fleet
        next_beat = 0.0
        while True:
            code = self._act_on_plan()
            if code is not None:
                return code
            if fleet.stop is not Stop.NO:
                self.stopped_since = world.now if self.stopped_since is None else self.stopped_since
                limit = (
                    LIMITS.shutdown_delay + LIMITS.graceful + LIMITS.lifespan + LIMITS.exit + 2 * LIMITS.margin + 1.5
                )
                assert world.now - self.stopped_since <= limit, "a stop did not end in time"
            upcoming = [next_deadline(fleet, world.now), next_beat]
            upcoming += [world.agenda[0][0]] if world.agenda else []
            upcoming += [self.acts[0][0]] if self.acts else []
            world.now = max(world.now, min(upcoming))
            if world.now >= next_beat:
                next_beat = world.now + 2.5
                world.beat()
            self._let_happen()

    def _act_on_plan(self) -> ExitCode | None:
        world, fleet = self.world, self.fleet
        turns = 0
        while actions := plan(fleet, world.now):
            turns += 1
            assert turns < 50, "the plan finds no end"
            assert plan(fleet, world.now) == actions, "the plan is not idempotent"
            for action in actions:
                if isinstance(action, Exit):
                    self._check_end()
                    return action.code
                self._check(action)
                observe(fleet, world.perform(action), world.now)
        self._check_state()
        return None

    def _let_happen(self) -> None:
        world, fleet = self.world, self.fleet
        while self.acts and self.acts[0][0] <= world.now:
            event = self.acts.pop(0)[1]
            if isinstance(event, WasLate):
                # What was to happen meanwhile happens now, to workers that were late as well.
                world.now += event.seconds
                world.agenda = [(at + event.seconds, order, what) for at, order, what in world.agenda]
                world.silent = {w: (a + event.seconds, b + event.seconds) for w, (a, b) in world.silent.items()}
                self.acts = [(at + event.seconds, what) for at, what in self.acts]
                self.calm_at += event.seconds
                self.stop_at += event.seconds
                if self.stopped_since is not None:
                    self.stopped_since += event.seconds
            if isinstance(event, ReloadRequested) and self.chance.random() < 0.3:
                world.broken.add(fleet.latest + 1)
            observe(fleet, event, world.now)
        if world.now >= self.calm_at and world.troubles:
            self._calm_down()
        while world.agenda and world.agenda[0][0] <= world.now:
            self._deliver(heapq.heappop(world.agenda)[2])

    def _calm_down(self) -> None:
        """From now on nothing goes wrong any more."""
        world = self.world
        world.troubles = False
        world.broken.clear()
        fine = {w.id for w in self.fleet.workers.values() if w.phase in (WorkerPhase.STARTING, WorkerPhase.READY)}
        crashes = [one for one in world.agenda if isinstance(one[2], Exited) and one[2].code in (-11, 0)]
        for crash in crashes:
            if isinstance(crash[2], Exited) and crash[2].worker in fine:
                world.agenda.remove(crash)
        heapq.heapify(world.agenda)

    def _deliver(self, event: FleetEvent) -> None:
        world = self.world
        match event:
            case Exited(worker):
                if worker not in world.alive:
                    return
                world.alive.discard(worker)
                world.accepting.discard(worker)
                known = self.fleet.workers[worker]
                if known.phase is WorkerPhase.STARTING and self.fleet.stop is Stop.NO:
                    self.failed = known.generation
            case TemplateGone(generation):
                if generation not in world.templates:
                    return
                world.templates.discard(generation)
            case BecameReady(worker) | Drained(worker) | StoppedAccepting(worker) | RetireRequested(worker):
                if worker not in world.alive:
                    return
                if isinstance(event, BecameReady) and self.fleet.workers[worker].phase is WorkerPhase.STARTING:
                    world.accepting.add(worker)
                elif isinstance(event, Drained | StoppedAccepting):
                    world.accepting.discard(worker)
            case TemplateReady(generation):
                if generation not in world.templates:
                    return
            case _:
                pass
        observe(self.fleet, event, world.now)

    # What must hold.

    def _check(self, action: Action) -> None:
        """What an action of ours may never do."""
        fleet = self.fleet
        match action:
            case Leave(worker, why):
                self._check_leave(worker, why)
            case FinishReload(generation):
                old = [w for w in self.world.accepting if fleet.workers[w].generation != generation]
                assert not old, "a reload was over while an old worker accepted"
            case Spawn(slot, generation):
                assert fleet.stop is Stop.NO, "a worker was spawned during a stop"
                same = [w for w in fleet.occupants(slot) if w.phase is WorkerPhase.STARTING]
                assert not [w for w in same if w.generation == generation], "two of one generation start in a slot"
            case Kill(worker) if fleet.stop is Stop.NO:
                known = fleet.workers[worker]
                if known.phase is WorkerPhase.READY:
                    assert all(slot.failing_since is not None for slot in fleet.slots[: fleet.size] if slot.open)
            case Dump(worker):
                assert not [w for w in fleet.workers.values() if w.hung_at is not None], "two hung ones at once"
                start, end = self.world.silent.get(worker, (0.0, 0.0))
                assert start <= self.world.now <= end + 2.51, "a worker that is alive was found hung"
            case CloseSlot(slot):
                assert fleet.stop is not Stop.NO or not fleet.occupants(slot), "a slot was closed under its worker"
            case _:
                pass

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

    def _check_state(self) -> None:
        """What must hold when everything that could be done was done."""
        fleet, world = self.fleet, self.world
        assert world.alive == set(fleet.workers)
        assert world.templates == set(fleet.templates)
        if fleet.stop is not Stop.NO or crash_loop_at(fleet, world.now) <= world.now:
            return
        if fleet.strategy is Strategy.START_FIRST and fleet.rollout is not None:
            coming = [w.slot for w in fleet.workers.values() if w.generation == fleet.rollout and w.slot < fleet.size]
            moving = {slot for slot in coming if len(fleet.occupants(slot)) > 1}
            assert len(moving) <= fleet.parallel, "a reload is in more slots at once than it may"
        assert fleet.rollout is None or fleet.rollout != self.failed, "a reload goes on though a worker has failed"
        serving = {worker.slot for worker in fleet.ready()}
        assert not fleet.away or serving - fleet.away, "clients are steered away from everybody who serves"
        taking = {worker.slot for worker in fleet.takes_in()}
        for index, slot in enumerate(fleet.slots):
            if slot.open and slot.served and index not in taking:
                assert (index in fleet.rescued) is bool(taking), "clients wait in a slot though others could serve them"
        assert not fleet.rescued & taking, "what a worker can take in itself is given to others"
        if world.now >= self.calm_at + CALM - 1 and not world.troubles:
            self._check_settled()

    def _check_settled(self) -> None:
        fleet = self.fleet
        assert fleet.rollout is None, "a reload did not end"
        hung = any(w.hung_at is not None or w.id in self.world.silent for w in fleet.workers.values())
        for slot in range(fleet.size):
            assert fleet.slots[slot].open, "a wanted slot was not opened"
            if not hung:
                assert len(fleet.ready(slot)) == 1, "a slot has not its one worker"
        assert not [slot for slot in fleet.slots[fleet.size :] if slot.open], "a slot was not closed"
        assert all(template.phase is not TemplatePhase.ENDING for template in fleet.templates.values())

    def _check_end(self) -> None:
        assert not self.world.alive, "a process was left behind"
        assert not self.world.templates, "a template was left behind"
        fleet = self.fleet
        assert fleet.stop is not Stop.GRACEFUL or not [slot for slot in fleet.slots if slot.open]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_life_keeps_the_promises_and_ends(block: int) -> None:
    ends: Counter[ExitCode] = Counter()
    done: Counter[str] = Counter()
    for seed in range(block * LIVES // BLOCKS, (block + 1) * LIVES // BLOCKS):
        life = Life(seed)
        ends[life.run()] += 1
        done += life.world.done
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
