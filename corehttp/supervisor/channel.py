"""The pipe between the supervisor and a worker: messages both ways; its end tells that the other one is gone."""

import array
import fcntl
import marshal
import os
import select
import signal
import socket
import struct
from collections.abc import Sequence
from types import FrameType
from typing import Self

_SIZE = struct.Struct("!I")

_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # a descriptor that comes in is not inherited from its first moment
FDS_AT_ONCE = 253  # that one message can carry (unix(7), SCM_RIGHTS)

# Kinds of messages that the supervisor sends.
BOOT = "boot"
SERVE = "serve"  # the sockets listen: accept
LEAVE = "leave"  # with why, as `fleet.Why` calls it
INBOXES = "inboxes"  # slots, and for each the descriptor through which its worker is passed connections
FORK = "fork"  # to a template: with the descriptor of the new worker's end of a channel
# Kinds of messages that a worker or a template sends.
READY = "ready"
FAILED = "failed"  # with the message and the traceback
CLOSED = "closed"  # no longer accepting
DRAINED = "drained"
FORKED = "forked"  # with the pid of the new worker
RETIRE = "retire"  # it wants to be replaced; with the cause

Message = tuple[object, ...]


class Channel:
    """One end. Messages are tuples of plain values (str, bytes, int, float, bool, None, tuple, dict, list)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""
        self._fds: list[int] = []  # that have come in and are not taken

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Both ends."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours), cls(theirs)

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """The end that was inherited as `fd`."""
        os.set_inheritable(fd, False)
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, *message: object, fds: Sequence[int] = ()) -> bool:
        """Send a message, with copies of descriptors for the other end; False if it is gone or takes nothing."""
        payload = marshal.dumps(message)  # type: ignore[arg-type]
        data = _SIZE.pack(len(payload)) + payload
        try:
            if fds:
                data = data[socket.send_fds(self._sock, [data], fds) :]
            self._sock.sendall(data)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[list[Message], bool]:
        """The messages that have come in, and whether the other end is gone; does not wait."""
        gone = False
        while True:
            try:
                data = self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                gone = True
                break
            self._buffer += data
        return self._take(), gone

    def take_fds(self, count: int) -> list[int]:
        """The next descriptors that have come in: those that belong to the first message not asked about yet."""
        taken, self._fds = self._fds[:count], self._fds[count:]
        return taken

    def wait_for_message(self) -> Message:
        """The next message; raises EOFError if the other end goes first."""
        while True:
            messages = self._take(1)
            if messages:
                return messages[0]
            data = self._receive(0)
            if not data:
                raise EOFError("the supervisor is gone")
            self._buffer += data

    def wait(self, seconds: float) -> bool:
        """Whether something has come in, or the other end has gone, within so many seconds."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(self._buffer or poll.poll(seconds * 1000))

    def hung_up(self) -> bool:
        """Whether the other end is gone."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def die_with_other_end(self) -> None:
        """End this process when the other end goes, whatever it is busy with.

        The kernel sends SIGIO then (fcntl(2), O_ASYNC), whose default is to end the process. Meant for the time
        before an event loop watches the channel: an import that hangs must not keep the port of a dead supervisor.
        """
        fcntl.fcntl(self._sock, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(self._sock, fcntl.F_GETFL)
        fcntl.fcntl(self._sock, fcntl.F_SETFL, flags | os.O_ASYNC)
        if self.hung_up():
            os.kill(os.getpid(), signal.SIGIO)

    def outlive_other_end(self, seconds: float) -> None:
        """From now on, when the other end goes, this process has so many seconds left; the kernel keeps the time."""

        def on_sigio(signum: int, frame: FrameType | None) -> None:
            if self.hung_up():
                signal.setitimer(signal.ITIMER_REAL, seconds)

        signal.signal(signal.SIGIO, on_sigio)
        on_sigio(signal.SIGIO, None)

    def close(self) -> None:
        self._sock.close()
        for fd in self.take_fds(len(self._fds)):
            os.close(fd)

    def _receive(self, flags: int) -> bytes:
        fds = array.array("i")
        space = socket.CMSG_SPACE(FDS_AT_ONCE * fds.itemsize)
        data, ancillary, _, _ = self._sock.recvmsg(65536, space, flags | _CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        self._fds += fds
        return data

    def _take(self, most: int | None = None) -> list[Message]:
        messages: list[Message] = []
        while len(self._buffer) >= _SIZE.size and len(messages) != most:
            (size,) = _SIZE.unpack_from(self._buffer)
            end = _SIZE.size + size
            if len(self._buffer) < end:
                break
            messages.append(marshal.loads(self._buffer[_SIZE.size : end]))
            self._buffer = self._buffer[end:]
        return messages
