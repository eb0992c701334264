"""Where the control socket of a service stands, and how it is found: a path in a directory that is safe.

A service without a path of its own takes the first of these that can be had: `control.sock` in $RUNTIME_DIRECTORY
(systemd.exec(5)), or `NAME-PID.sock` in a directory of the user's own, in $XDG_RUNTIME_DIR or the temporary directory.
One whose socket stands elsewhere leaves a symbolic link in the user's own directory, so that it is found all the same.
"""

import contextlib
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator, Mapping

from corehttp.records import record
from corehttp.shortage import shortage

LONGEST = 103  # bytes of a path that every system takes (unix(7), sun_path; 104 with its end on macOS)
LOCK_SECONDS = 1.0  # how long to wait for others who make a socket in the same directory
BACKLOG = 64  # clients that may wait until the supervisor looks
SWEPT = 256  # the most entries that are looked at for leftovers of services that were killed


class SocketPathError(Exception):
    """There can be no socket at a path; the text says why."""


@record
class Spot:
    """A directory in which a control socket may be, and the name that it has there."""

    directory: str
    name: str
    parent: str = ""  # where the directory is made if it does not exist; empty: it is not ours to make
    private: bool = True  # whether it must belong to this user, with no access for others; else nobody else may write

    @property
    def path(self) -> str:
        """The path of the socket."""
        return os.path.join(self.directory, self.name)


def own_spots(env: Mapping[str, str], uid: int, name: str) -> list[Spot]:
    """The directories of the user's own, the best first."""
    spots = []
    if runtime := env.get("XDG_RUNTIME_DIR"):
        spots.append(Spot(os.path.join(runtime, "corehttp"), name, parent=runtime))
    temporary = temporary_directory(env)
    return [*spots, Spot(os.path.join(temporary, f"corehttp-{uid}"), name, parent=temporary)]


def temporary_directory(env: Mapping[str, str]) -> str:
    """The directory for what is not to last, in which each user may have one for control sockets."""
    return env.get("TMPDIR") or "/tmp"


def automatic_spots(env: Mapping[str, str], uid: int, name: str) -> list[Spot]:
    """All places for the socket of a service that has no path of its own, the best first."""
    runtime = env.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    first = [Spot(runtime, "control.sock", private=False)] if runtime else []
    return first + own_spots(env, uid, name)


def is_live(path: str) -> bool:
    """Whether a process listens at the path, or may: only a socket that refuses connections is dead."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    return True


def check_directory(spot: Spot, uid: int) -> int:
    """Return a descriptor of the spot's directory, which is safe. Raises SocketPathError if it is not there or not so.

    A directory of the user's own belongs to the user and is closed to all others. Any other one must belong to the user
    or to root, and nobody else may put something in the place of a socket there.
    """
    try:
        fd = os.open(spot.directory, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if spot.private else 0))
    except OSError as error:
        raise SocketPathError(f"{spot.directory} is no directory of ours: {shortage(error)}") from error
    found = os.fstat(fd)
    fault = ""
    if found.st_uid != uid and (spot.private or found.st_uid != 0):
        fault = f"{spot.directory} belongs to uid {found.st_uid}"
    elif spot.private and found.st_mode & 0o077:
        fault = f"{spot.directory} is open to others; its permissions must be 700"
    elif found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        fault = f"others may write to {spot.directory}, and replace the socket there"
    if fault:
        os.close(fd)
        raise SocketPathError(fault)
    return fd


@contextlib.contextmanager
def locked(spot: Spot, uid: int) -> Iterator[None]:
    """Hold the lock of the spot's directory, so that no two services make or remove sockets there at the same time.

    Raises SocketPathError for a directory that is not safe, and for a lock that is not to be had.
    """
    fd = check_directory(spot, uid)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _lock(fd):
            if time.monotonic() > deadline:
                raise SocketPathError(f"somebody holds the lock of {spot.directory}")
            time.sleep(0.01)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the checks have to do
    return True


def make_directory(spot: Spot) -> None:
    """Make the spot's directory, if it is one that is ours to make. Raises SocketPathError."""
    if not spot.parent:
        return
    try:
        os.mkdir(spot.directory, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise SocketPathError(f"{spot.directory} cannot be made: {shortage(error)}") from error


def make_room(path: str) -> None:
    """Remove a dead socket at the path. Raises SocketPathError if there is a live one, or anything else."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(f"{path} exists and is not a socket")
    if is_live(path):
        raise SocketPathError(f"{path} is in use by another service")
    try:
        os.unlink(path)
    except OSError as error:
        raise SocketPathError(f"{path} is left by a service that is gone: {shortage(error)}") from error


def sweep(directory: str, taken: str = "") -> None:
    """Remove from a directory of ours the sockets, and links to sockets, on which nobody listens any more.

    Links to the path `taken`, which is of a new socket, are removed too: they were those of services before.
    """
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(directory))[:SWEPT]:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            if not name.endswith(".sock") or not (stat.S_ISSOCK(mode) or stat.S_ISLNK(mode)):
                continue
            if not is_live(path) or (taken and stat.S_ISLNK(mode) and os.readlink(path) == taken):
                os.unlink(path)


def bind(path: str, permissions: int, group: int | None) -> socket.socket:
    """Return a listening socket at the path, which has these permissions from its first moment.

    `group`: the group that the path is given, None for that of the process. Raises SocketPathError, and OSError where
    the process may have no more descriptors.
    """
    if len(os.fsencode(path)) > LONGEST:
        raise SocketPathError(f"{path} is too long: a unix socket's path has at most {LONGEST} bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bound = False
    before = os.umask(0o777 & ~permissions)
    try:
        sock.setblocking(False)
        sock.bind(path)
        bound = True
        if group is not None:
            os.chown(path, -1, group)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if bound:
            os.unlink(path)
        raise SocketPathError(f"{path} cannot be made: {shortage(error)}") from error
    finally:
        os.umask(before)
    return sock
