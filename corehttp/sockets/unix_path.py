"""The path of a unix socket: make room for it, give it permissions, and remove it if it still is that of the socket."""

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator

from corehttp import accounts
from corehttp.errors import StartupError
from corehttp.privileges import Privileged
from corehttp.shortage import shortage
from corehttp.windows import AF_UNIX

# The path and inode of each unix socket that this process has bound or taken over. A worker only inherits sockets, and
# has no entries, so that it leaves their paths alone.
_bound_inodes: dict[str, int] = {}


def make_room(path: str) -> None:
    """Remove the socket that a server which was killed has left at `path`.

    Raises StartupError if it is in use, or if something else than a socket is there; OSError if the path cannot be
    looked up, or the socket not be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StartupError(f"uds {path} exists and is not a socket; choose another path")
        if _is_taken(path):
            raise StartupError(f"uds {path} is in use by another server; stop it or choose another path")
        os.unlink(path)


def own(path: str) -> None:
    """Remember that the socket at `path` is that of this process, so that `forget` removes the path. Raises OSError."""
    _bound_inodes[path] = os.stat(path).st_ino


def unlink(sock: socket.socket) -> None:
    """Remove the path of a unix socket that this process has bound, unless another socket is there by now."""
    if sock.family == AF_UNIX and sock.fileno() >= 0 and not is_abstract(sock):
        forget(sock.getsockname())


def take_over(sock: socket.socket) -> None:
    """Remember that the path of this unix socket, which another process has bound, is this process's from now on."""
    if sock.family == AF_UNIX and not is_abstract(sock):
        with contextlib.suppress(OSError):
            own(sock.getsockname())


def is_abstract(sock: socket.socket) -> bool:
    """Whether a socket is bound to a name of Linux's abstract namespace, as only a unix socket can be (unix(7))."""
    return isinstance(sock.getsockname(), bytes)


def forget(path: str) -> None:
    """Remove the path of a unix socket that this process has bound, unless another socket is there by now."""
    inode = _bound_inodes.pop(path, None)
    if inode is not None:
        with contextlib.suppress(OSError):
            if os.stat(path).st_ino == inode:
                os.unlink(path)


def permit(path: str, permissions: str, owner: str = "", privileged: Privileged = contextlib.nullcontext) -> None:
    """Set the permissions of the path of a unix socket, an octal number, and its owner. Raises StartupError.

    `owner` is USER, USER:GROUP or :GROUP, names or numbers; a user alone comes with no group, and empty text leaves the
    owner as it is. To connect, a client needs permission to write (unix(7)). The owner is changed in the context
    `privileged()`. What is right already is left alone, since only its owner or root may set it.
    """
    try:
        found = os.stat(path)
        if stat.S_IMODE(found.st_mode) != int(permissions, 8):
            os.chmod(path, int(permissions, 8))
    except OSError as error:
        raise StartupError(
            f"uds {path} cannot be given the permissions {permissions} (--uds-permissions): {shortage(error)}"
        ) from error
    if sys.platform == "win32":
        raise NotImplementedError
    try:
        ids = accounts.owner(owner)
        if not all(wanted in (-1, own) for wanted, own in zip(ids, (found.st_uid, found.st_gid), strict=True)):
            with _pinned(path) as pinned, privileged():
                os.chown(pinned, *ids)
    except (OSError, LookupError) as error:
        cause = shortage(error) if isinstance(error, OSError) else error.args[0]
        raise StartupError(f"uds {path} cannot be given to {owner} (--uds-owner): {cause}") from error


@contextlib.contextmanager
def _pinned(path: str) -> Iterator[str]:
    """Yield a path that leads to the socket at `path` whatever is put there meanwhile, by whoever owns the directory.

    Raises OSError if there is no socket. Only Linux has such paths (open(2), O_PATH); elsewhere it is `path` itself.
    """
    if sys.platform != "linux":
        yield path
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _is_taken(path: str) -> bool:
    """Whether a process has a socket that is bound to `path`, even if it does not listen yet."""
    probe = socket.socket(AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(path)
    except BlockingIOError:
        return True  # a server listens whose queue is full
    except OSError:
        return _is_bound(path)
    finally:
        probe.close()
    return True


def _is_bound(path: str) -> bool:
    """Whether a unix socket is bound to this path (proc(5), /proc/net/unix); False where the kernel does not tell."""
    names = {path, os.path.abspath(path)}
    try:
        with open("/proc/net/unix", errors="surrogateescape") as table:
            return any(line.rstrip("\n").split(" ")[-1] in names for line in table)
    except OSError:
        return False
