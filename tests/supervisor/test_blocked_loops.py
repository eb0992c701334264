"""Whose event loop is blocked, and what is done for those who wait to be accepted there: the real loop, simulated."""

import random
from collections.abc import Iterator

import pytest

from corehttp.config import Config
from corehttp.moments import NEVER
from corehttp.records import replaced
from corehttp.supervisor.blocked_loops import PAUSE, BlockedLoops
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.loop import Supervisor
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_world import SimulatedWorld

CONFIG = Config(app="application:app", workers="3", rescue_after=2.0, timeout_worker_healthcheck=30.0)
SETTLED = 30.0  # seconds after which all serve


class Loop:
    """The supervisor's loop with three workers, in a world in which nothing goes wrong by itself."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 3, 0.0)
        self.world.troubles = False
        self.fleet = Fleet(3)
        deployment = Deployment()
        generations = Generations(CONFIG, lambda: CONFIG, deployment, set_up=lambda *settings: None)
        generations.apply(self.fleet, 1)
        self.supervisor = Supervisor(
            self.fleet, self.world, generations, Upgrade(("address",), deployment, self.world.processes)
        )
        self.service = self.supervisor._service
        self.world.board = self.service.board
        self.go_on(SETTLED)

    def go_on(self, seconds: float) -> None:
        """Let the loop run for so many seconds, and up to one more."""
        until = self.world.time + seconds
        while self.world.time < until:
            assert self.supervisor._act() is None
            self.supervisor._wait()
        self.supervisor._act()

    def block(self, slot: int, seconds: float) -> None:
        """Have nothing run in the event loop of a slot's worker for so many seconds."""
        [pid] = [member.pid for member in self.service.workers if member.slot == slot]
        self.world.processes.all[pid].silent = (self.world.time, self.world.time + seconds)

    def rescued(self) -> set[int]:
        return set(self.fleet.rescued)


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.supervisor._leave_nothing()


def test_who_waits_for_a_blocked_worker_is_given_to_others_until_its_loop_runs_again(loop: Loop) -> None:
    assert loop.rescued() == set()
    loop.block(1, 9.0)
    loop.go_on(0.5)
    assert loop.rescued() == set(), "it may be blocked for so long"
    loop.go_on(3.0)
    assert loop.rescued() == set(loop.fleet.away) == {1}
    assert [load.slot for load in loop.service._loads()] == [0, 2], "it is given nothing"
    loop.go_on(2.0)
    assert loop.rescued() == {1}
    loop.go_on(4.0)
    assert loop.rescued() == set(loop.fleet.away) == set()
    assert len(loop.fleet.workers) == 3, "it is not replaced for that"


def test_where_all_are_blocked_everything_waits_where_it_is(loop: Loop) -> None:
    for slot in range(3):
        loop.block(slot, 6.0)
    loop.go_on(4.0)
    assert all(worker.blocked for worker in loop.fleet.workers.values())
    assert loop.rescued() == set(loop.fleet.away) == set()
    loop.go_on(4.0)
    assert not any(worker.blocked for worker in loop.fleet.workers.values())


def test_a_worker_that_was_just_told_to_serve_is_not_blocked(loop: Loop) -> None:
    [member] = [member for member in loop.service.workers if member.slot == 0]
    loop.service.board.row(member.row).beat = 0.0
    loop.fleet.workers[member.worker].since = loop.world.time
    BlockedLoops(loop.service).look()
    assert not loop.fleet.workers[member.worker].blocked


def test_a_look_comes_when_a_loop_could_be_blocked_for_too_long_and_no_sooner(loop: Loop) -> None:
    loops = BlockedLoops(loop.service)
    for number, member in enumerate(loop.service.workers):
        loop.service.board.row(member.row).beat = loop.world.time - number / 2
    loops.look()
    assert loops.due() == loop.world.time + 1.0
    loop.world.time += 0.9
    loops.look()
    assert not any(worker.blocked for worker in loop.fleet.workers.values())
    loop.world.time += 0.1
    loops.look()
    assert [worker.blocked for worker in loop.fleet.workers.values()].count(True) == 1
    assert loops.due() == loop.world.time + PAUSE


@pytest.mark.parametrize("why", ["switched off", "alone", "stopping"])
def test_nothing_is_looked_at_where_no_other_worker_could_take_over(loop: Loop, why: str) -> None:
    match why:
        case "switched off":
            loop.fleet.limits = replaced(loop.fleet.limits, rescue_after=0.0)
        case "alone":
            for worker in list(loop.fleet.workers)[1:]:
                del loop.fleet.workers[worker]
        case _:
            loop.fleet.stop_requested_at = loop.world.time
    assert BlockedLoops(loop.service).due() == NEVER
