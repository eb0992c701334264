"""Which connections a worker passes on to its siblings: on a real scoreboard and inboxes, with a clock of the test."""

import logging
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from corehttp.ipc import handover
from corehttp.ipc.handover import InboxQueue
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import Row, RowState, Scoreboard
from corehttp.protocols.contracts import HandOver
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.tally import Tally
from corehttp.sockets.accept_queue import AcceptedSocket
from corehttp.worker.siblings import Siblings
from corehttp.worker.spreading import (
    BURST,
    FRESH,
    LASTING,
    LOOK,
    LOOKS,
    PATIENCE,
    RATE,
    RECENT,
    SELDOM,
    TRIED,
    Arrivals,
    Budget,
    Spreading,
)
from tests.kit.apps import hello
from tests.kit.fakes import KEEP_ALIVE, NOW, make_context
from tests.kit.two_workers import Placed


class FakeTimer:
    """A timer whose time comes when the test calls `fire`."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self.set_to: float | None = None  # seconds
        self.closed = False

    def set(self, seconds: float) -> None:
        self.set_to = seconds

    def close(self) -> None:
        self.closed = True

    def fire(self) -> None:
        self.set_to = None
        self._callback()


class Connection:
    """One of the worker's connections, which passes itself on if it is idle."""

    def __init__(self, worker: "Worker", *, idle: bool = True) -> None:
        self._worker = worker
        self.idle = idle
        self.tried = 0

    def pass_on(self, hand_over: HandOver) -> bool:
        self.tried += 1
        if not self.idle or not hand_over(self._worker.parcel()):
            return False
        self._worker.connections.discard(self)
        return True


class Worker:
    """The worker in slot 0 with its spreading, and three siblings, of which the test writes the rows."""

    timer: FakeTimer

    def __init__(self) -> None:
        self.now = NOW
        self.board = Scoreboard.create()
        self.boxes = [handover.pair() for _ in range(4)]
        self.rows = [self.board.row(self.board.claim(slot)) for slot in range(4)]
        self.siblings = Siblings(self.board, 0, 0, self.boxes[0][0])
        self.siblings.meet(range(4), [writer.detach() for _, writer in self.boxes])
        self.context = make_context(hello, HttptoolsParser)
        self.context.count_in(Tally())
        self.connections: set[Connection] = self.context.connections  # type: ignore[assignment]
        self.spreading = Spreading(self.siblings, self.context, PATIENCE, self._make_timer, lambda: self.now)
        for row in self.rows:
            row.state = RowState.SERVING
        self._held: list[socket.socket] = []
        self.others_have(0, 0, 0)

    def _make_timer(self, callback: Callable[[], object]) -> FakeTimer:
        self.timer = FakeTimer(callback)
        return self.timer

    def others_have(self, *counts: int) -> None:
        """All siblings are alive now, and have so many connections; what was read before is old."""
        self.now += 2 * FRESH
        for row, count in zip(self.rows[1:], counts, strict=True):
            row.connections, row.beat = count, self.now

    def has(self, count: int, *, idle: bool = True) -> list[Connection]:
        made = [Connection(self, idle=idle) for _ in range(count)]
        self.connections.update(made)
        return made

    def accept(self, own: int) -> bool:
        """A connection is accepted while the worker has `own`; answers whether another worker gets it."""
        return self.spreading.divert(self.accepted(), own)

    def accepted(self) -> AcceptedSocket:
        ours, theirs = socket.socketpair()
        self._held.append(theirs)
        connection = AcceptedSocket.of(ours.detach(), socket.AF_UNIX, 7)
        self._held.append(connection)
        return connection

    def parcel(self) -> Parcel:
        return Parcel(self.accepted().fileno(), NOW)

    def given(self) -> list[int]:
        """How many connections each sibling was passed; they take them in."""
        counts = []
        for reader, _ in self.boxes[1:]:
            queue = InboxQueue(reader)
            counts.append(0)
            while queue.waits():
                queue.take().close()
                counts[-1] += 1
        return counts

    def close(self) -> None:
        self.siblings.close()
        for reader, _ in self.boxes[1:]:
            reader.close()
        for sock in self._held:
            sock.close()
        self.board.close()


@pytest.fixture
async def worker() -> Iterator[Worker]:  # type: ignore[misc]  # pytest-asyncio takes it as it is
    worker = Worker()
    yield worker
    worker.close()


# New connections.


def test_a_connection_is_kept_unless_another_worker_has_fewer(worker: Worker) -> None:
    worker.others_have(3, 3, 3)
    assert not worker.accept(own=3)
    assert worker.accept(own=4)
    assert sum(worker.given()) == 1


def test_the_one_with_the_fewest_gets_it_with_its_endpoint_and_the_whole_keep_alive_time(worker: Worker) -> None:
    worker.others_have(3, 1, 2)
    connection = worker.accepted()
    assert worker.spreading.divert(connection, 5)
    assert connection.fileno() == -1, "it is closed here"
    with InboxQueue(worker.boxes[2][0]).take() as taken:
        assert taken.endpoint == 7
        assert taken.parcel is not None
        assert taken.parcel.keep_until == worker.now + KEEP_ALIVE
    assert worker.rows[0].handed_over == 1
    assert worker.context.tally is not None
    assert worker.context.tally.accepted == 1


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_to_pass_one_on_asks_nothing_of_the_log_unless_it_is_logged(
    worker: Worker, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    asked: list[str] = []

    def count(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename == logging.__file__:
            asked.append(frame.f_code.co_name)

    with caplog.at_level(level, "corehttp.error"):
        worker.siblings.serving()
        sys.setprofile(count)
        passed = worker.accept(own=2)
        sys.setprofile(None)
    assert passed
    assert bool(asked) is (level == logging.DEBUG)
    assert ("a connection was handed over to worker 2" in caplog.messages) is (level == logging.DEBUG)


def test_a_burst_counts_what_was_given_away_before_others_have_taken_it_in(worker: Worker) -> None:
    worker.others_have(0, 1, 2)
    diverted = [worker.accept(own=2) for _ in range(10)]
    assert diverted == [True] * 3 + [False] * 7
    assert worker.given() == [2, 1, 0]


def test_what_waits_in_an_inbox_counts_as_its_owners_also_if_others_have_put_it_there(worker: Worker) -> None:
    worker.others_have(2, 0, 2)
    for _ in range(2):
        assert worker.siblings.put(2, worker.parcel())
    assert not worker.accept(own=2)
    assert worker.given() == [0, 2, 0]


@pytest.mark.parametrize("unable", ["blocked", "full", "leaving", "busy by its own account"])
def test_a_worker_that_is_not_able_to_take_more_gets_nothing(worker: Worker, unable: str) -> None:
    worker.others_have(0, 50, 50)
    row: Row = worker.rows[1]
    match unable:
        case "blocked":
            row.beat = worker.now - PATIENCE
        case "full":
            row.limit, row.connections = 1, 1
        case "leaving":
            row.state = RowState.LEAVING
        case _:
            row.reported = 1.0
    assert not worker.accept(own=20)
    assert worker.accept(own=51)
    assert worker.given()[0] == 0


def test_while_the_worker_leaves_all_are_kept(worker: Worker) -> None:
    worker.context.draining = True
    assert not worker.accept(own=9)


def test_one_that_no_inbox_takes_is_kept_and_stays_open(worker: Worker) -> None:
    for reader, _ in worker.boxes[1:]:
        reader.close()
    connection = worker.accepted()
    assert not worker.spreading.divert(connection, 5)
    assert connection.fileno() >= 0


def test_what_is_passed_on_has_a_budget_that_comes_back_with_time(worker: Worker) -> None:
    worker.others_have(0, 0, 0)
    kept = 0
    for _ in range(int(BURST) + 50):
        kept += not worker.accept(own=10**6)
        worker.given()
    assert kept == 50
    worker.others_have(0, 0, 0)
    worker.now += 10 / RATE
    worker.others_have(0, 0, 0)
    assert [worker.accept(own=10**6) for _ in range(30)].count(True) in (10, 11, 12)


def test_a_budget_is_never_more_than_its_burst() -> None:
    budget = Budget(rate=10, burst=5)
    assert budget.left(NOW) == 5
    budget.spend(5)
    assert budget.left(NOW + 0.2) == 2
    assert budget.left(NOW + 60) == 5


def test_clients_that_connect_for_every_request_are_not_passed_on(worker: Worker) -> None:
    worker.others_have(0, 0, 0)
    for _ in range(int(RATE + BURST) + 100):  # a thousand a second, of which three are open on average
        worker.now += 0.001
        worker.accept(own=0)
    worker.others_have(0, 0, 0)
    assert not worker.accept(own=3)
    worker.has(3)
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 0]
    worker.now += 3
    worker.others_have(0, 0, 0)
    assert worker.accept(own=3), "they have come to an end"


def test_those_that_stay_are_evened_out_also_while_others_come_and_go(worker: Worker) -> None:
    worker.has(6)
    for number in range(2 * RECENT):
        worker.others_have(2, 4, 4)
        for _ in range(20):
            worker.now += 0.001
            worker.accept(own=0)
        passing = worker.has(number % 4, idle=False)
        worker.spreading.even_out()
        worker.connections.difference_update(passing)
    assert worker.given() == [2, 0, 0]


def test_how_long_connections_last_follows_from_how_many_come_and_are_open() -> None:
    arrivals = Arrivals()
    for number in range(200):
        arrivals.count(NOW + number / 100)
    for moment in (2.0, 2.5, 2.9):  # a hundred a second, with fewer in the present one
        arrivals.count(NOW + moment)
        assert arrivals.last(NOW + moment, int(100 * LASTING) + 2)
    assert not arrivals.last(NOW + 2.0, int(100 * LASTING) // 2)
    arrivals.count(NOW + 9)
    assert arrivals.last(NOW + 9, 1)


# What is evened out after that.


def test_the_loads_are_looked_at_a_few_times_after_a_connection_has_come(worker: Worker) -> None:
    assert worker.timer.set_to is None
    worker.spreading.arriving(1)
    assert worker.rows[0].arriving == 1
    worker.spreading.arriving(0)
    assert worker.rows[0].arriving == 0
    looks = 0
    while worker.timer.set_to is not None:
        assert worker.timer.set_to == LOOK
        worker.timer.fire()
        looks += 1
    assert looks == LOOKS


def test_the_loads_are_looked_at_seldom_while_clients_connect_for_every_request(worker: Worker) -> None:
    worker.spreading.arriving(1)
    for _ in range(100):
        worker.now += 0.001
        worker.accept(own=0)
    worker.timer.fire()
    assert worker.timer.set_to == SELDOM
    worker.now += 3
    worker.timer.fire()
    assert worker.timer.set_to == LOOK


def test_idle_connections_are_passed_on_until_nobody_has_two_more(worker: Worker) -> None:
    worker.has(9)
    worker.others_have(1, 2, 2)
    worker.spreading.even_out()
    assert len(worker.connections) == 4
    assert worker.given() == [2, 2, 1]
    worker.others_have(3, 3, 4)
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 0]


def test_what_waits_in_inboxes_counts_where_it_is_evened_out(worker: Worker) -> None:
    worker.has(4)
    worker.others_have(4, 4, 0)
    for _ in range(4):
        assert worker.siblings.put(3, worker.parcel())
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 4]
    assert len(worker.connections) == 4


def test_of_those_that_are_in_use_none_is_passed_on_and_a_bounded_number_tried(worker: Worker) -> None:
    made = worker.has(3 * TRIED, idle=False)
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 0]
    assert sum(connection.tried for connection in made) == TRIED


def test_nothing_is_evened_out_while_the_worker_leaves(worker: Worker) -> None:
    worker.has(9)
    worker.context.draining = True
    worker.spreading.even_out()
    worker.context.draining, worker.context.hand_over = False, lambda parcel: True
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 0]


def test_a_worker_alone_keeps_everything(worker: Worker) -> None:
    for row in worker.rows[1:]:
        row.state = RowState.STARTING
    worker.has(9)
    worker.spreading.even_out()
    assert not worker.accept(own=9)
    assert len(worker.connections) == 9


def test_after_its_end_nothing_is_looked_at_any_more(worker: Worker) -> None:
    worker.spreading.arriving(1)
    worker.spreading.close()
    assert worker.timer.closed


def test_idle_connections_stay_where_requests_are_tied_to_workers(worker: Worker) -> None:
    worker.context.affinity = Placed(0, lambda scope: None)
    worker.has(8)
    worker.spreading.even_out()
    assert worker.given() == [0, 0, 0]
    worker.context.affinity = None
    worker.spreading.even_out()
    assert sum(worker.given()) == 6


@pytest.mark.parametrize(
    ("family", "passed_on"), [(socket.AF_INET, False), (socket.AF_INET6, False), (socket.AF_UNIX, True)]
)
async def test_who_belongs_to_a_worker_by_an_address_stays_where_the_kernel_has_put_it(
    worker: Worker, family: socket.AddressFamily, passed_on: bool
) -> None:
    spreading = Spreading(
        worker.siblings, worker.context, PATIENCE, worker._make_timer, lambda: worker.now, only_local=True
    )
    worker.has(4)
    connection = worker.accepted()
    connection.family = family
    assert spreading.divert(connection, 4) == passed_on
    assert sum(worker.given()) == passed_on
    spreading.arriving(1)
    assert (worker.siblings.row.arriving, worker.timer.set_to) == (1, None), "it does not look again"
    spreading.close()
