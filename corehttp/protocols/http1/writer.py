"""What goes out over an HTTP/1.1 connection: one response after the other, each for the exchange whose turn it is."""

import asyncio
from collections.abc import Iterable
from time import monotonic

from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.access_records import record
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Fields, ResponseStream
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.fairness import FairShare
from corehttp.protocols.files import Transfer
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.framing import Framing, OutgoingBody, frame
from corehttp.protocols.http1.host import WriterHost
from corehttp.protocols.http1.refusal import Rejection, answer
from corehttp.protocols.http1.small_pieces import SMALL, SmallPieces
from corehttp.protocols.http1.wire import response_head
from corehttp.protocols.outlet import Outlet
from corehttp.protocols.peer_socket import Watch, reset_on_close, write_last
from corehttp.protocols.progress import Intake, ResponsePhase
from corehttp.protocols.response_fields import BODILESS, CLOSES, OWN_DATE, OWN_SERVER


class Writer(ResponseStream):
    """Writes the responses of one connection, in turn; the stream of every exchange of it.

    Its own state is of the response that is being written, and is as it was once that is whole.
    """

    __slots__ = (
        *("_begun", "_context", "_file", "_host", "_outgoing", "_outlet", "_small"),
        *("congested", "last", "transport"),
    )

    congested: bool  # whether the client takes less than is written
    _outgoing: OutgoingBody  # the body of a response that is not written at once
    _small: SmallPieces  # writes the pieces of that body
    transport: asyncio.Transport  # set once the connection is made

    def __init__(self, context: WorkerContext, host: WriterHost) -> None:
        self._context = context
        self._host = host
        self._begun = False  # whether the first bytes of the response are out already, to find out who reads it
        self.last = False  # whether the connection ends with the response, whatever its request has asked for
        self._file: Transfer | None = None  # the one that is going out
        self._outlet: Outlet | None = None  # while the client does not take what is sent
        self.congested = False

    # What the exchange asks for.

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        exchange, context, repeated = self._host.current, self._context, wire.repeated
        assert exchange is not None, "only the current exchange responds"
        if not (
            len(body) == repeated.length
            and type(headers) is list
            and headers == repeated.fields
            and status is repeated.status
            and context.clock.lines is repeated.lines
            and self._host.intent.plain
            and not (more or self._begun or self.last or context.draining)
        ):
            self._respond(exchange, status, headers, body, more)
            return
        # Most responses: the head of the last one, and a body of its length, on a connection that goes on.
        data = repeated.beginning + body
        self.transport.write(data)
        exchange.sent, exchange.status, exchange.fields = repeated.length, status, headers
        if (tally := context.tally) is not None:  # by `count_response` it would take half as much again
            if tally.repeated is not repeated or tally.method != exchange.method:
                tally.turn_to(repeated, exchange.method, status, len(data))
            tally.seconds += (seconds := monotonic() - exchange.started_at)
            if not tally.above < seconds <= tally.upto:
                tally.turn_to_bucket(seconds)
            tally.run += 1
        self._host.response_written(exchange, None)

    def _respond(self, exchange: Exchange, status: int, headers: Fields, body: bytes, more: bool) -> None:
        """Write a response with a head of any kind, or its beginning."""
        context, intent = self._context, self._host.intent
        pieces, length, flags = response_head(status, headers)
        size, lines = len(body), context.clock.lines
        ends = not (more or intent.persistent or intent.length)  # the connection, which its client has announced
        whole = not (more or flags or self._begun) and status not in BODILESS
        goes_on = whole and intent.plain and not (context.draining or self.last)  # and so does the connection
        if goes_on and size == length:
            wire.note(status, headers, pieces, length, lines)
            pieces += (lines, b"\r\n", body)
        elif goes_on and length < 0:
            pieces += (lines, b"content-length: %d\r\n\r\n" % size, body)
        elif whole and ends and size == length and exchange.version == "1.1" and exchange.method != "HEAD":
            # The same, on a connection that its client wants to end.
            pieces += (lines, wire.CONNECTION_CLOSE, b"\r\n", body)
        else:
            size = self._complete(exchange, pieces, status, body, more, (length, flags))
        # One write: the transport sends at once when nothing waits, so two writes would be two system calls.
        if size >= SMALL and context.gathers:
            self.transport.writelines(pieces)
        elif ends and size < SMALL:
            write_last(self.transport, b"".join(pieces))
        else:
            self.transport.write(b"".join(pieces))
        if context.tally is not None:
            context.tally.sent += sum(map(len, pieces))
        exchange.sent, exchange.status, exchange.fields = size, status, headers
        if not more:
            self._host.response_written(exchange, context.tally)

    def _complete(
        self, exchange: Exchange, pieces: list[bytes], status: int, body: bytes, more: bool, declared: tuple[int, int]
    ) -> int:
        """Complete `pieces`, the head of a response that is not quite usual; answers the size of the body sent."""
        length, flags = declared
        context = self._context
        last = context.draining and not self._host.has_more  # in a drain, what was read already is answered
        # A client that waits for 100 (Continue) may never send its body.
        ends = bool(flags & CLOSES) or last or (exchange.expects_continue and exchange.intake is Intake.COMING)
        framing = before = after = b""
        bodiless = status in BODILESS or exchange.method == "HEAD"
        if more or length >= 0 or bodiless:
            self._outgoing, framing = frame(bodiless, status, exchange.version, length)
            ends = ends or self._outgoing.framing is Framing.UNTIL_CLOSE
            if status == 204:  # RFC 9110, 8.6: it must not declare a length
                pieces[:] = [line for line in pieces if not line.lower().startswith(b"content-length:")]
            before, after = self._outgoing.around(len(body), more)
            if more:
                self._small = SmallPieces(self.transport, context.turn_end)
        else:
            framing = b"content-length: %d\r\n" % len(body)
        if self._begun:  # not before a wrong body has raised, since the answer in its place needs the same rest
            pieces[0] = self._rest_of(pieces[0])
        if ends:
            self.end_connection()
        lines = context.clock.lines
        if flags & (OWN_DATE | OWN_SERVER):
            lines = context.clock.lines_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        connection = b"" if exchange.version == "1.1" else wire.CONNECTION_KEEP_ALIVE
        if self.last or not self._host.intent.persistent:
            connection = wire.CONNECTION_CLOSE
        body = b"" if bodiless else body
        pieces += (lines, framing, connection, b"\r\n", before, body, after)
        return len(body)

    def _rest_of(self, response: bytes) -> bytes:
        """What is still to be sent of the beginning of a response, of which the first bytes may be out."""
        begun, self._begun = self._begun, False
        return response[len(wire.BEGINNING) :] if begun else response

    @property
    def endless(self) -> bool:
        return self._outgoing.framing is Framing.CHUNKED or self._outgoing.framing is Framing.UNTIL_CLOSE

    def write_body(self, body: bytes, more: bool) -> None:
        exchange, outgoing, tally = self._host.current, self._outgoing, self._context.tally
        assert exchange is not None, "only the current exchange responds"
        self._check_no_file()
        size = 0 if outgoing.framing is Framing.NONE else len(body)
        if size < SMALL or not self._context.gathers:
            if data := outgoing.encode(body, more):
                self._small.write(data, more and size < SMALL)
                if tally is not None:
                    tally.sent += len(data)
            elif not more:
                self._small.flush()  # nothing of the next response, and no end of the connection, may come before it
        else:
            self._small.flush()
            before, after = outgoing.around(size, more)
            self.transport.writelines((before, body, after))
            if tally is not None:
                tally.sent += len(before) + size + len(after)
        exchange.sent += size
        if not more:
            self._host.response_written(exchange, tally)

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        exchange = self._host.current
        assert exchange is not None, "only the current exchange responds"
        self._check_no_file()
        before, after = self._outgoing.around(count, more)
        self._small.flush()
        if self._outgoing.framing is not Framing.NONE and count:
            if before:
                self._write(before)
            whole = await self._transfer(exchange, file, offset, count)
            if exchange is not self._host.current:
                if after or more or not whole:
                    raise ClientDisconnectedError("the client has disconnected")
                return  # the client has left with all of its response
            if not self.congested:
                self._outlet = None
        if after:
            self._write(after)
        if not more:
            self._host.response_written(exchange, self._context.tally)

    async def _transfer(self, exchange: Exchange, file: int, offset: int, count: int) -> bool:
        """Send a part of a file; return whether all of it was. Else the response is cut. Raises as `send_file` does."""
        self._file = transfer = Transfer(self.transport, self._context.loop, self.writable)
        self.watch(anew=True)
        whole = False
        try:
            whole = await transfer.send(file, offset, count) == count
        finally:
            self._file = None
            exchange.sent += transfer.sent
            if self._context.tally is not None:
                self._context.tally.sent += transfer.sent
            if exchange is not self._host.current:
                self.record(exchange)  # only now is all that was sent of it counted
            elif not whole:
                # Whatever was sent now, the client would take for the rest of this piece.
                exchange.disconnect()
                self.abort()
        if not whole and exchange is self._host.current:
            raise AppError(f"the file ended {count - transfer.sent} bytes before what was to be sent of it")
        return whole

    def _check_no_file(self) -> None:
        """Raise AppError while a file is going out: what was written now would come into its middle."""
        if self._file is not None:
            raise AppError("a file is being sent: wait for that send() before the next message")

    def write_trailers(self, trailers: Fields) -> None:
        exchange = self._host.current
        assert exchange is not None, "only the current exchange responds"
        data = self._outgoing.end(wire.trailer_lines(trailers))
        self._small.flush()
        if data:
            self._write(data)
        self._host.response_written(exchange, self._context.tally)

    def _write(self, data: bytes) -> None:
        """Give the transport what is seldom sent, and count it."""
        self.transport.write(data)
        if self._context.tally is not None:
            self._context.tally.sent += len(data)

    def send_continue(self) -> None:
        self._write(self._rest_of(wire.CONTINUE))
        self._host.set_deadline()  # from now on the body is awaited

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        exchange, hints = self._host.current, wire.early_hints(links)
        assert exchange is not None, "only the current exchange responds"
        # Once the final response has begun there is no place for them (RFC 9110, 15.2); HTTP/1.0 knows none.
        waiting = exchange.phase in (ResponsePhase.HEAD, ResponsePhase.STARTED)
        if waiting and self._context.early_hints and exchange.version == "1.1":
            self._write(self._rest_of(hints))

    def consumed(self, size: int) -> None:
        reader = self._host.reader
        if reader.inflow is not None and reader.inflow.paused:
            reader.pace()

    def allowance(self) -> FairShare:
        return FairShare(self._context.fairness)  # a new one for each response, since there is one at a time

    async def writable(self) -> None:
        if self.congested and self._outlet is not None:
            await self._outlet.writable()

    def abort(self) -> None:
        self._small.flush()
        if self._outgoing.framing is Framing.UNTIL_CLOSE:
            # Here the end of the connection is the end of the body: only a reset tells the client of the loss.
            reset_on_close(self.transport)
            self.transport.abort()
        else:
            self._host.end()

    # What the connection asks for.

    def end_connection(self) -> None:
        """Let the current response be the last one; its head says so if it is not out yet."""
        self.last = True
        self._host.reader.last_response(self._host.current)

    def refuse(self, refusal: Rejection) -> None:
        """Write a whole response that refuses a request, without the application."""
        self._write(self._rest_of(answer(self._context, refusal)))

    def record(self, exchange: Exchange, refusal: Rejection | None = None) -> None:
        """Note an exchange that has ended for the access log, with the status of its refusal if it has none else."""
        access = self._context.access
        # While a file is sent, not all that is sent is counted yet: `_transfer` comes back.
        if access is not None and self._file is None:
            record(access, exchange, exchange.status if refusal is None else refusal.status)

    def probe(self, watch: Watch) -> None:
        """Make a client that has ended its side, and is gone, show it by bytes that are harmless if it is not.

        The bytes are the beginning of every response, or the zero before the size of the next chunk (RFC 9112, 7.1).
        A 100 (Continue) would not do: HTTP/1.0 knows none, and nginx 1.22 takes one that it did not ask for to be the
        response.
        """
        exchange = self._host.current
        assert exchange is not None, "a client without a request is not probed"
        harmless = b""
        if exchange.phase in (ResponsePhase.HEAD, ResponsePhase.STARTED):
            harmless = b"" if self._begun else wire.BEGINNING
        elif exchange.phase is ResponsePhase.BODY and self._outgoing.framing is Framing.CHUNKED and self._file is None:
            self._small.flush()
            harmless = b"0"
        if watch.probe(harmless) and harmless is wire.BEGINNING:
            self._begun = True

    # What the client takes.

    def pause(self) -> None:
        """Note that the transport holds enough: `send()` has to wait."""
        self.congested = True
        self.watch()

    def resume(self) -> None:
        """The transport takes more; or the connection is lost, and nobody waits for it any longer."""
        self.congested = False
        outlet = self._outlet
        if self._file is None:
            self._outlet = None
        if outlet is not None:
            outlet.release()

    def lose(self) -> None:
        """The connection is lost."""
        if self._file is not None:
            self._file.disconnect()
        self.resume()

    @property
    def is_watched(self) -> bool:
        """Whether something waits for the client to take it."""
        return self._outlet is not None

    def watch(self, *, anew: bool = False) -> None:
        """From now on the client has to take what is written; it has all its time again if that begins `anew`."""
        if self._outlet is not None and not anew:
            return
        stall, now = self._context.limits.write_stall, self._context.clock.now
        if self._outlet is None:
            self._outlet = Outlet(self.transport, stall, now)
        else:
            self._outlet.watch(stall, now)
        self._host.look_soon()

    def is_stalled(self, now: float) -> bool:
        """Whether the client has taken too little for too long (`now`: seconds, by the worker's clock)."""
        sent = 0 if self._file is None else self._file.sent
        return self._outlet is not None and self._outlet.is_stalled(now, sent)
