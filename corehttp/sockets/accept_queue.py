"""The connections that wait on a listening socket: take them one by one, or count them."""

import errno
import select
import socket
import struct
import sys

# The connection has failed before it was accepted, and is gone (accept(2), "Error handling").
PEER_FAILED = frozenset(
    number
    for number, name in errno.errorcode.items()
    if name
    in {"ECONNABORTED", "EPROTO", "ENOPROTOOPT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH", "ENONET"}
)


class AcceptedSocket(socket.socket):
    """An accepted connection; its family and type are plain attributes.

    An event loop asks for them several times, and a socket's properties look each up in an enum: that is a third of
    what connecting it to a transport costs.
    """

    __slots__ = ("family", "type")

    family: socket.AddressFamily
    type: socket.SocketKind


class AcceptQueue:
    """The connections that wait on a listening socket; the socket belongs to this object and is closed with it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._family = sock.family
        # asyncio switches off Nagle's algorithm only where it finds this.
        self._protocol = 0 if sock.family == socket.AF_UNIX else socket.IPPROTO_TCP
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def fileno(self) -> int:
        return self._sock.fileno()

    def waits(self) -> bool:
        """Whether a connection waits. An accept(2) in vain takes eight times as long: the kernel makes a socket."""
        return bool(self._poll.poll(0))

    def take(self) -> AcceptedSocket:
        """Accept the first connection that waits; raises OSError as accept(2) does."""
        fd, _ = self._sock._accept()  # type: ignore[attr-defined]  # what socket.accept() calls before it makes a plain socket
        connection = AcceptedSocket(self._family, socket.SOCK_STREAM, self._protocol, fd)
        connection.family = self._family
        connection.type = socket.SOCK_STREAM
        return connection

    def close(self) -> None:
        self._sock.close()


def count_waiting(sock: socket.socket) -> int:
    """How many connections wait on a listening socket to be accepted; 0 where the kernel does not tell.

    Linux says so in the field tcpi_unacked of TCP_INFO (tcp_diag does the same with it).
    """
    if sys.platform != "linux" or sock.family == socket.AF_UNIX:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, 24)[0]) if len(info) >= 28 else 0
