"""The path of a unix socket: who may bind it, and who removes it."""

import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.sockets import unix_path
from tests.kit.listening import LINUX, bind, connect, refusal


def test_a_unix_socket_is_removed_by_who_has_bound_it(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    [[sock]] = bind(opened, uds=str(path))
    assert stat.S_ISSOCK(path.stat().st_mode)
    unix_path.unlink(sock)
    assert not path.exists()
    unix_path.unlink(sock)  # again: no harm


def test_a_path_that_another_has_taken_over_is_left_to_it(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    [[sock]] = bind(opened, uds=str(path))
    path.rename(tmp_path / "old")
    other = opened.enter_context(socket.socket(socket.AF_UNIX))
    other.bind(str(path))
    unix_path.unlink(sock)
    assert path.exists()


def test_the_path_of_a_dead_server_is_taken_over(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    [[sock]] = bind(opened, uds=str(path))
    sock.listen()
    opened.enter_context(connect(sock))
    unix_path.unlink(sock)


def test_the_path_of_a_live_server_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    live = opened.enter_context(socket.socket(socket.AF_UNIX))
    live.bind(str(path))
    live.listen()
    message = f"uds {path} is in use by another server; stop it or choose another path"
    assert refusal(opened, uds=str(path)) == message
    assert path.exists()


@LINUX
def test_the_path_of_a_server_that_does_not_listen_yet_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bind(opened, uds=str(path))
    assert "in use by another server" in refusal(opened, uds=str(path))
    assert path.exists()


def test_the_path_of_a_live_server_whose_queue_is_full_is_refused(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    live = opened.enter_context(socket.socket(socket.AF_UNIX))
    live.bind(str(path))
    live.listen(0)
    opened.enter_context(connect(live))
    assert "in use by another server" in refusal(opened, uds=str(path))


def test_a_plain_file_is_not_replaced(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    assert refusal(opened, uds=str(path)) == f"uds {path} exists and is not a socket; choose another path"
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["missing/socket", "x" * 200])
def test_a_path_that_cannot_be_bound_is_named(opened: contextlib.ExitStack, tmp_path: Path, name: str) -> None:
    assert refusal(opened, uds=str(tmp_path / name)).startswith(f"uds {tmp_path / name} cannot be bound: ")


@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("permissions", ["666", "660", "600", "777"])
def test_a_unix_socket_has_its_permissions_whatever_the_umask_is(
    opened: contextlib.ExitStack, tmp_path: Path, umask: int, permissions: str
) -> None:
    path = tmp_path / "socket"
    previous = os.umask(umask)
    try:
        [[sock]] = bind(opened, uds=str(path), uds_permissions=permissions)
        assert os.umask(umask) == umask
    finally:
        os.umask(previous)
    assert f"{stat.S_IMODE(path.stat().st_mode):o}" == permissions
    unix_path.unlink(sock)


def test_permissions_that_cannot_be_given_are_named_with_the_path_and_the_option(tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    with pytest.raises(StartupError) as caught:
        unix_path.permit(path, "660")
    assert str(caught.value) == (
        f"uds {path} cannot be given the permissions 660 (--uds-permissions): No such file or directory"
    )
