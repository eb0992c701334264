"""The connections that wait on a listening socket: take them one by one, count them, or refuse them all."""

import contextlib
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Self

from corehttp.sockets.endpoint import ListeningSocket
from corehttp.windows import ACCEPT_RESET, AF_UNIX, MSG_DONTWAIT, POLLHUP, POLLIN, poll

# The errors of accept(2) for a connection that has failed before it was accepted, and is gone ("Error handling" there).
PEER_FAILED = ACCEPT_RESET | frozenset(
    getattr(errno, name)
    for name in [
        "ECONNABORTED",
        "EPROTO",
        "ENOPROTOOPT",
        "ENETDOWN",
        "ENETUNREACH",
        "EHOSTDOWN",
        "EHOSTUNREACH",
        "ENONET",
    ]
    if hasattr(errno, name)
)

MOST_REFUSED = 65535  # the most connections that are refused at once: as many as `backlog` lets wait

# The answer to a request that no worker is going to read (RFC 9110, 15.6.4).
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"


class AcceptedSocket(socket.socket):
    """An accepted connection, made by `of`.

    Family and type are plain attributes since an event loop asks for them several times: the properties of a socket
    look each up in an enum, which is a third of what connecting it to a transport costs.
    """

    __slots__ = ("endpoint", "family", "type")

    endpoint: int  # the number of the endpoint through which the client has come
    family: socket.AddressFamily
    type: socket.SocketKind

    @classmethod
    def of(cls, descriptor: int, family: socket.AddressFamily, endpoint: int) -> Self:
        """Return the connection with this descriptor, whose client has come through the endpoint of this number."""
        # asyncio switches off Nagle's algorithm only where a socket says that its protocol is TCP.
        protocol = 0 if family == AF_UNIX else socket.IPPROTO_TCP
        connection = cls(family, socket.SOCK_STREAM, protocol, descriptor)
        connection.endpoint = endpoint
        connection.family = family
        connection.type = socket.SOCK_STREAM
        return connection


class AcceptedDescriptor:
    """An accepted connection as uvloop takes it: with what `connect_accepted_socket` asks of a socket, and no more.

    For a connection with one request that takes 1.5 us of 50 less than an `AcceptedSocket`, for which Python makes a
    system call (`benchmarks.peers --workload close`). uvloop closes the descriptor itself, and then calls `close`
    (`UVSocketHandle._close` of uvloop).
    """

    __slots__ = ("_descriptor", "endpoint", "family", "is_ours", "type")

    def __init__(self, descriptor: int, family: socket.AddressFamily, endpoint: int) -> None:
        self._descriptor = descriptor
        self.family = family
        self.type = socket.SOCK_STREAM
        self.endpoint = endpoint  # the number of the endpoint through which the client has come
        self.is_ours = True  # whether `close` closes the descriptor; not once the event loop has it

    def fileno(self) -> int:
        """The descriptor of the connection."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor, unless the event loop has it or it is closed already."""
        if self.is_ours:
            self.is_ours = False
            os.close(self._descriptor)


Accepted = AcceptedSocket | AcceptedDescriptor


class AcceptQueue:
    """The connections that wait on a listening socket. The socket belongs to this object and is closed with it.

    A socket that is no `ListeningSocket` counts as one of the first endpoint.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._endpoint = sock.endpoint if isinstance(sock, ListeningSocket) else 0
        self.is_temporary = isinstance(sock, ListeningSocket) and sock.is_temporary  # a reload has the socket shut
        self._family = sock.family
        # What socket.accept() calls before it makes a plain socket.
        self._accept: Callable[[], tuple[int, object]] = sock._accept  # type: ignore[attr-defined]
        self._poll = poll()
        self._poll.register(sock, POLLIN)

    def fileno(self) -> int:
        """The descriptor that can be read when a connection waits."""
        return self._sock.fileno()

    def waits(self) -> bool:
        """Whether a connection waits. An accept(2) in vain takes eight times as long, since it makes a socket first."""
        return bool(self._poll.poll(0))

    def take(self) -> AcceptedSocket:
        """Accept the first connection that waits. Raises OSError as accept(2) does, EOFError if the socket was shut."""
        try:
            fd, _ = self._accept()
        except OSError as error:
            self._check_open(error)
            raise
        return AcceptedSocket.of(fd, self._family, self._endpoint)

    def taking(self, descriptors: bool = False) -> "Callable[[], Accepted]":
        """Return what takes connections one after the other: `take`, or `take_descriptor` if `descriptors` says so."""
        return self.take_descriptor if descriptors else self.take

    def take_descriptor(self) -> AcceptedDescriptor:
        """Accept the first connection that waits, for uvloop. Raises what `take` raises."""
        try:
            fd, _ = self._accept()
        except OSError as error:
            self._check_open(error)
            raise
        return AcceptedDescriptor(fd, self._family, self._endpoint)

    def _check_open(self, error: OSError) -> None:
        """Raise EOFError if accept(2) has failed because a process has shut the socket: it would be readable for good.

        A unix socket that was shut fails as one does on which nobody waits (unix_accept in net/unix/af_unix.c).
        """
        may_be_shut = error.errno in (errno.EAGAIN, errno.EINVAL)
        if may_be_shut and any(event & POLLHUP for _, event in self._poll.poll(0)):
            raise EOFError(os.strerror(errno.EINVAL)) from error

    def close(self) -> None:
        """Close the listening socket."""
        self._sock.close()


def refuse_waiting(sock: socket.socket) -> None:
    """Answer the requests of the clients that wait on a listening socket with 503, and close all their connections.

    To be called before the socket is closed, which resets every connection that waits there. A client that has sent
    nothing gets no answer: its connection just ends. Waits for no client. If descriptors run out, the rest is left.
    """
    queue = AcceptQueue(sock)
    for _ in range(MOST_REFUSED):
        if not queue.waits():
            return
        try:
            connection = queue.take()
        except EOFError:
            return
        except OSError as error:
            if isinstance(error, ConnectionError) or error.errno in PEER_FAILED:
                continue
            return
        with connection:
            _refuse(connection)


def _refuse(connection: socket.socket) -> None:
    # What has come must be read: closing a connection with unread bytes resets it.
    with contextlib.suppress(OSError):
        if connection.recv(65536, MSG_DONTWAIT):
            connection.send(_UNAVAILABLE, MSG_DONTWAIT)


def count_waiting(sock: socket.socket) -> int:
    """Return how many connections wait on a listening socket to be accepted; 0 where the kernel does not tell.

    Linux has the number in the field tcpi_unacked of TCP_INFO (tcp_get_info in net/ipv4/tcp.c).
    """
    if sys.platform != "linux" or sock.family == AF_UNIX:
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 28)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, 24)[0]) if len(info) >= 28 else 0
