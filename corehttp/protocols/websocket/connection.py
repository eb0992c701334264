"""The connection of a WebSocket (RFC 6455): its life from the handshake on, and its deadlines.

It has three parts. What the client sends goes through the reader into the queue of the session, which is the ASGI side;
what the application sends goes from the session to the writer. The connection passes on what one of them tells about
opening, closing and loss to the others, and keeps the times.
"""

import asyncio
import logging
import os
from time import monotonic

from corehttp.asgi import Scope
from corehttp.moments import NEVER
from corehttp.protocols.answers import CLIENT_CLOSED
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Request
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
    """Takes over the transport of a request that is an opening handshake; a `WebSocket` of `contracts`."""

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
        self._ping_due = NEVER  # seconds, by the worker's clock: when to send a ping, or when its pong must have come
        # The code of the first close frame, for the access log; 1006 if there is none (RFC 6455, 7.1.5).
        self._code = 1006

    def __repr__(self) -> str:
        return f"<WebSocketConnection {self.name}: {self.session.stage.value}>"

    def start(self, held: bytes) -> None:
        """Take over the writer's transport, which has read `held` already, and run the application."""
        context = self._context
        session = self.session
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(self._settings.write_high_water)
        context.connection_begun(self)
        context.websocket_begun(self)
        if held:
            self._reader.take_in(held)  # it was counted when it came
        task = context.fresh().run(context.start_task, session.live())
        if not session.ended:
            session.keep(task)

    # What the worker asks of every application: the session's answers.

    @property
    def name(self) -> str:
        """`WS` and the path of the handshake, as log lines show them."""
        return self.session.name

    @property
    def ended(self) -> bool:
        """Whether the application has returned."""
        return self.session.ended

    @property
    def unawaited(self) -> bool:
        """Whether the client has left an application that goes on."""
        return self.session.unawaited

    def announce_leave(self) -> None:
        """Close the WebSocket with code 1012, since the worker leaves: the client is to connect again.

        The code is in the IANA registry of WebSocket close codes. While the application has not answered the handshake,
        it may still do so; if it returns without an answer, the client gets a 503. A WebSocket that has ended is left
        as it is.
        """
        self.session.close_by_server(1012, "the server is restarting")

    def cancel(self) -> None:
        """Cancel the application."""
        self.session.cancel()

    # What the worker asks of every connection.

    @property
    def idle(self) -> bool:
        """False: a WebSocket can neither be passed on nor closed without a close frame."""
        return False

    @property
    def unanswered(self) -> list[Request]:
        """No requests: a WebSocket is not completed by a response."""
        return []

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""
        return descriptor(self._transport)

    def pass_on(self, hand_over: HandOver) -> bool:
        """Do nothing and answer False: a part of what the client has sent may be in this worker's memory."""
        return False

    def close(self) -> None:
        """Raise AssertionError, since only idle connections may be closed like this, and a WebSocket never is."""
        raise AssertionError("a WebSocket is closed by `leave`")

    def suspect(self) -> None:
        """Do nothing: `announce_leave` lets reading go on, which shows whether the client has left."""

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    def leave(self, now: float, departure: Departure) -> None:
        """Close the WebSocket when it is its turn, as `announce_leave` does, once its handshake is answered."""
        if self.session.stage is _OPEN and departure.is_turn_of(self, now):
            self.announce_leave()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do nothing; never called, since the transport is taken over."""

    def eof_received(self) -> bool:
        """Let the transport close, since the client can answer no close frame any more."""
        if self.session.stage is _OPEN:
            logger.debug("a WebSocket's client has ended its side without a close frame")
        return False

    def pause_writing(self) -> None:
        """Let senders wait, since the client takes less than is written."""
        now = self._context.clock.now
        self._writer.hold_senders(self._context.limits.write_stall, now)
        self.deadline = min(self.deadline, now + LOOK_AGAIN)

    def resume_writing(self) -> None:
        """Let senders go on, since the client has taken what was written; times for its answers begin now."""
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
        """Tell the application, and note the end for the access log once the application has returned."""
        opening = self._writer.opening
        stage = self.session.stage
        if opening is not None and (stage is _DENYING or stage is _CONNECTING):  # not answered whole
            self._record(opening.status or CLIENT_CLOSED, opening.sent, whole=False)
        self.deadline = NEVER
        self._reader.discard()
        self._context.connection_ended(self)
        self._writer.give_up()
        self.session.lose()
        self._lost = True  # not before: the application may return meanwhile, and it is to be settled once
        self._settle()

    # What the session tells.

    def opened(self) -> None:
        """Read what comes and time the pings, since the handshake is accepted."""
        self._record(101, 0)
        self.started_at = monotonic()
        self._time_ping()
        self._reader.open()

    def denied(self) -> None:
        """Wait for the client to leave, since the handshake is refused by a response that was written whole."""
        opening = self._writer.opening
        assert opening is not None, "only a handshake that was not accepted is refused"
        self._record(opening.status, opening.sent)
        self._linger()

    def closing(self, code: int) -> None:
        """Wait for the client's close frame, since one with `code` was sent."""
        self._code = code
        self.deadline = self._context.clock.now + CLOSE_TIMEOUT
        self._reader.discard_messages()

    def finished(self) -> None:
        """Note that the application has returned."""
        self._settle()

    # What the reader tells.

    def answered_ping(self, payload: bytes) -> None:
        """Time the next ping if the pong answers the last one; others mean nothing (RFC 6455, 5.5.3)."""
        if payload == self._awaited_pong:
            self._awaited_pong = None
            self._time_ping()

    def closed_by_client(self, code: int, reason: str) -> None:
        """Answer the client's close frame, unless it is the answer to the server's (RFC 6455, 5.5.1)."""
        if self.session.stage is _OPEN:
            self._code = code
            self._writer.write_close(b"" if code == 1005 else close_payload(code, ""))
        self.session.end(code, reason)
        self._linger()

    def violated(self, error: ProtocolError) -> None:
        """Close the WebSocket, since the client broke the protocol or a limit (RFC 6455, 7.1.7)."""
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
            self._reader.discard()
        elif stage is _CLOSING:
            if has_left(self._transport):
                self._transport.abort()
            elif outlet is None:
                self._writer.watch(self._context.limits.write_stall, self._context.clock.now)
        elif stage is _OPEN and outlet is None and self._ping_due <= now:
            self._ping(now)
            return
        self.deadline = self._ping_due if self._writer.outlet is None else now + LOOK_AGAIN

    def _time_ping(self) -> None:
        """Send the next ping after the ping interval."""
        self.deadline = self._ping_due = self._context.clock.now + self._settings.ping_interval

    def _ping(self, now: float) -> None:
        """Send a ping, or close the WebSocket if the last one is not answered."""
        if self._awaited_pong is None:
            self._awaited_pong = payload = os.urandom(4)
            self._writer.ping(payload)
        elif not self._reader.paused:  # if reading is paused, the pong may be among what is not read
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
        self._reader.discard()
        if not self._transport.is_closing():
            end_our_side(self._transport)

    def _settle(self) -> None:
        """Forget the WebSocket and note its end, once its connection is lost and its application has returned."""
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

    def _record(self, status: int, sent: int, *, whole: bool = True) -> None:
        """Count the answer to the handshake, and note it for the access log; its body has `sent` bytes so far.

        If it is not `whole`, the connection was lost before its end.
        """
        context, access = self._context, self._context.access
        if not whole:
            context.count_abort("error" if self.session.ended else "client")
        elif context.tally is not None:
            context.tally.count_response("GET", status, self.started_at)
        if access is not None:
            milliseconds = (monotonic() - self.started_at) * 1000
            access.records.append((self._peer.name, "GET", self.session.target, "1.1", status, sent, milliseconds))
            if not access.armed:
                access.arm(self.session)


def _target(scope: Scope, peer: Peer) -> str:
    """Return the target of the handshake as the client sent it, like that of any other request in the log."""
    target: bytes = scope["raw_path"]
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return target.decode("latin-1").removeprefix(peer.raw_root_path.decode("latin-1"))
