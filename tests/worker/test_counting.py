"""How what a worker counts comes to the scoreboard, and how late its event loop is."""

import os
import time
from collections.abc import Iterator

import pytest

from corehttp.config import Config
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import Row, Scoreboard
from corehttp.moments import BEAT
from corehttp.protocols.admission import Admission
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.worker import wiring
from corehttp.worker.connection_protocols import make_protocol
from corehttp.worker.counting import Counting
from tests.kit.apps import Held, hello
from tests.kit.fakes import Client, FakeTimers, make_context

GET = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def row() -> Iterator[Row]:
    board = Scoreboard.create()
    yield board.row(board.claim(0))
    board.close()


async def test_what_was_counted_is_seen_once_it_is_written(row: Row) -> None:
    context = make_context(hello, HttptoolsParser)
    counting = Counting(context, row)
    await Client(context).send(GET)
    row.handed_over, row.taken_over = 3, 4
    assert row.counters.responses == 0
    counting.write()
    assert row.counters.requests == {("GET", 200): 1}
    assert (row.counters.handed_over, row.counters.taken_over) == (3, 4)


async def test_the_processors_time_is_that_of_the_process(row: Row) -> None:
    counting = Counting(make_context(hello, HttptoolsParser), row)
    before = time.process_time()
    counting.write()
    assert before <= row.counters.cpu <= time.process_time()


async def test_who_waits_and_who_was_turned_away_is_written(row: Row) -> None:
    app = Held()
    context = make_context(app, HttptoolsParser)
    context.admission = Admission(context.running, FakeTimers(), limit=1, queue=1, queue_timeout=9)
    counting = Counting(context, row)
    clients = [Client(context) for _ in range(4)]
    for client in clients:
        await client.send(GET)
    counting.write()
    assert row.queued == 1
    assert row.counters.refused["overload"] == 2
    app.release.set()
    for client in clients:
        await client.wait()
    counting.write()
    assert (row.queued, row.counters.begun) == (0, 2)


async def test_the_lag_is_the_longest_one_since_the_last_write_and_what_blocks_adds_up(row: Row) -> None:
    counting = Counting(make_context(hello, HttptoolsParser), row)
    at = 100.0
    for late in (0.0, 0.01, 0.5, 0.02):
        at += BEAT + late
        counting.beat(at)
    counting.write()
    assert row.lag == pytest.approx(0.5)
    assert row.counters.blocked == pytest.approx(0.5)
    counting.beat(at + BEAT + 0.03)
    counting.write()
    assert row.lag == pytest.approx(0.03)
    assert row.counters.blocked == pytest.approx(0.5)


async def test_a_worker_counts_only_if_somebody_can_look(row: Row) -> None:
    context = make_context(hello, HttptoolsParser)
    assert wiring.counting(Config(control="off"), context, row) is None
    assert context.tally is None
    assert wiring.counting(Config(control="auto"), context, row) is not None
    assert wiring.counting(Config(control="off", admin="127.0.0.1:9000"), context, row) is not None
    assert context.tally is not None


async def test_connections_from_clients_are_told_from_those_of_other_workers(row: Row) -> None:
    context = make_context(hello, HttptoolsParser)
    context.ledger = row
    counting = Counting(context, row)
    make_protocol(context, {}, 0)
    make_protocol(context, {}, 0)
    make_protocol(context, {}, 0, Parcel(os.dup(2), 5.0))
    counting.write()
    assert (row.counters.accepted, row.counters.taken_over) == (2, 1)
