"""What workers share for TLS: whole, or nothing."""

import os
from collections.abc import Iterator

import pytest

from corehttp.ipc import scoreboard, sticky_area, tls_area
from corehttp.ipc.memory_file import new_descriptor
from corehttp.ipc.page import SIZE as PAGES
from corehttp.ipc.scoreboard import ROWS, Scoreboard


@pytest.fixture
def fd() -> Iterator[int]:
    board = Scoreboard.create()
    yield board.fd
    board.close()


def test_programs_that_are_started_do_not_have_what_is_shared(fd: int) -> None:
    assert not os.get_inheritable(fd)


def test_a_secret_is_random_and_replaced(fd: int) -> None:
    assert tls_area.read_secret(fd) == b""
    found = set()
    for _ in range(3):
        tls_area.renew_secret(fd)
        found.add(tls_area.read_secret(fd))
    assert len(found) == 3
    assert {len(secret) for secret in found} == {tls_area.SECRET_SIZE}


def test_a_secret_that_was_written_by_halves_is_none(fd: int) -> None:
    tls_area.renew_secret(fd)
    os.pwrite(fd, bytes(8), tls_area.START)
    assert tls_area.read_secret(fd) == b""


def test_each_worker_shows_the_ends_of_its_certificates(fd: int) -> None:
    for row in (0, 1, ROWS - 1):
        tls_area.write_ends(fd, row, row + 7, [1.5, 2.0 + row])
    for row in (0, 1, ROWS - 1):
        assert tls_area.read_ends(fd, row, row + 7) == [1, 2 + row]
    assert tls_area.read_ends(fd, 2, 0) == []


def test_what_another_worker_has_left_in_the_row_does_not_count(fd: int) -> None:
    tls_area.write_ends(fd, 3, 1, [5.0])
    assert tls_area.read_ends(fd, 3, 2) == []
    tls_area.write_ends(fd, 3, 2, [])
    assert tls_area.read_ends(fd, 3, 2) == []


def test_more_certificates_than_there_is_room_for_are_left_out(fd: int) -> None:
    tls_area.write_ends(fd, 0, 1, [float(number) for number in range(100)])
    assert tls_area.read_ends(fd, 0, 1) == list(range(tls_area.MOST_CERTIFICATES))


def test_a_row_of_arbitrary_bytes_shows_nothing(fd: int) -> None:
    for number in range(200):
        os.pwrite(fd, os.urandom(512), tls_area.START + 4096 + number * 512)
        assert tls_area.read_ends(fd, number, 1) == []


def test_a_time_after_all_times_is_the_last_one(fd: int) -> None:
    tls_area.write_ends(fd, 0, 1, [-5.0, 1e18])
    assert tls_area.read_ends(fd, 0, 1) == [0, tls_area.LAST]


def test_nothing_is_found_where_the_supervisor_has_no_such_area() -> None:
    fd = new_descriptor("test")
    try:
        assert tls_area.read_secret(fd) == b""
        assert tls_area.read_ends(fd, 0, 0) == []
    finally:
        os.close(fd)


def test_the_area_is_between_the_others_and_has_room_for_the_rows(fd: int) -> None:
    assert scoreboard._SERVICE + PAGES <= tls_area.START
    assert tls_area.START + tls_area.SIZE <= sticky_area.START
    assert tls_area._ROWS + ROWS * tls_area._ROW_SIZE <= tls_area._FILES


def test_copies_of_files_are_kept_whole_or_not_at_all(fd: int) -> None:
    assert tls_area.kept_files(fd) == b""
    for content in (b"first", os.urandom(tls_area.MOST_FILES), b""):
        tls_area.keep_files(fd, content)
        assert tls_area.kept_files(fd) == content
    tls_area.keep_files(fd, b"second")
    tls_area.keep_files(fd, bytes(tls_area.MOST_FILES + 1))
    assert tls_area.kept_files(fd) == b"second", "what there is no room for is not kept"
    os.pwrite(fd, b"S", tls_area.START + tls_area._FILES + tls_area._FILES_HEAD.size)
    assert tls_area.kept_files(fd) == b""
    os.pwrite(fd, b"\xff" * 8, tls_area.START + tls_area._FILES)
    assert tls_area.kept_files(fd) == b""


def test_no_key_stays_behind_the_copies_that_have_replaced_it(fd: int) -> None:
    tls_area.keep_files(fd, b"a long old key")
    tls_area.keep_files(fd, b"new")
    begin = tls_area.START + tls_area._FILES + tls_area._FILES_HEAD.size
    assert os.pread(fd, 20, begin) == b"new" + bytes(17)
