"""What comes of an operator's commands, as the loop carries them out in a simulated world."""

import logging
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.ipc.sticky_area import read_secret
from corehttp.supervisor.actions import AbandonReload, FinishReload
from corehttp.supervisor.commands import Command, Refusal
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import (
    BecameReady,
    ReloadFinished,
    ReloadRequested,
    ReopenRequested,
    Resized,
    Spawned,
    StopRequested,
    UpgradeRequested,
)
from corehttp.supervisor.fleet import Fleet, Stop
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.orders import Orders
from corehttp.supervisor.perform import Performer
from corehttp.supervisor.service import Service
from corehttp.supervisor.upgrade import Upgrade
from corehttp.supervisor.waits import Done
from tests.supervisor.simulated_world import SimulatedWorld

CONFIG = Config(app="application:app", workers="2")


class Desk:
    """A service whose two workers serve, and what carries out commands on it."""

    def __init__(self, read: Callable[[], Config]) -> None:
        self.world = SimulatedWorld(random.Random(1), 2, 0.0)
        self.world.troubles = False
        self.fleet = Fleet(2)
        deployment = Deployment()
        generations = Generations(CONFIG, read, deployment, set_up=lambda *settings: None)
        upgrade = Upgrade(("address",), deployment, self.world.processes)
        self.service = Service(self.world, self.fleet, generations, upgrade)
        for worker in (1, 2):
            self.service.observe(Spawned(worker, worker - 1, 1))
            self.service.observe(BecameReady(worker))
        hearing = Hearing(self.service)
        self.obey = Orders(self.service, hearing).obey
        self.perform = Performer(self.service, hearing).perform

    @property
    def tied(self) -> set[int]:
        """The endpoints where the kernel chooses by the addresses of clients."""
        rule = self.world.slots.rule
        return set() if rule is None else set(rule.endpoints)


MakeDesk = Callable[[Callable[[], Config]], Desk]


@pytest.fixture
def make_desk() -> Iterator[MakeDesk]:
    """Makes desks, whose descriptors are closed at the end of the test."""
    desks: list[Desk] = []

    def make(read: Callable[[], Config]) -> Desk:
        desks.append(Desk(read))
        return desks[-1]

    yield make
    for desk in desks:
        desk.service.board.close()
        reader = desk.service.upgrade.fileno()
        for fd in (reader, *(process.writer for process in desk.world.processes.alive)):
            if fd >= 0:
                os.close(fd)


def test_log_files_are_opened_anew_by_all_who_serve(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: CONFIG)
    desk.fleet.has_log_files = True
    assert desk.obey(Command.REOPEN, "the operator") == ReopenRequested()
    assert desk.service.log_files.last.outcome(desk.fleet, desk.service.history) == Done("log files are open anew")


def test_a_reload_begins_with_the_configuration_as_it_is_now(
    make_desk: MakeDesk, caplog: pytest.LogCaptureFixture
) -> None:
    desk = make_desk(lambda: replace(CONFIG, backlog=7))
    assert desk.obey(Command.RELOAD, "the operator") == ReloadRequested()
    assert desk.fleet.rollout == 2
    assert desk.service.generations.config(2).backlog == 7


@pytest.mark.parametrize(
    ("error", "cause"), [(ConfigError("port must be a number"), "port must be a number"), (OSError("gone"), "gone")]
)
def test_a_reload_whose_configuration_is_wrong_changes_nothing_and_says_why(
    make_desk: MakeDesk, error: Exception, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> Config:
        raise error

    desk = make_desk(read)
    reason = f"the reload has failed, the old workers serve on: {cause}"
    with caplog.at_level(logging.INFO, "corehttp.supervisor"):
        assert desk.obey(Command.RELOAD, "the operator") == Refusal(reason)
    assert desk.fleet.rollout is None
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "the operator: reloading"),
        (logging.ERROR, reason),
    ]


def test_the_kernel_chooses_by_address_from_the_end_of_a_reload_on(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: replace(CONFIG, sticky=("ip",)))
    desk.service.tie_addresses(1)
    assert desk.obey(Command.RELOAD, "the operator") == ReloadRequested()
    assert desk.tied == set(), "the workers of before know nothing of it"
    assert desk.perform(FinishReload(2)) == ReloadFinished(2)
    assert desk.tied == {0}
    rule = desk.world.slots.rule
    assert rule is not None
    assert rule.secret == read_secret(desk.service.board.fd)


def test_a_reload_that_fails_leaves_the_choice_of_the_kernel_as_it_was(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: replace(CONFIG, sticky=("ip",)))
    desk.service.tie_addresses(1)
    desk.obey(Command.RELOAD, "the operator")
    desk.perform(AbandonReload(2))
    assert desk.tied == set()


def test_a_reload_succeeds_where_the_kernel_cannot_be_told_who_belongs_where(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def tie(rule: object) -> None:
        raise ImportError("the package is gone")

    desk = make_desk(lambda: replace(CONFIG, sticky=("ip",)))
    desk.obey(Command.RELOAD, "the operator")
    monkeypatch.setattr(desk.world.slots, "tie", tie)
    with caplog.at_level(logging.INFO, "corehttp.supervisor"):
        assert desk.perform(FinishReload(2)) == ReloadFinished(2)
    said = [record.getMessage() for record in caplog.records]
    assert "tying addresses to workers has failed" in said
    assert any(text.startswith("reloaded in ") for text in said)


def test_a_reload_before_anybody_serves_changes_the_choice_at_once(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: replace(CONFIG, sticky=("ip",)))
    desk.fleet.booted = False
    desk.obey(Command.RELOAD, "the operator")
    assert desk.tied == {0}


def test_a_new_supervisor_is_started_once(make_desk: MakeDesk, caplog: pytest.LogCaptureFixture) -> None:
    desk = make_desk(lambda: CONFIG)
    with caplog.at_level(logging.INFO, "corehttp.supervisor"):
        assert desk.obey(Command.UPGRADE, "the operator") == UpgradeRequested()
        [successor] = desk.world.processes.alive
        refused = Refusal(f"ignored, a new supervisor (pid {successor.pid}) is starting already")
        assert desk.obey(Command.UPGRADE, "the operator") == refused
    assert desk.fleet.successor == successor.pid
    assert [record.getMessage() for record in caplog.records] == [
        f"the operator: a new supervisor (pid {successor.pid}) is starting",
        f"the operator: {refused.reason}",
    ]


def test_a_new_supervisor_that_cannot_be_started_leaves_no_descriptor_and_says_why(
    make_desk: MakeDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = make_desk(lambda: CONFIG)
    before = os.listdir("/proc/self/fd")

    def start(*_: object) -> int:
        raise BlockingIOError(11, "x")

    monkeypatch.setattr(desk.world.processes, "start", start)
    outcome = desk.obey(Command.UPGRADE, "the operator")
    assert isinstance(outcome, Refusal)
    assert outcome.reason.startswith("a new supervisor cannot be started: ")
    assert caplog.messages == [f"the operator: {outcome.reason}"]
    assert desk.fleet.successor is None
    assert os.listdir("/proc/self/fd") == before


def test_a_stop_calls_off_the_new_supervisor(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: CONFIG)
    desk.obey(Command.UPGRADE, "the operator")
    [successor] = desk.world.processes.alive
    assert desk.obey(Command.STOP, "the operator") == StopRequested()
    assert desk.fleet.stop is Stop.GRACEFUL
    assert successor.dying


def test_what_a_command_changes_is_recorded_when_it_returns(make_desk: MakeDesk) -> None:
    desk = make_desk(lambda: CONFIG)
    assert desk.obey(Command.GROW, "the operator") == Resized(3)
    assert desk.fleet.size == 3
    assert desk.obey(Command.SHRINK, "the operator") == Resized(2)
    assert desk.fleet.size == 2
