"""The pipe between the supervisor and a worker: messages both ways; its end tells that the other one is gone."""

import fcntl
import marshal
import os
import select
import signal
import socket
import struct
from types import FrameType
from typing import Self

_SIZE = struct.Struct("!I")

# Kinds of messages. The boot message is the supervisor's, all others are the worker's.
BOOT = "boot"
READY = "ready"
FAILED = "failed"  # with the message and the traceback
CLOSED = "closed"  # no longer accepting
DRAINED = "drained"

Message = tuple[object, ...]


class Channel:
    """One end. Messages are tuples of plain values (str, bytes, int, float, bool, None, tuple, dict, list)."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = b""

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

    def send(self, *message: object) -> bool:
        """Send a message; False if the other end is gone or takes nothing."""
        payload = marshal.dumps(message)  # type: ignore[arg-type]
        try:
            self._sock.sendall(_SIZE.pack(len(payload)) + payload)
        except OSError:
            return False
        return True

    def receive(self) -> tuple[list[Message], bool]:
        """The messages that have come in, and whether the other end is gone; does not wait."""
        gone = False
        while True:
            try:
                data = self._sock.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                gone = True
                break
            self._buffer += data
        return self._take(), gone

    def wait_for_message(self) -> Message:
        """The next message; raises EOFError if the other end goes first."""
        while True:
            messages = self._take()
            if messages:
                return messages[0]
            data = self._sock.recv(65536)
            if not data:
                raise EOFError("the supervisor is gone")
            self._buffer += data

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

    def _take(self) -> list[Message]:
        messages: list[Message] = []
        while len(self._buffer) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._buffer)
            end = _SIZE.size + size
            if len(self._buffer) < end:
                break
            messages.append(marshal.loads(self._buffer[_SIZE.size : end]))
            self._buffer = self._buffer[end:]
        return messages
