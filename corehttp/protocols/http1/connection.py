"""One HTTP/1.1 connection: its life from the first byte to the last, and what is late in it.

Reading (`http1_reading`) and writing (`http1_writing`) are its two halves; here requests get their turn.
"""

import asyncio
import logging
from typing import cast

from corehttp.ipc.parcel import Parcel
from corehttp.protocols import peer_socket
from corehttp.protocols.admission import Verdict
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Upgrade
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.framing import Framing
from corehttp.protocols.http1.reader import DISCARD_LIMIT
from corehttp.protocols.http1.state import Next, Reading, Stage, after_response
from corehttp.protocols.http1.upgrade_answer import HTTP1UpgradeAnswer
from corehttp.protocols.http1.writer import HIGH_WATER, ResponseWriting
from corehttp.protocols.limits import NEVER, Pace
from corehttp.protocols.outlet import LINGER, LOOK_AGAIN
from corehttp.protocols.peer import direct
from corehttp.protocols.progress import Intake, ResponsePhase

logger = logging.getLogger("corehttp.error")

BEGUN_AT_ONCE = 16  # requests of one client that are begun in a turn of the loop; more wait for the next one

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _HEAD, _BODY, _UPGRADED, _ENDED = Reading
_OPEN, _LINGERING, _CLOSED = Stage
_RESPONSE_HEAD, _RESPONSE_BODY, _RESPONSE_DONE = ResponsePhase.HEAD, ResponsePhase.BODY, ResponsePhase.DONE
_COMING = Intake.COMING


class HTTP1Connection(ResponseWriting):
    """A client's connection; requests are answered in the order they came (RFC 9112, 9.3.2)."""

    __slots__ = (
        "_advancing",
        "_half_closed",
        "_keep_until",
        "_refusal",
        "_stage",
    )

    def __init__(self, context: WorkerContext, keep_until: float | None = None) -> None:
        """`keep_until`: of a connection that another worker passed on while it was idle; seconds, monotonic."""
        super().__init__(context)
        self._stage = _OPEN
        # Status, reason and whether it answers HEAD; sent when the responses before it are out.
        self._refusal: tuple[int, str, bool] | None = None
        self._advancing = False
        self._half_closed: peer_socket.Watch | None = None  # the client has closed its side
        # Seconds, by the worker's clock; `deadline` is the first of all that is timed.
        clock = context.clock
        self._keep_until = clock.now + context.keep_alive
        if keep_until is not None:  # and no later, whatever the other worker says
            self._keep_until = min(self._keep_until, keep_until - clock.lost)

    def __repr__(self) -> str:
        stage, reading = self._stage.value, self._reading.value
        return f"<HTTP1Connection {self._peer.name}: {stage}, reading {reading}, {self._current}>"

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
        self._transport.set_write_buffer_limits(HIGH_WATER)
        peername, sockname = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._peer = direct(peername, sockname, context.root_path)
        self.deadline = self._keep_until
        context.joined(self)

    def eof_received(self) -> bool:
        """The client ended its side. What it has asked for is still answered: it may have closed only one half."""
        incoming = self._incoming
        if incoming is not None and incoming in self._queue:
            self._queue.remove(incoming)  # not begun, and the rest of it will never come
        waiting = self.unanswered
        if self._stage is not _OPEN or not waiting or incoming is self._current is not None:
            return False
        self._half_closed = peer_socket.Watch(self._transport)
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
        context.left(self)
        current = self._current
        if current is not None:
            context.left_unanswered += 1
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
        self._current = self._incoming = self._half_closed = self._refusal = self._upgrade = None
        self._queue.clear()
        self.resume_writing()
        del self._parser, self._feed

    def pause_writing(self) -> None:
        self.congested = True
        if self._outlet is None:
            self._watch_outlet()

    def resume_writing(self) -> None:
        self.congested = False
        if self._file is None:
            self._outlet = None
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self.idle:  # only now, since the client had the last response still to take
            self.deadline = self._keep_until = self._context.clock.now + self._context.keep_alive
        if self._current is None and (self._queue or self._held or self._refusal is not None):
            self._context.soon(self._advance)

    def consumed(self, size: int) -> None:
        if self._paused:
            self._pace()

    # What the worker calls.

    def fileno(self) -> int:
        """The descriptor of its socket; -1: it has none any more."""
        return peer_socket.descriptor(self._transport)

    def expire(self) -> None:
        """The deadline is over: look at what is late, and at what to look at next."""
        now = self._context.clock.ticked
        current = self._current
        if self._outlet is not None and self._stalled(self._outlet, now):
            peer = self._peer if current is None else current.peer
            logger.warning("cut the connection of %s: it does not take what is sent to it", peer.name)
            peer_socket.reset_on_close(self._transport)
            self._transport.abort()
        elif self._stage is _LINGERING:
            if not self._transport.get_write_buffer_size():
                self._transport.abort()
            elif self._outlet is None:
                self._watch_outlet()
        elif self._intake is not None and self._intake.due <= now and not self._paused:
            what = "a body" if self._reading is _BODY else "the head of a request"
            self._refuse(408, f"{what} came in too slowly", self._held)
            self._answer_refusal()
        elif current is not None and current.due <= now:
            self._time_out(current)
        elif self._half_closed is not None and self._half_closed.is_gone():
            self._transport.abort()
        elif self._half_closed is not None and current is not None:
            self._probe(self._half_closed, current)
        elif self.idle and self._keep_until <= now and not self.congested:
            self.close()
        self._set_deadline()

    def close(self) -> None:
        """Close an idle connection, unless its client's next request has come: who has not been read is not late."""
        if self._paused or not peer_socket.has_unread(self._transport):
            self._close(linger=False)

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give an idle connection to another worker; answers whether it is gone.

        Only one with nothing half read and nothing half written, for what is in our memory stays with us. What its
        client has sent meanwhile is in the kernel, and goes with it. No FIN is sent when we close our copy of the
        descriptor, as the other worker has one (close(2)).
        """
        transport = self._transport
        if not self.idle or transport.get_write_buffer_size() or transport.is_closing():
            return False
        sock = transport.get_extra_info("socket")
        if sock is None or transport.get_extra_info("ssl_object") is not None:
            return False
        if not hand_over(Parcel(sock.fileno(), self._keep_until + self._context.clock.lost)):
            return False
        transport.abort()
        return True

    def leave(self, now: float, departure: Departure) -> None:
        """Pass the connection on if it is idle, or close it when it has been idle for long enough."""
        if self.idle:
            waited = departure.has_waited(self, now)
            if departure.hand_over is not None and self.pass_on(departure.hand_over):
                return
            if waited:
                self.close()

    def suspect(self) -> None:
        """Find out soon whether the client has left, if it has ended its side or reading is paused.

        It is probed as one that has closed its side, and at once; to one that is there that means nothing.
        """
        current = self._current
        if current is None:
            return
        if self._half_closed is None and self._paused:
            self._half_closed = peer_socket.Watch(self._transport)
            self._set_deadline()
        if self._half_closed is not None and self._half_closed.is_gone():
            self._transport.abort()
        elif self._half_closed is not None:
            self._probe(self._half_closed, current)

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    # What follows from it.

    def _advance(self) -> None:
        """Begin what was read, one request after the other; answer a refusal when its turn has come."""
        queue = self._queue
        context = self._context
        self._advancing = True
        left = BEGUN_AT_ONCE
        while self._current is None and self._stage is _OPEN and not self.congested:
            if not queue:
                if self._upgrade is not None:
                    self._advancing = False
                    self._switch(self._upgrade[0])
                    return
                if not self._held or self._scan is not None:
                    break
                self._read(b"")
                if not queue:
                    break
            if not left:
                context.soon(self._advance)
                break
            left -= 1
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
            self.deadline = exchange.due = context.clock.now + context.request_timeout
            if self._reading is not _IDLE:
                self._set_deadline()
            context.begun += 1
            ledger = context.ledger
            if ledger is None:
                task = context.fresh().run(context.start_task, exchange.run())
                if not exchange.ended:
                    exchange.keep(task)
            else:
                scope = exchange.scope  # which the application has not seen yet
                method, path = scope["method"].encode(), scope["raw_path"]
                ledger.begin(context.clock.monotonic, method, path)
                task = context.fresh().run(context.start_task, exchange.run())
                if not exchange.ended:
                    exchange.keep(task)
                    exchange.place = ledger.enter(context.clock.monotonic, method, path)
                ledger.pause()
        self._advancing = False
        if queue or self._held or self._paused:
            self._pace()
        if self._refusal is not None:
            self._answer_refusal()

    def _switch(self, upgrade: Upgrade) -> None:
        """Leave the transport to another protocol, with whatever has come in behind the request for it."""
        context = self._context
        refusal = upgrade.refusal()
        if refusal is not None:
            self._refuse(*refusal)
            self._upgrade = None
            self._answer_refusal()
            return
        held, transport = bytes(self._held), self._transport
        self._resting = False
        self._resume_reading()
        self._stage = _CLOSED
        self._end_reading()
        context.connections.discard(self)
        self._upgrade = None
        # The parser holds our methods: let go of it.
        del self._parser, self._feed
        upgrade.start(transport, held, HTTP1UpgradeAnswer(context.clock))

    def proceed(self) -> None:
        """The request whose turn it is need not wait any more."""
        self._advance()

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer the request whose turn it is without the application."""
        self._current = exchange = self._queue.pop(0)
        exchange.ended = True
        self._answer(status, reason, (b"retry-after", b"%d" % retry_after))

    def _answer(self, status: int, reason: str, *fields: tuple[bytes, bytes]) -> None:
        """Answer the current request without the application."""
        body = (reason + "\n").encode()
        own = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        assert self._current is not None, "only a request whose turn it is is answered"
        self._current.preempt()
        self.respond(status, [*own, *fields], body, False)

    def _answer_refusal(self) -> None:
        if self._refusal is not None and self._current is None and not self._queue and self._stage is _OPEN:
            status, reason, bodiless = self._refusal
            response = wire.refusal(status, reason, self._context.clock.lines, bodiless=bodiless)
            self._transport.write(self._rest_of(response))
            self._close(linger=True)

    def _complete(self, exchange: Exchange) -> None:
        """The whole response is written."""
        context = self._context
        if context.access is not None:
            self._record(exchange)
        self._current = None
        if exchange.persistent and self._incoming is not exchange:
            if self._paused:
                self._pace()
            if self._reading is _IDLE and not self._queue:
                self.deadline = self._keep_until = context.clock.now + context.keep_alive
                if self.congested:
                    self._set_deadline()
                elif context.hand_over is not None:
                    self.pass_on(context.hand_over)
            elif (self._scan is not None or self._blank % 2) and not self._queue:
                self._time_head()
            elif not self._advancing:
                context.soon(self._advance)
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

    def _refuse(self, status: int, reason: str, head: bytes | bytearray = b"") -> None:
        """Parse no more; say so when the responses before it are out."""
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            peer = incoming.peer
        else:
            peer = self._sender(head) if self._upgrade is None else self._upgrade[1]
        logger.warning("refused a request from %s: %s (%d)", peer.name, reason, status)
        bodiless = head.startswith(b"HEAD ") if incoming is None else incoming.method == "HEAD"
        self._refusal = (status, reason, bodiless)
        self._end_reading()
        if incoming is None:
            return
        if incoming.phase is _RESPONSE_DONE:
            self._refusal = None  # it has had its answer
            self._close(linger=True)
            return
        if incoming is not self._current:
            if incoming in self._queue:
                self._queue.remove(incoming)  # not begun: the application never sees it
                if self._context.admission is not None and not self._queue:
                    self._context.admission.forget(self)
            return
        self._give_up(incoming)

    def _give_up(self, exchange: Exchange) -> None:
        """The current exchange will have no response from the application."""
        self._current = None
        self._context.left_unanswered += 1
        exchange.disconnect()
        if exchange.phase is not _RESPONSE_HEAD and exchange.phase is not ResponsePhase.STARTED:
            self._refusal = None
            self.abort()
        elif self._refusal is not None:
            exchange.status = self._refusal[0]
        self._record(exchange)
        if self._context.cancel_on_disconnect:
            exchange.cancel()

    def _time_out(self, exchange: Exchange) -> None:
        """The application has had its time: 504, or a cut if the response has begun."""
        seconds = self._context.limits.request
        logger.warning("%s from %s took longer than %g s (504)", exchange.name, exchange.peer.name, seconds)
        self._queue.clear()
        if exchange.phase is _RESPONSE_HEAD or exchange.phase is ResponsePhase.STARTED:
            exchange.disconnect()
            exchange.persistent = exchange.plain = False
            self._answer(504, f"the request took longer than {seconds:g} s")
        else:
            self._give_up(exchange)
        exchange.cancel()

    def _close(self, *, linger: bool) -> None:
        if self._stage is not _OPEN:
            return
        self._stage = _LINGERING
        self._end_reading()
        self._queue.clear()
        self._incoming = None
        self.deadline = self._context.clock.now + LINGER
        self._resume_reading()
        transport = self._transport
        if transport.get_write_buffer_size() and self._outlet is None:
            self._watch_outlet()
        if linger and not transport.is_closing():
            peer_socket.end_our_side(transport)
        else:
            transport.close()

    # What is late, and a client that is half gone.

    def _set_deadline(self) -> None:
        """After this `deadline` is when to look again."""
        if self._stage is not _OPEN:
            self.deadline = self._context.clock.now + LINGER
            return
        due = self._current.due if self._current is not None else self._keep_until if self.idle else NEVER
        incoming = self._incoming
        if self._intake is None and incoming is not None and not incoming.expects_continue:
            self._intake = Pace(self._context.limits.request_body_stall, self._context.clock.now)
        if self._intake is not None and not self._paused:
            due = min(due, self._intake.due)
        if self._outlet is not None or (self._half_closed is not None and self._current is not None):
            due = min(due, self._context.clock.ticked + LOOK_AGAIN)
        self.deadline = due

    def _probe(self, watch: peer_socket.Watch, exchange: Exchange) -> None:
        harmless = b"" if self._begun else self._harmless_bytes(exchange)
        if watch.probe(harmless) and harmless is wire.BEGINNING:
            self._begun = True
            exchange.plain = False

    def _harmless_bytes(self, exchange: Exchange) -> bytes:
        """What a client that still reads can ignore, and one that is gone answers with a reset."""
        if exchange.phase is _RESPONSE_HEAD or exchange.phase is ResponsePhase.STARTED:
            # Whatever the response will be, it begins with the same bytes. A 100 (Continue) would not do: HTTP/1.0
            # knows none, and nginx 1.22 takes one that it did not ask for to be the response.
            return wire.BEGINNING
        if exchange.phase is _RESPONSE_BODY and self._outgoing.framing is Framing.CHUNKED and self._file is None:
            return b"0"  # the next chunk's size has a leading zero (RFC 9112, 7.1)
        return b""
