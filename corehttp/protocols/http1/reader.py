"""What comes in over an HTTP/1.1 connection: bytes are cut into heads and bodies, and become exchanges in a queue.

Heads go whole to the parser, whose callbacks only record; bodies are framed here.
"""

import asyncio
from time import monotonic

from corehttp.errors import PeerError
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import RequestParser, ResponseStream, Upgrade
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.chunked import ChunkedBody
from corehttp.protocols.http1.head import HeadScan, body_too_large, diagnose, other_version
from corehttp.protocols.http1.semantics import judge, origin_form, takes_trailers, use_authority
from corehttp.protocols.http1.state import Reading
from corehttp.protocols.limits import NEVER, Pace
from corehttp.protocols.peer import (
    Fields,
    Peer,
    Trust,
    forwarding,
    judge_peer,
    lenient_fields,
    lower_name,
    ordinary,
    proxied,
)
from corehttp.protocols.progress import Intake, ResponsePhase
from corehttp.protocols.scope import http_scope

BODY_HIGH_WATER = 65536  # bytes of a request's body kept for the application before reading pauses
DISCARD_LIMIT = 262144  # bytes of an unread body thrown away to keep a connection
PIPELINE_LIMIT = 16  # requests parsed and not begun before reading pauses
READ_AT_ONCE = (
    65536  # bytes that come in at once, after which others have a turn of the loop: uvloop reads on up to 32 times
)
EMPTY_LINES_LIMIT = 8  # before a request (RFC 9112, 2.2)

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _HEAD, _BODY, _UPGRADED, _ENDED = Reading
_SPACE = ord(" ")
_CR = ord("\r")
_EMPTY_LINE = b"\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_COMING = Intake.COMING
_RESPONSE_DONE = ResponsePhase.DONE


class RequestReading(asyncio.Protocol, ResponseStream):
    """The reading half of a connection: the parser's sink."""

    __slots__ = (
        "_blank",
        "_chunks",
        "_context",
        "_current",
        "_discarded",
        "_feed",
        "_fresh",
        "_head",
        "_headers",
        "_held",
        "_incoming",
        "_intake",
        "_parser",
        "_paused",
        "_peer",
        "_queue",
        "_reading",
        "_resting",
        "_scan",
        "_spent",
        "_transport",
        "_uncommon",
        "_upgrade",
        "_wrong_upgrade",
        "deadline",
    )

    _peer: Peer  # as the socket knows it
    _transport: asyncio.Transport
    _parser: RequestParser

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._reading = _IDLE
        self._head = b""  # that the parser is given
        self._spent = False  # the parser cannot go on after this request
        self._fresh = False  # it has seen nothing before the head that it is given
        self._headers: list[tuple[bytes, bytes]] = []
        self._uncommon = False  # a name among them may be a proxy's
        self._blank = 0  # bytes of empty lines before the next request
        self._held = bytearray()  # bytes of heads that are not parsed yet
        self._scan: HeadScan | None = None  # of the one that is not whole
        self._incoming: Exchange | None = None  # whose body is being read
        self._chunks: ChunkedBody | None = None  # unless it has a length
        self._intake: Pace | None = None  # of the body that is being read, or the head's time
        self._discarded = 0  # bytes of a request's body thrown away after its response
        self._paused = False  # reading
        self._resting = False  # reading is paused until the next turn of the loop
        self._queue: list[Exchange] = []  # parsed, not begun
        self._upgrade: tuple[Upgrade, Peer] | None = None  # to another protocol, for when its turn comes
        self._wrong_upgrade: PeerError | None = None  # what is wrong with one, in a head that is right as HTTP
        self._current: Exchange | None = None  # whose response is being written
        self.deadline = NEVER  # seconds, by the worker's clock: when the ticker calls `expire`

    # What the other half and the connection's life do.

    def _refuse(self, status: int, reason: str, head: bytes | bytearray = b"") -> None:
        """Parse no more; say so when the responses before it are out. `head` holds the fault, unless a body does."""
        raise NotImplementedError

    def _close(self, *, linger: bool) -> None:
        """End the connection from our side."""
        raise NotImplementedError

    def _set_deadline(self) -> None:
        """Something is timed that was not before."""
        raise NotImplementedError

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        # Most often it is one whole head, and read here as `_read_head` does, to save a frame per request.
        if (
            self._reading is _IDLE
            and 0 < data.find(_END_OF_HEAD) == len(data) - 4
            and data[0] > _SPACE
            and len(data) <= self._context.plain_head
        ):
            self._blank = 0
            self._head = data
            self._reading = _HEAD
            try:
                self._feed(data)
                if self._reading is _HEAD:
                    raise PeerError(400, "the parser reports nothing")
            except Exception as error:
                self._parse_failed(data, error)
        else:
            if len(data) > READ_AT_ONCE:
                self._rest()
            self._read(data)
        if self._current is None:
            self._advance()
        elif self._queue or self._held:
            self._pace()

    def _advance(self) -> None:
        """Begin what was read."""
        raise NotImplementedError

    # What the parser calls: only to record.

    def on_header(self, name: bytes, value: bytes) -> None:
        if value and value[-1] <= _SPACE:
            value = value.rstrip(b" \t")
        try:
            name = ordinary[name]
        except KeyError:
            name = proxied.get(name) or lower_name(name)
            self._uncommon = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        context = self._context
        head = self._head
        headers = self._headers
        self._headers = []
        try:
            method_, target, version_ = head[: head.find(b"\r\n")].split(b" ")
        except ValueError:
            # The parser is lenient about spaces; what is wrong, `diagnose` finds.
            raise PeerError(400, "the request line is not exact") from None
        method = method_.decode("latin-1")
        text = target.decode("latin-1")
        version = "1.1" if version_ == b"HTTP/1.1" else other_version(version_)
        if len(headers) > context.limits.request_fields:
            raise PeerError(431, f"a request must not have more than {context.limits.request_fields} fields")
        fields = dict(headers)
        intent = judge(method, text, version, headers, fields)
        if text[0] != "/":
            use_authority(target, headers)
            target = origin_form(target)
        peer = self._peer
        if self._uncommon:
            self._uncommon = False
            if context.trust is not None and (names := forwarding(fields)):
                peer, headers = self._judge_peer(context.trust, names, headers)
        scope = http_scope(context, peer, method, version, target, text, headers)
        if b"upgrade" in fields and context.recognize_upgrade is not None:
            try:
                upgrade = context.recognize_upgrade(scope, peer)
            except PeerError as error:
                self._wrong_upgrade = error
                raise
            if upgrade is not None:
                self._upgrade = upgrade, peer
                self._reading = _UPGRADED
                return
        exchange = Exchange(scope, intent, self, context)
        exchange.peer = peer
        exchange.method = method
        exchange.target = text
        exchange.version = version
        exchange.started_at = context.clock.monotonic if context.access is None else monotonic()
        if b"te" in fields and version == "1.1" and takes_trailers(headers):
            exchange.takes_trailers = True
            scope["extensions"]["http.response.trailers"] = {}
        if intent.length:
            self._expect_body(exchange)
        else:
            self._reading = _IDLE if intent.persistent else _ENDED
        self._queue.append(exchange)

    def _judge_peer(self, trust: Trust, names: list[bytes], headers: Fields) -> tuple[Peer, Fields]:
        """Who sends a request in which a proxy says something in the fields `names`; its fields for the application."""
        if trust.believes(self._peer):
            return judge_peer(trust, self._peer, names, headers)
        self._context.distrust(self._peer, names)
        return self._peer, [field for field in headers if field[0] not in names]

    def _sender(self, head: bytes | bytearray) -> Peer:
        """Who has sent a head that is refused, as far as it can be told: for log lines only."""
        trust = self._context.trust
        if trust is None or not trust.believes(self._peer):
            return self._peer
        fields = lenient_fields(head)
        return judge_peer(trust, self._peer, forwarding(dict(fields)), fields)[0]

    # How bytes are cut.

    def _read(self, data: bytes) -> None:
        """Take in whatever has come: heads, bodies, parts of both."""
        held = self._held
        source: bytes | bytearray = data
        searched = 0
        was_held = bool(held)
        if was_held:
            searched = max(0, len(held) - 3) if self._scan is not None else 0
            held += data
            source = held
        at = 0
        size = len(source)
        while at < size:
            reading = self._reading
            if reading is _BODY:
                if type(source) is bytearray:
                    source = bytes(source)  # once, however many bodies it holds
                at = self._read_body(source, at)
            elif reading is _ENDED:
                at = size
            elif reading is _UPGRADED or len(self._queue) >= PIPELINE_LIMIT:
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
        if at < size or was_held:
            self._hold(source, at, was_held)

    def _hold(self, source: bytes | bytearray, at: int, was_held: bool) -> None:
        """Keep what cannot be parsed yet: a part of a head, or requests behind many others."""
        held = self._held
        if was_held:
            del held[:at]
        elif at < len(source):
            held += source[at:]
        if self._reading is _ENDED:
            held.clear()
        elif held and self._reading is not _UPGRADED:
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
            self._refuse(error.status, str(error), held)

    def _skip_empty_lines(self, source: bytes | bytearray, at: int) -> int:
        """A client may send some before a request (RFC 9112, 2.2); answers where they end."""
        begin = at
        while at < len(source) and source[at] == _EMPTY_LINE[self._blank % 2]:
            at += 1
            self._blank += 1
        if self._blank % 2 and self._reading is _IDLE:
            self._reading = _HEAD  # half of an empty line was read: the rest of it is awaited here
            if self._current is None and not self._queue:
                self._time_head()
        elif begin < at and self._reading is _HEAD:
            self._reading = _IDLE
            self._intake = None
            self._set_deadline()
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
            if self._reading is _HEAD:
                raise PeerError(400, "the parser reports nothing")
        except Exception as error:
            self._parse_failed(head, error)

    def _parse_failed(self, head: bytes, error: Exception) -> None:
        """The parser has stopped: at a fault of the head, or though there is none by our own judgement."""
        if not isinstance(error, PeerError):
            self._parser.check(error)
        error.__traceback__ = None
        if self._reading is not _HEAD:
            # The head was reported whole. What the parser makes of the body, or of an upgrade that we do not know, is
            # not our matter (RFC 9110, 7.8).
            self._spent = True
            if self._reading is not _BODY:
                self._renew_parser()
            return
        self._headers = []
        fault = diagnose(head, self._context.limits)
        wrong_upgrade, self._wrong_upgrade = self._wrong_upgrade, None
        if fault is None and wrong_upgrade is not None:
            fault = wrong_upgrade.with_traceback(None)
        if fault is None and not self._fresh:
            # It stumbles over what came before: llhttp takes `Proxy-Connection: close` for the end, say.
            self._renew_parser()
            self._fresh = True
            self._read_head(head)
            self._fresh = False
        else:
            if fault is None:
                fault = error if isinstance(error, PeerError) else PeerError(400, "the request cannot be parsed")
            self._refuse(fault.status, str(fault), head)

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

    def _pace(self) -> None:
        """Read no faster than requests are answered and their bodies are taken."""
        incoming = self._incoming
        unread = 0 if incoming is None or incoming.phase is _RESPONSE_DONE else incoming.buffered
        unparsed = self._held and self._scan is None
        if unparsed or len(self._queue) > PIPELINE_LIMIT or unread > BODY_HIGH_WATER:
            self._pause_reading()
        else:
            self._resume_reading()
        if incoming is not None and self._intake is None:
            self._set_deadline()

    def _pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _rest(self) -> None:
        """What has come took long to read: others have a turn before more is read."""
        if not self._resting:
            self._resting = True
            self._pause_reading()
            self._context.soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._pace()

    def _resume_reading(self) -> None:
        if self._paused and not self._resting:
            self._paused = False
            if self._reading is _BODY:
                self._intake = None  # the client has its whole time again
            self._set_deadline()
            if not self._transport.is_closing():
                self._context.resume_reading(self._transport)

    def _time_head(self) -> None:
        """A part of a head is there, and nothing before it is in progress: the rest must come in time."""
        self._intake = Pace(self._context.limits.request_header, self._context.clock.now)
        self._set_deadline()
