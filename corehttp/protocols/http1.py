"""One HTTP/1.1 connection: the parser's sink, the exchange's stream.

`data_received` feeds the parser, whose callbacks only record; its tail, `_advance`, runs what was recorded.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Iterable
from time import monotonic
from typing import cast
from urllib.parse import unquote

from corehttp.errors import AppError, PeerError
from corehttp.protocols import wire
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.exchange import Exchange, Intake, Phase
from corehttp.protocols.http1_state import Framing, Next, Reading, Stage, after_response
from corehttp.protocols.semantics import HEAD_LIMIT, judge, origin_form
from corehttp.protocols.stream import RequestParser
from corehttp.protocols.wire import CLOSES, OWN_DATE, OWN_SERVER, response_head

logger = logging.getLogger("corehttp.error")

NEVER = float("inf")
LINGER = 2.0  # seconds that we listen on after our last byte (RFC 9112, 9.6)
BODY_HIGH_WATER = 65536  # bytes of a request's body kept for the application before reading pauses
DISCARD_LIMIT = 262144  # bytes of an unread body thrown away to keep a connection
PIPELINE_LIMIT = 16  # requests parsed and not begun before reading pauses
CLIENT_CLOSED = 499  # the access log's status for a client that left before the response began, as in nginx

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _HEAD, _BODY = Reading
_OPEN, _LINGERING, _CLOSED = Stage
_SIZED, _CHUNKED, _UNTIL_CLOSE, _NONE = Framing
_BODILESS = frozenset({204, 304})
_SPACE = ord(" ")
_RESPONSE_BODY, _RESPONSE_DONE = Phase.BODY, Phase.DONE
_COMING = Intake.COMING


class HTTP1Connection(asyncio.Protocol):
    """A client's connection; requests are answered in the order they came (RFC 9112, 9.3.2)."""

    __slots__ = (
        "_advancing",
        "_client",
        "_client_text",
        "_context",
        "_current",
        "_discarded",
        "_drained",
        "_feed",
        "_final",
        "_framing",
        "_head_size",
        "_headers",
        "_incoming",
        "_parser",
        "_paused",
        "_queue",
        "_reading",
        "_refusal",
        "_remaining",
        "_server",
        "_stage",
        "_target",
        "_transport",
        "congested",
        "deadline",
    )

    _transport: asyncio.Transport
    _parser: RequestParser

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._stage = _OPEN
        self._reading = _IDLE
        self._client: tuple[str, int] | None = None
        self._client_text: str | None = None  # as the access log shows it
        self._server: tuple[str, int | None] | None = None
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0  # bytes of an unfinished head
        self._incoming: Exchange | None = None  # whose body is being read
        self._queue: list[Exchange] = []  # parsed, not begun
        self._current: Exchange | None = None  # whose response is being written
        self._refusal: tuple[int, str] | None = None  # answered when the responses before it are out
        self._final = False  # the last request on this connection has been read
        self._advancing = False
        self._framing = _SIZED
        self._remaining = 0  # bytes of the response's body still to come
        self._discarded = 0  # bytes of a request's body thrown away after its response
        self._paused = False  # reading
        self._drained: asyncio.Future[None] | None = None
        self.congested = False
        self.deadline = NEVER  # seconds, by the worker's clock: when the ticker calls `expire`

    def __repr__(self) -> str:
        return f"<HTTP1Connection {self._client}: {self._stage.value}, reading {self._reading.value}, {self._current}>"

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        # A stray line break between requests is not a request (RFC 9112, 2.2).
        nothing_read = self._reading is _IDLE or (self._reading is _HEAD and self._head_size <= 2)
        return self._stage is _OPEN and nothing_read and self._current is None and not self._queue

    @property
    def final(self) -> bool:
        """Whether the last request of this connection has been read: nothing after it is one."""
        return self._final

    @property
    def body_length(self) -> int:
        """Bytes to come of the body that is being read; -1 when chunked."""
        return self._incoming.unread if self._incoming is not None else 0

    @property
    def unanswered(self) -> list[Exchange]:
        """The requests that were read and have no whole response yet, in order."""
        return [exchange for exchange in (self._current, *self._queue) if exchange is not None]

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        context = self._context
        self._transport = cast(asyncio.Transport, transport)
        self._parser = parser = context.make_parser(self)
        self._feed = parser.feed
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        # A unix socket has no addresses but the path it is bound to (ASGI HTTP specification, "server").
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self._server = (own[0], own[1]) if isinstance(own, tuple) else (own, None) if own else None
        self.deadline = context.clock.now + context.keep_alive
        context.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._stage is not _OPEN or self._final:
            return
        if self._reading is _IDLE:
            self._reading = _HEAD  # the keep-alive deadline stands until the head is whole
        try:
            self._feed(data)
            if self._reading is _HEAD:
                self._limit_head(len(data))
        except Exception as error:
            self._parse_failed(data, error)
        if self._current is None:
            self._advance()
        elif self._queue:
            self._pace()

    def eof_received(self) -> bool:
        """The client ended its side. A response in progress still goes out: it may have closed only one half."""
        incoming = self._incoming
        if incoming is not None and incoming in self._queue:
            self._queue.remove(incoming)  # not begun, and the rest of it will never come
        waiting = self.unanswered
        if self._stage is not _OPEN or not waiting or incoming is self._current is not None:
            return False
        self._final = True
        for exchange in waiting:
            exchange.hang_up()
        if self._refusal is None:
            waiting[-1].persistent = waiting[-1].plain = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _CLOSED
        self._context.connections.discard(self)
        current = self._current
        if current is not None:
            current.disconnect()
            self._record(current)
        self.resume_writing()
        # The parser holds our methods and the exchanges hold us: let go of both.
        self._current = self._incoming = None
        self._queue.clear()
        del self._parser, self._feed

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # What the parser calls: only to record.

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if value and value[-1] <= _SPACE:
            value = value.rstrip(b" \t")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        context = self._context
        method = parser.method().decode()
        target = self._target
        headers = self._headers
        self._headers = []  # what is reported from here on are trailers, which ASGI has no place for
        fields = dict(headers)
        # Asking httptools for the version formats a string; without a Connection field its verdict says the same.
        version = "1.1" if b"connection" not in fields and parser.persists() else parser.version()
        text = target.decode("latin-1")
        intent = judge(method, text, version, headers, fields)
        raw_path, _, query = (target if text[0] == "/" else origin_form(target)).partition(b"?")
        path = text if len(raw_path) == len(text) else raw_path.decode()
        # A copy of what all scopes share, then the rest: a fifth less than to build the dictionary anew.
        scope = context.scope.copy()
        if context.root_path:
            scope["path"] = context.root_path + (unquote(path) if "%" in path else path)
            scope["raw_path"] = context.root_path.encode() + raw_path
        else:
            scope["path"] = unquote(path) if "%" in path else path
            scope["raw_path"] = raw_path
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = method
        scope["query_string"] = query
        scope["headers"] = headers
        scope["client"] = self._client
        scope["server"] = self._server
        scope["state"] = context.state.copy()
        exchange = Exchange(scope, intent, self, context)
        if context.access is None:
            exchange.started_at = context.clock.now
        else:
            exchange.started_at = monotonic()
            exchange.target = text
        self._queue.append(exchange)
        self._target = b""
        if intent.length:
            self._incoming = exchange
            self._reading = _BODY
        else:
            # The whole request is here: that saves on_message_complete most of its work.
            self._reading = _IDLE
            self._head_size = 0
            self._final = not intent.persistent

    def on_body(self, piece: bytes) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        if exchange.feed(piece):
            if exchange.buffered > BODY_HIGH_WATER:
                self._pause_reading()
            return
        self._discarded += len(piece)
        if self._discarded > DISCARD_LIMIT:
            self._final = True
            if self._current is None:
                self._close(linger=True)

    def on_message_complete(self) -> None:
        exchange = self._incoming
        if exchange is None:
            return
        if exchange.intake is _COMING:
            if self._parser.upgrading():
                return  # the parser ends the message early; it goes on with the body by and by
            exchange.finish_body()
        self._incoming = None
        self._reading = _IDLE
        self._headers = []
        self._head_size = 0
        self._final = self._final or not exchange.persistent

    # What the exchange calls.

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        context = self._context
        pieces, length, flags = response_head(status, headers)
        size = len(body)
        if size == length and not (more or flags or context.draining) and exchange.plain and status not in _BODILESS:
            # Most responses: a whole body of declared length, on a connection that goes on.
            pieces += (context.clock.lines, b"\r\n", body)
        else:
            size = self._frame(exchange, pieces, status, body, more, (length, flags))
        # One write: the transport sends at once when nothing waits, so two writes would be two system calls.
        self._transport.write(b"".join(pieces))
        exchange.status = status
        exchange.sent = size
        if more:
            exchange.phase = _RESPONSE_BODY
        else:
            self._complete(exchange)

    def write_body(self, body: bytes, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        data = body
        match self._framing:
            case Framing.SIZED:
                self._count(len(body), more)
            case Framing.CHUNKED:
                data = (wire.chunk(body) if body else b"") + (b"" if more else wire.LAST_CHUNK)
            case Framing.UNTIL_CLOSE:
                pass
            case Framing.NONE:
                data = self._without_body(exchange.status, body)
        if data:
            self._transport.write(data)
        exchange.sent += len(body) if self._framing is not _NONE else 0
        if not more:
            self._complete(exchange)

    def send_continue(self) -> None:
        self._transport.write(wire.CONTINUE)

    def consumed(self) -> None:
        if self._paused:
            self._pace()

    async def writable(self) -> None:
        if self.congested:
            if self._drained is None:
                self._drained = self._context.loop.create_future()
            # Shielded: a sender that is cancelled must not cancel the others that wait.
            await asyncio.shield(self._drained)

    def abort(self) -> None:
        if self._framing is Framing.UNTIL_CLOSE:
            # Here the end of the connection is the end of the body: only a reset tells the client of the loss.
            reset_on_close(self._transport)
            self._transport.abort()
        else:
            self._close(linger=False)

    # What the worker calls.

    def expire(self) -> None:
        """The deadline is over: close what is idle, cut what lingers once all is written."""
        if self._stage is _LINGERING and self._transport.get_write_buffer_size() > 0:
            self.deadline = self._context.clock.now + LINGER
        else:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self._close(linger=False)

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    # What follows from it.

    def _advance(self) -> None:
        """Begin what was read, one request after the other; answer a refusal when its turn has come."""
        queue = self._queue
        context = self._context
        self._advancing = True
        while queue and self._current is None and self._stage is _OPEN:
            self._current = exchange = queue.pop(0)
            self.deadline = NEVER
            task = context.start_task(exchange.run())
            if not exchange.ended:
                exchange.keep(task)
        self._advancing = False
        if queue or self._paused:
            self._pace()
        if self._refusal is not None and self._current is None and self._stage is _OPEN:
            lines = self._context.clock.lines
            self._transport.write(wire.refusal(*self._refusal, lines))
            self._close(linger=True)

    def _pace(self) -> None:
        """Read no faster than requests are answered and their bodies are taken."""
        incoming = self._incoming
        unread = 0 if incoming is None or incoming.phase is _RESPONSE_DONE else incoming.buffered
        if len(self._queue) > PIPELINE_LIMIT or unread > BODY_HIGH_WATER:
            self._pause_reading()
        else:
            self._resume_reading()

    def _complete(self, exchange: Exchange) -> None:
        """The whole response is written."""
        exchange.phase = _RESPONSE_DONE
        context = self._context
        if context.access is not None:
            self._record(exchange)
        self._current = None
        if exchange.waiters is not None:
            exchange.wake()
        if exchange.persistent and self._incoming is not exchange:
            if self._paused:
                self._pace()
            if self._reading is _IDLE and not self._queue:
                self.deadline = context.clock.now + context.keep_alive
            if not self._advancing and (self._queue or self._refusal is not None):
                context.loop.call_soon(self._advance)
        else:
            self._conclude(exchange)

    def _conclude(self, exchange: Exchange) -> None:
        """After a response that ends the connection, or that came before the end of its request."""
        step = after_response(
            persistent=exchange.persistent,
            body_unread=exchange.intake is _COMING,
            body_doubtful=exchange.expects_continue,
            unread=exchange.unread,
            limit=DISCARD_LIMIT,
        )
        match step:
            case Next.READ_NEXT:
                pass
            case Next.DISCARD_BODY:
                self._discarded = 0
                self._resume_reading()
                self.deadline = self._context.clock.now + self._context.keep_alive
            case Next.CLOSE:
                # A client that announced the end sends no more; any other may, and a reset would cost it our answer.
                self._close(linger=not self._final or exchange.intake is _COMING)

    def _parse_failed(self, data: bytes, error: Exception) -> None:
        """The parser stopped in `data`: it goes on, or the request is refused."""
        refusal = error if isinstance(error, PeerError) else self._parser.recover(data, error)
        self._feed = self._parser.feed
        if refusal is not None:
            error.__traceback__ = refusal.__traceback__ = None  # they lead back to us: a cycle
            if not self._final:
                self._refuse(refusal.status, str(refusal))

    def _refuse(self, status: int, reason: str) -> None:
        """Parse no more; say so when the responses before it are out."""
        logger.warning("refused a request from %s: %s (%d)", self._client or "a unix socket", reason, status)
        self._final = True
        self._refusal = (status, reason)
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        if incoming.phase is _RESPONSE_DONE:
            self._refusal = None  # it has had its answer
            self._close(linger=True)
            return
        if incoming is not self._current:
            self._queue.remove(incoming)  # not begun: the application never sees it
            return
        self._current = None
        incoming.disconnect()
        if incoming.phase is _RESPONSE_BODY:
            self._refusal = None
            self.abort()

    def _limit_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_LIMIT:
            raise PeerError(431, f"the head of a request must be smaller than {HEAD_LIMIT} bytes")

    def _frame(
        self, exchange: Exchange, pieces: list[bytes], status: int, body: bytes, more: bool, declared: tuple[int, int]
    ) -> int:
        """Decide how the response ends (RFC 9112, 6.3); completes `pieces` and answers the size of the body sent."""
        length, flags = declared
        scope = exchange.scope
        context = self._context
        # In a drain, what was read already is answered; a client that waits for 100 (Continue) may never send its body.
        waits_to_send = exchange.expects_continue and exchange.intake is _COMING
        if flags & CLOSES or (context.draining and not self._queue) or waits_to_send:
            exchange.persistent = False
        framing = b""
        if status in _BODILESS or scope["method"] == "HEAD":
            self._framing = _NONE
            if status == 204:  # RFC 9110, 8.6: it must not declare a length
                pieces[:] = [line for line in pieces if not line.lower().startswith(b"content-length:")]
            body = self._without_body(status, body)
        elif length >= 0:
            self._framing = _SIZED
            self._remaining = length
            self._count(len(body), more)
        elif not more:
            framing = b"content-length: %d\r\n" % len(body)
        elif scope["http_version"] == "1.1":
            self._framing = _CHUNKED
            framing = wire.CHUNKED
        else:
            self._framing = _UNTIL_CLOSE
            exchange.persistent = False
        clock = context.clock
        lines = clock.lines_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        pieces += (lines, framing, self._connection_line(exchange), b"\r\n")
        pieces.append(wire.chunk(body) if body and framing is wire.CHUNKED else body)
        return len(body)

    def _connection_line(self, exchange: Exchange) -> bytes:
        if not exchange.persistent:
            return wire.CONNECTION_CLOSE
        return b"" if exchange.scope["http_version"] == "1.1" else wire.CONNECTION_KEEP_ALIVE

    def _without_body(self, status: int, body: bytes) -> bytes:
        if body and status in _BODILESS:
            raise AppError(f"a response with status {status} has no body")
        return b""

    def _count(self, size: int, more: bool) -> None:
        remaining = self._remaining - size
        if remaining < 0:
            raise AppError(f"the response's body is longer than its Content-Length, by {-remaining} bytes")
        if remaining and not more:
            raise AppError(f"the response's body is shorter than its Content-Length, by {remaining} bytes")
        self._remaining = remaining

    def _close(self, *, linger: bool) -> None:
        if self._stage is not _OPEN:
            return
        self._stage = _LINGERING
        self.deadline = self._context.clock.now + LINGER
        self._resume_reading()
        transport = self._transport
        if linger and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
        else:
            transport.close()

    def _pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _record(self, exchange: Exchange) -> None:
        """Note the exchange for the access log."""
        access = self._context.access
        if access is None:
            return
        client = self._client_text
        if client is None:
            client = self._client_text = f"{self._client[0]}:{self._client[1]}" if self._client else "-"
        scope = exchange.scope
        phase = exchange.phase
        if phase is _RESPONSE_DONE or phase is _RESPONSE_BODY:
            status, sent = exchange.status, exchange.sent
        else:
            status, sent = CLIENT_CLOSED, 0
        milliseconds = (monotonic() - exchange.started_at) * 1000
        access.records.append(
            (client, scope["method"], exchange.target, scope["http_version"], status, sent, milliseconds)
        )
        if not access.armed:
            access.arm()


def reset_on_close(transport: asyncio.Transport) -> None:
    """Make the close of a TCP connection a reset (socket(7), SO_LINGER)."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
