"""The path of a unix socket: bind it, give it permissions, and remove it if it still is ours."""

import contextlib
import os
import socket
import stat

from corehttp.errors import StartupError
from corehttp.shortage import shortage

# Path and inode of each unix socket that this process has bound. A worker inherits sockets and has no entries, so that
# it leaves their paths alone.
_bound_inodes: dict[str, int] = {}


def make_room(path: str) -> None:
    """Remove what a server that was killed has left at `path`; raises StartupError if it is anybody's."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StartupError(f"uds {path} exists and is not a socket; choose another path")
        if _is_taken(path):
            raise StartupError(f"uds {path} is in use by another server; stop it or choose another path")
        os.unlink(path)


def own(path: str) -> None:
    """Remember that the socket at `path` is this process's, so that it removes the path at its end; raises OSError."""
    _bound_inodes[path] = os.stat(path).st_ino


def unlink(sock: socket.socket) -> None:
    """Remove the path of a unix socket that this process has bound, unless another socket is there by now."""
    if sock.family == socket.AF_UNIX and sock.fileno() >= 0:
        forget(sock.getsockname())


def take_over(sock: socket.socket) -> None:
    """Remember that the path of this unix socket, which another process has bound, is this process's from now on."""
    if sock.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            own(sock.getsockname())


def forget(path: str) -> None:
    """Remove the path of a unix socket that this process has bound, unless another socket is there by now."""
    inode = _bound_inodes.pop(path, None)
    if inode is not None:
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == inode:
                os.unlink(path)


def permit(path: str, permissions: str) -> None:
    """Set the permissions of a unix socket's path, an octal number: who connects must be allowed to write (unix(7)).

    Raises StartupError.
    """
    try:
        os.chmod(path, int(permissions, 8))
    except OSError as error:
        raise StartupError(
            f"uds {path} cannot be given the permissions {permissions} (--uds-permissions): {shortage(error)}"
        ) from error


def _is_taken(path: str) -> bool:
    """Whether a process has a socket on `path`, whether it listens already or not yet."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except BlockingIOError:
        return True  # its queue is full
    except OSError:
        return _is_bound(path)
    finally:
        probe.close()
    return True


def _is_bound(path: str) -> bool:
    """Whether the kernel knows a unix socket by this path (proc(5), /proc/net/unix); False where it does not tell."""
    names = {path, os.path.abspath(path)}
    try:
        with open("/proc/net/unix", errors="surrogateescape") as table:
            return any(line.rstrip("\n").split(" ")[-1] in names for line in table)
    except OSError:
        return False
