"""The path of a unix socket: who may bind it, and who removes it."""

import contextlib
import os
import pwd
import socket
import stat
from collections.abc import Iterator
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


@pytest.mark.parametrize("name", ["missing/socket", "x" * 200, "x" * 300, "file/socket"])
def test_a_path_that_cannot_be_bound_is_named(opened: contextlib.ExitStack, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
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


def test_the_path_gets_its_owner_before_anyone_can_connect(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    # Only root gives files to others.
    user, group = (pwd.getpwnam("nobody").pw_uid, 12345) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    [[sock]] = bind(opened, uds=str(path), uds_permissions="660", uds_owner=f"{pwd.getpwuid(user).pw_name}:{group}")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (user, group, 0o660)
    assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_an_owner_who_does_not_exist_is_named_and_no_path_stays(opened: contextlib.ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert refusal(opened, uds=str(path), uds_owner="no-such-user") == (
        f"uds {path} cannot be given to no-such-user (--uds-owner): there is no user no-such-user"
    )
    assert not path.exists()


@pytest.mark.parametrize("owner", ["4294967295", "99999999999", "9" * 5000])
def test_a_number_that_no_owner_can_have_is_refused(opened: contextlib.ExitStack, tmp_path: Path, owner: str) -> None:
    path = tmp_path / "socket"
    assert f"(--uds-owner): there is no user {owner}: " in refusal(opened, uds=str(path), uds_owner=owner)
    assert f"(--uds-owner): there is no group {owner}: " in refusal(opened, uds=str(path), uds_owner=f":{owner}")
    assert not path.exists()


def test_what_is_put_in_the_place_of_a_socket_is_not_given_away(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "socket"
    other.touch()
    before = other.stat()

    @contextlib.contextmanager
    def meanwhile() -> Iterator[None]:
        path.unlink()
        path.symlink_to(other)
        yield

    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        unix_path.permit(str(path), "660", "12345:12345", meanwhile)
    assert (other.stat().st_uid, other.stat().st_gid) == (before.st_uid, before.st_gid)
    with pytest.raises(StartupError, match=r"cannot be given to 12345 \(--uds-owner\): "):
        unix_path.permit(str(path), "644", "12345")
    assert other.stat().st_uid == before.st_uid
