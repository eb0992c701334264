"""What comes in over a WebSocket: read no faster than the application takes it, and than other connections can bear."""

from typing import Protocol

from corehttp.asgi import Message
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.websocket.frame_reader import FrameReader
from corehttp.protocols.websocket.frames import BINARY, FIN, MASKED, PING, PONG, TEXT, Event, ProtocolError
from corehttp.protocols.websocket.masking import unmask
from corehttp.protocols.websocket.session import SessionStage, WebSocketSession
from corehttp.protocols.websocket.writer import Settings, WebSocketWriter

# What is read in one turn of the loop, before others have theirs: a frame takes about 2 us, and what an application
# does with a short message comes on top. Bytes count as soon as they are inflated.
FRAMES_AT_ONCE = 256
BYTES_AT_ONCE = 256 * 1024
# Bytes that wait for the application before reading pauses. One message may hold more (`max_size`): it waits alone.
QUEUE_HIGH_WATER = 256 * 1024

# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = SessionStage
_WHOLE = (FIN | TEXT, FIN | BINARY)  # first bytes of frames that are whole messages, not compressed
# Bytes of a client's frame before its payload, with the mask: where the size of the payload takes one byte (up to 125
# bytes), and where it takes three (up to 65535 bytes).
_SHORT_HEAD, _LONG_HEAD = 6, 8


class ReaderOwner(Protocol):
    """Who is told what the client says beside messages and pings: the connection."""

    def answered_ping(self, payload: bytes) -> None:
        """A pong has come, whether there was a ping or not."""
        ...

    def closed_by_client(self, code: int, reason: str) -> None:
        """A close frame has come; the code is 1005 if it has none."""
        ...

    def violated(self, error: ProtocolError) -> None:
        """The client broke the protocol or a limit; nothing more is read."""
        ...


class WebSocketReader:
    """Reads the bytes of one client and gives messages to the session; a session's `Source`.

    Bytes become messages in `FrameReader`. Reading pauses while the session's queue is full, in messages or in bytes.
    """

    __slots__ = (
        "_backlog",
        "_context",
        "_frames",
        "_long",
        "_owner",
        "_plain",
        "_session",
        "_settings",
        "_short",
        "_soon",
        "_unread",
        "_writer",
        "deaf",
        "paused",
        "received",
        "sizes",
    )

    _session: WebSocketSession
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
        self.received = 0  # messages
        self.sizes = 0  # bytes of these messages, inflated
        # Bytes of the largest frames that are allowed whose size takes one byte, and three.
        self._short = min(125, settings.max_size) + _SHORT_HEAD
        self._long = min(65535, settings.max_size) + _LONG_HEAD
        self._plain = False  # whether the WebSocket is open, reading goes on, and a message or control frame comes next
        self._unread = b""  # bytes for which the application has no room
        self._soon = False  # whether `_read_on` is to be called
        self._backlog = 0  # bytes of the messages that the application has not taken; may be too high, never too low

    def join(self, session: WebSocketSession, owner: ReaderOwner) -> None:
        """Give what is read to `session`, and tell `owner` the rest; to be called once, before anything is read."""
        self._session = session
        self._owner = owner

    def release(self) -> None:
        """Let go of the owner, which refers to this reader; nothing is read any more."""
        del self._owner

    # What the transport and the connection call.

    def data_received(self, data: bytes) -> None:
        """Read what has come; the application may run on at once, before this returns."""
        # Most often it is one whole frame with one whole message that is not compressed: a short one, or one whose size
        # takes two more bytes. Without the reader it takes 9 and 10 Python frames, not 22 (tests/test_budgets.py).
        size = len(data)
        if (
            self._plain
            and _SHORT_HEAD <= size <= self._short
            and data[1] == MASKED + size - _SHORT_HEAD
            and data[0] in _WHOLE
        ):
            payload = unmask(data[6:], data[2:6])
        elif (
            self._plain
            and _LONG_HEAD + 126 <= size <= self._long
            and data[1] == MASKED | 126
            and int.from_bytes(data[2:4]) == size - _LONG_HEAD
            and data[0] in _WHOLE
        ):
            payload = unmask(data[8:], data[4:8])
        else:
            self._take_in(data)
            return
        message: Message | None = None
        if data[0] == FIN | BINARY:
            message = {"type": "websocket.receive", "bytes": payload}
        else:
            try:
                message = {"type": "websocket.receive", "text": payload.decode()}
            except UnicodeDecodeError:
                pass
        if message is None:  # told here: the application runs on at once, and must not see the error that is handled
            self._owner.violated(ProtocolError(1007, "a text that is not UTF-8"))
            return
        self.received += 1
        self.sizes += len(payload)
        session = self._session
        session.queue.append(message)
        session.wakeup.wake()
        if session.queue:
            self._note_waiting(len(payload))
            if not self._has_room():
                self._pause()

    def open(self) -> None:
        """Read messages: the handshake is accepted."""
        if not self._writer.compresses:  # whatever the client has offered
            self._frames = FrameReader(self._settings.max_size, None)
        self._plain = not self._unread
        self.resume()

    def end(self) -> None:
        """Read on, but no more messages: a close frame is out, and the client's is to come."""
        self._plain = False
        self.resume()

    def stop(self) -> None:
        """Read on, and throw away all that comes."""
        self._plain = False
        self._unread = b""
        self.deaf = True
        self.resume()

    def resume(self) -> None:
        """Let the transport read on, and read what it had read already."""
        if self.paused:
            self.paused = False
            if not self._writer.transport.is_closing():
                self._context.resume_reading(self._writer.transport)
        if self._unread or self._frames.behind:
            self._read_soon()

    def consumed(self) -> None:
        """The application took a message: read on if it has taken enough, half of what may wait."""
        queue = self._session.queue
        if self._soon or self._session.stage is _CONNECTING or len(queue) * 2 > self._settings.max_queue:
            return
        if self._backlog * 2 > QUEUE_HIGH_WATER:
            self._backlog = sum(map(_size, queue))
        if self._backlog * 2 <= QUEUE_HIGH_WATER:
            if self._unread or self._frames.behind:
                self._read_soon()
            else:
                self._plain = self._frames.idle and self._session.stage is _OPEN
                self.resume()

    # What comes in.

    def _take_in(self, data: bytes) -> None:
        """Read whatever it is, when it is time."""
        if self.deaf or self._session.stage is _DENYING:
            return
        self._unread = self._unread + data if self._unread else data
        if self._session.stage is not _CONNECTING:
            if not self._soon:
                self._read_on()
        elif len(self._unread) >= self._settings.write_high_water:
            self._pause()

    def _read_on(self) -> None:
        """Read what there is, as far as the application has room, and no more than others can wait for in this turn."""
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
                fault, events, at = error.with_traceback(None), error.events, len(data)  # it refers to this frame
            self._unread = data[at:] if at < len(data) else b""
            left -= room - reader.room
            self._handle(events)  # not in the `except`: the application runs on at once, and would see what is handled
            if fault is not None:
                self._owner.violated(fault)
                return
        if self.deaf:
            return
        if session.queue and not self._has_room():
            self._pause()
            return
        self._plain = reader.idle and session.stage is _OPEN
        if self.paused:
            self.resume()

    def _handle(self, events: list[Event]) -> None:
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
        """A message of `size` bytes waits for the application."""
        queue = self._session.queue
        if len(queue) == 1:
            self._backlog = 0
        self._backlog += size
        if self._backlog >= QUEUE_HIGH_WATER:  # what was taken meanwhile is not counted yet
            self._backlog = sum(map(_size, queue))

    def _has_room(self) -> bool:
        """Whether the application has taken enough of its messages to be given another."""
        if self._session.stage is not _OPEN:
            return True
        return len(self._session.queue) < self._settings.max_queue and self._backlog < QUEUE_HIGH_WATER

    def _pause(self) -> None:
        self._plain = False
        if not self.paused and not self._writer.transport.is_closing():
            self.paused = True
            self._writer.transport.pause_reading()

    def _read_soon(self) -> None:
        """Go on in the next turn of the loop; others have theirs before."""
        if not self._soon:
            self._soon = True
            self._context.soon(self._read_on)


def _size(message: Message) -> int:
    """The bytes of a message, or characters of a text."""
    payload: str | bytes = message.get("text") or message.get("bytes") or b""
    return len(payload)
