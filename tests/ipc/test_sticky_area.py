"""Which worker was bound to which key: bounded, oldest out first, and whole whatever other processes write."""

import os
import random
import struct
from collections.abc import Iterator
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corehttp.ipc.rendezvous import DIGEST_SIZE
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.stack_area import START as NEXT
from corehttp.ipc.sticky_area import KEPT, SECRET_SIZE, SIZE, START, StickyArea, read_secret, write_secret

NOW = 1000.0


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


def digest(number: int) -> bytes:
    return random.Random(number).randbytes(DIGEST_SIZE)


def test_a_key_is_not_bound_until_somebody_binds_it(board: Scoreboard) -> None:
    area, other = StickyArea(board.fd), StickyArea(board.fd)
    assert area.bound(digest(1)) is None
    other.bind(digest(1), 3, NOW)
    assert area.bound(digest(1)) == 3
    assert area.bound(digest(2)) is None
    area.bind(digest(1), 5, NOW)
    assert other.bound(digest(1)) == 5


def test_every_service_has_a_secret_of_its_own(board: Scoreboard) -> None:
    other = Scoreboard.create()
    assert len(read_secret(board.fd)) == SECRET_SIZE
    assert StickyArea(board.fd).secret == read_secret(board.fd) != read_secret(other.fd)
    write_secret(other.fd, read_secret(board.fd))
    assert StickyArea(other.fd).secret == read_secret(board.fd)
    other.close()


def test_the_newest_bindings_stay_and_the_oldest_go(board: Scoreboard) -> None:
    area = StickyArea(board.fd)
    count = 3 * KEPT
    for number in range(count):
        area.bind(digest(number), number % 7, NOW + number / 1000)
    newest = range(count - KEPT, count)
    assert sum(area.bound(digest(number)) != number % 7 for number in newest) <= 3
    assert sum(area.bound(digest(number)) is not None for number in range(KEPT // 4)) < KEPT // 4 // 20


def test_a_key_that_is_bound_again_is_as_new_as_the_last_time(board: Scoreboard) -> None:
    area = StickyArea(board.fd)
    in_one_bucket = [struct.pack("@Q", number) * 2 for number in range(0, 1 << 16, 1 << 8)]
    in_one_bucket = [number[:8] + b"\0\0" + number[10:] for number in in_one_bucket]
    for at, key in enumerate(in_one_bucket[:64]):
        area.bind(key, 1, NOW + at)
    area.bind(in_one_bucket[0], 2, NOW + 64)
    for at, key in enumerate(in_one_bucket[64:127]):
        area.bind(key, 3, NOW + 65 + at)
    assert area.bound(in_one_bucket[0]) == 2
    assert [area.bound(key) for key in in_one_bucket[1:64]] == [None] * 63
    assert [area.bound(key) for key in in_one_bucket[64:127]] == [3] * 63


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_whatever_was_written_to_the_table_is_no_binding_or_is_overwritten(
    board: Scoreboard, data: st.DataObject
) -> None:
    area = StickyArea(board.fd)
    area.bind(digest(0), 1, NOW)
    key = digest(data.draw(st.integers(1, 50)))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(SECRET_SIZE, SIZE - 2048))
        os.pwrite(board.fd, data.draw(st.one_of(st.just(key * 4), st.just(b"\xff" * 2048), st.binary())), START + at)
    assert area.bound(key) in (None, 4)
    area.bind(key, 4, NOW)
    assert area.bound(key) == 4


def test_the_area_ends_before_the_next_one(board: Scoreboard) -> None:
    assert START + SIZE <= NEXT


def bind_many(fd: int, slot: int, count: int) -> None:
    """Bind the same keys as other processes do."""
    area = StickyArea(fd)
    for turn in range(count):
        area.bind(digest(turn % 50), slot, NOW + turn)


def test_what_several_processes_bind_at_once_is_whole(board: Scoreboard) -> None:
    fork = get_context("fork")
    writers = [fork.Process(target=bind_many, args=(board.fd, slot, 3000)) for slot in (11, 12, 13)]
    area = StickyArea(board.fd)
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen |= {area.bound(digest(number)) for number in range(50)}
    for writer in writers:
        writer.join()
    assert seen <= {None, 11, 12, 13}
    assert {area.bound(digest(number)) for number in range(50)} <= {11, 12, 13}
