"""Counters in shared memory, as their writer and their readers see them."""

import os
from collections.abc import Iterator

import pytest

from corehttp.supervisor.scoreboard import ROWS, Scoreboard, State


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


def test_what_one_process_writes_another_reads(board: Scoreboard) -> None:
    row = board.row(board.claim(3))
    pid = os.fork()
    if pid == 0:
        other = Scoreboard.adopt(os.dup(board.fd)).row(0)
        other.state, other.beat, other.connections = State.SERVING, 12.5, 2**40
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (row.slot, row.state, row.beat, row.connections) == (3, State.SERVING, 12.5, 2**40)


def test_a_row_is_cleared_for_its_next_worker(board: Scoreboard) -> None:
    number = board.claim(0)
    board.row(number).requests = 7
    board.release(number)
    assert board.claim(1) == number
    assert board.row(number).requests == 0
    assert [row.slot for row in board.rows()] == [1]


def test_rows_that_others_have_left_do_not_hide_those_behind_them(board: Scoreboard) -> None:
    numbers = [board.claim(slot) for slot in range(40)]
    for number in numbers[:-1]:
        board.release(number)
    assert [row.slot for row in board.rows()] == [39]


def test_there_are_so_many_rows_and_no_more(board: Scoreboard) -> None:
    for slot in range(ROWS):
        board.claim(slot)
    with pytest.raises(OSError, match=f"there are {ROWS} worker processes already"):
        board.claim(0)


def test_requests_are_in_flight_until_they_end(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    row.begin(100.0, b"GET", b"/runs")
    place = row.enter(99.0, b"POST", b"/waits")
    shown = [(one.method, one.path, one.age, one.running) for one in row.in_flight(101.0)]
    assert shown == [("GET", "/runs", 1.0, True), ("POST", "/waits", 2.0, False)]
    row.pause()
    row.leave(place)
    assert row.in_flight(101.0) == []


def test_a_path_is_shown_as_a_log_line_can_have_it(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    row.enter(1.0, b"GET", b"/\x1b[31m\n" + b"x" * 500)
    [one] = row.in_flight(1.0)
    assert one.path.startswith("/\\x1b[31m\\nxxx")
    assert one.path.endswith("x...")
    assert len(one.path) < 200


def test_requests_for_which_the_table_has_no_room_are_served_all_the_same(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    places = [row.enter(1.0, b"GET", b"/") for _ in range(100)]
    assert places[-1] == 0
    for place in places:
        row.leave(place)
    assert row.in_flight(1.0) == []
    assert row.enter(1.0, b"GET", b"/") > 0
