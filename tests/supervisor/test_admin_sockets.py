"""The sockets of the admin listener: bound, handed on at an upgrade, and closed without harm to a successor."""

import os
import socket
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.sockets.endpoint import ListeningSocket
from corehttp.supervisor.admin_sockets import VARIABLE, AdminSockets, inherited, open_at


def copies(left: tuple[dict[str, str], list[int]]) -> str:
    """What a successor finds in its environment, whose descriptors have the same numbers as in the old supervisor."""
    variables, fds = left
    assert fds
    return variables[VARIABLE]


def adopt(sockets: AdminSockets, address: str) -> AdminSockets:
    """Adopt sockets as another process would, which has copies of the descriptors."""
    text = copies(sockets.bequeath())
    saved = [os.dup(fd) for fd in sockets.fds()]
    found = inherited(text, address)
    assert found is not None
    go_on_with(sockets, saved)
    return found


def go_on_with(sockets: AdminSockets, copies: list[int]) -> None:
    """Give the old supervisor's sockets other numbers, since this process is its successor, too."""
    for sock in sockets._sockets:
        sock.detach()
    sockets._sockets = [ListeningSocket(fileno=fd) for fd in copies]


def listen(sockets: AdminSockets) -> None:
    for fd in sockets.fds():
        with socket.socket(fileno=os.dup(fd)) as sock:
            sock.listen()


def test_a_port_is_bound_and_found() -> None:
    sockets = open_at("127.0.0.1:0")
    assert sockets.urls.startswith("http://127.0.0.1:")
    assert len(sockets.fds()) == 1
    sockets.close()
    sockets.close()


def test_every_address_of_a_name_is_bound() -> None:
    sockets = open_at("localhost:0")
    assert sockets.fds()
    sockets.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("no such host:80", ""),
        ("192.0.2.1:80", "Cannot assign requested address"),
        ("unix:/nowhere/a.sock", "No such file or directory"),
    ],
)
def test_what_cannot_be_bound_is_named_with_its_option(address: str, reason: str) -> None:
    with pytest.raises(StartupError, match=f"there is no admin listener at {address} .--admin.: .*{reason}"):
        open_at(address)


def test_a_path_is_the_users_own_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    sockets = open_at(f"unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert sockets.urls == f"unix:{path}"
    sockets.close()
    assert not path.exists()


def test_a_successor_for_the_same_address_adopts_the_sockets(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    old = open_at(f"unix:{path}")
    new = adopt(old, f"unix:{path}")
    old.lend(True)
    new.lend(False)
    listen(new)
    old.close()
    assert path.exists(), "it is the successor's"
    new.close()
    assert not path.exists()


def test_a_successor_that_fails_leaves_the_path_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    old = open_at(f"unix:{path}")
    listen(old)
    new = adopt(old, f"unix:{path}")
    new.close()
    assert path.exists()
    old.close()


def test_a_path_that_a_successor_with_another_address_does_not_want_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    old = open_at(f"unix:{path}")
    text = copies(old.bequeath())
    saved = [os.dup(fd) for fd in old.fds()]
    assert inherited(text, "127.0.0.1:0") is None
    go_on_with(old, saved)
    old.lend(True)
    old.close()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "bnVsbA=="])
def test_what_is_for_another_process_is_ignored_with_a_warning(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert inherited(text, "127.0.0.1:0") is None
    assert f"{VARIABLE} in the environment is ignored" in caplog.text


def test_a_number_that_is_another_file_by_now_is_not_adopted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sockets = open_at("127.0.0.1:0")
    text = copies(sockets.bequeath())
    [fd] = sockets.fds()
    with (tmp_path / "file").open("w") as file:
        os.dup2(file.fileno(), fd)
        assert inherited(text, "127.0.0.1:0") is None
    assert "is not for this process" in caplog.text
    sockets.close()
