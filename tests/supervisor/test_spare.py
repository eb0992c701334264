"""A spare process is made where the code is under development, once for each generation, and given away."""

import random
from signal import SIGKILL

import pytest

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.children import Children
from corehttp.supervisor.events import (
    BecameReady,
    Exited,
    ReloadFinished,
    ReloadRequested,
    Spawned,
    StopRequested,
    ToldToLeave,
)
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.observe import observe
from corehttp.supervisor.spare import Spare
from tests.supervisor.simulated_world import SimulatedWorld


class House:
    """A fleet with one worker that serves, and its spare process."""

    def __init__(self, *, development: bool = True) -> None:
        self.world = SimulatedWorld(random.Random(1), 1, 0.0)
        self.world.calm_down()
        self.fleet = Fleet(1, development=development)
        self.children = Children()
        self.spare = Spare(self.world, self.fleet, self.children)
        observe(self.fleet, Spawned(1, 0, 1), 0.0)

    @property
    def made(self) -> list[int]:
        self.spare.look("main:app")
        return [process.pid for process in self.world.processes.alive if not process.dying]

    def end(self, pid: int) -> None:
        self.world.processes.all[pid].code = -SIGKILL
        self.children.ended(pid, -SIGKILL)


@pytest.fixture
def house() -> House:
    return House()


def test_there_is_one_when_the_worker_serves_and_not_before(house: House) -> None:
    assert not house.made
    observe(house.fleet, BecameReady(1), 0.0)
    assert len(house.made) == 1
    assert len(house.made) == 1
    assert house.children.pids() == house.made


def test_there_is_one_when_the_code_cannot_start(house: House) -> None:
    observe(house.fleet, Exited(1, 3, 0.0), 0.0)
    assert len(house.made) == 1


def test_there_is_none_without_development_and_during_a_stop(house: House) -> None:
    observe(house.fleet, BecameReady(1), 0.0)
    observe(house.fleet, StopRequested(), 0.0)
    assert not house.made
    other = House(development=False)
    observe(other.fleet, BecameReady(1), 0.0)
    assert not other.made


def test_it_is_given_away_once_and_another_is_made_for_the_next_generation(house: House) -> None:
    observe(house.fleet, BecameReady(1), 0.0)
    [pid] = house.made
    observe(house.fleet, ReloadRequested(), 0.0)
    observe(house.fleet, ToldToLeave(1, LeaveReason.REPLACED), 0.0)
    observe(house.fleet, Exited(1, 0, 0.0), 0.0)
    taken = house.spare.take()
    assert taken is not None
    assert taken[0] == pid
    assert house.spare.take() is None
    observe(house.fleet, Spawned(2, 0, 2), 0.0)
    assert house.made == [pid]
    observe(house.fleet, BecameReady(2), 0.0)
    assert house.made == [pid], "not before the reload is over"
    observe(house.fleet, ReloadFinished(2), 0.0)
    assert len(house.made) == 2


def test_one_that_has_ended_is_not_given_away_and_makes_no_loop(house: House) -> None:
    observe(house.fleet, BecameReady(1), 0.0)
    [pid] = house.made
    house.end(pid)
    assert house.spare.take() is None
    assert not house.made


def test_with_the_supervisor_it_ends(house: House) -> None:
    observe(house.fleet, BecameReady(1), 0.0)
    assert house.made
    house.children.end_all()
    assert not house.made
