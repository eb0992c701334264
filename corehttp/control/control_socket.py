"""The listening socket of a service's operators: opened safely, handed on to a successor, removed at the end."""

import contextlib
import logging
import os
import socket
from collections.abc import Mapping

from corehttp.control import socket_path
from corehttp.control.socket_path import SocketPathError, Spot
from corehttp.errors import StartupError
from corehttp.records import record
from corehttp.shortage import shortage

logger = logging.getLogger("corehttp.supervisor")

VARIABLE = "COREHTTP_CONTROL_SOCKET"  # in the environment of a supervisor that takes the place of another one
MODE, GROUP_MODE = 0o600, 0o660


@record
class OwnedPath:
    """A path that belongs to this service, as long as the same file is there."""

    path: str
    inode: tuple[int, int]

    @classmethod
    def of(cls, path: str) -> "OwnedPath":
        """Return the path, with the inode of what is at the path now. Raises OSError."""
        found = os.lstat(path)
        return cls(path, (found.st_dev, found.st_ino))

    def remove(self) -> None:
        """Remove the path if it is still this service's, and if nobody listens there any more."""
        with contextlib.suppress(OSError):
            if OwnedPath.of(self.path) == self and not socket_path.is_live(self.path):
                os.unlink(self.path)


class ControlSocket:
    """A listening socket, with the paths that lead to it. `wish` are the options that it was opened for."""

    def __init__(self, sock: socket.socket, wish: tuple[str, ...], paths: list[OwnedPath]) -> None:
        self._sock = sock
        self._wish = wish
        self._paths = paths

    @property
    def path(self) -> str:
        """Where clients connect."""
        return self._paths[0].path

    def fileno(self) -> int:
        """The number of the descriptor; -1 once it is closed."""
        return self._sock.fileno()

    def accept(self) -> socket.socket:
        """Return the next connection, which does not block. Raises BlockingIOError if there is none, and OSError."""
        sock, _ = self._sock.accept()
        sock.setblocking(False)
        return sock

    def listen(self) -> None:
        """Have the kernel tell clients that this process listens, and not the one that has opened the socket."""
        self._sock.listen(socket_path.BACKLOG)

    def bequeath(self) -> tuple[dict[str, str], list[int]]:
        """Return what a successor needs to adopt the socket: a variable of its environment, and a descriptor."""
        import json  # here, since only an upgrade needs it

        found = os.fstat(self.fileno())
        paths = [[owned.path, *owned.inode] for owned in self._paths]
        text = json.dumps([self.fileno(), [found.st_dev, found.st_ino], self._wish, paths])
        return {VARIABLE: text}, [self.fileno()]

    def close(self) -> None:
        """Close the socket, and remove its paths unless another process listens there. A second call does nothing."""
        if self.fileno() < 0:
            return
        self._sock.close()
        for path in self._paths:
            path.remove()


def open_at(spot: Spot, uid: int, wish: tuple[str, ...], group: int | None) -> ControlSocket:
    """Return a new socket in this place. Raises SocketPathError."""
    socket_path.make_directory(spot)
    try:
        with socket_path.locked(spot, uid):
            if spot.private:
                socket_path.sweep(spot.directory)
            socket_path.make_room(spot.path)
            sock = socket_path.bind(spot.path, MODE if group is None else GROUP_MODE, group)
            return ControlSocket(sock, wish, [OwnedPath.of(spot.path)])
    except OSError as error:
        raise SocketPathError(f"{spot.path} cannot be made: {shortage(error)}") from error


def open_for(
    control: str, name: str, env: Mapping[str, str], wish: tuple[str, ...], group: int | None
) -> ControlSocket | None:
    """Return the socket that `--control` asks for: a path, `auto` or `off`.

    None if there is to be none. With `auto` there is none either where no place is to be had, which one line for
    debugging tells. Raises StartupError if there can be none at a path that was asked for.
    """
    if control == "off":
        return None
    uid, file_name = os.geteuid(), f"{name}-{os.getpid()}.sock"
    own = socket_path.own_spots(env, uid, file_name)
    faults: list[str] = []
    if control != "auto":
        path = os.path.abspath(control)
        spot = Spot(os.path.dirname(path), os.path.basename(path), private=False)
        try:
            opened = open_at(spot, uid, wish, group)
        except SocketPathError as error:
            raise StartupError(f"there is no control socket at {control} (--control): {error}") from error
        _leave_link(opened, own, uid)
        return opened
    for spot in socket_path.automatic_spots(env, uid, file_name):
        try:
            opened = open_at(spot, uid, wish, group)
        except SocketPathError as error:
            faults.append(str(error))
            continue
        if not spot.private:
            _leave_link(opened, own, uid)
        return opened
    logger.debug("there is no control socket: %s", "; ".join(faults))
    return None


def inherited(text: str, wish: tuple[str, ...]) -> ControlSocket | None:
    """Return the socket that the supervisor before this one has handed on, if it was opened for the same options.

    `text` is what it has left in VARIABLE. A socket that is for other options is closed. What cannot be understood, or
    is for another process, is ignored with a warning.
    """
    import json

    try:
        fd, inode, theirs, entries = json.loads(text)
        found = os.fstat(fd)
        if [found.st_dev, found.st_ino] != inode:
            raise ValueError
        sock = socket.socket(fileno=fd)
        paths = [OwnedPath(str(path), (int(device), int(number))) for path, device, number in entries]
    except (ValueError, TypeError, OSError):
        logger.warning("%s in the environment is ignored: it is not for this process", VARIABLE)
        return None
    sock.set_inheritable(False)
    sock.setblocking(False)
    if theirs != list(wish) or not paths:
        sock.close()
        return None
    return ControlSocket(sock, wish, paths)


def _leave_link(opened: ControlSocket, spots: list[Spot], uid: int) -> None:
    """Leave a symbolic link in a directory of the user's own, by which `corehttp list` finds the socket."""
    faults: list[str] = []
    for spot in spots:
        try:
            socket_path.make_directory(spot)
            with socket_path.locked(spot, uid):
                socket_path.sweep(spot.directory, opened.path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(spot.path)  # of a process that had the same number
                os.symlink(opened.path, spot.path)
                opened._paths.append(OwnedPath.of(spot.path))
        except SocketPathError as error:
            faults.append(str(error))
        except OSError as error:
            faults.append(f"{spot.path} cannot be made: {shortage(error)}")
        else:
            return
    logger.debug("only --socket %s leads to this service: %s", opened.path, "; ".join(faults))
