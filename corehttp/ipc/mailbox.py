"""Mailboxes: through its own each worker is given channels by others, and messages by the supervisor (unix(7)).

A mailbox is a pair of sockets that deliver whole messages in their order. The supervisor makes it before its worker,
and lets those that start later have the end to write.
"""

import array
import contextlib
import os
import select
import socket
import sys

from corehttp.ipc.bus_frames import FRAME_LIMIT

_FD = array.array("i", [0]).itemsize
_SPACE = socket.CMSG_SPACE(_FD)
# Where there is no SOCK_SEQPACKET (macOS), datagrams do the same.
_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def message_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that deliver whole messages in their order, and never wait. Raises OSError."""
    one, other = socket.socketpair(socket.AF_UNIX, _KIND)
    one.setblocking(False)
    other.setblocking(False)
    return one, other


class MailboxWriter:
    """The end of a mailbox into which messages are put."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """The number of the descriptor; -1 once this end is closed."""
        return self._sock.fileno()

    def put(self, message: bytes, fd: int | None = None) -> bool:
        """Put a message in, with a copy of a descriptor if one is given. Does not wait.

        Returns False if there is no room, or nobody has the other end any more.
        """
        rights = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        try:
            self._sock.sendmsg([message], rights, socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close this end. A second call does nothing."""
        self._sock.close()


class Mailbox:
    """The end of a mailbox from which messages are taken. What somebody has put in is input like any other."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def fileno(self) -> int:
        """The number of the descriptor, which can be read when there is a message; -1 once this end is closed."""
        return self._sock.fileno()

    def has_message(self) -> bool:
        """Whether there is a message to take, or the other end is closed everywhere."""
        return bool(self._poll.poll(0))

    def take(self) -> tuple[bytes, int | None]:
        """Take the first message out, with the descriptor that has come with it, if one has.

        Raises BlockingIOError if there is none, EOFError if nobody can put one in any more, and another OSError if it
        cannot be read.
        """
        message, ancillary, _, _ = self._sock.recvmsg(FRAME_LIMIT + 1, _SPACE, _CLOEXEC | socket.MSG_DONTWAIT)
        fds = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % _FD])
        for surplus in fds[1:]:
            os.close(surplus)
        if not message and not fds and self._is_closed():
            raise EOFError
        return message, fds[0] if fds else None

    def _is_closed(self) -> bool:
        """Whether the other end is closed everywhere."""
        return any(events & select.POLLHUP for _, events in self._poll.poll(0))

    def close(self) -> None:
        """Close this end, with all that is in the mailbox. A second call does nothing."""
        self._sock.close()


class Mail:
    """What a worker was given to exchange messages with others: its own mailbox, and those of workers before it."""

    def __init__(self, mailbox: Mailbox, others: list[MailboxWriter]) -> None:
        self.mailbox = mailbox
        self.others = others  # empty once they were used

    def take_others(self) -> list[MailboxWriter]:
        """Return the mailboxes of other workers, which are the caller's from now on."""
        taken, self.others = self.others, []
        return taken

    def descriptors(self) -> list[int]:
        """Return the descriptors of all mailboxes."""
        return [self.mailbox.fileno(), *(other.fileno() for other in self.others)]

    def close(self) -> None:
        """Close all mailboxes. A second call does nothing."""
        self.mailbox.close()
        for other in self.take_others():
            other.close()


def make_mailbox() -> tuple[socket.socket, MailboxWriter]:
    """Make a mailbox, and return the end for its worker and the end for others. Raises OSError."""
    own, others = message_pair()
    return own, MailboxWriter(others)


def adopt(fds: list[int]) -> Mail:
    """Return the mailboxes that this process has received as descriptors: its own first, then those of others."""
    own, *others = (socket.socket(fileno=fd) for fd in fds)
    return Mail(Mailbox(own), [MailboxWriter(other) for other in others])


def adopt_channel(fd: int | None) -> socket.socket | None:
    """Return the socket of `message_pair` that has come with a message; None for anything else, which is closed."""
    if fd is None:
        return None
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        with contextlib.suppress(OSError):
            os.close(fd)
        return None
    if sock.family != socket.AF_UNIX or sock.type != _KIND:
        sock.close()
        return None
    sock.setblocking(False)
    return sock
