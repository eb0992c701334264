"""Connected sockets that workers pass each other: each worker has an inbox for them (unix(7), SCM_RIGHTS)."""

import array
import os
import select
import socket
import struct
import sys

from corehttp.listeners import Connection

_DUE = struct.Struct("d")
_FD = array.array("i", [0]).itemsize
_SPACE = socket.CMSG_SPACE(_FD)
# Whole messages, in order; where there is no SOCK_SEQPACKET for unix sockets (macOS), datagrams do the same.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


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


def forward(reader: socket.socket, writer: socket.socket) -> int:
    """Put what one inbox holds into another, as far as there is room; answers how many connections."""
    moved = 0
    while True:
        try:
            data, fd = _read(reader, socket.MSG_PEEK)
        except OSError:
            return moved
        sent = put(writer, fd, *_DUE.unpack(data))
        os.close(fd)
        if not sent:
            return moved
        os.close(_read(reader)[1])
        moved += 1


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

    def take(self) -> Connection:
        """The first one; raises BlockingIOError if there is none, OSError (EMFILE) if no descriptor is free for it."""
        # Were none free, the kernel would close the connection rather than leave it here.
        os.close(os.dup(self._reader.fileno()))
        data, fd = _read(self._reader)
        (keep_until,) = _DUE.unpack(data)
        with_family = socket.socket(fileno=fd)
        family = with_family.family
        with_family.detach()
        protocol = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP
        connection = Connection(family, socket.SOCK_STREAM, protocol, fd)
        connection.family = family
        connection.type = socket.SOCK_STREAM
        connection.keep_until = keep_until
        return connection

    def close(self) -> None:
        self._reader.close()


def _read(reader: socket.socket, flags: int = 0) -> tuple[bytes, int]:
    data, ancillary, _, _ = reader.recvmsg(_DUE.size, _SPACE, flags | _CLOEXEC | socket.MSG_DONTWAIT)
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return data, array.array("i", content[:_FD])[0]
    raise ConnectionAbortedError("a message without a connection")  # which the kernel could not deliver
