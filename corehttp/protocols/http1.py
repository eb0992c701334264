"""One HTTP/1.1 connection: the parser's sink, the exchange's stream.

`data_received` cuts what comes into heads and bodies and feeds the heads to the parser, whose callbacks only record;
its tail, `_advance`, runs what was recorded.
"""

import asyncio
import logging
from collections.abc import Iterable
from time import monotonic
from typing import cast
from urllib.parse import unquote

from corehttp.errors import AppError, ClientDisconnectedError, PeerError
from corehttp.protocols import half_closed, wire
from corehttp.protocols.admission import Verdict
from corehttp.protocols.chunked import ChunkedBody
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.exchange import Exchange, Intake, Phase
from corehttp.protocols.files import Transfer, untaken
from corehttp.protocols.framing import BODILESS, Framing, OutgoingBody, frame
from corehttp.protocols.head import HeadScan, body_too_large, diagnose, other_version
from corehttp.protocols.http1_state import Next, Reading, Stage, after_response
from corehttp.protocols.limits import NEVER, Pace
from corehttp.protocols.semantics import judge, origin_form
from corehttp.protocols.stream import Fields, RequestParser
from corehttp.protocols.wire import CLOSES, OWN_DATE, OWN_SERVER, response_head

logger = logging.getLogger("corehttp.error")

LINGER = 2.0  # seconds that we listen on after our last byte (RFC 9112, 9.6)
BODY_HIGH_WATER = 65536  # bytes of a request's body kept for the application before reading pauses
DISCARD_LIMIT = 262144  # bytes of an unread body thrown away to keep a connection
PIPELINE_LIMIT = 16  # requests parsed and not begun before reading pauses
EMPTY_LINES_LIMIT = 8  # before a request (RFC 9112, 2.2)
LOOK_AGAIN = 0.9  # seconds, less than a tick: then a client that takes nothing, or is half gone, is looked at again

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _HEAD, _BODY, _ENDED = Reading
_OPEN, _LINGERING, _CLOSED = Stage
_SPACE = ord(" ")
_CR = ord("\r")
_EMPTY_LINE = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_RESPONSE_HEAD, _RESPONSE_BODY, _RESPONSE_DONE = Phase.HEAD, Phase.BODY, Phase.DONE
_COMING = Intake.COMING


class HTTP1Connection(asyncio.Protocol):
    """A client's connection; requests are answered in the order they came (RFC 9112, 9.3.2)."""

    __slots__ = (
        "_advancing",
        "_blank",
        "_chunks",
        "_client",
        "_client_text",
        "_context",
        "_current",
        "_discarded",
        "_drained",
        "_feed",
        "_file",
        "_file_sent",
        "_half_closed",
        "_head",
        "_headers",
        "_held",
        "_incoming",
        "_intake",
        "_keep_until",
        "_outgoing",
        "_outlet",
        "_parser",
        "_paused",
        "_queue",
        "_reading",
        "_refusal",
        "_request_due",
        "_scan",
        "_server",
        "_spent",
        "_stage",
        "_transport",
        "_unsent",
        "congested",
        "deadline",
    )

    _transport: asyncio.Transport
    _parser: RequestParser
    _outgoing: OutgoingBody  # of a response that is not written at once

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._stage = _OPEN
        self._reading = _IDLE
        self._client: tuple[str, int] | None = None
        self._client_text: str | None = None  # as the access log shows it
        self._server: tuple[str, int | None] | None = None
        self._head = b""  # that the parser is given
        self._spent = False  # the parser cannot go on after this request
        self._headers: list[tuple[bytes, bytes]] = []
        self._blank = 0  # bytes of empty lines before the next request
        self._held = bytearray()  # bytes of heads that are not parsed yet
        self._scan: HeadScan | None = None  # of the one that is not whole
        self._incoming: Exchange | None = None  # whose body is being read
        self._chunks: ChunkedBody | None = None  # unless it has a length
        self._queue: list[Exchange] = []  # parsed, not begun
        self._current: Exchange | None = None  # whose response is being written
        self._refusal: tuple[int, str] | None = None  # answered when the responses before it are out
        self._advancing = False
        self._discarded = 0  # bytes of a request's body thrown away after its response
        self._paused = False  # reading
        self._drained: asyncio.Future[None] | None = None
        self._file: Transfer | None = None  # that is going out
        self._file_sent = 0  # bytes of it when the client was looked at last
        self._half_closed: half_closed.Watch | None = None  # the client has closed its side
        self.congested = False
        # Seconds, by the worker's clock. `deadline` is when the ticker calls `expire`, at the latest of what follows.
        self.deadline = NEVER
        self._keep_until = NEVER  # an idle connection
        self._request_due = NEVER  # the current exchange
        self._intake: Pace | None = None  # of the body that is being read, or the head's time
        self._outlet: Pace | None = None  # of what the client does not take
        self._unsent = 0  # bytes of that

    def __repr__(self) -> str:
        return f"<HTTP1Connection {self._client}: {self._stage.value}, reading {self._reading.value}, {self._current}>"

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        return self._stage is _OPEN and self._reading is _IDLE and self._current is None and not self._queue

    @property
    def unanswered(self) -> list[Exchange]:
        """The requests that were read and have no whole response yet, in order."""
        return [exchange for exchange in (self._current, *self._queue) if exchange is not None]

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        context = self._context
        self._transport = cast(asyncio.Transport, transport)
        self._renew_parser()
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        # A unix socket has no addresses but the path it is bound to (ASGI HTTP specification, "server").
        self._client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        self._server = (own[0], own[1]) if isinstance(own, tuple) else (own, None) if own else None
        self.deadline = self._keep_until = context.clock.now + context.keep_alive
        context.connections.add(self)

    def data_received(self, data: bytes) -> None:
        # Most often it is one whole head.
        if (
            self._reading is _IDLE
            and 0 < data.find(_END_OF_HEAD) == len(data) - 4
            and data[0] > _SPACE
            and not self._blank
        ):
            self._read_head(data)
        else:
            self._read(data)
        if self._current is None:
            self._advance()
        elif self._queue or self._held:
            self._pace()

    def eof_received(self) -> bool:
        """The client ended its side. What it has asked for is still answered: it may have closed only one half."""
        incoming = self._incoming
        if incoming is not None and incoming in self._queue:
            self._queue.remove(incoming)  # not begun, and the rest of it will never come
        waiting = self.unanswered
        if self._stage is not _OPEN or not waiting or incoming is self._current is not None:
            return False
        self._half_closed = half_closed.Watch(self._transport)
        if self._half_closed.is_gone():
            return False
        self._end_reading()
        if self._refusal is None:
            waiting[-1].persistent = waiting[-1].plain = False
        self.deadline = min(self.deadline, self._context.clock.now + LOOK_AGAIN)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = _CLOSED
        context = self._context
        context.connections.discard(self)
        current = self._current
        if current is not None:
            current.disconnect()
            if context.access is not None:
                self._record(current)
            if context.cancel_on_disconnect:
                current.cancel()
        if context.admission is not None:
            context.admission.forget(self)
        if self._file is not None:
            self._file.disconnect()
        self._end_reading()
        # The parser holds our methods and the exchanges hold us: let go of both.
        self._current = self._incoming = self._half_closed = self._refusal = None
        self._queue.clear()
        self.resume_writing()
        del self._parser, self._feed

    def pause_writing(self) -> None:
        self.congested = True
        self._watch_outlet()

    def resume_writing(self) -> None:
        self.congested = False
        self._outlet = None
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self._current is None and (self._queue or self._held or self._refusal is not None):
            self._context.loop.call_soon(self._advance)

    # What the parser calls: only to record.

    def on_header(self, name: bytes, value: bytes) -> None:
        if value and value[-1] <= _SPACE:
            value = value.rstrip(b" \t")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        context = self._context
        head = self._head
        headers = self._headers
        self._headers = []
        # The parser is lenient about spaces and versions. A wrong number of them raises; `diagnose` says what is wrong.
        method_, target, version_ = head[: head.find(b"\r\n")].split(b" ")
        method = method_.decode("latin-1")
        text = target.decode("latin-1")
        version = "1.1" if version_ == b"HTTP/1.1" else other_version(version_)
        if len(headers) > context.limits.request_fields:
            raise PeerError(431, f"a request must not have more than {context.limits.request_fields} fields")
        fields = dict(headers)
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
        scope["extensions"] = context.extensions.copy()
        exchange = Exchange(scope, intent, self, context)
        if context.access is None:
            exchange.started_at = context.clock.now
        else:
            exchange.started_at = monotonic()
            exchange.target = text
        if intent.length:
            self._expect_body(exchange)
        else:
            self._reading = _IDLE if intent.persistent else _ENDED
        self._queue.append(exchange)

    # What the exchange calls.

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        context = self._context
        pieces, length, flags = response_head(status, headers)
        size = len(body)
        if size == length and not (more or flags or context.draining) and exchange.plain and status not in BODILESS:
            # Most responses: a whole body of declared length, on a connection that goes on.
            pieces += (context.clock.lines, b"\r\n", body)
        else:
            size = self._respond_otherwise(exchange, pieces, status, body, more, (length, flags))
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
        data = self._outgoing.encode(body, more)
        if data:
            self._transport.write(data)
        exchange.sent += len(body) if self._outgoing.framing is not Framing.NONE else 0
        if not more:
            self._complete(exchange)

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        before, after = self._outgoing.around(count, more)
        if self._outgoing.framing is not Framing.NONE and count:
            if before:
                self._transport.write(before)
            self._file = transfer = Transfer(self._transport, self._context.loop, self.writable)
            self._file_sent = 0
            self._watch_outlet()
            try:
                sent = await transfer.send(file, offset, count)
            finally:
                self._file = None
            if exchange is not self._current:
                raise ClientDisconnectedError("the client has disconnected")
            if not self.congested:
                self._outlet = None
            exchange.sent += sent
            if sent < count:
                raise AppError(f"the file ended {count - sent} bytes before what was to be sent of it")
        if after:
            self._transport.write(after)
        if not more:
            self._complete(exchange)

    def write_trailers(self, trailers: Fields) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        data = self._outgoing.end(wire.trailer_lines(trailers))
        if data:
            self._transport.write(data)
        self._complete(exchange)

    def send_continue(self) -> None:
        self._transport.write(wire.CONTINUE)

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        hints = wire.early_hints(links)
        if exchange.scope["http_version"] == "1.1":
            self._transport.write(hints)

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
        if self._outgoing.framing is Framing.UNTIL_CLOSE:
            # Here the end of the connection is the end of the body: only a reset tells the client of the loss.
            half_closed.reset_on_close(self._transport)
            self._transport.abort()
        else:
            self._close(linger=False)

    # What the worker calls.

    def expire(self) -> None:
        """The deadline is over: look at what is late, and at what to look at next."""
        now = self._context.clock.now
        current = self._current
        if self._outlet is not None and self._stalled(self._outlet, now):
            logger.warning("cut the connection of %s: it does not take what is sent to it", self._client or "a client")
            half_closed.reset_on_close(self._transport)
            self._transport.abort()
        elif self._stage is _LINGERING:
            if not self._transport.get_write_buffer_size():
                self._transport.abort()
        elif self._intake is not None and self._intake.due <= now and not self._paused:
            self._refuse(408, f"{'a body' if self._reading is _BODY else 'the head of a request'} came in too slowly")
            self._answer_refusal()
        elif current is not None and self._request_due <= now:
            self._time_out(current)
        elif self._half_closed is not None and self._half_closed.is_gone():
            self._transport.abort()
        elif self._half_closed is not None and current is not None:
            self._half_closed.probe(self._harmless_bytes(current))
        elif self.idle and self._keep_until <= now:
            self._close(linger=False)
            return
        self._set_deadline()

    def close(self) -> None:
        """Close an idle connection."""
        self._close(linger=False)

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    # What comes in.

    def _read(self, data: bytes) -> None:
        """Take in whatever has come: heads, bodies, parts of both."""
        held = self._held
        source: bytes | bytearray = data
        searched = 0
        if held:
            searched = max(0, len(held) - 3) if self._scan is not None else 0
            held += data
            source = held
        at = 0
        size = len(source)
        while at < size:
            reading = self._reading
            if reading is _BODY:
                at = self._read_body(source, at)
            elif reading is _ENDED:
                at = size
            elif len(self._queue) >= PIPELINE_LIMIT:
                break
            else:
                if self._blank or source[at] == _CR:
                    at = self._skip_empty_lines(source, at)
                    if at == size or self._reading is _ENDED:
                        break
                end = source.find(_END_OF_HEAD, searched or at) + 4
                if end < 4:
                    break
                self._scan = self._intake = None
                self._blank = 0
                self._read_head(bytes(source[at:end]))
                at = end
            searched = 0
        if at < len(source) or source is held:
            self._hold(source, at)

    def _hold(self, source: bytes | bytearray, at: int) -> None:
        """Keep what cannot be parsed yet: a part of a head, or requests behind many others."""
        held = self._held
        if source is held:
            del held[:at]
        elif at < len(source):
            held += source[at:]
        if self._reading is _ENDED:
            held.clear()
        elif held:
            self._reading = _HEAD
            if len(self._queue) < PIPELINE_LIMIT:
                self._scan_part(held)

    def _scan_part(self, held: bytearray) -> None:
        """Refuse at once what cannot become the head of a request."""
        if self._scan is None:
            self._scan = HeadScan(self._context.limits)
            if self._current is None and not self._queue:
                self._time_head()
        try:
            self._scan.scan(held)
        except PeerError as error:
            self._refuse(error.status, str(error))

    def _skip_empty_lines(self, source: bytes | bytearray, at: int) -> int:
        """A client may send some before a request (RFC 9112, 2.2); answers where they end."""
        while at < len(source) and source[at] == _EMPTY_LINE[self._blank % 2]:
            at += 1
            self._blank += 1
        if self._blank > EMPTY_LINES_LIMIT * len(_EMPTY_LINE):
            self._refuse(400, f"more than {EMPTY_LINES_LIMIT} empty lines come before a request")
        elif self._blank % 2 and at < len(source):
            self._refuse(400, "a line must end in CR LF")
        return at

    def _read_head(self, head: bytes) -> None:
        """Have a whole head parsed; whatever is wrong with it, it is refused."""
        self._head = head
        self._reading = _HEAD
        try:
            if len(head) > self._context.plain_head:
                HeadScan(self._context.limits).scan(head)
            self._feed(head)
        except Exception as error:
            self._parse_failed(head, error)
        else:
            if self._reading is _HEAD:
                self._parse_failed(head, PeerError(400, "the request cannot be parsed"))

    def _parse_failed(self, head: bytes, error: Exception) -> None:
        if not isinstance(error, PeerError) and not self._parser.refuses(error):
            self._spent = True
            if self._reading is not _BODY:
                self._renew_parser()
            return
        error.__traceback__ = None
        fault = diagnose(head, self._context.limits)
        self._refuse(fault.status, str(fault))

    def _renew_parser(self) -> None:
        self._parser = parser = self._context.make_parser(self, self._context.limits)
        self._feed = parser.feed
        self._spent = False

    def _expect_body(self, exchange: Exchange) -> None:
        limits = self._context.limits
        if exchange.unread > limits.request_body:
            raise body_too_large(limits)
        self._incoming = exchange
        self._reading = _BODY
        self._spent = exchange.unread < 0
        self._chunks = ChunkedBody(limits) if self._spent else None

    def _read_body(self, source: bytes | bytearray, at: int) -> int:
        """Take in what there is of a request's body; answers where it ends."""
        exchange = self._incoming
        assert exchange is not None, "somebody's body is being read"
        chunks = self._chunks
        if chunks is None:
            piece = bytes(source[at : at + exchange.unread])
            end = at + len(piece)
            if not self._spent:
                self._parser.skip(piece)
        else:
            try:
                piece, end = chunks.feed(source, at)
            except PeerError as error:
                self._refuse(error.status, str(error))
                return len(source)
        if piece:
            if not exchange.feed(piece):
                self._discard(exchange, len(piece))
            elif exchange.buffered > BODY_HIGH_WATER:
                self._pause_reading()
        if exchange.unread == 0 if chunks is None else chunks.whole:
            self._finish_body(exchange)
        elif self._intake is None:
            self._intake = Pace(self._context.limits.request_body_stall, self._context.clock.now)
            self._set_deadline()
        else:
            self._intake.moved(end - at, self._context.clock.now)
        return end

    def _discard(self, exchange: Exchange, size: int) -> None:
        """A piece of a body that nobody wants: within a bound, to keep the connection."""
        self._discarded += size
        if self._discarded > DISCARD_LIMIT:
            exchange.persistent = False
            if exchange is not self._current:
                self._end_reading()
                self._close(linger=True)

    def _finish_body(self, exchange: Exchange) -> None:
        if self._reading is _ENDED:
            return
        if exchange.intake is _COMING:
            exchange.finish_body()
        if self._spent:
            self._renew_parser()
        self._incoming = self._chunks = self._intake = None
        self._reading = _IDLE if exchange.persistent else _ENDED

    def _end_reading(self) -> None:
        """Whatever else comes is not a request."""
        self._reading = _ENDED
        self._held.clear()
        self._scan = self._intake = None

    # What follows from it.

    def _advance(self) -> None:
        """Begin what was read, one request after the other; answer a refusal when its turn has come."""
        queue = self._queue
        context = self._context
        self._advancing = True
        while self._current is None and self._stage is _OPEN and not self.congested:
            if not queue:
                if not self._held or self._scan is not None:
                    break
                self._read(b"")
                if not queue:
                    break
            if context.admission is not None:
                match context.admission.verdict(self, queue[0].scope["path"]):
                    case Verdict.RUN:
                        pass
                    case Verdict.WAIT:
                        break
                    case Verdict.TURN_AWAY:
                        context.admission.turn_away(self)
                        continue
            self._current = exchange = queue.pop(0)
            self.deadline = self._request_due = context.clock.now + context.request_timeout
            if self._reading is _BODY:
                self._set_deadline()
            task = context.start_task(exchange.run())
            if not exchange.ended:
                exchange.keep(task)
        self._advancing = False
        if queue or self._held or self._paused:
            self._pace()
        if self._refusal is not None:
            self._answer_refusal()

    def proceed(self) -> None:
        """The request whose turn it is need not wait any more."""
        self._advance()

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer the request whose turn it is without the application."""
        exchange = self._queue.pop(0)
        self._current = exchange
        exchange.ended = True
        body = (reason + "\n").encode()
        fields = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % retry_after),
        ]
        self.respond(status, fields, body, False)

    def _answer_refusal(self) -> None:
        if self._refusal is not None and self._current is None and not self._queue and self._stage is _OPEN:
            self._transport.write(wire.refusal(*self._refusal, self._context.clock.lines))
            self._close(linger=True)

    def _pace(self) -> None:
        """Read no faster than requests are answered and their bodies are taken."""
        incoming = self._incoming
        unread = 0 if incoming is None or incoming.phase is _RESPONSE_DONE else incoming.buffered
        unparsed = self._held and self._scan is None
        if unparsed or len(self._queue) > PIPELINE_LIMIT or unread > BODY_HIGH_WATER:
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
                self.deadline = self._keep_until = context.clock.now + context.keep_alive
                if self.congested:
                    self._set_deadline()
            elif self._scan is not None and not self._queue:
                self._time_head()
            elif not self._advancing:
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
                self._set_deadline()
            case Next.CLOSE:
                # A client that announced the end sends no more; any other may, and a reset would cost it our answer.
                self._close(linger=self._reading is not _ENDED)

    def _refuse(self, status: int, reason: str) -> None:
        """Parse no more; say so when the responses before it are out."""
        logger.warning("refused a request from %s: %s (%d)", self._client or "a unix socket", reason, status)
        self._end_reading()
        self._refusal = (status, reason)
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        if incoming.phase is _RESPONSE_DONE:
            self._refusal = None  # it has had its answer
            self._close(linger=True)
            return
        if incoming is not self._current:
            if incoming in self._queue:
                self._queue.remove(incoming)  # not begun: the application never sees it
            return
        self._give_up(incoming)

    def _give_up(self, exchange: Exchange) -> None:
        """The current exchange will have no response from the application."""
        self._current = None
        exchange.disconnect()
        if exchange.phase is not _RESPONSE_HEAD and exchange.phase is not Phase.STARTED:
            self._refusal = None
            self.abort()
        elif self._refusal is not None:
            exchange.status = self._refusal[0]
        self._record(exchange)

    def _time_out(self, exchange: Exchange) -> None:
        """The application has had its time: 504, or a cut if the response has begun."""
        seconds = self._context.limits.request
        logger.warning(
            "%s %s from %s took longer than %g s (504)",
            exchange.scope["method"],
            exchange.scope["path"],
            self._client or "a unix socket",
            seconds,
        )
        self._end_reading()
        self._queue.clear()
        self._incoming = None
        self._refusal = (504, f"the request took longer than {seconds:g} s")
        self._give_up(exchange)
        exchange.cancel()
        self._answer_refusal()

    def _respond_otherwise(
        self, exchange: Exchange, pieces: list[bytes], status: int, body: bytes, more: bool, declared: tuple[int, int]
    ) -> int:
        """Complete `pieces`, the head of a response that is not quite usual; answers the size of the body sent."""
        length, flags = declared
        scope = exchange.scope
        context = self._context
        # In a drain, what was read already is answered; a client that waits for 100 (Continue) may never send its body.
        last = context.draining and not self._queue and not self._held
        if flags & CLOSES or last or (exchange.expects_continue and exchange.intake is _COMING):
            exchange.persistent = False
        framing = b""
        encoded = body
        bodiless = status in BODILESS or scope["method"] == "HEAD"
        if more or length >= 0 or bodiless:
            self._outgoing, framing = frame(bodiless, status, scope["http_version"], length)
            if self._outgoing.framing is Framing.UNTIL_CLOSE:
                exchange.persistent = False
            if status == 204:  # RFC 9110, 8.6: it must not declare a length
                pieces[:] = [line for line in pieces if not line.lower().startswith(b"content-length:")]
            encoded = self._outgoing.encode(body, more)
        else:
            framing = b"content-length: %d\r\n" % len(body)
        lines = context.clock.lines
        if flags & (OWN_DATE | OWN_SERVER):
            lines = context.clock.lines_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        connection = b""
        if not exchange.persistent:
            connection = wire.CONNECTION_CLOSE
        elif scope["http_version"] != "1.1":
            connection = wire.CONNECTION_KEEP_ALIVE
        pieces += (lines, framing, connection, b"\r\n", encoded)
        return 0 if bodiless else len(body)

    def _close(self, *, linger: bool) -> None:
        if self._stage is not _OPEN:
            return
        self._stage = _LINGERING
        self._end_reading()
        self.deadline = self._context.clock.now + LINGER
        self._resume_reading()
        transport = self._transport
        if transport.get_write_buffer_size():
            self._watch_outlet()
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
            if self._intake is not None:
                self._intake = Pace(self._context.limits.request_body_stall, self._context.clock.now)
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # What is late, and a client that is half gone.

    def _set_deadline(self) -> None:
        """After this `deadline` is when to look again."""
        if self._stage is not _OPEN:
            self.deadline = self._context.clock.now + LINGER
            return
        due = self._request_due if self._current is not None else self._keep_until if self.idle else NEVER
        if self._intake is not None and not self._paused:
            due = min(due, self._intake.due)
        if self._outlet is not None or (self._half_closed is not None and self._current is not None):
            due = min(due, self._context.clock.now + LOOK_AGAIN)
        self.deadline = due

    def _time_head(self) -> None:
        """A part of a head is there, and nothing before it is in progress: the rest must come in time."""
        now = self._context.clock.now
        self._intake = Pace(self._context.limits.request_header, now)
        self.deadline = self._intake.due

    def _watch_outlet(self) -> None:
        self._outlet = Pace(self._context.limits.write_stall, self._context.clock.now)
        self._unsent = untaken(self._transport)
        self.deadline = min(self.deadline, self._context.clock.now + LOOK_AGAIN)

    def _stalled(self, outlet: Pace, now: float) -> bool:
        """Whether the client takes too little of what is written."""
        moved = self._unsent
        self._unsent = untaken(self._transport)
        moved -= self._unsent
        if self._file is not None:
            moved += self._file.sent - self._file_sent
            self._file_sent = self._file.sent
        outlet.moved(max(0, moved), now)
        return outlet.due <= now

    def _harmless_bytes(self, exchange: Exchange) -> bytes:
        """What a client that still reads can ignore, and one that is gone answers with a reset."""
        if exchange.phase is _RESPONSE_HEAD or exchange.phase is Phase.STARTED:
            return wire.CONTINUE if exchange.scope["http_version"] == "1.1" else b""
        if exchange.phase is _RESPONSE_BODY and self._outgoing.framing is Framing.CHUNKED and self._file is None:
            return b"0"  # the next chunk's size has a leading zero (RFC 9112, 7.1)
        return b""

    def _record(self, exchange: Exchange) -> None:
        """Note the exchange for the access log."""
        access = self._context.access
        if access is None:
            return
        client = self._client_text
        if client is None:
            client = self._client_text = f"{self._client[0]}:{self._client[1]}" if self._client else "-"
        scope = exchange.scope
        milliseconds = (monotonic() - exchange.started_at) * 1000
        status, sent = exchange.status, exchange.sent
        access.records.append(
            (client, scope["method"], exchange.target, scope["http_version"], status, sent, milliseconds)
        )
        if not access.armed:
            access.arm()
