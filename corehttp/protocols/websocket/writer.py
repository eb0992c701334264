"""What goes out over a WebSocket: the session's wire (RFC 6455), and what its client does not take."""

import asyncio
from dataclasses import dataclass
from time import monotonic

from corehttp.asgi import Scope
from corehttp.errors import AppError
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import UpgradeAnswer
from corehttp.protocols.fields import check_field
from corehttp.protocols.limits import NEVER, Pace
from corehttp.protocols.peer import Peer
from corehttp.protocols.peer_socket import end_our_side, reset_on_close, untaken
from corehttp.protocols.websocket.frames import (
    CLOSE,
    FIN,
    PONG,
    RSV1,
    SHORT_HEADS,
    Deflater,
    FrameReader,
    close_payload,
    is_close_code,
)
from corehttp.protocols.websocket.frames import frame as ws_frame
from corehttp.protocols.websocket.handshake import Handshake
from corehttp.protocols.websocket.session import Stage, WebSocketSession

CLOSE_TIMEOUT = 10.0  # seconds that the client has to answer our close frame
LINGER = 2.0  # seconds that we listen on after our last byte
LOOK_AGAIN = 0.9  # seconds, less than a tick: then a client that takes nothing is looked at again

# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = Stage
_OURS = (b"connection", b"upgrade", b"content-length", b"transfer-encoding")  # the latter never with 1xx: RFC 9110, 8.6


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say of WebSockets; times in seconds, sizes in bytes."""

    max_size: int = 16 * 2**20  # of a message
    compress_from: int = 512  # for a smaller one it costs more than it saves
    max_queue: int = 32  # messages kept for the application before reading pauses
    write_high_water: int = 65536  # not taken by the client before send() waits
    ping_interval: float = 20.0  # infinite: no pings
    ping_timeout: float = 20.0


class WebSocketWriting(WebSocketSession, asyncio.Protocol):
    """The writing half of a WebSocket."""

    __slots__ = (
        "_answer",
        "_awaited_pong",
        "_bytes_out",
        "_context",
        "_deaf",
        "_deflater",
        "_denied_with",
        "_drained",
        "_handshake",
        "_messages_out",
        "_outlet",
        "_peer",
        "_ping_due",
        "_plain",
        "_pong",
        "_reader",
        "_settings",
        "_transport",
        "_unread",
        "_unsent",
        "_was_open",
        "code",
        "deadline",
        "started_at",
    )

    _transport: asyncio.Transport

    def __init__(
        self,
        context: WorkerContext,
        settings: Settings,
        scope: Scope,
        handshake: Handshake,
        peer: Peer,
        answer: UpgradeAnswer,
    ) -> None:
        super().__init__(scope, context)
        self._context = context
        self._peer = peer
        # As it came, like that of any other request.
        self.target = self.target.removeprefix(peer.raw_root_path.decode("latin-1"))
        self._settings = settings
        self._handshake = handshake
        self._answer = answer
        self._reader = FrameReader(settings.max_size, handshake.deflate)
        self._deflater: Deflater | None = None if handshake.deflate is None else Deflater(handshake.deflate)
        self._plain = False  # it is open, and what comes next is the beginning of a message
        self._unread = b""  # that the application has no room for
        self._deaf = False  # whatever else comes in is thrown away
        self._drained: asyncio.Future[None] | None = None
        self._outlet: Pace | None = None  # of what the client does not take
        self._unsent = 0  # bytes of that
        self._pong: bytes | None = None  # that waits until the client takes what is written
        self._awaited_pong: bytes | None = None
        self._ping_due = NEVER
        self._denied_with = 0  # the status of a denial, once its head is out
        self._was_open = False
        self._messages_out = self._bytes_out = 0
        self.started_at = monotonic()
        self.code = 1006  # with which it ended, as the access log shows it
        self.deadline = NEVER  # seconds, by the worker's clock: when the ticker calls `expire`

    def _read_soon(self) -> None:
        """Read what there is, from the next turn of the loop on."""
        raise NotImplementedError

    # What the session sends.

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
        handshake = self._handshake
        fields = [(b"sec-websocket-accept", handshake.accept)]
        if subprotocol is not None:
            if subprotocol not in handshake.subprotocols:
                raise AppError(
                    f"the subprotocol {subprotocol!r} was not offered; the client offers {handshake.subprotocols}"
                )
            fields.append((b"sec-websocket-protocol", subprotocol.encode()))
        agreed = handshake.deflate
        for name, value in headers:
            check_field(name, value)
            if name.lower() == b"sec-websocket-extensions" and value == b"":
                agreed = None  # no compression for this one
                continue
            if name.lower().startswith(b"sec-websocket-") or name.lower() in _OURS:
                raise AppError(f"the field {name.decode()!r} of the handshake is the server's")
            fields.append((name, value))
        if agreed is None:
            self._deflater = None
            self._reader = FrameReader(self._settings.max_size, None)
        else:
            fields.append((b"sec-websocket-extensions", agreed.answer))
        self._transport.write(self._answer.switch(b"websocket", fields))
        self.stage = _OPEN
        self._plain = not self._unread
        began, self.started_at = self.started_at, monotonic()
        self._was_open = True
        self._record(101, 0, self.started_at - began)
        self._time_ping()
        self._resume_reading()

    def write_message(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        self._messages_out += 1
        self._bytes_out += size
        if self._deflater is not None and size >= self._settings.compress_from:
            self._transport.write(ws_frame(opcode, self._deflater.compress(payload), FIN | RSV1))
        elif size < 126:
            self._transport.write(SHORT_HEADS[opcode][size] + payload)
        else:
            self._transport.write(ws_frame(opcode, payload))

    def send_close(self, code: int, reason: str) -> None:
        if not is_close_code(code):
            raise AppError(f"{code} cannot be the code of a close frame (RFC 6455, 7.4)")
        self.code = code
        self.stage = _CLOSING
        self._plain = False
        self._transport.write(ws_frame(CLOSE, close_payload(code, reason)))
        self.deadline = self._context.clock.now + CLOSE_TIMEOUT
        self._resume_reading()  # the client's close frame is to be read

    def _resume_reading(self) -> None:
        """Read on, and what was read and not looked at."""
        if self.paused:
            self.paused = False
            if not self._transport.is_closing():
                self._context.resume_reading(self._transport)
        if self._unread or self._reader.behind:
            self._read_soon()

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        data = self._answer.deny(status, headers, body, more)
        self.stage = _DENYING
        self._denied_with = status
        self._bytes_out = len(body)
        self._transport.write(data)
        if not more:
            self._denied()

    def write_denial(self, body: bytes, more: bool) -> None:
        self._transport.write(self._answer.deny_further(body, more))
        self._bytes_out += len(body)
        if not more:
            self._denied()

    def _denied(self) -> None:
        self._record(self._denied_with, self._bytes_out, monotonic() - self.started_at)
        self.stage = _CLOSING
        self._plain = False
        self.disconnect(1006, "")
        self._linger()

    def abort(self) -> None:
        reset_on_close(self._transport)
        self._transport.abort()

    async def writable(self) -> None:
        if self.congested:
            if self._drained is None:
                self._drained = self._context.loop.create_future()
            # Shielded: a sender that is cancelled must not cancel the others that wait.
            await asyncio.shield(self._drained)

    def _answer_pings(self, payloads: list[bytes]) -> None:
        """Answer each in one write; of a client that takes nothing only the last (RFC 6455, 5.5.3)."""
        if self.congested:
            self._pong = payloads[-1]
        else:
            self._transport.write(b"".join([ws_frame(PONG, payload) for payload in payloads]))

    def _linger(self) -> None:
        """Our last byte is out: end our side, and listen on for a moment (RFC 6455, 7.1.1; RFC 9112, 9.6)."""
        self._unread = b""
        self._deaf = True
        self.deadline = self._context.clock.now + LINGER
        transport = self._transport
        if transport.is_closing():
            return
        self._resume_reading()
        end_our_side(transport)

    # What the client takes, and when to look at it again.

    def pause_writing(self) -> None:
        self.congested = True
        self._watch_outlet()

    def resume_writing(self) -> None:
        self.congested = False
        self._outlet = None
        self._set_deadline()
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        pong, self._pong = self._pong, None
        if pong is not None and self.stage is _OPEN:
            self._answer_pings([pong])

    def _watch_outlet(self) -> None:
        now = self._context.clock.now
        self._outlet = Pace(self._context.limits.write_stall, now)
        self._unsent = untaken(self._transport)
        self.deadline = min(self.deadline, now + LOOK_AGAIN)

    def _stalled(self, outlet: Pace, now: float) -> bool:
        """Whether the client takes too little of what is written."""
        before, self._unsent = self._unsent, untaken(self._transport)
        outlet.moved(max(0, before - self._unsent), now)
        return outlet.due <= now

    def _set_deadline(self) -> None:
        """The client has taken what was written: only from now on it can answer."""
        now = self._context.clock.now
        match self.stage:
            case Stage.OPEN:
                if self._awaited_pong is not None:
                    self._ping_due = max(self._ping_due, now + self._settings.ping_timeout)
                self.deadline = self._ping_due
            case Stage.CLOSING:
                self.deadline = now + (LINGER if self._deaf else CLOSE_TIMEOUT)
            case Stage.CONNECTING | Stage.DENYING | Stage.CLOSED:
                self.deadline = NEVER

    def _time_ping(self) -> None:
        self.deadline = self._ping_due = self._context.clock.now + self._settings.ping_interval

    # What is logged.

    def _record(self, status: int, sent: int, seconds: float) -> None:
        access = self._context.access
        if access is not None:
            access.records.append((self._peer.name, "GET", self.target, "1.1", status, sent, seconds * 1000))
            if not access.armed:
                access.arm()
