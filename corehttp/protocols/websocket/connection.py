"""A WebSocket's connection (RFC 6455): its life from the handshake on, and what is late in it.

It has three parts. What the client sends goes through the reader into the queue of the session, which is the ASGI side;
what the application sends goes from the session to the writer. The connection moves all of them when one tells that the
WebSocket opens, closes or is lost, and keeps the times.
"""

import asyncio
import logging
import random
from time import monotonic

from corehttp.asgi import Scope
from corehttp.protocols.answers import CLIENT_CLOSED
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Request
from corehttp.protocols.limits import NEVER
from corehttp.protocols.outlet import LINGER, LOOK_AGAIN, has_left
from corehttp.protocols.peer import Peer
from corehttp.protocols.peer_socket import descriptor, end_our_side
from corehttp.protocols.websocket.frames import ProtocolError, close_payload
from corehttp.protocols.websocket.reader import WebSocketReader
from corehttp.protocols.websocket.session import SessionStage, WebSocketSession
from corehttp.protocols.websocket.writer import Settings, WebSocketWriter

logger = logging.getLogger("corehttp.error")

CLOSE_TIMEOUT = 10.0  # seconds that the client has to answer the server's close frame

# Bound once: a name in the module costs less per message than an attribute of the class.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = SessionStage


class WebSocketConnection(asyncio.Protocol):
    """What takes over the transport of a request that is an opening handshake; a `WebSocket`."""

    __slots__ = (
        "_awaited_pong",
        "_code",
        "_context",
        "_lost",
        "_peer",
        "_ping_due",
        "_reader",
        "_settings",
        "_transport",
        "_writer",
        "data_received",
        "deadline",
        "session",
        "started_at",
    )

    def __init__(
        self,
        context: WorkerContext,
        settings: Settings,
        scope: Scope,
        peer: Peer,
        reader: WebSocketReader,
        writer: WebSocketWriter,
    ) -> None:
        self._context = context
        self._settings = settings
        self._peer = peer
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self.session = WebSocketSession(scope, _target(scope, peer), context, writer, reader, self)
        reader.join(self.session, self)
        # Called by the transport; bound here, so that no function of the connection is entered for it.
        self.data_received = reader.data_received  # type: ignore[method-assign]
        self.started_at = monotonic()
        self.deadline = NEVER  # seconds, by the worker's clock: when the worker calls `expire`
        self._lost = False  # whether the connection is lost and the application told
        self._awaited_pong: bytes | None = None  # payload of the ping that the client has not answered
        self._ping_due = NEVER  # seconds, by the worker's clock: when a ping is to be sent or its answer to be here
        self._code = 1006  # of the first close frame, for the access log; 1006 if the connection is lost without one

    def __repr__(self) -> str:
        return f"<WebSocketConnection {self.name}: {self.session.stage.value}>"

    def start(self, held: bytes) -> None:
        """Take over the writer's transport, which has read `held` already, and run the application."""
        context = self._context
        session = self.session
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(self._settings.write_high_water)
        context.joined(self)
        context.websocket_begun(self)
        if held:
            self._reader.data_received(held)
        task = context.fresh().run(context.start_task, session.live())
        if not session.ended:
            session.keep(task)

    # What the worker asks of every application: the session's answers.

    @property
    def name(self) -> str:
        """`WS` and the path, as log lines show them."""
        return self.session.name

    @property
    def ended(self) -> bool:
        """Whether the application has returned."""
        return self.session.ended

    @property
    def unawaited(self) -> bool:
        """Whether the client has left an application that goes on."""
        return self.session.unawaited

    def tell(self) -> None:
        """Tell client and application that the worker leaves: the client is to connect again.

        The close code is 1012 (IANA registry of WebSocket close codes). A handshake that the application has not
        answered when it ends is answered with 503. A WebSocket that has ended is left as it is.
        """
        self.session.tell(1012, "the server is restarting")

    def cancel(self) -> None:
        """Cancel the application."""
        self.session.cancel()

    # What the worker asks of every connection.

    @property
    def idle(self) -> bool:
        """Always false: a WebSocket cannot be passed on, or closed without a word."""
        return False

    @property
    def unanswered(self) -> list[Request]:
        """Always empty: a WebSocket is no request that a response could complete."""
        return []

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""
        return descriptor(self._transport)

    def pass_on(self, hand_over: HandOver) -> bool:
        """Always false: a part of what the client has sent is in this worker's memory."""
        return False

    def close(self) -> None:
        """Raise AssertionError: only idle connections are closed like this, and a WebSocket is never idle."""
        raise AssertionError("a WebSocket is closed by `leave`")

    def suspect(self) -> None:
        """Do nothing: reading goes on once the WebSocket is closed, as `tell` does, and shows a client that left."""

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    def leave(self, now: float, departure: Departure) -> None:
        """Close the WebSocket when it is its turn; a handshake that is not answered yet is waited for."""
        if self.session.stage is _OPEN and departure.is_turn_of(self, now):
            self.tell()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Never called: the transport is taken over."""

    def eof_received(self) -> bool:
        if self.session.stage is _OPEN:
            logger.debug("a WebSocket's client has ended its side without a close frame")
        return False

    def pause_writing(self) -> None:
        self._writer.congested = True
        self._watch_outlet()

    def resume_writing(self) -> None:
        """Let senders go on: the client has taken what was written, and only from now on it can answer."""
        self._writer.relax()
        now = self._context.clock.now
        match self.session.stage:
            case SessionStage.OPEN:
                if self._awaited_pong is not None:
                    self._ping_due = max(self._ping_due, now + self._settings.ping_timeout)
                self.deadline = self._ping_due
            case SessionStage.CLOSING:
                self.deadline = now + (LINGER if self._reader.deaf else CLOSE_TIMEOUT)
            case SessionStage.CONNECTING | SessionStage.DENYING | SessionStage.CLOSED:
                self.deadline = NEVER

    def connection_lost(self, exc: Exception | None) -> None:
        opening = self._writer.opening
        stage = self.session.stage
        if opening is not None and (stage is _DENYING or stage is _CONNECTING):  # the answer is not whole
            self._record(opening.status or CLIENT_CLOSED, opening.sent, monotonic() - self.started_at)
        self.deadline = NEVER
        self._reader.stop()
        self._context.left(self)
        self._writer.give_up()
        self.session.lose()
        self._lost = True  # not before: the application may return meanwhile, and it is to be settled once
        self._settle()

    # What the session tells.

    def opened(self) -> None:
        """The handshake is accepted: read what comes, and time the pings."""
        asked_at, self.started_at = self.started_at, monotonic()
        self._record(101, 0, self.started_at - asked_at)
        self._time_ping()
        self._reader.open()

    def denied(self) -> None:
        """The handshake is refused, and the response that says so is whole: wait for the client to leave."""
        opening = self._writer.opening
        assert opening is not None, "only a handshake that was not accepted is refused"
        self._record(opening.status, opening.sent, monotonic() - self.started_at)
        self._linger()

    def closing(self, code: int) -> None:
        """A close frame is sent: wait for the client's."""
        self._code = code
        self.deadline = self._context.clock.now + CLOSE_TIMEOUT
        self._reader.end()

    def finished(self) -> None:
        """The application has returned."""
        self._settle()

    # What the reader tells.

    def answered_ping(self, payload: bytes) -> None:
        """A pong has come; one that answers no ping means nothing (RFC 6455, 5.5.3)."""
        if payload == self._awaited_pong:
            self._awaited_pong = None
            self._time_ping()

    def closed_by_client(self, code: int, reason: str) -> None:
        """A close frame has come: answer it, unless it is the answer to the server's (RFC 6455, 5.5.1)."""
        if self.session.stage is _OPEN:
            self._code = code
            self._writer.write_close(b"" if code == 1005 else close_payload(code, ""))
        self.session.end(code, reason)
        self._linger()

    def violated(self, error: ProtocolError) -> None:
        """The client broke the protocol: say so, and read no more of it (RFC 6455, 7.1.7)."""
        logger.warning("closed a WebSocket of %s: %s (%d)", self._peer.name, error, error.code)
        if self.session.stage is _OPEN:
            self._code = error.code
            self._writer.write_close(close_payload(error.code, str(error)))
        self.session.end(error.code, str(error))
        self._linger()

    # What is late.

    def expire(self) -> None:
        """Act on what is late now that `deadline` has passed, and set the next `deadline`."""
        now = self._context.clock.ticked
        outlet = self._writer.outlet
        stage = self.session.stage
        if outlet is not None and outlet.is_stalled(now):
            logger.warning("cut a WebSocket of %s: it does not take what is sent to it", self._peer.name)
            self._code = 1013
            self.session.end(1013, "the client is too slow")
            self._transport.abort()
            self._reader.stop()
        elif stage is _CLOSING:
            if has_left(self._transport):
                self._transport.abort()
            elif outlet is None:
                self._watch_outlet()
        elif stage is _OPEN and outlet is None and self._ping_due <= now:
            self._ping(now)
            return
        self.deadline = self._ping_due if self._writer.outlet is None else now + LOOK_AGAIN

    def _watch_outlet(self) -> None:
        now = self._context.clock.now
        self._writer.watch(self._context.limits.write_stall, now)
        self.deadline = min(self.deadline, now + LOOK_AGAIN)

    def _time_ping(self) -> None:
        self.deadline = self._ping_due = self._context.clock.now + self._settings.ping_interval

    def _ping(self, now: float) -> None:
        """Send a ping, or close the WebSocket if the last one is not answered."""
        if self._awaited_pong is None:
            self._awaited_pong = payload = random.randbytes(4)
            self._writer.ping(payload)
        elif not self._reader.paused:  # else the pong may be among what is not read
            logger.warning("closed a WebSocket of %s: it answered no ping", self._peer.name)
            self._code = 1011
            self._writer.write_close(close_payload(1011, "no answer to a ping"))
            self.session.end(1011, "no answer to a ping")
            self._linger()
            return
        self.deadline = self._ping_due = now + self._settings.ping_timeout

    # The end.

    def _linger(self) -> None:
        """End the server's side after its last byte, and listen on for a moment (RFC 6455, 7.1.1; RFC 9112, 9.6)."""
        self.deadline = self._context.clock.now + LINGER
        self._reader.stop()
        if not self._transport.is_closing():
            end_our_side(self._transport)

    def _settle(self) -> None:
        """Forget the WebSocket once the connection is lost and the application has returned; note it for the log."""
        session, reader, writer = self.session, self._reader, self._writer
        if not (self._lost and session.ended):
            return
        session.release()
        reader.release()
        context = self._context
        context.websocket_ended(self)
        if context.access is not None and writer.opening is None:
            context.access.websocket_closed(
                self._peer.name,
                session.target.partition("?")[0],
                self._code,
                (reader.received, writer.sent, reader.sizes, writer.sizes),
                monotonic() - self.started_at,
            )

    def _record(self, status: int, sent: int, seconds: float) -> None:
        """Note the answer to the handshake for the access log; `sent` are the bytes of its body."""
        access = self._context.access
        if access is not None:
            access.records.append((self._peer.name, "GET", self.session.target, "1.1", status, sent, seconds * 1000))
            if not access.armed:
                access.arm()


def _target(scope: Scope, peer: Peer) -> str:
    """The target of the handshake as the client sent it, like that of any other request in the log."""
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return target.decode("latin-1").removeprefix(peer.raw_root_path.decode("latin-1"))
