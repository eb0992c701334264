"""The secret of `--sticky` is that of the supervisor before this one, if that has left one."""

from collections.abc import Iterator

import pytest

from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.sticky_area import read_secret
from corehttp.supervisor.sticky_secret import VARIABLE, StickySecret


@pytest.fixture
def boards() -> Iterator[tuple[Scoreboard, Scoreboard]]:
    boards = Scoreboard.create(), Scoreboard.create()
    yield boards
    for board in boards:
        board.close()


def test_a_new_supervisor_has_the_secret_of_the_one_before(
    boards: tuple[Scoreboard, Scoreboard], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = boards
    assert read_secret(old.fd) != read_secret(new.fd)
    variables, descriptors = StickySecret(old).bequeath()
    assert descriptors == []
    monkeypatch.setenv(VARIABLE, variables[VARIABLE])
    assert StickySecret(new).bequeath() == (variables, [])
    assert read_secret(old.fd) == read_secret(new.fd)


@pytest.mark.parametrize("text", ["", "00", "g" * 64, "00" * 33, "\u0660" * 64])
def test_anything_else_in_its_place_is_ignored(
    boards: tuple[Scoreboard, Scoreboard], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    board, _ = boards
    before = read_secret(board.fd)
    monkeypatch.setenv(VARIABLE, text)
    StickySecret(board)
    assert read_secret(board.fd) == before
