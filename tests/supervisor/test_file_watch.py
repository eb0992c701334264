"""The child that watches files is started for --reload, obeyed, and replaced when it ends."""

import random
from signal import SIGKILL

import pytest

from corehttp.config import Config
from corehttp.ipc import messages
from corehttp.supervisor.commands import Asked, Command
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import StopRequested
from corehttp.supervisor.file_watch import UNHEARD, FileWatch
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.service import Service
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_world import Process, SimulatedWorld


class House:
    """A supervisor's loop, as far as the watcher needs it."""

    def __init__(self, *, reload: bool = True) -> None:
        self.world = SimulatedWorld(random.Random(1), 1, 0.0)
        self.world.calm_down()
        config, deployment, fleet = Config(app="main:app", reload=reload, backlog=1), Deployment(), Fleet(1)
        generations = Generations(config, lambda: config, deployment, set_up=lambda *settings: None)
        generations.apply(fleet, 1)
        upgrade = Upgrade((), deployment, self.world.processes)
        self.service = Service(self.world, fleet, generations, upgrade)
        self.orders: list[tuple[Asked, str]] = []
        self.files = FileWatch(self.service, lambda command, source: self.orders.append((command, source)))
        self.files.begin()
        self.turn()

    @property
    def watchers(self) -> list[Process]:
        return [process for process in self.world.processes.alive if process.is_watcher and not process.dying]

    def turn(self, seconds: float = 0.1) -> None:
        """What the loop does until so many seconds have passed."""
        until = self.world.time + seconds
        while self.world.time < until:
            self.files.look()
            for _, act in self.world.wait(min(until, self.files.due(), self.world.time + 0.1) - self.world.time):
                act()
            pending, self.world.pending = self.world.pending, []
            for pid, code in self.world.processes.reap(self.service.children.pids(), orphans=False) if pending else ():
                self.service.children.ended(pid, code)


@pytest.fixture
def house() -> House:
    return House()


def test_without_the_option_there_is_none() -> None:
    house = House(reload=False)
    assert not house.watchers
    assert house.files.due() == float("inf")


def test_what_has_changed_leads_to_a_reload(house: House) -> None:
    [watcher] = house.watchers
    watcher.say(messages.Changed("main.py has changed"))
    house.turn()
    assert house.orders == [(Command.RELOAD, "main.py has changed")]


def test_changes_that_come_in_together_are_all_heard(house: House) -> None:
    [watcher] = house.watchers
    for _ in range(UNHEARD):
        watcher.say(messages.Changed("main.py has changed"))
    house.turn()
    assert len(house.orders) == UNHEARD
    assert house.watchers == [watcher]


def test_one_that_has_ended_is_replaced_after_a_while(house: House) -> None:
    [watcher] = house.watchers
    house.world.processes.end_soon(watcher, -SIGKILL)
    house.turn(0.2)
    assert not house.watchers
    house.turn(1.0)
    assert len(house.watchers) == 1


def test_its_successor_looks_for_what_has_changed_since_the_last_change_that_was_told(house: House) -> None:
    [watcher] = house.watchers
    begin = watcher.watches_since
    house.turn(100.0)
    watcher.say(messages.Changed("main.py has changed"))
    house.turn(100.0)
    for _ in range(2):  # the second one ends without a word
        [watcher] = house.watchers
        house.world.processes.end_soon(watcher, -SIGKILL)
        house.turn(5.0)
        [successor] = house.watchers
        assert 99.0e9 < successor.watches_since - begin < 101.0e9


def test_without_a_change_its_successor_looks_from_the_beginning(house: House) -> None:
    [watcher] = house.watchers
    house.turn(50.0)
    house.world.processes.end_soon(watcher, -SIGKILL)
    house.turn(2.0)
    [successor] = house.watchers
    assert successor.watches_since == watcher.watches_since


def test_watchers_that_keep_ending_are_replaced_less_and_less_often(house: House) -> None:
    ended = set[int]()
    for _ in range(1200):
        for watcher in house.watchers:
            ended.add(watcher.pid)
            house.world.processes.end_soon(watcher, -SIGKILL)
        house.turn(0.1)
    assert 6 <= len(ended) <= 10, "in two minutes"


def test_one_that_talks_nonsense_is_killed_and_replaced(house: House) -> None:
    [watcher] = house.watchers
    assert watcher.channel is not None
    watcher.channel.incoming += b"x" * 40
    house.turn(0.2)
    assert not house.watchers
    house.turn(1.0)
    assert len(house.watchers) == 1


def test_during_a_stop_no_change_counts_and_none_is_started(house: House) -> None:
    [watcher] = house.watchers
    house.service.observe(StopRequested())
    watcher.say(messages.Changed("main.py has changed"))
    house.turn()
    house.world.processes.end_soon(watcher, -SIGKILL)
    house.turn(60.0)
    assert not house.orders
    assert not house.watchers


def test_with_the_supervisor_it_ends(house: House) -> None:
    house.service.children.end_all()
    assert not house.watchers
