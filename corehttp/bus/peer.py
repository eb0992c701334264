"""Another worker of this machine, and the channel to it: whole frames, in their order, both ways."""

import asyncio
import logging
import socket
from typing import Protocol

from corehttp.bus.outbox import Outbox
from corehttp.bus.transport import Sent
from corehttp.ipc.bus_frames import Frame, FrameError, Hello, decode, encode_hello, encode_request

logger = logging.getLogger("corehttp.error")

FRAMES_AT_ONCE = 64  # how many frames are read before the event loop gets a turn
BYTES_AT_ONCE = 256 * 1024  # after how many bytes it gets one
BUFFER = 1 << 20  # bytes that the kernel is asked to keep for a peer; it may allow less (socket(7), wmem_max)


class PeerOwner(Protocol):
    """What a peer belongs to."""

    buffer: memoryview  # where all peers read, one after the other: a frame and a byte more fit into it

    def heard(self, peer: "PeerWorker", frame: Frame) -> None:
        """Act on a frame that has come in. Raises FrameError for one that may not come now."""

    def left(self, peer: "PeerWorker") -> None:
        """Forget a peer, whose channel is closed."""


class PeerWorker:
    """One other worker. It owns `sock`, and ends when the other end is closed, or sends what is no frame.

    What it has not room for waits up to a second. A peer that has read nothing for a second is a stalled one: it loses
    the messages that wait, and those that follow at once, until it reads again. So it delays who publishes once, and
    not with each message. A peer that has never said anything is not waited for either: it may be starting, and read
    nothing yet.
    """

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, owner: PeerOwner) -> None:
        self._sock = sock
        self._loop = loop
        self._owner = owner
        self._outbox = Outbox()
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = owner.buffer
        self._stalled = False  # whether the peer has read nothing for a second, and nothing since
        self._warned = False  # whether it was logged that the peer loses messages; again after it has read some
        self.hello: Hello | None = None  # who it is; None until it has said so
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        loop.add_reader(sock.fileno(), self._read)

    def __str__(self) -> str:
        return f"worker {self.hello.worker}" if self.hello is not None else "a worker that has not said which"

    @property
    def worker(self) -> int:
        """The number of the worker; 0 while it is not known."""
        return 0 if self.hello is None else self.hello.worker

    @property
    def number(self) -> int:
        """The number of the process; 0 while it is not known."""
        return 0 if self.hello is None else self.hello.number

    @property
    def leads(self) -> bool:
        """Whether the worker leads, as far as is known."""
        return self.hello is not None and self.hello.leads

    def fileno(self) -> int:
        """The number of the descriptor; -1 once the channel is closed."""
        return self._sock.fileno()

    def greet(self, own: Hello) -> None:
        """Say who this worker is, before anything else."""
        self.send(encode_hello(own))

    def request(self, number: int, name: bytes, data: bytes, *, for_leader: bool) -> Sent:
        """Send a request; see `transport.OtherWorker`."""
        return self.send(encode_request(number, name, data, for_leader))

    def send(self, frame: bytes, topic: str | None = None) -> Sent:
        """Send a frame; `topic` is that of a message. Returns whether the peer has taken it, or a future of that."""
        if self._sock.fileno() < 0:
            return False
        outbox = self._outbox
        if not len(outbox):
            try:
                self._sock.send(outbox.stamped(frame, topic))
            except BlockingIOError:
                pass
            except OSError:  # the peer is gone, which reading will tell; or the kernel has no memory
                outbox.lose(topic)
                return False
            else:
                outbox.told(topic)
                self._stalled = self._warned = False
                return True
        return self._keep(frame, topic)

    def close(self) -> None:
        """Close the channel. What waits to be sent is lost. A second call does nothing."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.clear()
        self._sock.close()
        self._owner.left(self)

    def _keep(self, frame: bytes, topic: str | None) -> Sent:
        """Have a frame wait for room, unless nobody may read there yet, or nobody reads there, or too many wait."""
        if self.hello is None or (self._stalled and topic is not None):
            self._outbox.lose(topic)
            return False
        result: asyncio.Future[bool] = self._loop.create_future()
        if not self._outbox.add(frame, topic, self._loop.time(), result):
            self._warn()
            return False
        if len(self._outbox) == 1:
            self._loop.add_writer(self._sock.fileno(), self._flush)
            self._timer = self._loop.call_at(self._outbox.deadline, self._expire)
        return result

    def _flush(self) -> None:
        """Send what waits, as far as there is room."""
        outbox = self._outbox
        while len(outbox):
            try:
                self._sock.send(outbox.first)
            except BlockingIOError:
                return
            except OSError:  # the peer is gone; what it had sent is still to be read
                outbox.clear()
                break
            outbox.sent_first()
            self._stalled = self._warned = False
        self._loop.remove_writer(self._sock.fileno())
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        """Give up what has waited for a second, and all messages with it: the peer is stalled."""
        if self._outbox.expire(self._loop.time()):
            self._stalled = True
            self._outbox.lose_messages()
            self._warn()
        if len(self._outbox):
            self._timer = self._loop.call_at(self._outbox.deadline, self._expire)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("messages to %s are lost: it has read none for a second", self)

    def _read(self) -> None:
        """Act on the frames that have come in, as many as are due in one turn of the event loop."""
        read = 0
        for _ in range(FRAMES_AT_ONCE):
            if self._sock.fileno() < 0 or read >= BYTES_AT_ONCE:
                return
            try:
                size = self._sock.recv_into(self._buffer)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # the peer has ended without reading all; what it had sent before comes first
            except OSError:
                size = 0
            if not size:
                self.close()
                return
            read += size
            try:
                self._owner.heard(self, decode(bytes(self._buffer[:size])))
            except FrameError as error:
                logger.warning("the channel to %s is closed: it has sent %s", self, error)
                self.close()
