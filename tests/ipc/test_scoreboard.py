"""Counters in shared memory, as their writer and their readers see them."""

import math
import os
import random
import socket
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import ROWS, Scoreboard, State
from corehttp.worker.siblings import Siblings


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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux seals files")
@pytest.mark.parametrize("size", [0, 1, 4096, 1 << 30])
def test_nobody_can_change_its_size(board: Scoreboard, size: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(board.fd, size)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.randoms(use_true_random=False), st.binary(min_size=8, max_size=64))
def test_whatever_stands_there_comes_out_as_finite_numbers(
    board: Scoreboard, chance: random.Random, junk: bytes
) -> None:
    numbers = [board.claim(slot) for slot in range(3)]
    try:
        for start in [number * 4096 for number in numbers]:
            filling = bytearray(chance.choice([junk, b"\xff" * 8, chance.randbytes(32)]) * 1024)[:4096]
            board._memory[start : start + 4096] = bytes(filling)
        board._memory[-8:] = junk[:8]
        now = 100.0
        found = list(board.rows())
        assert len(found) <= ROWS
        for row in [board.row(number) for number in numbers]:
            assert -1 <= row.slot <= ROWS
            for figure in (row.connections, row.limit, row.requests, row.websockets, row.handed_over, row.taken_over):
                assert 0 <= figure < 2**49
            assert 0 <= row.beaten_by(now) <= now
            for request in row.in_flight(now):
                assert math.isfinite(request.age)
                assert 0 <= request.age <= now
                assert (request.method + request.path).isprintable()
        _see_with_a_siblings_eyes(board)
    finally:
        for number in numbers:
            board.release(number)


def _see_with_a_siblings_eyes(board: Scoreboard) -> None:
    ours, theirs = socket.socketpair()
    connection, client = socket.socketpair()
    with ours, theirs, connection, client:
        siblings = Siblings(board, 0, 0, ours)
        assert 0 <= siblings.excess() <= 64
        assert siblings.hand_over(Parcel(connection.fileno(), 5.0)) is False, "to a slot that is not there"


def test_a_heartbeat_of_the_future_counts_for_nothing(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    for beat in (100.5, 1e300, math.inf, math.nan, -1.0, -math.inf):
        row.beat = beat
        assert row.beaten_by(100.0) == 0.0
    row.beat = 99.0
    assert row.beaten_by(100.0) == 99.0
