"""Connected sockets that workers pass each other: each worker has an inbox for them (unix(7), SCM_RIGHTS).

What comes in is input: whatever is no connection is closed and passed over.
"""

import array
import errno
import math
import os
import select
import socket
import struct
import sys

from corehttp.sockets.accept_queue import AcceptedSocket

_DUE = struct.Struct("d")
_FD = array.array("i", [0]).itemsize
_SPACE = socket.CMSG_SPACE(_FD)
# Whole messages, in order; where there is no SOCK_SEQPACKET for unix sockets (macOS), datagrams do the same.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_SHUT = select.POLLHUP | getattr(select, "POLLRDHUP", 0)

MOST = 1 << 16  # messages that are read at once, lest who fills it meanwhile keeps us; no inbox holds so many


def pair() -> tuple[socket.socket, socket.socket]:
    """A new inbox: the end to read and the end to write, for as long as it is to exist."""
    reader, writer = socket.socketpair(socket.AF_UNIX, _KIND)
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer


def put(writer: socket.socket, fd: int, keep_until: float) -> bool:
    """Put a copy of the connection `fd` into an inbox; False if it is full or gone.

    `keep_until`: the end of its keep-alive time in seconds, monotonic (clock_gettime(2): the same in all processes).
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
    try:
        writer.sendmsg([_DUE.pack(keep_until)], rights, socket.MSG_DONTWAIT)
    except OSError:
        return False
    return True


def has_room(writer: socket.socket) -> bool:
    """Whether a connection can be put into an inbox; a quarter of it being full counts as none (unix(7), poll(2))."""
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def is_shut(reader: socket.socket) -> bool:
    """Whether nothing will arrive any more: whoever has an end of an inbox can shut it down for all (shutdown(2))."""
    poll = select.poll()
    poll.register(reader, _SHUT)
    return bool(poll.poll(0))


def forward(reader: socket.socket, writer: socket.socket) -> int:
    """Put what one inbox holds into another, as far as there is room; answers how many connections."""
    moved = 0
    for _ in range(MOST):
        try:
            os.close(os.dup(reader.fileno()))  # as in `InboxQueue.take`
            keep_until, fd = _read(reader, socket.MSG_PEEK)
        except ConnectionAbortedError:
            sent = False
        except (OSError, EOFError):
            break
        else:
            sent = put(writer, fd, keep_until)
            os.close(fd)
            if not sent:
                break
        try:
            os.close(_read(reader)[1])
        except ConnectionAbortedError:
            continue
        except (OSError, EOFError):
            break
        moved += sent
    return moved


class InboxQueue:
    """The connections in an inbox, in the way of `listeners.AcceptQueue`; `reader` is its own from now on."""

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader
        self._poll = select.poll()
        self._poll.register(reader, select.POLLIN)

    def fileno(self) -> int:
        return self._reader.fileno()

    def waits(self) -> bool:
        """Whether there is a connection."""
        return bool(self._poll.poll(0))

    def take(self) -> AcceptedSocket:
        """The first one; raises BlockingIOError if there is none, OSError (EMFILE) if no descriptor is free for it.

        Raises ConnectionAbortedError if the first message is no connection; then that is gone. Raises EOFError if the
        inbox was shut down.
        """
        # Were none free, the kernel would close the connection rather than leave it here.
        os.close(os.dup(self._reader.fileno()))
        keep_until, fd = _read(self._reader)
        try:
            family = _family(fd)
        except OSError as error:
            os.close(fd)
            raise _no_connection() from error
        protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
        connection = AcceptedSocket(family, socket.SOCK_STREAM, protocol, fd)
        connection.family = family
        connection.type = socket.SOCK_STREAM
        connection.keep_until = keep_until
        return connection

    def close(self) -> None:
        self._reader.close()


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


def _read(reader: socket.socket, flags: int = 0) -> tuple[float, int]:
    data, ancillary, _, _ = reader.recvmsg(_DUE.size + 1, _SPACE, flags | _CLOEXEC | socket.MSG_DONTWAIT)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD])
    keep_until = _DUE.unpack(data)[0] if len(data) == _DUE.size else math.nan
    if len(fds) == 1 and math.isfinite(keep_until):
        return keep_until, fds[0]
    for fd in fds:
        os.close(fd)
    if not data and is_shut(reader):
        raise EOFError("the inbox was shut down")
    raise _no_connection()  # perhaps the kernel could not deliver it


def _no_connection() -> ConnectionAbortedError:
    return ConnectionAbortedError(errno.ECONNABORTED, "a message without a connection")
