"""What is gathered of a service at one moment."""

import os
from collections.abc import Iterator

import pytest

from corehttp.admin import snapshot
from corehttp.admin.snapshot import Build
from corehttp.ipc.counters import Counters, ServiceCounters
from corehttp.ipc.scoreboard import Scoreboard

BUILD = Build("0.1.0", "3.13.0", "uvloop", "httptools")
STARTED = "2026-11-30T12:00:00.500+00:00"


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


def overview(*workers: dict[str, object]) -> dict[str, object]:
    listeners = [{"address": "http://127.0.0.1:80", "backlog": 2}]
    status = {"pid": 77, "target": 2, "started_at": STARTED, "listeners": listeners, "workers": list(workers)}
    return {"status": status}


def worker(slot: int, state: str = "serving", pid: int | None = None) -> dict[str, object]:
    return {"slot": slot, "pid": pid or os.getpid(), "state": state, "started_at": STARTED}


def test_two_workers_of_one_slot_are_one(board: Scoreboard) -> None:
    for lag in (0.5, 0.25):
        row = board.row(board.claim(0))
        row.connections, row.websockets, row.running, row.queued, row.lag = 3, 1, 2, 4, lag
    taken = snapshot.take(overview(worker(1, "leaving"), worker(1)), board, BUILD)
    found = taken.slots[1]
    assert (found.connections, found.websockets, found.in_flight, found.queued, found.lag) == (6, 2, 4, 8, 0.5)
    assert found.rss is not None
    assert found.rss > 1 << 20
    assert found.descriptors is not None
    assert found.descriptors > 3
    assert found.started_at == 1796040000.5
    assert (taken.states["serving"], taken.states["leaving"], taken.states["blocked"]) == (1, 1, 0)


def test_certificates_end_when_the_supervisor_says(board: Scoreboard) -> None:
    told = overview()
    told["status"] = {"certificates": [{"path": "/a.crt", "not_after": STARTED}, {"path": "/b.crt"}, 7]}
    assert snapshot.take(told, board, BUILD).certificates == {"/a.crt": 1796040000.5}
    assert snapshot.take(overview(), board, BUILD).certificates == {}


def test_requests_that_the_table_has_count_before_the_number_is_written(board: Scoreboard) -> None:
    row = board.row(board.claim(0))
    row.name(b"GET", b"/")
    row.since[0] = 1.0
    assert snapshot.take(overview(worker(1)), board, BUILD).slots[1].in_flight == 1


def test_what_ended_workers_have_counted_is_there_after_their_slot_is_gone(board: Scoreboard) -> None:
    board.service = ServiceCounters(starts=3)
    for slot in (0, 1, 1):
        number = board.claim(slot)
        board.row(number).counters = Counters(requests={("GET", 200): 5}, cpu=1.5)
        if slot:
            board.release(number)
    taken = snapshot.take(overview(worker(1)), board, BUILD)
    assert taken.totals.requests == {("GET", 200): 15}
    assert [(slot, counters.responses, counters.cpu) for slot, counters in taken.counters.items()] == [
        (1, 5, 1.5),
        (2, 10, 3),
    ]
    assert list(taken.slots) == [1]
    assert (taken.service.starts, taken.target, taken.backlogs) == (3, 2, {"http://127.0.0.1:80": 2})
    assert (taken.started_at, snapshot.pid_of(overview())) == (1796040000.5, 77)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"status": 5},
        {"status": {"workers": 5, "listeners": None, "target": "x", "started_at": "yesterday", "pid": None}},
        {"status": {"workers": [5, {}, {"slot": "1", "pid": -1, "started_at": 5}], "listeners": [{}]}},
    ],
)
def test_what_makes_no_sense_counts_as_nothing(board: Scoreboard, told: dict[str, object]) -> None:
    board.claim(0)
    taken = snapshot.take(told, board, BUILD)
    assert (taken.target, taken.started_at, snapshot.pid_of(told)) == (0, 0.0, 0)


def test_a_process_that_has_ended_has_no_figures(board: Scoreboard) -> None:
    board.claim(0)
    found = snapshot.take(overview(worker(1, pid=2**22 + 5)), board, BUILD).slots[1]
    assert (found.rss, found.descriptors) == (None, None)
