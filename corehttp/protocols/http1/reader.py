"""What comes in over an HTTP/1.1 connection: bytes are cut into heads and bodies, and become exchanges.

A parser is given whole heads alone (`request_heads`); bodies are cut here (`incoming_body`).
"""

import asyncio

from corehttp.errors import PeerError
from corehttp.moments import NEVER
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.head import HeadScan
from corehttp.protocols.http1.host import ReaderHost
from corehttp.protocols.http1.incoming_body import IncomingBody
from corehttp.protocols.http1.inflow import Inflow
from corehttp.protocols.http1.request_heads import RequestHeads, Upgrade
from corehttp.protocols.http1.state import ReadState
from corehttp.protocols.peer import Peer
from corehttp.protocols.progress import ResponsePhase
from corehttp.protocols.scope import Offers

BODY_HIGH_WATER = 65536  # bytes of a request's body kept for the application before reading pauses
PIPELINE_LIMIT = 16  # requests that were read and are not begun before reading pauses
READ_AT_ONCE = 65536  # bytes that come at once, after which others have a turn: uvloop reads on up to 32 times
EMPTY_LINES_LIMIT = 8  # empty lines before a request (RFC 9112, 2.2)

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _HEAD, _BODY, _UPGRADED, _ENDED = ReadState
_SPACE, _CR = b" \r"
_EMPTY_LINE, _END_OF_HEAD = b"\r\n", b"\r\n\r\n"
_RESPONSE_DONE = ResponsePhase.DONE


class Reader:
    """Reads the requests of one connection.

    The transport calls `feed`. `state` says how far the current request has come, as the module `state` describes it.
    """

    __slots__ = (
        *("_ahead", "_blank", "_context", "_host", "_transport"),
        *("body", "heads", "held", "inflow", "partial", "state"),
    )

    _transport: asyncio.Transport  # set once the connection is made

    def __init__(self, context: WorkerContext, host: ReaderHost, stream: ResponseStream) -> None:
        """`stream` is where the exchanges send their responses."""
        self._context = context
        self._host = host
        self.heads = RequestHeads(context, stream)
        self.inflow: Inflow | None = None  # while the client is not read, or has to send something in time
        self.state = _IDLE
        self.held: bytearray | None = None  # bytes that were read and cannot be parsed yet
        self.partial: HeadScan | None = None  # if they are a part of a head: what was seen in it
        self.body: IncomingBody | None = None  # the body that is being read; None if none is
        self._blank = 0  # bytes of empty lines before the next request
        self._ahead = PIPELINE_LIMIT  # requests that may wait to begin before further heads are held unread

    def start(self, transport: asyncio.Transport, peer: Peer, offers: Offers) -> None:
        """Read `transport`; `peer` is its client as far as the socket knows, `offers` what all its scopes have."""
        self._transport = transport
        self.heads.peer, self.heads.offers = peer, offers

    @property
    def upgrade(self) -> Upgrade | None:
        """What the request that was read last asks for, if that is another protocol."""
        return self.heads.upgrade if self.state is _UPGRADED else None

    def feed(self, data: bytes) -> None:
        """Take in what has come, and let the connection begin what can be begun."""
        size = len(data)
        tally = self._context.tally
        if tally is not None:
            tally.received += size
        if self.state is _IDLE and (known := self.heads.known) is not None:
            # Most often it is one whole request with the known head, whose end need not be looked for.
            body = known.body
            if data[:-body] == known.head if body else data == known.head or known.repeats(data):
                self._blank = 0
                exchange = self.heads.repeat(known)
                if body:
                    exchange.take_body(data[-body:])
                self._host.take(exchange, known.intent)
                return
        self._feed_other(data, size)

    def _feed_other(self, data: bytes, size: int) -> None:
        """Take in what is not one whole request with the known head."""
        if self.state is _IDLE and size <= READ_AT_ONCE and data[0] > _SPACE:
            heads = self.heads
            if (end := data.find(_END_OF_HEAD) + 4) > 3:
                self._blank = 0
                exchange = heads.read(data if end == size else data[:end])
                if exchange is not None and heads.intent.length == size - end:  # it is one whole request
                    if end < size:
                        exchange.take_body(data[end:])
                    if not heads.intent.persistent:
                        self.state = _ENDED
                    self._host.take(exchange, heads.intent)
                    return
                self._follow(exchange, data[:end])
                data = data[end:]
        elif size > READ_AT_ONCE:
            self._timed().rest(self._rested)
        self.read(data)
        self._host.advance()

    def has_next(self) -> bool:
        """Whether a request waits to begin; if none does, what is held is read first."""
        if not self._host.queue and self.held is not None and self.partial is None and self.state is not _UPGRADED:
            self.read()
        return bool(self._host.queue)

    # How bytes are cut.

    def read(self, data: bytes = b"") -> None:
        """Take in what is held and what has come: heads, bodies, parts of both."""
        source: bytes | bytearray = data
        held = self.held
        searched = 0  # up to here there is no end of a head
        if held is not None:
            searched = max(0, len(held) - 3) if self.partial is not None else 0
            held += data
            source = held
        at = 0
        size = len(source)
        while at < size:
            state = self.state
            if state is _BODY:
                if isinstance(source, bytearray):
                    source = bytes(source)  # once, however many bodies it holds
                at = self._read_body(source, at)
            elif state is _ENDED:
                at = size
            elif state is _UPGRADED or len(self._host.queue) >= self._ahead:
                break
            else:
                if self._blank or source[at] == _CR:
                    at = self._skip_empty_lines(source, at)
                    if at == size or self.state is _ENDED:
                        break
                end = source.find(_END_OF_HEAD, searched or at) + 4
                if end < 4:
                    break
                self.partial = None
                self._blank = 0
                if self.inflow is not None:
                    self._stop_timing()
                head = bytes(source[at:end])
                self._follow(self.heads.read(head), head)
                at = end
            searched = 0
        if at < size or held is not None:
            self._hold(source, at)

    def _hold(self, source: bytes | bytearray, at: int) -> None:
        """Keep what cannot be parsed yet: a part of a head, or requests behind many others."""
        if self.state is _ENDED or at == len(source):
            self.held = None
            return
        held = self.held
        if held is None:
            self.held = held = bytearray(source[at:])
        else:
            del held[:at]
        if self.state is not _UPGRADED:
            self.state = _HEAD
            if len(self._host.queue) < self._ahead:
                self._scan(held)

    def _scan(self, held: bytearray) -> None:
        """Refuse at once what cannot become the head of a request."""
        if self.partial is None:
            self.partial = HeadScan(self._context.limits)
            self._time_head()
        try:
            self.partial.scan(held)
        except PeerError as error:
            self._host.refuse(error.status, str(error), held)

    def _skip_empty_lines(self, source: bytes | bytearray, at: int) -> int:
        """Skip the few that a client may send before a request (RFC 9112, 2.2); answers where they end."""
        begin = at
        while at < len(source) and source[at] == _EMPTY_LINE[self._blank % 2]:
            at += 1
            self._blank += 1
        if self._blank % 2:  # half of an empty line was read: the rest of it is awaited here
            if self.state is _IDLE:
                self.state = _HEAD
                self._time_head()
        elif begin < at and self.state is _HEAD:
            self.state = _IDLE
            self._stop_timing()
            self._host.set_deadline()
        if self._blank > EMPTY_LINES_LIMIT * len(_EMPTY_LINE):
            self._host.refuse(400, f"more than {EMPTY_LINES_LIMIT} empty lines come before a request")
        elif self._blank % 2 and at < len(source):
            self._host.refuse(400, "a line must end in CR LF")
        return at

    def _follow(self, exchange: Exchange | None, head: bytes) -> None:
        """Go on behind a whole head that was read, and of which `RequestHeads.read` has made this."""
        heads, host = self.heads, self._host
        if exchange is None:
            if heads.wrong is not None:
                status, reason, fields = heads.wrong
                host.refuse(status, reason, head, fields)
            else:
                self.state = _UPGRADED
            return
        host.queue.append((exchange, heads.intent))
        if heads.intent.length:
            self.state = _BODY
            self.body = IncomingBody(exchange, heads.intent, self._context.limits)
        else:
            self.state = _IDLE if heads.intent.persistent else _ENDED

    def _read_body(self, source: bytes, at: int) -> int:
        """Take in what `source` has of the request's body from `at` on; answers where that ends."""
        body = self.body
        assert body is not None, "somebody's body is being read"
        try:
            piece, end = body.cut(source, at)
        except PeerError as error:
            self._host.refuse(error.status, str(error))
            return len(source)
        exchange = body.exchange
        if piece:
            if exchange.feed(piece):
                if exchange.buffered > BODY_HIGH_WATER:
                    self._timed().pause()
            elif body.discard(len(piece)):
                body.end_connection()
                self._host.end_unwanted(exchange)
        if body.whole:
            if self.body is body:  # and the connection has not ended with what was discarded
                exchange.finish_body()
                self.body = None
                if self.inflow is not None:
                    self._stop_timing()
                self.state = _IDLE if body.persistent else _ENDED
                if self._host.current is None:  # the response was faster
                    self._host.rest()
        elif self.inflow is None or self.inflow.arrival is None:
            self._host.set_deadline()
        else:
            self.inflow.moved(end - at)
        return end

    # What the connection asks for.

    def last_response(self, exchange: Exchange | None) -> None:
        """Read no request after that of `exchange`, if it is still read: its response ends the connection."""
        if self.body is not None and self.body.exchange is exchange:
            self.body.end_connection()

    def discard_body(self) -> None:
        """Throw away what comes of the body from now on, as its request has been answered."""
        if self.body is not None:
            self.body.discard_from_now()
        self.resume()

    def discard(self) -> None:
        """Take whatever else comes for no request, and throw it away."""
        self.state = _ENDED
        self.held = self.partial = self.body = None
        self._blank = 0
        if self.inflow is not None:
            self._stop_timing()

    def detach(self) -> bytes:
        """Let another protocol read the client; answers what was read and not parsed.

        The turns hold this object: that cycle ends here.
        """
        held = b"" if self.held is None else bytes(self.held)
        if self.inflow is not None:
            self.inflow.wake()
            self.resume()
        self.discard()
        self.heads.forget()
        del self.heads, self._host
        return held

    # How fast the client is read, and how slowly it may send.

    def pace(self) -> None:
        """Read no faster than requests are answered and their bodies are taken."""
        body = self.body
        untaken = 0 if body is None or body.exchange.phase is _RESPONSE_DONE else body.exchange.buffered
        unparsed = self.held is not None and self.partial is None
        if unparsed or len(self._host.queue) > PIPELINE_LIMIT or untaken > BODY_HIGH_WATER:
            self._timed().pause()
        else:
            self.resume()
        if body is not None and (self.inflow is None or self.inflow.arrival is None):
            self._host.set_deadline()

    def resume(self) -> None:
        """Read on, unless others have a turn before."""
        if (inflow := self.inflow) is not None and inflow.can_resume():
            inflow.resume()
            if self.state is _BODY or inflow.over:
                self._stop_timing()  # the client has its whole time again
            self._host.set_deadline()

    def _rested(self) -> None:
        """Read on after others had a turn."""
        if self.inflow is not None and self.inflow.wake():
            self.pace()

    def time_next(self) -> bool:
        """Begin to time the head that has come in part, if there is one; answers whether there is."""
        if self.partial is None and not self._blank % 2:
            return False
        self._time_head()
        return True

    def _time_head(self) -> None:
        """A part of a head is there: the rest must come in time, unless something before it is in progress."""
        if self._host.current is None and not self._host.queue:
            self._timed().time_head()
            self._host.set_deadline()

    def _timed(self) -> Inflow:
        """What holds the client back or times it; made now if there is none."""
        if self.inflow is None:
            self.inflow = Inflow(self._context, self._transport)
        return self.inflow

    def _stop_timing(self) -> None:
        """Await nothing of the client, or give it its whole time again."""
        if self.inflow is not None:
            self.inflow.stop_timing()
            if self.inflow.over:
                self.inflow = None

    @property
    def due(self) -> float:
        """When what is awaited of the client is late, in seconds by the worker's clock; begins to time a body."""
        if self.body is not None and not self.body.exchange.expects_continue:
            self._timed().time_body()
        return NEVER if self.inflow is None else self.inflow.due

    @property
    def paused(self) -> bool:
        """Whether the client is not read."""
        return self.inflow is not None and self.inflow.paused
