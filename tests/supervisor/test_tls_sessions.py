"""The secret of the workers for TLS sessions: when it is another one."""

from collections.abc import Iterator

import pytest

from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.tls_area import read_secret
from corehttp.moments import NEVER
from corehttp.supervisor.tls_sessions import PERIOD, TlsSessions


@pytest.fixture
def fd() -> Iterator[int]:
    board = Scoreboard.create()
    yield board.fd
    board.close()


def test_a_secret_is_there_from_the_start_and_is_renewed_in_time(fd: int) -> None:
    sessions = TlsSessions(fd, 100.0, lambda: True)
    first = read_secret(fd)
    assert first
    assert sessions.due() == 100.0 + PERIOD
    sessions.look(99.0 + PERIOD)
    assert read_secret(fd) == first
    sessions.look(100.0 + PERIOD)
    second = read_secret(fd)
    assert second not in (b"", first)
    assert sessions.due() == 100.0 + 2 * PERIOD
    sessions.look(101.0 + PERIOD)
    assert read_secret(fd) == second


def test_a_service_in_cleartext_is_not_woken_for_a_secret(fd: int) -> None:
    assert TlsSessions(fd, 100.0, lambda: False).due() == NEVER
