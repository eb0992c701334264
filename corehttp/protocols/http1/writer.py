"""What goes out over an HTTP/1.1 connection: the exchange's stream."""

import asyncio
from collections.abc import Iterable
from time import monotonic

from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Fields
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.fairness import FairShare
from corehttp.protocols.files import Transfer
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.framing import BODILESS, Framing, OutgoingBody, frame
from corehttp.protocols.http1.reader import RequestReading
from corehttp.protocols.http1.wire import response_head
from corehttp.protocols.limits import Pace
from corehttp.protocols.outlet import LOOK_AGAIN
from corehttp.protocols.peer_socket import reset_on_close, untaken
from corehttp.protocols.progress import Intake, ResponsePhase
from corehttp.protocols.response_fields import CLOSES, OWN_DATE, OWN_SERVER

# Bytes that wait in the transport beside a piece of a body. A quarter of what asyncio and uvloop take: the kernel holds
# megabytes. 100 clients that read nothing cost a worker 9 MB instead of 15.
HIGH_WATER = 16384
LARGE = 16384  # bytes of a body from which on to join them with what is around them costs more than to gather them

# Bound once: a name in the module costs less per request than an attribute of the class.
_RESPONSE_HEAD, _RESPONSE_STARTED = ResponsePhase.HEAD, ResponsePhase.STARTED
_COMING = Intake.COMING


class ResponseWriting(RequestReading):
    """The writing half of a connection, for one response at a time."""

    __slots__ = (
        "_begun",
        "_drained",
        "_file",
        "_file_sent",
        "_outgoing",
        "_outlet",
        "_unsent",
        "congested",
    )

    congested: bool  # whether the client takes less than is written
    _outgoing: OutgoingBody  # of a response that is not written at once

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(context)
        self._begun = False  # the current response: its first bytes have found out whether anybody reads it
        self._drained: asyncio.Future[None] | None = None
        self._file: Transfer | None = None  # that is going out
        self._file_sent = 0  # bytes of it when the client was looked at last
        self._outlet: Pace | None = None  # of what the client does not take
        self._unsent = 0  # bytes of that
        self.congested = False

    def _complete(self, exchange: Exchange) -> None:
        """The whole response is written."""
        raise NotImplementedError

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
        if size < LARGE or not context.gathers:
            self._transport.write(b"".join(pieces))
        else:
            self._transport.writelines(pieces)
        exchange.status = status
        exchange.sent = size
        if not more:
            self._complete(exchange)

    def _respond_otherwise(
        self, exchange: Exchange, pieces: list[bytes], status: int, body: bytes, more: bool, declared: tuple[int, int]
    ) -> int:
        """Complete `pieces`, the head of a response that is not quite usual; answers the size of the body sent."""
        length, flags = declared
        context = self._context
        # In a drain, what was read already is answered; a client that waits for 100 (Continue) may never send its body.
        last = context.draining and not self._queue and not self._held
        if self._begun:
            pieces[0] = self._rest_of(pieces[0])
        if flags & CLOSES or last or (exchange.expects_continue and exchange.intake is _COMING):
            exchange.persistent = False
        framing = before = after = b""
        bodiless = status in BODILESS or exchange.method == "HEAD"
        if more or length >= 0 or bodiless:
            self._outgoing, framing = frame(bodiless, status, exchange.version, length)
            if self._outgoing.framing is Framing.UNTIL_CLOSE:
                exchange.persistent = False
            if status == 204:  # RFC 9110, 8.6: it must not declare a length
                pieces[:] = [line for line in pieces if not line.lower().startswith(b"content-length:")]
            before, after = self._outgoing.around(len(body), more)
        else:
            framing = b"content-length: %d\r\n" % len(body)
        lines = context.clock.lines
        if flags & (OWN_DATE | OWN_SERVER):
            lines = context.clock.lines_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        connection = b""
        if not exchange.persistent:
            connection = wire.CONNECTION_CLOSE
        elif exchange.version != "1.1":
            connection = wire.CONNECTION_KEEP_ALIVE
        if bodiless:
            body = b""
        pieces += (lines, framing, connection, b"\r\n", before, body, after)
        return len(body)

    def _rest_of(self, response: bytes) -> bytes:
        """What is still to be sent of the beginning of a response: the current one's first bytes may be out."""
        if not self._begun:
            return response
        self._begun = False
        return response[len(wire.BEGINNING) :]

    @property
    def endless(self) -> bool:
        return self._outgoing.framing is Framing.CHUNKED or self._outgoing.framing is Framing.UNTIL_CLOSE

    def write_body(self, body: bytes, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        self._check_no_file()
        outgoing = self._outgoing
        size = 0 if outgoing.framing is Framing.NONE else len(body)
        if size < LARGE or not self._context.gathers:
            data = outgoing.encode(body, more)
            if data:
                self._transport.write(data)
        else:
            before, after = outgoing.around(size, more)
            self._transport.writelines((before, body, after))
        exchange.sent += size
        if not more:
            self._complete(exchange)

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        self._check_no_file()
        before, after = self._outgoing.around(count, more)
        if self._outgoing.framing is not Framing.NONE and count:
            if before:
                self._transport.write(before)
            whole = await self._transfer(exchange, file, offset, count)
            if exchange is not self._current:
                if after or more or not whole:
                    raise ClientDisconnectedError("the client has disconnected")
                return  # it has left with all of its response
            if not self.congested:
                self._outlet = None
        if after:
            self._transport.write(after)
        if not more:
            self._complete(exchange)

    async def _transfer(self, exchange: Exchange, file: int, offset: int, count: int) -> bool:
        """Send a part of a file; answers whether all of it was sent. If not, the response is cut.

        Raises as `send_file` does.
        """
        self._file = transfer = Transfer(self._transport, self._context.loop, self.writable)
        self._file_sent = 0
        self._watch_outlet()
        whole = False
        try:
            whole = await transfer.send(file, offset, count) == count
        finally:
            self._file = None
            exchange.sent += transfer.sent
            if exchange is not self._current:
                self._record(exchange)  # which had to wait until all that was sent is counted
            elif not whole:
                # Whatever was sent now, the client would take for the rest of this piece.
                exchange.disconnect()
                self.abort()
        if not whole and exchange is self._current:
            raise AppError(f"the file ended {count - transfer.sent} bytes before what was to be sent of it")
        return whole

    def _check_no_file(self) -> None:
        """Raises AppError while a file is going out: what was written now would come into its middle."""
        if self._file is not None:
            raise AppError("a file is being sent: wait for that send() before the next message")

    def write_trailers(self, trailers: Fields) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        data = self._outgoing.end(wire.trailer_lines(trailers))
        if data:
            self._transport.write(data)
        self._complete(exchange)

    def allowance(self) -> FairShare:
        return FairShare(self._context.fairness)  # a new one for each response, since there is one at a time

    def send_continue(self) -> None:
        self._transport.write(self._rest_of(wire.CONTINUE))
        self._set_deadline()  # from now on the body is awaited

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        exchange = self._current
        assert exchange is not None, "only the current exchange responds"
        hints = wire.early_hints(links)
        # Once the final response has begun there is no place for them (RFC 9110, 15.2); HTTP/1.0 knows none.
        waiting = exchange.phase is _RESPONSE_HEAD or exchange.phase is _RESPONSE_STARTED
        if waiting and self._context.early_hints and exchange.version == "1.1":
            self._transport.write(self._rest_of(hints))

    async def writable(self) -> None:
        if self.congested:
            if self._drained is None:
                self._drained = self._context.loop.create_future()
            # Shielded: a sender that is cancelled must not cancel the others that wait.
            await asyncio.shield(self._drained)

    def abort(self) -> None:
        if self._outgoing.framing is Framing.UNTIL_CLOSE:
            # Here the end of the connection is the end of the body: only a reset tells the client of the loss.
            reset_on_close(self._transport)
            self._transport.abort()
        else:
            self._close(linger=False)

    def _record(self, exchange: Exchange) -> None:
        """Note the exchange for the access log."""
        access = self._context.access
        if access is None or self._file is not None:
            return  # what is sent of a file is not all counted yet: `_transfer` comes back
        milliseconds = (monotonic() - exchange.started_at) * 1000
        status, sent = exchange.status, exchange.sent
        access.records.append(
            (exchange.peer.name, exchange.method, exchange.target, exchange.version, status, sent, milliseconds)
        )
        if not access.armed:
            access.arm()

    def _watch_outlet(self) -> None:
        self._outlet = Pace(self._context.limits.write_stall, self._context.clock.now)
        self._unsent = untaken(self._transport)
        self.deadline = min(self.deadline, self._context.clock.now + LOOK_AGAIN)

    def _stalled(self, outlet: Pace, now: float) -> bool:
        """Whether the client takes too little of what is written."""
        waited, self._unsent = self._unsent, untaken(self._transport)
        handed = 0
        if self._file is not None:
            handed = self._file.sent - self._file_sent
            self._file_sent += handed
        if self._unsent <= handed:
            # What waits now came since the last look, so that all before it is taken: a slow file keeps the client
            # waiting, not the other way round.
            outlet.kept_up(now)
        else:
            outlet.moved(max(0, waited + handed - self._unsent), now)
        return outlet.due <= now
