"""Reads what comes in over a WebSocket, as fast as its application takes it and other connections get their turns."""

from typing import Protocol

from corehttp.asgi import Message
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.websocket.frame_reader import FrameReader
from corehttp.protocols.websocket.frames import BINARY, FIN, MASKED, PING, PONG, TEXT, Event, ProtocolError
from corehttp.protocols.websocket.masking import unmask
from corehttp.protocols.websocket.session import SessionStage, WebSocketSession
from corehttp.protocols.websocket.wakeup import Wakeup
from corehttp.protocols.websocket.writer import Settings, WebSocketWriter

# How much is read in one turn of the loop, before others have theirs. A frame takes about 2 us, and then comes what the
# application does with its message. Bytes count once they are inflated.
FRAMES_AT_ONCE = 256
BYTES_AT_ONCE = 256 * 1024
# Bytes that wait for the application before reading pauses. A message may have more (`max_size`); then it waits alone.
QUEUE_HIGH_WATER = 256 * 1024

# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = SessionStage
# First bytes of frames that are whole messages, not compressed (RFC 6455, 5.2).
_WHOLE_TEXT, _WHOLE_BINARY = _WHOLE = FIN | TEXT, FIN | BINARY
# Bytes of a client's frame before its payload, with the mask: where the size of the payload takes one byte (up to 125
# bytes), and where it takes three (up to 65535 bytes).
_SHORT_HEAD, _LONG_HEAD = 6, 8
_SHORT_SIZE = MASKED - _SHORT_HEAD  # the second byte of a short frame, less the bytes of the whole frame
_LONG_SIZE = MASKED | 126  # the second byte of a frame whose size takes three bytes


class ReaderOwner(Protocol):
    """What is told about all that a client sends beside messages and pings: the connection."""

    def answered_ping(self, payload: bytes) -> None:
        """Note that a pong has come; there may have been no ping."""

    def closed_by_client(self, code: int, reason: str) -> None:
        """Note that a close frame has come; `code` is 1005 if it has none (RFC 6455, 7.1.5)."""

    def violated(self, error: ProtocolError) -> None:
        """Note that the client broke the protocol or a limit; nothing more is to be read."""


class WebSocketReader:
    """Reads the bytes of one client and gives messages to the session; a session's `Source`.

    Bytes become messages in `FrameReader`. Reading pauses while the session's queue is full, in messages or in bytes.
    """

    __slots__ = (
        "_backlog",
        "_context",
        "_frames",
        "_owner",
        "_plain",
        "_queue",
        "_session",
        "_settings",
        "_short",
        "_soon",
        "_unread",
        "_wakeup",
        "_writer",
        "deaf",
        "paused",
        "received",
        "sizes",
    )

    _session: WebSocketSession
    _queue: list[Message]  # the queue of the session
    _wakeup: Wakeup  # the one of the session
    _owner: ReaderOwner

    def __init__(
        self, context: WorkerContext, settings: Settings, frames: FrameReader, writer: WebSocketWriter
    ) -> None:
        self._context = context
        self._settings = settings
        self._frames = frames
        self._writer = writer
        self.paused = False  # whether reading is paused
        self.deaf = False  # whether all that comes in is thrown away
        self.received = 0  # how many messages have come
        self.sizes = 0  # bytes of these messages, inflated
        self._short = min(125, settings.max_size) + _SHORT_HEAD  # bytes of the largest short frame that is allowed
        # Whether the WebSocket is open, reading is not paused, and a message or a control frame begins next.
        self._plain = False
        self._unread = b""  # bytes that were read and not looked at, since the application has no room
        self._soon = False  # whether the loop is to call `_read_on`
        self._backlog = 0  # bytes of the messages that wait for the application, or more, if some were taken meanwhile

    def join(self, session: WebSocketSession, owner: ReaderOwner) -> None:
        """Give messages to `session`, and tell `owner` the rest; to be called once, before anything is read."""
        self._session = session
        self._queue = session.queue
        self._wakeup = session.wakeup
        self._owner = owner

    def release(self) -> None:
        """Forget the owner, which refers to this reader; nothing is read any more."""
        del self._owner

    # What the transport and the connection call.

    def data_received(self, data: bytes) -> None:
        """Read what has come; the application may run on at once, before this returns."""
        # Most often `data` is one whole frame with one whole message that is not compressed, and up to 64 KiB long. An
        # echo of it takes 9 or 10 Python frames on the short way here, and 22 by `take_in` (tests/test_budgets.py).
        size = len(data)
        tally = self._context.tally
        if tally is not None:
            tally.received += size
        if self._plain and _SHORT_HEAD <= size <= self._short and data[1] == size + _SHORT_SIZE and data[0] in _WHOLE:
            payload = unmask(data[6:], data[2:6])
        elif (
            self._plain
            and size >= _LONG_HEAD + 126
            and data[1] == _LONG_SIZE
            and int.from_bytes(data[2:4]) == size - _LONG_HEAD <= self._settings.max_size
            and data[0] in _WHOLE
        ):
            payload = unmask(data[8:], data[4:8])
        else:
            self.take_in(data)
            return
        message: Message | None = None
        if data[0] == _WHOLE_BINARY:
            message = {"type": "websocket.receive", "bytes": payload}
        else:
            try:
                message = {"type": "websocket.receive", "text": payload.decode()}
            except UnicodeDecodeError:
                pass
        if message is None:  # not in the `except`: the application may run on at once, and would see that exception
            self._owner.violated(ProtocolError(1007, "a text that is not UTF-8"))
            return
        self.received += 1
        self.sizes += len(payload)
        queue = self._queue
        queue.append(message)
        self._wakeup.wake()
        if queue:
            self._note_waiting(len(payload))
            if not self._has_room():
                self._pause()

    def take_in(self, data: bytes) -> None:
        """Read `data`, whatever is in it: now, or when the handshake is accepted or the application has room."""
        if self.deaf or self._session.stage is _DENYING:
            return
        self._unread = self._unread + data if self._unread else data
        if self._session.stage is not _CONNECTING:
            if not self._soon:
                self._read_on()
        elif len(self._unread) >= self._settings.write_high_water:
            self._pause()

    def open(self) -> None:
        """Begin to read messages, since the handshake is accepted."""
        if not self._writer.compresses:  # whatever the client has offered
            self._frames = FrameReader(self._settings.max_size, None)
        self._plain = not self._unread
        self.resume()

    def discard_messages(self) -> None:
        """Read on, but throw messages away, since a close frame was sent; the client's close frame is to come."""
        self._plain = False
        self.resume()

    def discard(self) -> None:
        """Read on, and throw away all that comes."""
        self._plain = False
        self._unread = b""
        self.deaf = True
        self.resume()

    def resume(self) -> None:
        """Let the transport read on if it was paused, and read what is unread in the next turn of the loop."""
        if self.paused:
            self.paused = False
            if not self._writer.transport.is_closing():
                self._context.resume_reading(self._writer.transport)
        if self._unread or self._frames.behind:
            self._read_soon()

    def consumed(self) -> None:
        """Read on if the application has taken enough: half of what may wait, in messages and in bytes."""
        queue = self._session.queue
        if self._soon or self._session.stage is _CONNECTING or len(queue) * 2 > self._settings.max_queue:
            return
        if self._backlog * 2 > QUEUE_HIGH_WATER:
            self._backlog = sum(map(_size, queue))
        if self._backlog * 2 <= QUEUE_HIGH_WATER:
            if self._unread or self._frames.behind:
                self._read_soon()
            else:
                self._plain = self._frames.between_messages and self._session.stage is _OPEN
                self.resume()

    # What comes in.

    def _read_on(self) -> None:
        """Read what is unread, as far as the application has room, and as much as this turn of the loop allows."""
        reader = self._frames
        session = self._session
        self._soon = False
        last, left = reader.frames + FRAMES_AT_ONCE, BYTES_AT_ONCE
        while (self._unread or reader.behind) and not self.deaf:
            if session.queue and not self._has_room():
                self._pause()
                return
            if reader.frames >= last or left <= 0:
                self._pause()
                self._read_soon()
                return
            data, room = self._unread, min(left, QUEUE_HIGH_WATER)
            most = self._settings.max_queue - (len(session.queue) if session.stage is _OPEN else 0)
            fault: ProtocolError | None = None
            try:
                events, at = reader.feed(data, 0, most, room, last - reader.frames)
            except ProtocolError as error:
                # Without the traceback, which refers to this frame.
                fault, events, at = error.with_traceback(None), error.events, len(data)
            self._unread = data[at:] if at < len(data) else b""
            left -= room - reader.room
            self._handle(
                events
            )  # not in the `except`: the application may run on at once, and would see that exception
            if fault is not None:
                self._owner.violated(fault)
                return
        if self.deaf:
            return
        if session.queue and not self._has_room():
            self._pause()
            return
        self._plain = reader.between_messages and session.stage is _OPEN
        if self.paused:
            self.resume()

    def _handle(self, events: list[Event]) -> None:
        """Give messages to the session, answer pings, and tell the owner the rest."""
        session = self._session
        pings: list[bytes] = []
        for opcode, payload in events:
            if opcode == PING:
                if session.stage is _OPEN and isinstance(payload, bytes):
                    pings.append(payload)
                continue
            if pings:
                self._writer.answer_pings(pings)
                pings = []
            if opcode in (TEXT, BINARY):
                if session.stage is _OPEN:
                    assert isinstance(payload, str | bytes)
                    size = len(payload) if opcode == BINARY or payload.isascii() else len(payload.encode())  # type: ignore[union-attr]
                    self.received += 1
                    self.sizes += size
                    session.deliver({"type": "websocket.receive", "text" if opcode == TEXT else "bytes": payload})
                    if session.queue:
                        self._note_waiting(size)
            elif opcode == PONG:
                assert isinstance(payload, bytes)
                self._owner.answered_ping(payload)
            elif isinstance(payload, tuple):
                self._owner.closed_by_client(*payload)
        if pings:
            self._writer.answer_pings(pings)

    def _note_waiting(self, size: int) -> None:
        """Count a message of `size` bytes that waits for the application."""
        queue = self._session.queue
        if len(queue) == 1:
            self._backlog = 0
        self._backlog += size
        if self._backlog >= QUEUE_HIGH_WATER:  # count anew, since some messages were taken meanwhile
            self._backlog = sum(map(_size, queue))

    def _has_room(self) -> bool:
        """Whether the application has taken enough of its messages to be given another."""
        if self._session.stage is not _OPEN:
            return True
        return len(self._session.queue) < self._settings.max_queue and self._backlog < QUEUE_HIGH_WATER

    def _pause(self) -> None:
        """Have the transport stop reading."""
        self._plain = False
        if not self.paused and not self._writer.transport.is_closing():
            self.paused = True
            self._writer.transport.pause_reading()

    def _read_soon(self) -> None:
        """Read on in the next turn of the loop, after others."""
        if not self._soon:
            self._soon = True
            self._context.soon(self._read_on)


def _size(message: Message) -> int:
    """Return how large a message is: the bytes of its payload, or the characters of a text."""
    payload: str | bytes = message.get("text") or message.get("bytes") or b""
    return len(payload)
