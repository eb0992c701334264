"""Counters in shared memory, as their writer and their readers see them."""

import math
import os
import random
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corehttp.ipc.balance import Load
from corehttp.ipc.counters import ABORTS, BUCKETS, MOST, Counters, Histogram, ServiceCounters
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import ROWS, RowState, Scoreboard
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
        other.state, other.beat, other.connections = RowState.SERVING, 12.5, 2**40
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (row.slot, row.state, row.beat, row.connections) == (3, RowState.SERVING, 12.5, 2**40)


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
    row.name(b"GET", b"/runs")
    assert row.in_flight(101.0) == []
    row.since[0] = 100.0
    place = row.enter(99.0, b"POST", b"/waits")
    shown = [(one.method, one.path, one.age, one.running) for one in row.in_flight(101.0)]
    assert shown == [("GET", "/runs", 1.0, True), ("POST", "/waits", 2.0, False)]
    row.since[0] = 0.0
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.randoms(use_true_random=False), st.binary(min_size=8, max_size=64))
def test_whatever_stands_there_comes_out_as_finite_numbers(
    board: Scoreboard, chance: random.Random, junk: bytes
) -> None:
    numbers = [board.claim(slot) for slot in range(3)]
    try:
        for start in [number * 4096 for number in numbers]:
            filling = bytearray(chance.choice([junk, b"\xff" * 8, chance.randbytes(32)]) * 1024)[:4096]
            board._memory[start : start + 4096] = bytes(filling)
        end, counters = 4 << 20, 8 << 20  # the numbers behind the rows, and the pages of counters
        board._memory[end : end + 8] = board._memory[end + 8 : end + 16] = junk[:8]
        board._memory[counters : counters + 4096 * 4] = (junk * 4096)[: 4096 * 4]
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
            assert 0 <= row.counters.responses <= 256 * MOST
        for load in board.loads(now, 1.0, board.row(0)):
            assert 0 <= load.slot < ROWS
            assert 0 <= load.connections < 2**50
            assert 0 <= load.reported <= 1
        assert 0 <= board.slots <= ROWS
        assert math.isfinite(board.counters(0).blocked)
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


def test_a_worker_that_serves_is_loaded_with_what_is_open_and_what_arrives(board: Scoreboard) -> None:
    own, row = board.row(board.claim(0)), board.row(board.claim(3))
    own.state = RowState.SERVING
    row.connections, row.arriving, row.limit, row.running, row.reported, row.beat = 5, 2, 9, 4, 0.5, 99.0
    assert list(board.loads(100.0, 2.0, own)) == [], "it does not serve yet"
    row.state = RowState.SERVING
    assert list(board.loads(100.0, 2.0, own)) == [Load(3, 7, 9, True, 4, 0.5)]
    assert list(board.loads(101.5, 2.0, own)) == [Load(3, 7, 9, False, 4, 0.5)]


def test_a_heartbeat_of_the_future_counts_for_nothing(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    for beat in (100.5, 1e300, math.inf, math.nan, -1.0, -math.inf):
        row.beat = beat
        assert row.beaten_by(100.0) == 0.0
    row.beat = 99.0
    assert row.beaten_by(100.0) == 99.0


def test_a_loop_that_does_not_run_is_later_and_later(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    assert row.late(100.0) == 0.0, "one that has never run is not late"
    row.beat, row.lag = 100.0, 0.5
    assert row.late(100.25) == 0.5
    assert row.late(103.25) == 3.0
    row.beat = 1e300
    assert row.late(103.25) == 0.5


def test_what_a_worker_has_counted_outlives_it(board: Scoreboard) -> None:
    for requests in (1, 10, 100):
        number = board.claim(2)
        board.row(number).counters = counted(requests)
        board.release(number)
    board.row(board.claim(2)).counters = counted(1000)
    assert board.counters(2) == counted(1111)
    assert board.counters(0) == Counters.unpack(bytes(4096))


def test_all_slots_make_up_the_totals_whether_they_have_a_worker_or_not(board: Scoreboard) -> None:
    for slot, requests in enumerate((1, 10, 100)):
        board.row(board.claim(slot)).counters = counted(requests)
    board.release(2)
    assert board.slots == 3
    assert board.totals() == counted(111)


def test_a_worker_and_its_successor_count_for_the_same_slot(board: Scoreboard) -> None:
    old, new = board.claim(0), board.claim(0)
    board.row(old).counters, board.row(new).counters = counted(5), counted(7)
    assert board.counters(0) == counted(12)
    board.release(old)
    assert board.counters(0) == counted(12)
    assert board.row(new).counters == counted(7)


def test_a_worker_that_has_counted_nothing_yet_has_zeros(board: Scoreboard) -> None:
    number = board.claim(0)
    board.row(number).counters = counted(5)
    board.release(number)
    assert board.row(board.claim(1)).counters.begun == 0


def test_between_two_writes_of_a_release_a_worker_counts_once(board: Scoreboard) -> None:
    number = board.claim(4)
    board.row(number).counters = counted(5)
    slot = board._memory[number * 4096 : number * 4096 + 8]
    board.release(number)
    board._memory[number * 4096 : number * 4096 + 8] = slot  # as it is before the release frees the row
    board._memory[4 << 20 : (4 << 20) + 8] = (4096).to_bytes(8, sys.byteorder)
    assert [row.slot for row in board.rows()] == [4]
    assert board.counters(4) == counted(5)


def test_no_reader_ever_sees_a_count_go_back_while_workers_start_and_end(board: Scoreboard) -> None:
    other = Scoreboard.adopt(os.dup(board.fd))
    ended = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not ended.is_set():
            counters = other.totals()
            assert counters.begun == counters.responses == counters.duration.count
            seen.append(counters.begun)

    reader = threading.Thread(target=look)
    reader.start()
    for slot in range(60):
        number = board.claim(slot % 3)
        for requests in range(1, 6):
            board.row(number).counters = counted(requests)
        board.release(number)
    ended.set()
    reader.join()
    assert board.totals() == counted(300)
    assert seen == sorted(seen)
    assert max(seen, default=0) <= 300
    other.close()


def test_what_the_supervisor_has_counted_is_read_by_others(board: Scoreboard) -> None:
    counters = ServiceCounters({"crash": 2, "oom": 1}, 9, 4, 1, last_reload_failed=True, last_reload_done_at=1.5e9)
    board.service = counters
    other = Scoreboard.adopt(os.dup(board.fd))
    found = other.service
    other.close()
    assert {cause: count for cause, count in found.exits.items() if count} == counters.exits
    assert (found.starts, found.reloads_done, found.reloads_failed) == (9, 4, 1)
    assert (found.last_reload_failed, found.last_reload_done_at) == (True, 1.5e9)


def counted(requests: int) -> Counters:
    """What a worker has counted that has had so many requests, each of 2 seconds."""
    of_all = Counters.unpack(bytes(4096))
    durations = Histogram((*[0] * (BUCKETS - 1), requests), 2.0 * requests)
    one = Counters({("GET", 200): requests}, aborted={ABORTS[0]: requests}, begun=requests, duration=durations)
    return of_all.plus(one)
