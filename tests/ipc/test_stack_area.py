"""The part of shared memory for stacks: written by whoever is asked, behind what was written before."""

import contextlib
import os
from collections.abc import Iterator

import pytest

from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.stack_area import SIZE, START, StackArea


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


def test_what_is_written_is_read_until_all_is_there(board: Scoreboard) -> None:
    area = StackArea(board.fd)
    assert area.read() == ("", False)
    area.assign(7)
    assert (area.is_asked(7), area.is_asked(8)) == (True, False)
    os.write(board.fd, b"threads\n")
    area.write("t\xe4sks \ud800\n")
    assert area.read() == ("threads\nt\xe4sks \\ud800\n", False)
    area.finish(7)
    assert area.read() == ("threads\nt\xe4sks \\ud800\n", True)
    area.assign(8)
    assert area.read() == ("", False)


def test_what_does_not_fit_is_lost_and_the_rows_stay_as_they_are(board: Scoreboard) -> None:
    number = board.claim(3)
    area = StackArea(board.fd)
    area.assign(7)
    for _ in range(3):
        with contextlib.suppress(OSError):
            area.write("x" * (SIZE // 2))
    text, is_whole = area.read()
    assert (set(text), is_whole) == ({"x"}, False)
    assert board.row(number).slot == 3
    assert os.fstat(board.fd).st_size == START + SIZE


def test_bytes_that_are_no_text_are_shown_all_the_same(board: Scoreboard) -> None:
    area = StackArea(board.fd)
    area.assign(7)
    os.write(board.fd, b"\xff\xfe\x00rest")
    assert area.read()[0] == "\ufffd\ufffd"
