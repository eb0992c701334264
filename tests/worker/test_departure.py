"""When connections of a worker that leaves may go: a moment after they became idle, or one after another."""

import pytest

from corehttp.ipc.parcel import Parcel
from corehttp.protocols.contracts import Departure, HandOver, Request
from corehttp.worker.departure import UNTAKEN, WorkerDeparture

START = 1000.0  # seconds
GRACE = 4.0


class FakeConnection:
    """A connection that leaves when it is its turn, or once it has waited; it is never cut."""

    deadline = 0.0
    unanswered: tuple[Request, ...] = ()

    def __init__(self, *, idle: bool) -> None:
        self.idle = idle
        self.left_at = 0.0  # 0: it has not left

    def fileno(self) -> int:
        return -1

    def expire(self) -> None: ...

    def pass_on(self, hand_over: HandOver) -> bool:
        return hand_over(Parcel(-1, 0.0))

    def close(self) -> None: ...

    def leave(self, now: float, departure: Departure) -> None:
        ready = departure.has_waited(self, now) if self.idle else departure.is_turn_of(self, now)
        if ready and not self.left_at:
            self.left_at = now

    def suspect(self) -> None: ...

    def cut(self) -> None: ...


def departure(hand_over: HandOver | None = None, idle_grace: float = 1.0, grace: float = GRACE) -> WorkerDeparture:
    return WorkerDeparture(START, hand_over=hand_over, idle_grace=idle_grace, reconnect_grace=grace)


def ask_all(connections: list[FakeConnection], leaving: WorkerDeparture, begin: float, end: float) -> None:
    """Ask them all to leave, each sixteenth of a second from `begin` to `end`, both after the start."""
    for step in range(int(begin * 16), int(end * 16) + 1):
        for connection in connections:
            leaving.ask_to_leave(connection, START + step / 16)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40, 301])
def test_in_each_half_of_the_grace_half_of_the_turns_come(count: int) -> None:
    connections = [FakeConnection(idle=False) for _ in range(count)]
    ask_all(connections, departure(), 0.0, GRACE)
    times = [connection.left_at - START for connection in connections]
    assert all(0 < at <= GRACE for at in times)
    assert abs(sum(at <= GRACE / 2 for at in times) - count / 2) <= 1 + count / 64


def test_the_turn_of_one_that_comes_late_is_within_the_grace_too() -> None:
    leaving = departure()
    ask_all([FakeConnection(idle=False) for _ in range(9)], leaving, 0.0, 3.0)
    late = FakeConnection(idle=False)
    ask_all([late], leaving, 3.0, GRACE)
    assert START + 3 < late.left_at <= START + GRACE


def test_after_the_grace_it_is_everybodys_turn_at_once() -> None:
    late = FakeConnection(idle=False)
    departure().ask_to_leave(late, START + GRACE)
    assert late.left_at == START + GRACE


def test_without_a_grace_it_is_everybodys_turn_from_the_start() -> None:
    connections = [FakeConnection(idle=False) for _ in range(5)]
    ask_all(connections, departure(grace=0.0), 0.0, 0.0)
    assert [connection.left_at for connection in connections] == [START] * 5


def test_an_idle_connection_waits_since_it_was_first_seen_idle() -> None:
    connection = FakeConnection(idle=True)
    ask_all([connection], departure(), 2.0, 5.0)
    assert connection.left_at == START + 3


def test_a_request_makes_an_idle_connection_wait_anew() -> None:
    connection, leaving = FakeConnection(idle=True), departure()
    ask_all([connection], leaving, 0.0, 0.5)
    connection.idle = False
    leaving.ask_to_leave(connection, START + 0.75)
    connection.idle = True
    ask_all([connection], leaving, 1.0, 5.0)
    assert connection.left_at == START + 2


def test_where_others_may_take_it_an_idle_connection_waits_for_them() -> None:
    connection = FakeConnection(idle=True)
    ask_all([connection], departure(hand_over=lambda parcel: False, idle_grace=0.0), 0.0, 5.0)
    assert connection.left_at == START + UNTAKEN
