"""The listening sockets of the admin listener: they outlive the admin children, and are handed on at an upgrade."""

import base64
import contextlib
import logging
import os
import socket
from collections.abc import Sequence

from corehttp.errors import StartupError
from corehttp.ipc.codec import dump, load
from corehttp.option_kinds import split_address
from corehttp.privileges import Privileged
from corehttp.shortage import shortage
from corehttp.sockets import listening, unix_path
from corehttp.sockets.endpoint import Endpoint, EndpointKind, ListeningSocket

logger = logging.getLogger("corehttp.supervisor")

VARIABLE = "COREHTTP_ADMIN_SOCKETS"  # in the environment of a supervisor that takes the place of another one
PERMISSIONS = "600"  # of a unix socket: only the service's own user and root may connect


class AdminSockets:
    """The sockets that listen at `address`, one of `--admin`. `lent`: whether another supervisor has them, too."""

    def __init__(self, address: str, sockets: Sequence[ListeningSocket], *, lent: bool) -> None:
        self._address = address
        self._sockets = sockets
        self._lent = lent

    @property
    def urls(self) -> str:
        """Where clients find the admin listener, for a log line."""
        return ", ".join(map(listening.url, self._sockets))

    def fds(self) -> list[int]:
        """The descriptors."""
        return [sock.fileno() for sock in self._sockets]

    def lend(self, lent: bool) -> None:
        """Record whether another supervisor has the sockets too. While it has, the path of a unix socket is its."""
        self._lent = lent

    def bequeath(self) -> tuple[dict[str, str], list[int]]:
        """Return what a successor needs to adopt the sockets: a variable of its environment, and descriptors."""
        text = base64.b64encode(dump((self._address, tuple(self.fds()), _inodes(self.fds())))).decode()
        return {VARIABLE: text}, self.fds()

    def close(self) -> None:
        """Close the sockets, and remove the path of a unix socket unless another supervisor listens there."""
        paths = [sock.getsockname() for sock in self._sockets if sock.fileno() >= 0 and sock.family == socket.AF_UNIX]
        for sock in self._sockets:
            sock.close()
        for path in paths:
            if not self._lent:
                unix_path.forget(path)
            else:
                with contextlib.suppress(StartupError, OSError):
                    unix_path.make_room(path)  # nobody listens there if the successor has another address


def open_at(address: str, privileged: Privileged = contextlib.nullcontext) -> AdminSockets:
    """Return new sockets at an address of `--admin`; a port is bound in the context `privileged()`.

    Raises StartupError, which says what is in the way.
    """
    place = split_address(address)
    if isinstance(place, str):
        endpoint = Endpoint(EndpointKind.UNIX, path=place, permissions=PERMISSIONS)
    else:
        endpoint = Endpoint(EndpointKind.TCP, host=place[0], port=place[1])
    try:
        [sockets] = listening.bind([endpoint], 1, reuseport=False, privileged=privileged)
    except StartupError as error:
        cause = shortage(error.__cause__) if isinstance(error.__cause__, OSError) else str(error)
        raise StartupError(f"there is no admin listener at {address} (--admin): {cause}") from error
    return AdminSockets(address, sockets, lent=False)


def inherited(text: str, address: str | None) -> AdminSockets | None:
    """Return the sockets that the supervisor before this one has handed on, if they are for the same address.

    `text` is what it has left in VARIABLE. Sockets for another address are closed. What cannot be understood, or is for
    another process, is ignored with a warning.
    """
    try:
        content: object = load(base64.b64decode(text, validate=True))
        if not isinstance(content, tuple) or len(content) != 3 or not isinstance(content[1], tuple):
            raise ValueError
        theirs, fds, inodes = content
        if not all(type(fd) is int and fd > 2 for fd in fds) or _inodes(fds) != inodes:
            raise ValueError
        sockets = [ListeningSocket(fileno=fd) for fd in fds]
    except (ValueError, TypeError, OSError, OverflowError):
        logger.warning("%s in the environment is ignored: it is not for this process", VARIABLE)
        return None
    for sock in sockets:
        sock.set_inheritable(False)
        sock.setblocking(False)
    if theirs != address:
        for sock in sockets:
            sock.close()
        return None
    for sock in sockets:
        unix_path.take_over(sock)
    return AdminSockets(str(theirs), sockets, lent=True)


def _inodes(fds: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return the device and inode of each descriptor. Raises OSError if one is not open."""
    stats = [os.fstat(fd) for fd in fds]
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)
