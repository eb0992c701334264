"""A connection that another process has handed over, as a worker takes it in; how it comes is told by `handover`."""

import _socket
import errno
import os
import socket
from typing import Self

from corehttp.ipc.parcel import Parcel
from corehttp.sockets.accept_queue import AcceptedSocket

_SOL_SOCKET, _SOCK_STREAM = socket.SOL_SOCKET, socket.SOCK_STREAM
_SO_TYPE, _SO_ACCEPTCONN = socket.SO_TYPE, socket.SO_ACCEPTCONN
_FAMILIES = {family.value: family for family in socket.AddressFamily}
_FAMILY_OF = _socket.socket.family.__get__  # what the kernel has said, which AcceptedSocket hides

# The most messages that are read at once. It is more than an inbox holds, and only reached if another process fills the
# inbox faster than it is emptied.
MOST = 1 << 16


class HandedSocket(AcceptedSocket):
    """A connection that another process has handed over.

    What makes the protocol of the connection takes the parcel and sets None, so that an idle connection does not keep
    it in memory.
    """

    __slots__ = ("parcel",)

    parcel: Parcel | None  # what the other process says of the connection; None once it was taken

    @classmethod
    def of_parcel(cls, parcel: Parcel) -> Self:
        """Return the connection of a parcel.

        Raises ConnectionAbortedError, and closes the descriptor, if that is no connection's.
        """
        try:
            # Python asks the kernel for the family that is not given, and looks up no enum. It takes the protocol as it
            # is given, which only matters for TCP (see `AcceptedSocket.of`).
            connection = cls(-1, _SOCK_STREAM, socket.IPPROTO_TCP, parcel.descriptor)
        except OSError as error:
            os.close(parcel.descriptor)
            raise no_connection() from error
        family = _FAMILIES.get(_FAMILY_OF(connection))
        kind = connection.getsockopt(_SOL_SOCKET, _SO_TYPE)
        if family is None or kind != _SOCK_STREAM or connection.getsockopt(_SOL_SOCKET, _SO_ACCEPTCONN):
            connection.close()
            raise no_connection()
        connection.family, connection.type = family, _SOCK_STREAM
        connection.endpoint, connection.parcel = parcel.endpoint, parcel
        return connection


def no_connection() -> ConnectionAbortedError:
    """Return the error for a message that is no connection."""
    return ConnectionAbortedError(errno.ECONNABORTED, "a message without a connection")
