"""The pipe between the supervisor and a worker: messages both ways; its end tells that the other one is gone."""

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
from typing import Self

from corehttp.ipc.messages import ALLOWED_OF_CHILD, FROM_CHILD, FROM_SUPERVISOR, Message, Parser, encode

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # a descriptor that comes in is not inherited from its first moment
_PIECE = 65536  # bytes to read at once
FDS_AT_ONCE = 253  # that one message can carry (unix(7), SCM_RIGHTS)
QUEUE = 32  # messages that wait for an end that does not read, before it is given up


class Channel:
    """One end. `messages` has the kinds of messages; they consist of plain values.

    The supervisor's end never waits, either way, and takes no descriptors: the kernel closes those that come in where
    nobody asks for them.
    """

    def __init__(self, sock: socket.socket, parser: Parser, *, takes_fds: bool) -> None:
        self._sock = sock
        self._parser = parser
        self._takes_fds = takes_fds
        self._fds: list[int] = []  # that have come in and are not taken
        self._queue: collections.deque[tuple[bytes, list[int]]] = collections.deque()  # with copies of descriptors
        self.lost: OSError | None = None  # the other end is gone, or does not read: why nothing can be sent any more

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """The supervisor's end and the child's; raises OSError."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours, Parser(FROM_CHILD, ALLOWED_OF_CHILD), takes_fds=False), cls._of_child(theirs)

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """The child's end, which was inherited as `fd`."""
        os.set_inheritable(fd, False)
        return cls._of_child(socket.socket(fileno=fd))

    @classmethod
    def _of_child(cls, sock: socket.socket) -> Self:
        return cls(sock, Parser(FROM_SUPERVISOR), takes_fds=True)

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def congested(self) -> bool:
        """Whether messages wait to be sent: `flush` is to be called when the descriptor can be written."""
        return bool(self._queue)

    def send(self, *message: object, fds: Sequence[int] = ()) -> bool:
        """Send a message, with copies of descriptors for the other end, now or by `flush`; False if that is lost.

        Raises ValueError for a message that is too large.
        """
        data, unsent = encode(message), list(fds)
        if not self._queue:
            data, unsent = self._send(data, unsent)
        if data and not self.lost:
            self._keep(data, unsent)
        return self.lost is None

    def flush(self) -> None:
        """Send what waits, as far as the other end takes it."""
        while self._queue:
            data, fds = self._queue.popleft()
            rest, unsent = self._send(data, fds)
            if not unsent or self.lost:
                _close(fds)
            if rest:
                if not self.lost:
                    self._queue.appendleft((rest, unsent))
                return

    def expect(self, kind: str) -> None:
        """Allow the other end one more message of a kind."""
        self._parser.expect(kind)

    def receive(self) -> tuple[list[Message], bool]:
        """The messages that have come in, and whether the other end is gone; does not wait.

        Raises GarbledError if something else has come in.
        """
        messages: list[Message] = []
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
        """The next descriptors that have come in: those that belong to the first message not asked about yet.

        Raises OSError if this process had no room for them all; then it has got none.
        """
        taken, self._fds = self._fds[:count], self._fds[count:]
        if len(taken) < count:
            _close(taken)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return taken

    def wait_for_message(self) -> Message:
        """The next message; raises EOFError if the other end goes first, and GarbledError."""
        while (message := self._parser.take()) is None:
            data = self._receive(0)
            if not data:
                raise EOFError("the supervisor is gone")
            self._parser.feed(data)
        return message

    def hung_up(self) -> bool:
        """Whether the other end is gone."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def die_with_other_end(self) -> None:
        """End this process when the other end goes, whatever it is busy with.

        The kernel sends a signal then (fcntl(2), O_ASYNC): on Linux SIGKILL, else SIGIO, whose default is to end the
        process. Meant for the time before an event loop watches the channel: an import that hangs must not keep the
        port of a dead supervisor.
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
        """Undo `die_with_other_end`."""
        flags = fcntl.fcntl(self._sock, fcntl.F_GETFL)
        fcntl.fcntl(self._sock, fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def outlive_other_end(self, seconds: float) -> None:
        """From now on, when the other end goes, this process has so many seconds left; the kernel keeps the time."""

        def on_sigio(signum: int, frame: FrameType | None) -> None:
            if self.hung_up():
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whose default is to end the process
                signal.setitimer(signal.ITIMER_REAL, seconds)

        signal.signal(signal.SIGIO, on_sigio)
        if hasattr(fcntl, "F_SETSIG"):
            fcntl.fcntl(self._sock, fcntl.F_SETSIG, 0)  # SIGIO again
        on_sigio(signal.SIGIO, None)

    def close(self) -> None:
        self._lose(_gone())
        self._sock.close()
        _close(self._fds)
        self._fds = []

    def _send(self, data: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
        """What is left of the data and of the descriptors, which go with its first byte."""
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
        try:
            if len(self._queue) >= QUEUE:
                raise BlockingIOError
            self._queue.append((data, [os.dup(fd) for fd in fds]))
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = self.lost or error
        while self._queue:
            _close(self._queue.popleft()[1])

    def _receive(self, flags: int) -> bytes:
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


def _gone() -> OSError:
    return BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
