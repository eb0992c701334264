"""Connections that processes of one service hand to each other: a worker has an inbox for them (unix(7), SCM_RIGHTS).

What comes in is input: whatever is no connection is closed and passed over.
"""

import array
import errno
import logging
import os
import select
import socket
import sys

from corehttp.ipc import parcel
from corehttp.ipc.parcel import Parcel
from corehttp.sockets.accept_queue import AcceptedSocket

logger = logging.getLogger("corehttp.error")

_FD = array.array("i", [0]).itemsize
_SPACE = socket.CMSG_SPACE(_FD)
# Whole messages, in order; where there is no SOCK_SEQPACKET for unix sockets (macOS), datagrams do the same.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_SHUT = select.POLLHUP | getattr(select, "POLLRDHUP", 0)

# Messages that are read at once: more than an inbox holds, and an end where another process fills it meanwhile.
MOST = 1 << 16


def pair() -> tuple[socket.socket, socket.socket]:
    """Make an inbox; returns the end to read and the end to write. It exists as long as both are open somewhere."""
    reader, writer = socket.socketpair(socket.AF_UNIX, _KIND)
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer


def put(writer: socket.socket, sent: Parcel) -> bool:
    """Put a copy of a connection into an inbox; returns False if the inbox is full or gone.

    The caller keeps its own descriptor and closes it. Raises ValueError for a parcel that is beyond the limits.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sent.descriptor]))]
    try:
        writer.sendmsg([parcel.encode(sent)], rights, socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def has_room(writer: socket.socket) -> bool:
    """Whether a connection can be put into an inbox; one that is a quarter full counts as full (unix(7), poll(2))."""
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def is_shut(reader: socket.socket) -> bool:
    """Whether nothing can arrive any more: every process that has an end of an inbox can shut it down (shutdown(2))."""
    poll = select.poll()
    poll.register(reader, _SHUT)
    return bool(poll.poll(0))


def forward(reader: socket.socket, writer: socket.socket) -> int:
    """Put what one inbox holds into another, as far as there is room; returns how many connections were moved."""
    moved = 0
    for _ in range(MOST):
        try:
            os.close(os.dup(reader.fileno()))  # as in `InboxQueue.take`
            found = _read(reader, socket.MSG_PEEK)
        except ConnectionAbortedError:
            sent = False
        except (OSError, EOFError):
            break
        else:
            sent = put(writer, found)
            os.close(found.descriptor)
            if not sent:
                break
        try:
            os.close(_read(reader).descriptor)
        except ConnectionAbortedError:
            continue
        except (OSError, EOFError):
            break
        moved += sent
    return moved


class HandedSocket(AcceptedSocket):
    """A connection that another process has handed over.

    `parcel` says what is to be known of it. Whoever makes the connection's protocol takes it out and sets None, so that
    an idle connection does not keep it.
    """

    __slots__ = ("parcel",)

    parcel: Parcel | None


class InboxQueue:
    """The connections in an inbox, as `AcceptQueue` has those of a listening socket; it owns `reader` and closes it."""

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader
        self._warned = False  # whether a message that was no connection has been logged
        self._poll = select.poll()
        self._poll.register(reader, select.POLLIN)

    def fileno(self) -> int:
        return self._reader.fileno()

    def waits(self) -> bool:
        """Whether there is a connection, or the inbox was shut down."""
        return bool(self._poll.poll(0))

    def take(self) -> HandedSocket:
        """Take the first connection out of the inbox.

        Raises BlockingIOError if there is none, OSError (EMFILE) if no descriptor is free for it, and then it stays;
        ConnectionAbortedError if the first message is no connection, and then the message is gone; EOFError if the
        inbox was shut down.
        """
        # If no descriptor were free, the kernel would drop the connection instead of leaving it in the inbox.
        os.close(os.dup(self._reader.fileno()))
        try:
            found, family = self._read()
        except ConnectionAbortedError:
            if not self._warned:
                self._warned = True
                logger.warning("a process has put something else than a connection into an inbox: it is closed")
            raise
        protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
        connection = HandedSocket(family, socket.SOCK_STREAM, protocol, found.descriptor)
        connection.family = family
        connection.type = socket.SOCK_STREAM
        connection.parcel = found
        return connection

    def close(self) -> None:
        self._reader.close()

    def _read(self) -> tuple[Parcel, socket.AddressFamily]:
        found = _read(self._reader)
        try:
            return found, _family(found.descriptor)
        except OSError as error:
            os.close(found.descriptor)
            raise _no_connection() from error


def _family(fd: int) -> socket.AddressFamily:
    """The family of a stream socket that is connected; raises OSError for anything else."""
    sock = socket.socket(fileno=fd)
    try:
        if sock.type != socket.SOCK_STREAM or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError
        return socket.AddressFamily(sock.family)
    except ValueError as error:
        raise OSError from error
    finally:
        sock.detach()


def _read(reader: socket.socket, flags: int = 0) -> Parcel:
    """Read one message; raises as `InboxQueue.take` does. Descriptors that come with a wrong message are closed."""
    data, ancillary, _, _ = reader.recvmsg(parcel.LIMIT + 1, _SPACE, flags | _CLOEXEC | socket.MSG_DONTWAIT)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD])
    try:
        [descriptor] = fds  # none: perhaps the kernel could not deliver it
        return parcel.decode(data, descriptor)
    except ValueError as error:
        for fd in fds:
            os.close(fd)
        if not data and is_shut(reader):
            raise EOFError("the inbox was shut down") from None
        raise _no_connection() from error


def _no_connection() -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, "a message without a connection")
