"""A WebSocket over an HTTP/1.1 connection (RFC 6455): its life, what comes in, and what is late."""

import asyncio
import logging
import random
from time import monotonic

from corehttp.asgi import Message, Scope
from corehttp.protocols.answers import CLIENT_CLOSED
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Request, UpgradeAnswer
from corehttp.protocols.peer import Peer
from corehttp.protocols.peer_socket import descriptor
from corehttp.protocols.scope import websocket_scope
from corehttp.protocols.websocket.frames import (
    BINARY,
    CLOSE,
    FIN,
    MASKED,
    PING,
    PONG,
    TEXT,
    Event,
    ProtocolError,
    close_payload,
    unmask,
)
from corehttp.protocols.websocket.frames import frame as ws_frame
from corehttp.protocols.websocket.handshake import Handshake
from corehttp.protocols.websocket.session import Stage
from corehttp.protocols.websocket.writer import LOOK_AGAIN, Settings, WebSocketWriting

logger = logging.getLogger("corehttp.error")

# What is read in one turn of the loop, before others have theirs: a frame takes about 2 us, and what an application
# does with a short message comes on top. Bytes count as soon as they are inflated.
FRAMES_AT_ONCE = 256
BYTES_AT_ONCE = 256 * 1024
# Bytes that wait for the application before reading pauses. One message may hold more (`max_size`): it waits alone.
QUEUE_HIGH_WATER = 256 * 1024

# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = Stage
_WHOLE = (FIN | TEXT, FIN | BINARY)


class WebSocketConnection(WebSocketWriting):
    """What takes over the transport when a request turns out to be an opening handshake."""

    __slots__ = ("_backlog", "_bytes_in", "_long", "_lost", "_messages_in", "_short", "_soon")

    def __init__(
        self,
        context: WorkerContext,
        settings: Settings,
        scope: Scope,
        handshake: Handshake,
        peer: Peer,
        answer: UpgradeAnswer,
    ) -> None:
        scope = websocket_scope(scope, handshake.subprotocols, context.websocket_extensions)
        super().__init__(context, settings, scope, handshake, peer, answer)
        # Bytes of the largest frames that are allowed whose size takes one byte, and three.
        self._short, self._long = min(125, settings.max_size) + 6, min(65535, settings.max_size) + 8
        self._lost = False  # the connection is
        self._messages_in = self._bytes_in = 0
        self._backlog = 0  # bytes of the messages that the application has not taken, or more
        self._soon = False  # `_read_on` is to be called

    def __repr__(self) -> str:
        return f"<WebSocketConnection {self.name}: {self.stage.value}>"

    # What the worker asks of every connection.

    @property
    def idle(self) -> bool:
        """Never: it cannot be passed on or closed without a word."""
        return False

    @property
    def unanswered(self) -> list[Request]:
        """No requests."""
        return []

    def fileno(self) -> int:
        """The descriptor of its socket; -1: it has none any more."""
        return descriptor(self._transport)

    def pass_on(self, hand_over: HandOver) -> bool:
        """It cannot be: what the client has sent in part is in our memory."""
        return False

    def close(self) -> None:
        """Never, since it is never idle."""
        raise AssertionError("a WebSocket is closed by `leave`")

    def suspect(self) -> None:
        """Nothing: reading goes on once the WebSocket is closed, as `tell` does."""

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    def start(self, transport: asyncio.Transport, data: bytes) -> None:
        """Take over the transport, which has read `data` already, and run the application."""
        context = self._context
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(self._settings.write_high_water)
        context.joined(self)
        context.websocket_begun(self)
        if data:
            self.data_received(data)
        task = context.fresh().run(context.start_task, self.live())
        if not self.ended:
            self._task = task

    def leave(self, now: float, departure: Departure) -> None:
        """Close the WebSocket when it is its turn; a handshake that is not answered yet is waited for."""
        if self.stage is _OPEN and departure.is_turn_of(self, now):
            self.tell()

    def tell(self) -> None:
        """Tell client and application that the worker leaves, with 1012 (RFC 6455 and the IANA registry).

        The client is to connect again. A handshake that the application has not answered when it ends is answered with
        503. A WebSocket that has ended is left as it is.
        """
        if self.stage is _CLOSING or self.stage is _CLOSED:
            return
        self.leaving = True
        if self.stage is _OPEN:
            self.send_close(1012, "the server is restarting")
            self.disconnect(1012, "the server is restarting")

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never: the transport is taken over."""

    def data_received(self, data: bytes) -> None:
        # Most often it is one whole frame with one whole message: a short one, or one whose size takes two bytes.
        size = len(data)
        if self._plain and 6 <= size <= self._short and size == 6 + (data[1] ^ MASKED) and data[0] in _WHOLE:
            payload = unmask(data[6:], data[2:6])
        elif (
            self._plain
            and 134 <= size <= self._long
            and data[1] == MASKED | 126
            and size == 8 + int.from_bytes(data[2:4])
            and data[0] in _WHOLE
        ):
            payload = unmask(data[8:], data[4:8])
        else:
            self._take_in(data)
            return
        if data[0] == FIN | TEXT:
            try:
                message: Message = {"type": "websocket.receive", "text": payload.decode()}
            except UnicodeDecodeError:
                message = {}
        else:
            message = {"type": "websocket.receive", "bytes": payload}
        if not message:  # told here, since the application runs on at once and must not see what we handle
            self._violated(ProtocolError(1007, "a text that is not UTF-8"))
            return
        self._messages_in += 1
        self._bytes_in += len(payload)
        self._queue.append(message)
        self._bell.ring()
        if self._queue:
            self._note_waiting(len(payload))
            if not self._has_room():
                self._pause()

    def _take_in(self, data: bytes) -> None:
        """Read whatever it is, when it is time."""
        if self._deaf or self.stage is _DENYING:
            return
        self._unread = self._unread + data if self._unread else data
        if self.stage is not _CONNECTING:
            if not self._soon:
                self._read_on()
        elif len(self._unread) >= self._settings.write_high_water:
            self._pause()

    def eof_received(self) -> bool:
        if self.stage is _OPEN:
            logger.debug("a WebSocket's client has ended its side without a close frame")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        if self.stage is _DENYING or self.stage is _CONNECTING:  # the answer is not whole
            self._record(self._denied_with or CLIENT_CLOSED, self._bytes_out, monotonic() - self.started_at)
        self.stage = _CLOSED
        self._plain = False
        self._context.left(self)
        self.resume_writing()
        self._unread = b""
        self.disconnect(1006, "")
        self._lost = True  # not before: the application may return meanwhile, and it is to be settled once
        self._settle()

    # What comes in.

    def _read_on(self) -> None:
        """Read what there is, as far as the application has room, and no more than others can wait for in this turn."""
        reader = self._reader
        self._soon = False
        frames, left = reader.frames + FRAMES_AT_ONCE, BYTES_AT_ONCE
        while (self._unread or reader.behind) and not self._deaf:
            if self._queue and not self._has_room():
                self._pause()
                return
            if reader.frames >= frames or left <= 0:
                self._pause()
                self._read_soon()
                return
            data, room = self._unread, min(left, QUEUE_HIGH_WATER)
            most = self._settings.max_queue - (len(self._queue) if self.stage is _OPEN else 0)
            fault: ProtocolError | None = None
            try:
                events, at = reader.feed(data, 0, most, room, frames - reader.frames)
            except ProtocolError as error:
                fault, events, at = error.with_traceback(None), error.events, len(data)  # it refers to this frame
            self._unread = data[at:] if at < len(data) else b""
            left -= room - reader.room
            self._handle(events)  # not in the `except`: the application runs on at once, and would see what we handle
            if fault is not None:
                self._violated(fault)
                return
        if self._deaf:
            return
        if self._queue and not self._has_room():
            self._pause()
            return
        self._plain = reader.idle and self.stage is _OPEN
        if self.paused:
            self._resume_reading()

    def _handle(self, events: list[Event]) -> None:
        pongs: list[bytes] = []
        for opcode, payload in events:
            if opcode == PING:
                if self.stage is _OPEN and isinstance(payload, bytes):
                    pongs.append(payload)
                continue
            if pongs:
                self._answer_pings(pongs)
                pongs = []
            if opcode in (TEXT, BINARY):
                if self.stage is _OPEN:
                    assert isinstance(payload, str | bytes)
                    size = len(payload) if opcode == BINARY or payload.isascii() else len(payload.encode())  # type: ignore[union-attr]
                    self._messages_in += 1
                    self._bytes_in += size
                    self.deliver({"type": "websocket.receive", "text" if opcode == TEXT else "bytes": payload})
                    if self._queue:
                        self._note_waiting(size)
            elif opcode == PONG:
                if payload == self._awaited_pong:
                    self._awaited_pong = None
                    self._time_ping()
            elif isinstance(payload, tuple):
                self._closed_by_client(*payload)
        if pongs:
            self._answer_pings(pongs)

    def _closed_by_client(self, code: int, reason: str) -> None:
        """A close frame has come: answer it, unless it is the answer to ours (RFC 6455, 5.5.1)."""
        if self.stage is _OPEN:
            self.code = code
            self._transport.write(ws_frame(CLOSE, b"" if code == 1005 else close_payload(code, "")))
        self.stage = _CLOSING
        self._plain = False
        self.disconnect(code, reason)
        self._linger()

    def _violated(self, error: ProtocolError) -> None:
        """The client broke the protocol: say so, and have no more of it (RFC 6455, 7.1.7)."""
        logger.warning("closed a WebSocket of %s: %s (%d)", self._peer.name, error, error.code)
        if self.stage is _OPEN:
            self.code = error.code
            self._transport.write(ws_frame(CLOSE, close_payload(error.code, str(error))))
        self.stage = _CLOSING
        self._plain = False
        self.disconnect(error.code, str(error))
        self._linger()

    def _note_waiting(self, size: int) -> None:
        """A message of `size` bytes waits for the application."""
        if len(self._queue) == 1:
            self._backlog = 0
        self._backlog += size
        if self._backlog >= QUEUE_HIGH_WATER:  # what was taken meanwhile is not counted yet
            self._backlog = sum(map(_size, self._queue))

    def _has_room(self) -> bool:
        """Whether the application has taken enough of its messages to be given another."""
        if self.stage is not _OPEN:
            return True
        return len(self._queue) < self._settings.max_queue and self._backlog < QUEUE_HIGH_WATER

    def _pause(self) -> None:
        self._plain = False
        if not self.paused and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def consumed(self) -> None:
        if self._soon or self.stage is _CONNECTING or len(self._queue) * 2 > self._settings.max_queue:
            return
        if self._backlog * 2 > QUEUE_HIGH_WATER:
            self._backlog = sum(map(_size, self._queue))
        if self._backlog * 2 <= QUEUE_HIGH_WATER:
            if self._unread or self._reader.behind:
                self._read_soon()
            else:
                self._plain = self._reader.idle and self.stage is _OPEN
                self._resume_reading()

    def _read_soon(self) -> None:
        """Go on in the next turn of the loop; others have theirs before."""
        if not self._soon:
            self._soon = True
            self._context.soon(self._read_on)

    # What is late.

    def expire(self) -> None:
        """The deadline is over: look at what is late, and at what to look at next."""
        now = self._context.clock.ticked
        if self._outlet is not None and self._stalled(self._outlet, now):
            logger.warning("cut a WebSocket of %s: it does not take what is sent to it", self._peer.name)
            self._end_late(1013, "the client is too slow")
            self._transport.abort()
        elif self.stage is _CLOSING:
            if not self._transport.get_write_buffer_size():
                self._transport.abort()
            elif self._outlet is None:
                self._watch_outlet()
        elif self.stage is _OPEN and self._outlet is None and self._ping_due <= now:
            self._ping(now)
            return
        self.deadline = self._ping_due if self._outlet is None else now + LOOK_AGAIN

    def _ping(self, now: float) -> None:
        if self._awaited_pong is None:
            self._awaited_pong = payload = random.randbytes(4)
            self._transport.write(ws_frame(PING, payload))
        elif not self.paused:  # else the pong may be among what is not read
            logger.warning("closed a WebSocket of %s: it answered no ping", self._peer.name)
            self._transport.write(ws_frame(CLOSE, close_payload(1011, "no answer to a ping")))
            self._end_late(1011, "no answer to a ping")
            self._linger()
            return
        self.deadline = self._ping_due = now + self._settings.ping_timeout

    def _end_late(self, code: int, reason: str) -> None:
        self.code = code
        self.stage = _CLOSING
        self._plain = False
        self.disconnect(code, reason)

    # The end.

    def finished(self) -> None:
        self._settle()

    def _settle(self) -> None:
        """Once the connection is lost and the application has returned, nothing is left."""
        if not self._lost or not self.ended:
            return
        context = self._context
        context.websocket_ended(self)
        access = context.access
        if access is not None and self._was_open:
            access.websocket_closed(
                self._peer.name,
                self.target.partition("?")[0],
                self.code,
                (self._messages_in, self._messages_out, self._bytes_in, self._bytes_out),
                monotonic() - self.started_at,
            )


def _size(message: Message) -> int:
    """The bytes of a message, or characters of a text."""
    payload: str | bytes = message.get("text") or message.get("bytes") or b""
    return len(payload)
