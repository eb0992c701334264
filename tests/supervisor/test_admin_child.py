"""The admin child is started, answered, and replaced when it ends or falls silent."""

import random
from collections.abc import Sequence
from signal import SIGKILL

import pytest

from corehttp.config import Config
from corehttp.ipc import messages
from corehttp.ipc.messages import Answer, Ask, Boot, FromSupervisor, Leave, Retire
from corehttp.supervisor.admin_child import ASKS, SILENT_SECONDS, START_SECONDS, AdminChild
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.operator import Operator
from corehttp.supervisor.service import Service
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_world import Process, SimulatedProcesses, SimulatedWorld


class Point:
    """Sockets that are none."""

    urls = "http://127.0.0.1:9100"

    def __init__(self) -> None:
        self.lent = True
        self.closed = False

    def fds(self) -> Sequence[int]:
        return [7, 8]

    def lend(self, lent: bool) -> None:
        self.lent = lent

    def close(self) -> None:
        self.closed = True


class Told(SimulatedProcesses):
    """Processes that do nothing but keep what they are told."""

    def __init__(self, world: SimulatedWorld) -> None:
        super().__init__(world)
        self.told: list[tuple[FromSupervisor, Sequence[int]]] = []
        self.stopped = False

    def hear(self, process: Process, message: FromSupervisor, fds: Sequence[int]) -> None:
        self.told.append((message, fds))

    def is_stopped(self, pid: int) -> bool:
        return self.stopped


class Successor(Upgrade):
    """An upgrade that has succeeded when the test says so."""

    is_there = False

    @property
    def succeeded(self) -> bool:
        return self.is_there


class House:
    """A supervisor's loop, as far as the admin child needs it."""

    def __init__(self) -> None:
        self.world = SimulatedWorld(random.Random(1), 2, 0.0)
        self.world.calm_down()
        self.world.processes = self.processes = Told(self.world)
        config, deployment = Config(app="main:app", admin="localhost:9100"), Deployment()
        generations = Generations(config, lambda: config, deployment, set_up=lambda *said: None)
        self.upgrade = Successor((), deployment, self.processes)
        self.service = Service(self.world, Fleet(2), generations, self.upgrade)
        self.point = Point()
        self.operators: list[Operator] = []
        self.admin = AdminChild(self.service, "shop", self.point, self.operators.append)

    @property
    def child(self) -> Process:
        [process] = self.processes.alive
        return process

    def turn(self, seconds: float = 0.1) -> None:
        """What the loop does until so many seconds have passed."""
        until = self.world.time + seconds
        while self.world.time < until:
            for _, act in self.world.wait(min(until, self.admin.due(), self.world.time + 0.1) - self.world.time):
                act()
            pending, self.world.pending = self.world.pending, []
            for pid, code in self.processes.reap(self.service.children.pids(), orphans=False) if pending else ():
                self.service.children.ended(pid, code)
            self.admin.look()

    def serve(self) -> None:
        """Have a child that serves."""
        self.admin.begin()
        self.turn()
        self.child.say(messages.Ready())
        self.turn()


@pytest.fixture
def house() -> House:
    return House()


def test_without_an_address_there_is_none(house: House) -> None:
    admin = AdminChild(house.service, "shop", None, house.operators.append)
    admin.begin()
    admin.look()
    admin.end()
    assert admin.due() == float("inf")
    assert not house.processes.all


def test_it_gets_the_sockets_and_the_scoreboard_and_a_row_among_the_children(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corehttp.supervisor")
    house.serve()
    assert not house.point.lent
    [(boot, fds)] = house.processes.told
    assert isinstance(boot, Boot)
    assert boot.seat is not None
    assert (len(boot.seat.endpoints), fds) == (2, [7, 8, house.service.board.fd])
    assert house.service.children.pids() == [house.child.pid]
    assert f"the admin listener serves on http://127.0.0.1:9100 (pid {house.child.pid})" in caplog.text


def test_what_it_asks_goes_the_way_of_operators_who_may_only_look(house: House) -> None:
    house.serve()
    house.child.say(Ask(5, "status", {"a": 1}))
    house.turn()
    [operator] = house.operators
    assert (operator.verb, operator.arguments, operator.who) == ("status", {"a": 1}, "the admin child")
    assert operator.may(change=False)
    assert not operator.may(change=True)
    operator.progress({"text": "unheard"})
    operator.result({"pid": 1})
    operator.refuse("failed", "too late")
    assert operator.gone
    assert [message for message, _ in house.processes.told[1:]] == [Answer(5, {"pid": 1})]


def test_it_may_ask_again_with_each_answer_and_not_sooner(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.serve()
    for number in range(ASKS):
        house.child.say(Ask(number, "status", {}))
    house.turn()
    house.operators[0].refuse("refused", "why not")
    house.child.say(Ask(9, "status", {}))
    house.turn()
    assert len(house.operators) == ASKS + 1
    assert house.processes.told[1][0] == Answer(0, {"fault": "refused", "reason": "why not"})
    first = house.child
    house.child.say(Ask(10, "status", {}))
    house.turn()
    assert "is killed: it has sent a message 'ask' that nobody has asked for over its channel" in caplog.text
    assert house.child is not first


def test_an_answer_that_is_too_large_is_told(house: House) -> None:
    house.serve()
    house.child.say(Ask(1, "status", {}))
    house.turn()
    house.operators[0].result({"text": "x" * (1 << 20)})
    assert house.processes.told[1][0] == Answer(1, {"fault": "failed", "reason": "the answer is too large"})


def test_one_that_has_ended_is_replaced_at_once_and_then_ever_more_slowly(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.serve()
    times = []
    for _ in range(4):
        pid, since = house.child.pid, house.world.time
        house.processes.kill(pid)
        while not house.processes.alive or house.child.pid == pid:
            house.turn(0.05)
        times.append(house.world.time - since)
    assert times[0] < 0.2
    assert 0.4 < times[1] < 1 <= times[2] < 1.6 < 2 <= times[3] < 3
    assert "the admin child (pid 5001) was killed by SIGKILL: another one starts" in caplog.text.replace(
        f"pid {house.child.pid - 4}", "pid 5001"
    )


def test_thirty_good_seconds_forgive_what_was_before(house: House) -> None:
    house.serve()
    for _ in range(3):
        for _ in range(31):
            house.child.say(Ask(1, "status", {}))
            house.turn(1)
            house.operators.pop().result({})
        pid = house.child.pid
        house.processes.kill(pid)
        house.turn(0.2)
        assert house.child.pid != pid
        house.child.say(messages.Ready())


def test_one_that_is_not_ready_in_time_is_killed(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.admin.begin()
    house.turn(START_SECONDS - 1)
    pid = house.child.pid
    house.turn(2)
    assert house.child.pid != pid
    assert f"the admin child (pid {pid}) is not ready for 60 s: it is killed" in caplog.text


@pytest.mark.parametrize("stopped", [True, False])
def test_one_that_falls_silent_is_killed_unless_a_debugger_has_stopped_it(house: House, stopped: bool) -> None:
    house.serve()
    pid = house.child.pid
    house.processes.stopped = stopped
    house.turn(SILENT_SECONDS + 1)
    assert (house.child.pid == pid) is stopped


def test_one_that_cannot_be_started_is_tried_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    fails = [True]

    def fail_at_times(probability: float) -> None:
        if fails and fails.pop():
            raise OSError(24, "Too many open files")

    house.world.fail_at_times = fail_at_times  # type: ignore[method-assign]
    house.admin.begin()
    house.turn()
    assert house.child.pid
    assert "the admin child cannot be started: " in caplog.text


def test_what_only_workers_say_and_why_it_has_failed(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.serve()
    pid = house.child.pid
    house.child.say(Retire("old"))
    house.child.say(messages.StartFailed("no room", "Traceback: it\n"))
    house.turn()
    assert house.child.pid == pid
    assert "the admin child: no room\nTraceback: it" in caplog.text


def test_last_words_that_cannot_be_understood_kill_nobody_else(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.serve()
    child, killed = house.child, list[int]()
    assert child.channel is not None
    child.channel.incoming += b"garbage" * 10
    child.code = 1
    house.processes.kill = killed.append  # type: ignore[method-assign, assignment]
    house.service.children.ended(child.pid, 1)  # before anything is heard of it
    house.turn()
    assert not killed
    assert f"the admin child (pid {child.pid}) is killed: it has sent a message of" in caplog.text
    assert house.child.pid != child.pid


def test_it_leaves_when_another_supervisor_has_taken_over(house: House) -> None:
    house.serve()
    house.upgrade.is_there = True
    house.child.say(Ask(1, "status", {}))
    house.turn()
    assert not house.operators, "the new supervisor tells how the service is"
    assert [type(message) for message, _ in house.processes.told] == [Boot, Leave]
    assert house.point.lent
    house.processes.end_soon(house.child, 0)
    house.turn(5)
    assert not house.processes.alive


def test_one_that_starts_is_killed_when_another_supervisor_has_taken_over(house: House) -> None:
    house.admin.begin()
    house.turn()
    house.upgrade.is_there = True
    house.turn(5)
    assert [process.code for process in house.processes.all.values()] == []


def test_at_the_end_it_is_killed_and_its_sockets_are_closed(house: House) -> None:
    house.serve()
    child = house.child
    house.service.children.end_all()
    house.admin.end()
    house.turn(1)
    assert child.code == -SIGKILL
    assert house.point.closed
