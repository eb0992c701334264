"""Hand connections from one process of a service to another: each worker has an inbox for them (unix(7), SCM_RIGHTS).

What comes in is input: a message that is no connection is dropped, and the descriptors that came with it are closed.
"""

import fcntl
import logging
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence

from corehttp.ipc import parcel
from corehttp.ipc.handed_socket import MOST, HandedSocket, no_connection
from corehttp.ipc.memory_file import memory_file, read_file
from corehttp.ipc.parcel import Parcel

logger = logging.getLogger("corehttp.error")

_FORM = struct.Struct("@i")  # a descriptor, as messages carry it
_FD = _FORM.size
_pack, _unpack = _FORM.pack, _FORM.unpack
_SOL_SOCKET, _SCM_RIGHTS = socket.SOL_SOCKET, socket.SCM_RIGHTS
_SPACE = socket.CMSG_SPACE(2 * _FD)
# These sockets deliver whole messages in order. Where there is no SOCK_SEQPACKET (macOS), datagrams do the same.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
# Plain numbers: members of an enum take 0.3 us to combine, of the 7 that it takes to receive a connection
# (`benchmarks.spreading`).
_SEND = int(socket.MSG_DONTWAIT)
_RECEIVE = int(socket.MSG_DONTWAIT) | int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))
_PEEK = int(socket.MSG_PEEK)
_SHUT = select.POLLHUP | getattr(select, "POLLRDHUP", 0)

MESSAGE = 768  # bytes of the kernel's memory for one small message, with its head (SKB_TRUESIZE on 64-bit systems)
_NOTHING = bytes(4)
_AHEAD = 64  # how many connections in a row may come after one look whether descriptors are free


def pair() -> tuple[socket.socket, socket.socket]:
    """Make an inbox, and return the end to read and the end to write. Raises OSError.

    The inbox exists as long as each end is open in some process.
    """
    reader, writer = socket.socketpair(socket.AF_UNIX, _KIND)
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer


def put(writer: socket.socket, sent: Parcel) -> bool:
    """Put a copy of a connection into an inbox. Returns False if the inbox is full or shut down. Does not wait.

    The caller closes its own descriptor. Raises ValueError for a parcel that is beyond the limits of `parcel.encode`.
    """
    if len(sent.held) > parcel.INLINE:
        return _put_with_file(writer, sent)
    rights = [(_SOL_SOCKET, _SCM_RIGHTS, _pack(sent.descriptor))]
    try:
        writer.sendmsg([parcel.encode(sent)], rights, _SEND)
    except OSError:
        return False
    return True


def _put_with_file(writer: socket.socket, sent: Parcel) -> bool:
    """Do what `put` does for a parcel whose `held` goes in a file."""
    content = parcel.encode(sent)
    try:
        with memory_file(sent.held) as file:
            writer.sendmsg(
                [content], [(_SOL_SOCKET, _SCM_RIGHTS, _pack(sent.descriptor) + _pack(file.fileno()))], _SEND
            )
    except OSError:
        return False
    return True


def has_room(writer: socket.socket) -> bool:
    """Whether a connection can be put into an inbox. The kernel counts one that is a quarter full as full (unix(7))."""
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def waiting(writer: socket.socket) -> int:
    """Return about how many connections wait in an inbox; 0 where the kernel does not tell.

    Linux tells how much memory the messages take that were not read yet (SIOCOUTQ of a unix socket, `unix_ioctl` in
    net/unix/af_unix.c), and a parcel without held bytes takes MESSAGE bytes. One with such bytes counts as more.
    """
    if sys.platform != "linux":
        return 0
    try:
        taken = fcntl.ioctl(writer.fileno(), termios.TIOCOUTQ, _NOTHING)
    except OSError:
        return 0
    return -(-int.from_bytes(taken, sys.byteorder) // MESSAGE)


def is_shut(reader: socket.socket) -> bool:
    """Whether an inbox was shut down (shutdown(2)), as every process can that has one of its ends."""
    poll = select.poll()
    poll.register(reader, _SHUT)
    return bool(poll.poll(0))


def forward(reader: socket.socket, writer: socket.socket) -> int:
    """Move what one inbox holds into another, as far as there is room. Returns how many connections were moved."""
    moved = 0
    for _ in range(MOST):
        try:
            _require_descriptors(reader)
            found = _read(reader, _PEEK)
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


class InboxQueue:
    """The connections in an inbox, with the methods of `AcceptQueue`. It owns `reader` and closes it."""

    def __init__(self, reader: socket.socket) -> None:
        self._reader = reader
        self._free = 0  # a free descriptor after which there is another one; 0 if none is known
        self._last = 0  # the descriptor of the connection that came last
        self._warned = False  # whether a message that was no connection was logged
        self._poll = select.poll()
        self._poll.register(reader, select.POLLIN)

    def fileno(self) -> int:
        """The descriptor that can be read when there is a connection, or the inbox was shut down."""
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
        return self.taking()()

    def taking(self, descriptors: bool = False) -> Callable[[], HandedSocket]:
        """Return what does as `take`, to be called several times in a row, while nothing else opens many files.

        `descriptors` changes nothing: it is there for the same method of `AcceptQueue`.
        """
        self._free = 0
        return self._take_next

    def _take_next(self) -> HandedSocket:
        """Do what `take` does, with what is known of free descriptors.

        To look for them takes four system calls, 1.2 us of the 7 that it takes to receive a connection
        (`benchmarks.spreading --only cost`). What comes gets the least number that is free (open(2)), so those that
        were found stay free until one as high has come.
        """
        if not self._free:
            self._free = _find_free(self._reader, self._last + _AHEAD)
        try:
            found = _read(self._reader)
            self._last = found.descriptor
            if self._last >= self._free:
                self._free = 0
            return HandedSocket.of_parcel(found)
        except ConnectionAbortedError:
            if not self._warned:
                self._warned = True
                logger.warning("a process has put something else than a connection into an inbox: it is closed")
            raise

    def close(self) -> None:
        """Close the end of the inbox from which connections are read."""
        self._reader.close()


def _find_free(reader: socket.socket, least: int) -> int:
    """Return a free descriptor after which there is another one, from `least` on if there are two.

    Raises OSError (EMFILE) if this process has not two, for a connection and for a file with it. Without them the
    kernel would drop what is read, instead of leaving it in the inbox.
    """
    try:
        return _require_descriptors(reader, least)
    except OSError:
        return _require_descriptors(reader)


def _require_descriptors(reader: socket.socket, least: int = 0) -> int:
    """Return the first of the free descriptors from `least` on. Raises OSError if there are not two."""
    fd = reader.fileno()
    first = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
    try:
        os.close(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first))
    finally:
        os.close(first)
    return first


def _read(reader: socket.socket, flags: int = 0) -> Parcel:
    """Read one message, and return its parcel. Raises as `InboxQueue.take` does.

    The descriptors that came with a message which is no connection are closed.
    """
    data, ancillary, _, _ = reader.recvmsg(parcel.LIMIT + 1, _SPACE, flags | _RECEIVE)
    fds = _descriptors(ancillary)
    try:
        if len(fds) == 2:
            found = parcel.decode(data, fds[0], read_file(fds[1], parcel.HELD_LIMIT))
            os.close(fds[1])
            return found
        [descriptor] = fds  # raises ValueError also if the kernel could not deliver the descriptor
        return parcel.decode(data, descriptor)
    except (ValueError, OSError) as error:
        for fd in fds:
            os.close(fd)
        if not data and is_shut(reader):
            raise EOFError("the inbox was shut down") from None
        raise no_connection() from error


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, ...]:
    """Return the descriptors that came with a message."""
    found: tuple[int, ...] = ()
    for level, kind, content in ancillary:
        if level == _SOL_SOCKET and kind == _SCM_RIGHTS:
            count = len(content) // _FD
            found += _unpack(content) if len(content) == _FD else struct.unpack_from(f"@{count}i", content)
    return found
