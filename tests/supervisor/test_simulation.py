"""Thousands of lives of a fleet, with no process and no sleep, and what must hold in all of them.

A small world performs the plan's actions: workers boot, fail, crash, hang, drain or refuse to, at random, and an
operator stops, forces and reloads at random. Time jumps from event to event.
"""

import heapq
import random
from dataclasses import dataclass, field

import pytest

from corehttp.errors import ExitCode
from corehttp.supervisor.fleet import (
    Action,
    BecameReady,
    CloseSlot,
    Drained,
    Event,
    Exit,
    Exited,
    Fleet,
    ForceRequested,
    Kill,
    Limits,
    Phase,
    RefuseConnections,
    Refusing,
    SlotClosed,
    Spawn,
    Spawned,
    SpawnFailed,
    Stop,
    StoppedAccepting,
    StopRequested,
    Terminate,
    Told,
    WasKilled,
)
from corehttp.supervisor.plan import next_deadline, observe, plan

LIVES = 4000
LIMITS = Limits(graceful=5.0, lifespan=2.0, crash_loop=60.0)


@dataclass
class World:
    """Processes that are only numbers, and the events they will cause."""

    chance: random.Random
    now: float = 0.0
    spawned: int = 0
    alive: set[int] = field(default_factory=set)
    agenda: list[tuple[float, int, Event]] = field(default_factory=list)
    order: int = 0
    hangs: set[int] = field(default_factory=set)

    def later(self, seconds: float, event: Event) -> None:
        self.order += 1
        heapq.heappush(self.agenda, (self.now + seconds, self.order, event))

    def perform(self, action: Action) -> Event:
        chance = self.chance
        match action:
            case Spawn(slot, generation):
                if chance.random() < 0.02:
                    return SpawnFailed(slot, chance.random())
                self.spawned += 1
                worker = self.spawned
                self.alive.add(worker)
                if chance.random() < 0.1:
                    self.hangs.add(worker)
                self._live(worker)
                return Spawned(worker, slot, generation)
            case Terminate(worker):
                assert worker in self.alive
                if worker not in self.hangs:
                    self.later(chance.uniform(0, 0.1), StoppedAccepting(worker))
                    self.later(chance.uniform(0.1, 5), Drained(worker))
                    self.later(chance.uniform(5, 6), Exited(worker, chance.choice([0, 0, 5]), chance.random()))
                return Told(worker)
            case Kill(worker):
                assert worker in self.alive
                self.later(chance.uniform(0, 0.01), Exited(worker, -9, chance.random()))
                return WasKilled(worker)
            case RefuseConnections():
                return Refusing()
            case CloseSlot(slot):
                return SlotClosed(slot)
            case Exit():
                raise AssertionError("the loop ends on Exit")

    def _live(self, worker: int) -> None:
        chance = self.chance
        fate = chance.random()
        boot = chance.uniform(0.1, 3)
        if fate < 0.1:
            self.later(boot, Exited(worker, 3, chance.random()))
        elif fate < 0.97:
            self.later(boot, BecameReady(worker))
            if fate < 0.4:
                self.later(boot + chance.expovariate(1 / 20), Exited(worker, -11, chance.random()))


def live(seed: int) -> ExitCode:
    """One life; returns how it ended."""
    chance = random.Random(seed)
    world = World(chance)
    fleet = Fleet(chance.randint(1, 5), LIMITS)
    stop_at = chance.uniform(0, 200)
    world.later(stop_at, StopRequested())
    if chance.random() < 0.2:
        world.later(stop_at + chance.uniform(0, 3), ForceRequested())
    reloads = sorted(chance.uniform(0, 200) for _ in range(chance.randint(0, 3)))
    stopped_since: float | None = None
    while True:
        while actions := plan(fleet, world.now):
            assert plan(fleet, world.now) == actions, "the plan is not idempotent"
            for action in actions:
                if isinstance(action, Exit):
                    assert not world.alive, "a process was left behind"
                    assert (
                        fleet.stop is Stop.NO or all(not slot.open for slot in fleet.slots) or fleet.stop is Stop.FORCED
                    )
                    return action.code
                check(fleet, action)
                observe(fleet, world.perform(action), world.now)
        if fleet.stop is not Stop.NO:
            stopped_since = world.now if stopped_since is None else stopped_since
            limit = LIMITS.graceful + LIMITS.lifespan + 2 * LIMITS.margin + 0.5
            assert world.now - stopped_since <= limit, "a stop did not end in time"
        deadline = next_deadline(fleet, world.now)
        upcoming = world.agenda[0][0] if world.agenda else float("inf")
        assert min(deadline, upcoming) < float("inf"), "nothing will ever happen again"
        world.now = max(world.now, min(deadline, upcoming))
        while reloads and reloads[0] <= world.now:
            reloads.pop(0)
            fleet.generation += 1
        while world.agenda and world.agenda[0][0] <= world.now:
            deliver(fleet, world, heapq.heappop(world.agenda)[2])


def deliver(fleet: Fleet, world: World, event: Event) -> None:
    if isinstance(event, Exited):
        if event.worker not in world.alive:
            return
        world.alive.discard(event.worker)
    elif isinstance(event, BecameReady | Drained | StoppedAccepting) and event.worker not in world.alive:
        return
    observe(fleet, event, world.now)


def check(fleet: Fleet, action: Action) -> None:
    """What an action of ours may never do."""
    if isinstance(action, Terminate) and fleet.stop is Stop.NO:
        worker = fleet.workers[action.worker]
        others = [w for w in fleet.ready() if w.slot == worker.slot and w.id != worker.id]
        assert others, "our own act took the last ready worker of a slot"
    if isinstance(action, Spawn):
        assert fleet.stop is Stop.NO, "a worker was spawned during a stop"
        same = [w for w in fleet.occupants(action.slot) if w.generation == action.generation]
        assert not same, "two workers of one generation in a slot"
    if isinstance(action, Kill) and fleet.stop is Stop.NO:
        assert fleet.workers[action.worker].phase is not Phase.READY or all(
            slot.failing_since is not None for slot in fleet.slots
        ), "a worker that serves was killed"


@pytest.mark.parametrize("block", range(8))
def test_every_life_keeps_the_promises_and_ends(block: int) -> None:
    ends = [live(seed) for seed in range(block * LIVES // 8, (block + 1) * LIVES // 8)]
    assert len(set(ends)) >= 3, "the simulation is too tame to mean anything"


def test_a_clock_that_jumps_kills_nobody_that_serves() -> None:
    fleet = Fleet(3, LIMITS)
    for slot in range(3):
        observe(fleet, Spawned(slot + 1, slot, 1), 0.0)
        observe(fleet, BecameReady(slot + 1), 1.0)
    for jump in (1e3, 1e9, 5.0):
        assert plan(fleet, jump) == []
