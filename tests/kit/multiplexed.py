"""A small multiplexed protocol, written from the contracts alone: several streams interleave over one connection.

There are no bytes: client and server exchange frames. Each stream has a window, which the client opens, and what does
not fit into it waits in the stream. A client may send as much of a request's body as the server's window allows.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from corehttp.errors import AppError
from corehttp.moments import NEVER
from corehttp.protocols.admission import Verdict
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, Fields, HandOver, Request
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.fairness import FairShare
from corehttp.protocols.fields import check_field, check_trailer
from corehttp.protocols.file_reader import FileReader, send_in_pieces
from corehttp.protocols.peer import direct
from corehttp.protocols.progress import ResponsePhase
from corehttp.protocols.response_fields import OWN_DATE, OWN_SERVER, checked_status, response_fields
from corehttp.protocols.scope import http_scope

WINDOW = 65536  # bytes of a request's body that a client may send before the application takes them
FRAME = 16384  # bytes of a body in one frame
PEER = ("192.0.2.1", 50000)
OWN = ("192.0.2.2", 8000)


class Frame(NamedTuple):
    """What the server sends."""

    stream: int
    kind: str  # head, data, end, trailers, continue, hints, window, reset
    payload: object = None


@dataclass
class Received:
    """What a client has received of one response."""

    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    hints: list[bytes] = field(default_factory=list)
    continues: int = 0
    whole: bool = False
    cut: bool = False


class MultiplexedStream:
    """One request and its response: the exchange's stream, and its own applicant for admission."""

    def __init__(self, connection: "MultiplexedConnection", number: int) -> None:
        self.connection = connection
        self.number = number
        self.window = 0  # bytes that the client still takes
        self.credit = WINDOW  # bytes that the client may still send
        self.exchange: Exchange
        self._declared = -1
        self._written = 0  # bytes of the body
        self._begun = False
        self._ended = False  # the exchange has written the whole response
        self._pending = bytearray()  # bytes of the body that do not fit into the window
        self._trailers: list[tuple[bytes, bytes]] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._file: FileReader | None = None

    # The ResponseStream.

    @property
    def congested(self) -> bool:
        return bool(self._pending)

    @property
    def endless(self) -> bool:
        return self._declared < 0

    def allowance(self) -> FairShare:
        return self.connection.share

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        checked_status(status)
        fields, self._declared, flags = response_fields(headers)
        self._check_length(len(body), more)
        self._begun = True
        self.exchange.status = status
        clock = self.connection.context.clock
        own = clock.fields_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        self._send("head", (status, own + fields))
        self._write(body, more)

    def write_body(self, body: bytes, more: bool) -> None:
        self._check_length(len(body), more)
        self._write(body, more)

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        self._check_length(count, more)
        before = self._written
        self._file = FileReader(self.connection.context.loop)
        try:
            await send_in_pieces(self._file, self, file, offset, count, more=more)
        except BaseException:
            if self._written > before and not self._file.lost:
                self.exchange.disconnect()
                self.abort()
            raise
        finally:
            self._file = None

    def write_trailers(self, trailers: Fields) -> None:
        fields = list(trailers)
        for name, value in fields:
            check_trailer(name, value)
        self._trailers = fields
        self._write(b"", False)

    def send_continue(self) -> None:
        self._send("continue")

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        hints = list(links)
        for link in hints:
            check_field(b"link", link)
        if not self._begun and self.connection.context.early_hints:
            self._send("hints", hints)

    def consumed(self, size: int) -> None:
        self.credit += size
        self._send("window", size)

    async def writable(self) -> None:
        while self._pending:
            if self._writable is None:
                self._writable = self.connection.context.loop.create_future()
            await asyncio.shield(self._writable)

    def abort(self) -> None:
        self._send("reset")
        self._forget("error")

    # The Applicant.

    def proceed(self) -> None:
        """Ask whether the request may run; begin it, or wait, or turn it away."""
        context = self.connection.context
        if context.admission is not None:
            match context.admission.verdict(self, self.exchange.scope["path"]):
                case Verdict.WAIT:
                    return
                case Verdict.TURN_AWAY:
                    context.admission.turn_away(self)
                    return
                case Verdict.RUN:
                    pass
        exchange = self.exchange
        exchange.due = context.clock.now + context.request_timeout
        self.connection.time()
        context.begun += 1
        task = context.fresh().run(context.start_task, exchange.run())
        if not exchange.ended:
            exchange.keep(task)

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        self.exchange.complete()
        self.respond(status, [(b"retry-after", b"%d" % retry_after)], reason.encode(), False)

    # What the client does.

    def receive(self, piece: bytes, *, end: bool) -> None:
        """A piece of the request's body has come."""
        assert len(piece) <= self.credit, "the client keeps to the window"
        self.credit -= len(piece)
        if piece and not self.exchange.feed(piece):
            self.consumed(len(piece))
        if end:
            self.exchange.finish_body()

    def lose(self) -> None:
        """The client does not want the response any more, or has left."""
        size = self.exchange.buffered
        self.exchange.disconnect()
        if size:
            self.consumed(size)  # what was thrown away takes no more of the connection's memory
        self._forget("client")

    def expire(self) -> None:
        """The request has taken too long."""
        if self.exchange.phase in (ResponsePhase.HEAD, ResponsePhase.STARTED):
            self.exchange.disconnect()
            self.exchange.complete()
            self.respond(504, [], b"", False)
        else:
            self.exchange.disconnect()
            self._send("reset")
            self._forget("timeout")
        self.exchange.cancel()

    def pump(self) -> None:
        """Send what fits into the window; then, if that is the end of the response, its end."""
        while self._pending and self.window:
            size = min(len(self._pending), self.window, FRAME)
            self._send("data", bytes(self._pending[:size]))
            del self._pending[:size]
            self.window -= size
        if self._pending:
            return
        self._wake()
        if self._ended:
            self._send("end" if self._trailers is None else "trailers", self._trailers)
            self._forget(None)

    def _check_length(self, size: int, more: bool) -> None:
        whole = self._written + size
        if self._declared >= 0 and (whole > self._declared or (not more and whole < self._declared)):
            raise AppError("the body does not have its declared length")

    def _write(self, body: bytes, more: bool) -> None:
        self._written += len(body)
        self.exchange.sent += len(body)
        self._pending += body
        self._ended = not more
        self.pump()

    def _send(self, kind: str, payload: object = None) -> None:
        self.connection.frames.append(Frame(self.number, kind, payload))

    def _forget(self, loss: str | None) -> None:
        """The stream is over: with a whole response, or without one for this reason, of `counters.ABORTS`."""
        context, exchange = self.connection.context, self.exchange
        self._pending.clear()
        self._wake()
        if self._file is not None:
            self._file.disconnect()
        if self.connection.streams.pop(self.number, None) is not None:
            if loss is not None:
                context.lost(loss)
            elif context.tally is not None:
                context.tally.count_response(exchange.method, exchange.status, exchange.started_at)
        if context.admission is not None:
            context.admission.forget(self)

    def _wake(self) -> None:
        waiter, self._writable = self._writable, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class MultiplexedConnection:
    """A connection with any number of streams; what the worker asks of every connection."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self.frames: list[Frame] = []  # that were sent, in order
        self.streams: dict[int, MultiplexedStream] = {}  # those that are not over
        self.share = FairShare(context.fairness)
        self.deadline = NEVER
        self._peer = direct(PEER, OWN, "")
        context.connection_begun(self)

    @property
    def idle(self) -> bool:
        return not self.streams

    @property
    def unanswered(self) -> list[Request]:
        return [stream.exchange for stream in self.streams.values()]

    def fileno(self) -> int:
        return -1

    def expire(self) -> None:
        for stream in list(self.streams.values()):
            if stream.exchange.due <= self.context.clock.ticked:
                stream.expire()
        self.time()

    def pass_on(self, hand_over: HandOver) -> bool:
        return False

    def close(self) -> None:
        assert self.idle
        self.context.connection_ended(self)

    def leave(self, now: float, departure: Departure) -> None:
        if self.idle and departure.has_waited(self, now):
            self.close()

    def suspect(self) -> None:
        pass

    def cut(self) -> None:
        for stream in list(self.streams.values()):
            stream.lose()
        self.context.connection_ended(self)

    def time(self) -> None:
        """Set the deadline to that of the request which is due first."""
        self.deadline = min((stream.exchange.due for stream in self.streams.values()), default=NEVER)

    # What the client does.

    def request(
        self,
        number: int,
        path: str = "/",
        *,
        length: int = 0,
        window: int = 1 << 30,
        expects_continue: bool = False,
        takes_trailers: bool = False,
    ) -> MultiplexedStream:
        """Open a stream; its body has `length` bytes, -1 if the client does not say how many."""
        context = self.context
        stream = MultiplexedStream(self, number)
        stream.window = window
        scope = http_scope(context, self._peer, "POST" if length else "GET", "2", path.encode(), path, [])
        stream.exchange = exchange = Exchange(scope, length, expects_continue, stream, context)
        exchange.peer = self._peer
        exchange.method, exchange.target, exchange.version = scope["method"], path, "2"
        exchange.started_at = context.clock.monotonic
        exchange.due = NEVER
        exchange.takes_trailers = takes_trailers
        self.streams[number] = stream
        stream.proceed()
        return stream

    def open_window(self, number: int, size: int) -> None:
        """Take `size` bytes more of a response."""
        stream = self.streams[number]
        stream.window += size
        stream.pump()

    def received(self, number: int) -> Received:
        """What the client has of a response."""
        answer = Received()
        for _, kind, payload in (frame for frame in self.frames if frame.stream == number):
            if kind == "head":
                assert isinstance(payload, tuple)
                answer.status, answer.fields = payload
            elif kind == "data":
                assert isinstance(payload, bytes)
                answer.body += payload
            elif kind == "trailers":
                assert isinstance(payload, list)
                answer.trailers, answer.whole = payload, True
            elif kind == "end":
                answer.whole = True
            elif kind == "hints":
                assert isinstance(payload, list)
                answer.hints += payload
            elif kind == "continue":
                answer.continues += 1
            elif kind == "reset":
                answer.cut = True
        return answer
