"""Where a control socket may be, and what is never taken, followed or removed."""

import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest

from corehttp.control import socket_path
from corehttp.control.socket_path import SocketPathError, Spot, automatic_spots, own_spots

UID = os.geteuid()


def dead(path: Path) -> None:
    """Leave a socket on which nobody listens."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.close()


def test_the_places_are_those_of_the_environment_the_best_first() -> None:
    env = {"RUNTIME_DIRECTORY": "/run/shop:/run/other", "XDG_RUNTIME_DIR": "/run/user/7", "TMPDIR": "/scratch"}
    assert [spot.path for spot in automatic_spots(env, 7, "a-1.sock")] == [
        "/run/shop/control.sock",
        "/run/user/7/corehttp/a-1.sock",
        "/scratch/corehttp-7/a-1.sock",
    ]
    assert [spot.path for spot in own_spots({}, 7, "a-1.sock")] == ["/tmp/corehttp-7/a-1.sock"]


def test_a_directory_of_ours_is_closed_to_others(directory: Path) -> None:
    spot = Spot(str(directory / "corehttp"), "a.sock", parent=str(directory))
    socket_path.make_directory(spot)
    assert stat.S_IMODE(os.stat(spot.directory).st_mode) == 0o700
    socket_path.make_directory(spot)
    with socket_path.locked(spot, UID):
        pass
    os.chmod(spot.directory, 0o750)
    with pytest.raises(SocketPathError, match="is open to others; its permissions must be 700"):
        socket_path.check_directory(spot, UID)


def test_a_directory_of_somebody_else_and_a_link_are_not_used(directory: Path) -> None:
    (directory / "real").mkdir(0o700)
    (directory / "link").symlink_to(directory / "real")
    with pytest.raises(SocketPathError, match="belongs to uid"):
        socket_path.check_directory(Spot(str(directory / "real"), "a.sock"), UID + 1)
    with pytest.raises(SocketPathError, match="is no directory of ours"):
        socket_path.check_directory(Spot(str(directory / "link"), "a.sock"), UID)
    with pytest.raises(SocketPathError, match="is no directory of ours: No such file"):
        socket_path.check_directory(Spot(str(directory / "none"), "a.sock"), UID)


def test_at_a_given_path_nobody_else_may_write(directory: Path) -> None:
    spot = Spot(str(directory), "a.sock", private=False)
    directory.chmod(0o755)
    os.close(socket_path.check_directory(spot, UID))
    directory.chmod(0o777)
    with pytest.raises(SocketPathError, match=r"others may write to .*, and replace the socket there"):
        socket_path.check_directory(spot, UID)
    directory.chmod(0o1777)  # where each may only replace what is their own, as in /tmp
    os.close(socket_path.check_directory(spot, UID))


def test_a_directory_that_cannot_be_made_says_why(directory: Path) -> None:
    (directory / "file").touch()
    with pytest.raises(SocketPathError, match="cannot be made: Not a directory"):
        socket_path.make_directory(Spot(str(directory / "file" / "corehttp"), "a.sock", parent=str(directory / "file")))


def test_the_socket_has_its_permissions_whatever_the_umask_is(directory: Path) -> None:
    before = os.umask(0)
    try:
        with socket_path.bind(str(directory / "a.sock"), 0o600, None):
            assert stat.S_IMODE((directory / "a.sock").stat().st_mode) == 0o600
        assert os.umask(0o777) == 0
        with socket_path.bind(str(directory / "b.sock"), 0o660, os.getegid()):
            assert stat.S_IMODE((directory / "b.sock").stat().st_mode) == 0o660
        assert os.umask(0) == 0o777
    finally:
        os.umask(before)


def test_a_path_that_is_too_long_or_taken_is_told(directory: Path) -> None:
    with pytest.raises(SocketPathError, match="a unix socket's path has at most 103 bytes"):
        socket_path.bind(str(directory / ("x" * 100)), 0o600, None)
    (directory / "a.sock").touch()
    with pytest.raises(SocketPathError, match="cannot be made: Address already in use"):
        socket_path.bind(str(directory / "a.sock"), 0o600, None)


def test_a_group_that_cannot_be_given_leaves_no_path(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(SocketPathError, match="cannot be made: Operation not permitted"):
        socket_path.bind(str(directory / "a.sock"), 0o660, 1)
    assert not list(directory.iterdir())


def test_a_dead_socket_makes_room_and_a_live_one_does_not(directory: Path) -> None:
    path = directory / "a.sock"
    socket_path.make_room(str(path))
    dead(path)
    socket_path.make_room(str(path))
    assert not path.exists()
    with socket_path.bind(str(path), 0o600, None), pytest.raises(SocketPathError, match="in use by another service"):
        socket_path.make_room(str(path))
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_socket_is_left_alone(directory: Path, kind: str) -> None:
    path = directory / "a.sock"
    match kind:
        case "file":
            path.touch()
        case "link":
            path.symlink_to(directory / "elsewhere")
        case _:
            path.mkdir()
    with pytest.raises(SocketPathError, match="exists and is not a socket"):
        socket_path.make_room(str(path))
    assert os.path.lexists(path)


def test_what_killed_services_have_left_is_swept_and_nothing_else(directory: Path) -> None:
    dead(directory / "dead-1.sock")
    dead(directory / "other")
    (directory / "gone-2.sock").symlink_to(directory / "nothing")
    (directory / "file-3.sock").touch()
    with socket_path.bind(str(directory / "live-4.sock"), 0o600, None):
        (directory / "old-5.sock").symlink_to(directory / "live-4.sock")
        socket_path.sweep(str(directory))
        assert sorted(path.name for path in directory.iterdir()) == [
            *("file-3.sock", "live-4.sock", "old-5.sock", "other"),
        ]
        socket_path.sweep(str(directory), str(directory / "live-4.sock"))
        assert not os.path.lexists(directory / "old-5.sock")


def test_a_lock_that_somebody_keeps_is_not_waited_for_long(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_path, "LOCK_SECONDS", 0.0)
    spot = Spot(str(directory), "a.sock")
    held = os.open(directory, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(SocketPathError, match="somebody holds the lock of"), socket_path.locked(spot, UID):
        pass
    os.close(held)
    with socket_path.locked(spot, UID):
        pass
