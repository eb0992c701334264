"""The channel between the supervisor and a child: messages both ways, and the end of one process tells the other."""

import array
import collections
import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
from collections.abc import Sequence
from types import FrameType
from typing import Generic, TypeVar

from corehttp.ipc.message_stream import Parser, encode
from corehttp.ipc.messages import ALLOWED_OF_CHILD, FROM_CHILD, FROM_SUPERVISOR, FromChild, FromSupervisor

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # has the kernel keep received descriptors from programs started here
_PIECE = 65536  # the most bytes that are read at once
FDS_AT_ONCE = 253  # how many descriptors one message can carry (unix(7), SCM_RIGHTS)
QUEUE = 32  # the most messages that wait for an end that does not read; with one more the channel is given up
Sent = TypeVar("Sent", bound=FromSupervisor | FromChild)
Received = TypeVar("Received", bound=FromSupervisor | FromChild)


class Channel(Generic[Sent, Received]):
    """One end of a channel, which is a stream socket. It sends and receives the messages of the module `messages`.

    No call on the supervisor's end waits. It asks for no descriptors, so that the kernel closes those that a child
    sends. What cannot be sent at once waits in a queue: the rest of a message that was begun, and whole messages behind
    it. So the other end gets every message whole and in order, or the channel is lost.

    The child's end waits when it sends, until the supervisor has read enough. `receive` never waits.
    """

    def __init__(self, sock: socket.socket, parser: Parser[Received], *, takes_fds: bool) -> None:
        self._sock = sock
        self._parser = parser
        self._takes_fds = takes_fds
        self._fds: list[int] = []  # descriptors that have come in, and that `take_fds` has not returned yet
        # What waits to be sent: the bytes of a message, with copies of its descriptors.
        self._queue: collections.deque[tuple[bytes, list[int]]] = collections.deque()
        # Why nothing can be sent any more: the other end is gone, or does not read. None while something can be sent.
        self.lost: OSError | None = None

    @staticmethod
    def pair() -> "tuple[SupervisorEnd, ChildEnd]":
        """Return the supervisor's end and the child's end of a new channel. Raises OSError."""
        ours, theirs = socket.socketpair()
        return Channel.to_child(ours), _child_end(theirs)

    @staticmethod
    def to_child(sock: socket.socket) -> "SupervisorEnd":
        """Return the supervisor's end of a channel over a stream socket, whose other end a child has."""
        sock.setblocking(False)
        return Channel(sock, Parser(FROM_CHILD, ALLOWED_OF_CHILD), takes_fds=False)

    @staticmethod
    def adopt(fd: int) -> "ChildEnd":
        """Return the child's end, which this process has inherited as the descriptor `fd`. No child inherits it."""
        os.set_inheritable(fd, False)
        return _child_end(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """The number of the descriptor; -1 once this end is closed."""
        return self._sock.fileno()

    @property
    def congested(self) -> bool:
        """Whether messages wait to be sent, so that `flush` is to be called when the descriptor can be written."""
        return bool(self._queue)

    def send(self, message: Sent, fds: Sequence[int] = ()) -> bool:
        """Send a message, with copies of these descriptors for the other end, now or by a later `flush`.

        The caller may close its own descriptors at once. Returns False if the channel is lost. Raises ValueError for a
        message that is too large.
        """
        data, unsent = encode(message), list(fds)
        if not self._queue:
            data, unsent = self._send(data, unsent)
        if data and not self.lost:
            self._keep(data, unsent)
        return self.lost is None

    def flush(self) -> None:
        """Send what waits, as far as the other end takes it at once. Errors end in `lost`."""
        while self._queue:
            data, fds = self._queue.popleft()
            rest, unsent = self._send(data, fds)
            if not unsent or self.lost:
                _close(fds)
            if rest:
                if not self.lost:
                    self._queue.appendleft((rest, unsent))
                return

    def expect(self, kind: type[Received]) -> None:
        """Allow the other end one more message of a kind."""
        self._parser.expect(kind)

    def receive(self) -> tuple[list[Received], bool]:
        """Return the messages that have come in, and whether the other end is closed. Does not wait.

        Raises GarbledError if something else has come in, and then again at each call.
        """
        messages: list[Received] = []
        if self._sock.fileno() < 0:
            return messages, True
        while True:
            while (message := self._parser.take()) is not None:
                messages.append(message)
            try:
                data = self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return messages, False
            except OSError:
                data = b""
            if not data:
                self._lose(_gone())
                return messages, True
            self._parser.feed(data)

    def take_fds(self, count: int) -> list[int]:
        """Return the next `count` descriptors that have come in, in the order of the messages that carried them.

        Raises OSError if there are fewer, since the kernel had no room for them in this process; they are closed then.
        """
        taken, self._fds = self._fds[:count], self._fds[count:]
        if len(taken) < count:
            _close(taken)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return taken

    def wait_for_message(self) -> Received:
        """Wait for the next message and return it.

        Raises EOFError if the other end is closed first, and GarbledError if something else comes in.
        """
        while (message := self._parser.take()) is None:
            data = self._receive(0)
            if not data:
                raise EOFError("the supervisor is gone")
            self._parser.feed(data)
        return message

    def hung_up(self) -> bool:
        """Whether the other end is closed."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def die_with_other_end(self) -> None:
        """Have the kernel end this process when the other end is closed, whatever the process is busy with.

        The kernel sends a signal then, and also when a message comes in (fcntl(2), O_ASYNC): on Linux SIGKILL, else
        SIGIO, whose default is to end the process. This is for the time before an event loop watches the channel: an
        import that hangs must not keep the port of a supervisor that has ended.
        """
        fcntl.fcntl(self._sock, fcntl.F_SETOWN, os.getpid())
        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(self._sock, fcntl.F_SETSIG, signal.SIGKILL)
        else:
            signal.signal(signal.SIGIO, signal.SIG_DFL)
        flags = fcntl.fcntl(self._sock, fcntl.F_GETFL)
        fcntl.fcntl(self._sock, fcntl.F_SETFL, flags | os.O_ASYNC)
        if self.hung_up():
            os.kill(os.getpid(), signal.SIGKILL)

    def live_on(self) -> None:
        """Let this process go on when the other end is closed: undo `die_with_other_end`."""
        flags = fcntl.fcntl(self._sock, fcntl.F_GETFL)
        fcntl.fcntl(self._sock, fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def outlive_other_end(self, seconds: float) -> None:
        """Have the kernel end this process so many seconds after the other end is closed, even if its loop is stuck.

        Replaces what `die_with_other_end` has set up. Uses SIGIO and the real-time interval timer of the process.
        """

        def on_sigio(signum: int, frame: FrameType | None) -> None:
            if self.hung_up():
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whose default is to end the process
                signal.setitimer(signal.ITIMER_REAL, seconds)

        signal.signal(signal.SIGIO, on_sigio)
        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(self._sock, fcntl.F_SETSIG, 0)  # SIGIO again
        on_sigio(signal.SIGIO, None)

    def close(self) -> None:
        """Close this end, with everything that waits in it. A second call does nothing."""
        self._lose(_gone())
        self._sock.close()
        _close(self._fds)
        self._fds = []

    def _send(self, data: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
        """Send what can be sent at once. Returns the rest of the data, and the descriptors if none of it was sent.

        The kernel sends descriptors with the first byte (unix(7)). An error ends in `lost`.
        """
        try:
            while data:
                sent = socket.send_fds(self._sock, [data], fds) if fds else self._sock.send(data)
                data, fds = data[sent:], []
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(error)
        return data, fds

    def _keep(self, data: bytes, fds: list[int]) -> None:
        """Put a message into the queue, with copies of its descriptors. The channel is lost if that cannot be done."""
        try:
            if len(self._queue) >= QUEUE:
                raise BlockingIOError
            self._queue.append((data, [os.dup(fd) for fd in fds]))
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Give up to send, for this reason, and drop what waits. A second reason is ignored."""
        self.lost = self.lost or error
        while self._queue:
            _close(self._queue.popleft()[1])

    def _receive(self, flags: int) -> bytes:
        """Return bytes that have come in, none at the end; descriptors that came with them are kept. Raises OSError."""
        if not self._takes_fds:
            return self._sock.recv(_PIECE, flags)
        fds = array.array("i")
        space = socket.CMSG_SPACE(FDS_AT_ONCE * fds.itemsize)
        data, ancillary, _, _ = self._sock.recvmsg(_PIECE, space, flags | _CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        self._fds += fds
        return data


SupervisorEnd = Channel[FromSupervisor, FromChild]
ChildEnd = Channel[FromChild, FromSupervisor]


def _child_end(sock: socket.socket) -> ChildEnd:
    return Channel(sock, Parser(FROM_SUPERVISOR), takes_fds=True)


def _gone() -> OSError:
    return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
