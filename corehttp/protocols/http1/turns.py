"""Whose turn it is on an HTTP/1.1 connection: requests that were read begin in order, and each is answered once.

A response follows the one before it (RFC 9112, 9.3.2), and a refusal follows the responses to what came before the
fault. `state` describes the states.
"""

import logging

from corehttp.protocols.access_records import record
from corehttp.protocols.admission import Verdict
from corehttp.protocols.answers import PLAIN
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import HandOver
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.host import Queue, TurnsHost
from corehttp.protocols.http1.incoming_body import DISCARD_LIMIT
from corehttp.protocols.http1.refusal import PeerFields, Rejection, refuse_body, refuse_head
from corehttp.protocols.http1.semantics import Intent, closing
from corehttp.protocols.http1.starting import start
from corehttp.protocols.http1.state import ConnectionStage, Next, ReadState, after_response
from corehttp.protocols.http1.sticky_reader import make_reader
from corehttp.protocols.http1.writer import Writer
from corehttp.protocols.outlet import LINGER, LOOK_AGAIN
from corehttp.protocols.progress import Intake, ResponsePhase
from corehttp.protocols.tally import Tally

logger = logging.getLogger("corehttp.error")

# Requests of one client that are begun in a turn of the event loop; more wait for the next one.
BEGUN_AT_ONCE = 16

# Bound once: a name in the module costs less per request than an attribute of the class.
_IDLE, _UPGRADED, _ENDED = ReadState.IDLE, ReadState.UPGRADED, ReadState.ENDED
_RESPONSE_HEAD, _RESPONSE_STARTED = ResponsePhase.HEAD, ResponsePhase.STARTED
_OPEN, _COMING = ConnectionStage.OPEN, Intake.COMING


class Turns:
    """The requests of one connection, from their heads to the ends of their responses; host of its reader and writer.

    All times are in seconds, by the worker's clock.
    """

    __slots__ = (
        *("_advancing", "_context", "_host", "_refusal"),
        *("current", "deadline", "intent", "keep_until", "queue", "reader", "writer"),
    )

    intent: Intent  # what the head of the current request asks for, or that of the last one

    def __init__(self, context: WorkerContext, host: TurnsHost, keep_until: float, *, settled: bool = False) -> None:
        """Without a request, the connection is closed at `keep_until`.

        `settled` says that the first request is to be served here, whichever worker is to serve others like it.
        """
        self._context = context
        self._host = host
        self.queue: Queue = []  # requests that were read and are not begun
        self.current: Exchange | None = None  # whose response is being written
        self._refusal: Rejection | None = None  # sent in turn
        self._advancing = False  # whether `advance` is running
        self.keep_until = keep_until
        self.deadline = keep_until  # the first of all that is timed
        self.writer = Writer(context, self)
        self.reader = make_reader(context, self, self.writer, settled=settled)

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        return self.reader.state is _IDLE and self.current is None and not self.queue

    @property
    def unanswered(self) -> list[Exchange]:
        """The requests that were read and have no whole response yet, in order."""
        waiting = [exchange for exchange, _ in self.queue]
        return waiting if self.current is None else [self.current, *waiting]

    @property
    def has_more(self) -> bool:
        """Whether anything of a request after the current one was read."""
        return bool(self.queue) or self.reader.held is not None

    def advance(self) -> None:
        """Begin what was read, one request after the other; answer a refusal when its turn has come."""
        if self._host.stage is not _OPEN:
            return
        context, host, queue, reader = self._context, self._host, self.queue, self.reader
        self._advancing = True
        left = BEGUN_AT_ONCE
        while self._may_begin() and reader.has_next():
            if not left:
                context.soon(self.advance)
                break
            left -= 1
            if context.admission is not None:
                match context.admission.verdict(self, queue[0][0].scope["path"]):
                    case Verdict.RUN:
                        pass
                    case Verdict.WAIT:
                        break
                    case Verdict.TURN_AWAY:
                        context.admission.turn_away(self)
                        continue
            if context.tally is not None:
                context.tally.count_wait(queue[0][0].started_at)
            self._begin(*queue.pop(0))
        self._advancing = False
        if host.stage is not _OPEN:
            return
        if reader.state is _UPGRADED and not queue and self._may_begin():
            host.switch()
            return
        if queue or reader.held is not None or reader.inflow is not None:
            reader.pace()
        if self._refusal is not None:
            self.answer_refusal()

    def _may_begin(self) -> bool:
        """Whether nothing stands in the way of the next request."""
        return self.current is None and self._host.stage is _OPEN and not self.writer.congested

    def take(self, exchange: Exchange, intent: Intent) -> None:
        """Begin a request that was read whole, or let it wait behind those before it."""
        if (
            self.current is not None
            or self.queue
            or self.writer.congested
            or self._context.admission is not None
            or self._host.stage is not _OPEN
        ):
            self.queue.append((exchange, intent))
            self.advance()
            return
        self._begin(exchange, intent)
        if self.reader.inflow is not None:
            self.reader.pace()

    def _begin(self, exchange: Exchange, intent: Intent) -> None:
        """Make it the turn of a request, and call the application."""
        context = self._context
        self.current = exchange
        self.intent = intent
        self.deadline = exchange.due = context.clock.now + context.request_timeout
        state = self.reader.state  # ENDED: nothing is awaited of the client, but it may have left
        if state is not _IDLE and (state is not _ENDED or self._host.half_closed is not None):
            self.set_deadline()
        context.begun += 1
        start(context, exchange)

    proceed = advance  # admission's name for it

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        """Answer the request whose turn it is without the application."""
        self.current, self.intent = self.queue.pop(0)
        self._answer(status, reason, (b"retry-after", b"%d" % retry_after))

    def _answer(self, status: int, reason: str, *fields: tuple[bytes, bytes]) -> None:
        """Answer the current request without the application."""
        assert self.current is not None, "only a request whose turn it is is answered"
        self.current.complete()
        body = (reason + "\n").encode()
        self.writer.respond(status, [PLAIN, (b"content-length", b"%d" % len(body)), *fields], body, False)

    def response_written(self, exchange: Exchange, tally: Tally | None) -> None:
        """Go on after the whole response of the exchange. `tally` counts it; None: it is counted, or nobody looks."""
        context, reader = self._context, self.reader
        if context.access is not None:
            record(context.access, exchange, exchange.status)
        if tally is not None:
            tally.count_response(exchange.method, exchange.status, exchange.started_at)
        self.current = None
        body = reader.body
        if (body is not None and body.exchange is exchange) or not self.intent.persistent or self.writer.last:
            self._conclude(exchange)
            return
        if reader.inflow is not None:
            reader.pace()
        if reader.state is _IDLE and not self.queue:
            now = context.clock.now
            self.keep_until, self.deadline = now + context.keep_alive, now + context.recall
            if self.writer.congested:
                self.set_deadline()
            elif context.hand_over is not None:
                self._host.pass_on(context.hand_over)
        elif (self.queue or not reader.time_next()) and not self._advancing:
            context.soon(self.advance)

    def _conclude(self, exchange: Exchange) -> None:
        """Go on after a response that ends the connection, or that came before the end of its request."""
        reader = self.reader
        match after_response(
            persistent=self.intent.persistent and not self.writer.last,
            body_unread=exchange.intake is _COMING,
            body_doubtful=exchange.expects_continue,
            unread=0 if reader.body is None else reader.body.unread,
            limit=DISCARD_LIMIT,
        ):
            case Next.READ_NEXT:
                pass
            case Next.DISCARD_BODY:
                reader.discard_body()
                self.set_deadline()
            case Next.CLOSE:
                # A client that announced the end sends no more; any other may, and a reset would cost it our answer.
                self._host.end(linger=reader.state is not _ENDED)

    def move(self, hand_over: HandOver, held: bytes) -> bool:
        """Give the connection to another worker with what was read of it; answers whether another worker has it now."""
        return self._host.move(hand_over, held)

    def end(self) -> None:
        """End the connection, and send what is written."""
        self._host.end(linger=False)

    def refuse(self, status: int, reason: str, head: bytes | bytearray = b"", fields: PeerFields = ()) -> None:
        """Stop reading, and refuse the request that is being read once those before it are answered.

        `head` has the fault in it, unless a body has. The answer has `fields` beside the usual ones.
        """
        body, upgrade = self.reader.body, self.reader.upgrade
        incoming = None if body is None else body.exchange
        if incoming is not None:
            self._refusal = refuse_body(incoming, status, reason)
        else:
            known = None if upgrade is None else (upgrade.peer, upgrade.method)
            self._refusal = refuse_head(self._context, self.reader.heads.peer, known, status, reason, head, fields)
        self.reader.discard()
        if incoming is None:
            return
        if incoming is self.current:
            self.give_up(incoming, "client")
        elif not self.forget(incoming):
            self._refusal = None  # it has had its answer
            self._host.end(linger=True)
        elif self._context.admission is not None and not self.queue:
            self._context.admission.forget(self)

    def forget(self, exchange: Exchange) -> bool:
        """Let the application never see a request that was not begun; answers whether it is one."""
        size = len(self.queue)
        self.queue[:] = [entry for entry in self.queue if entry[0] is not exchange]
        return len(self.queue) < size

    def answer_refusal(self) -> None:
        """Send the refusal, if there is one and its turn has come."""
        if self._refusal is not None and not self.unanswered and self._host.stage is _OPEN:
            self.writer.refuse(self._refusal)
            self._host.end(linger=True)

    def give_up(self, exchange: Exchange, reason: str) -> None:
        """Have no response of the application to the current exchange, for one of `counters.ABORTS`."""
        self.current = None
        begun = exchange.phase is not _RESPONSE_HEAD and exchange.phase is not _RESPONSE_STARTED
        exchange.disconnect()
        self._context.lost(reason if begun else None)
        if begun:
            self._refusal = None
            self.writer.abort()
        self.writer.record(exchange, self._refusal)
        if self._context.cancel_on_disconnect:
            exchange.cancel()

    def time_out(self, exchange: Exchange) -> None:
        """The application has had its time: 504, or a cut if the response has begun."""
        seconds = self._context.limits.request
        logger.warning("%s from %s took longer than %g s (504)", exchange.name, exchange.peer.name, seconds)
        self.queue.clear()
        if exchange.phase is _RESPONSE_HEAD or exchange.phase is _RESPONSE_STARTED:
            exchange.disconnect()
            self.writer.end_connection()
            self._answer(504, f"the request took longer than {seconds:g} s")
        else:
            self.give_up(exchange, "timeout")
        exchange.cancel()

    def end_unwanted(self, exchange: Exchange) -> None:
        """End the connection, after the current response at the latest: too much comes of a body that nobody wants."""
        if exchange is self.current:
            self.writer.end_connection()
        else:
            self._host.end(linger=True)

    def end_reading(self) -> None:
        """Answer what was read, and then end the connection."""
        self.reader.discard()
        if self._refusal is None:
            if self.queue:
                exchange, intent = self.queue[-1]
                self.queue[-1] = exchange, closing(intent)
            elif self.current is not None:
                self.writer.end_connection()

    def resume(self) -> None:
        """Go on, as the client takes what is written."""
        self.writer.resume()
        self.rest()  # only now, since the client had the last response still to take
        if self.current is None and (self.has_more or self._refusal is not None):
            self._context.soon(self.advance)

    def rest(self) -> None:
        """Begin the time that the client has until its next request, if the connection is idle."""
        if self.idle and self._host.stage is _OPEN:
            now = self._context.clock.now
            self.keep_until, self.deadline = now + self._context.keep_alive, now + self._context.recall

    def drop(self) -> None:
        """Stop beginning and refusing requests, since the connection ends."""
        self.reader.discard()
        self.queue.clear()
        self._refusal = None

    def lose(self, cause: str) -> None:
        """Tell the application that the connection is lost, for one of `counters.ABORTS`. To be called after `drop`."""
        context = self._context
        current, self.current = self.current, None
        if current is not None:
            context.lost("error" if current.ended else cause)
            current.disconnect()
            self.writer.record(current)
            if context.cancel_on_disconnect:
                current.cancel()
        if context.admission is not None:
            context.admission.forget(self)
        self.writer.lose()
        self.leave_transport()

    def leave_transport(self) -> bytes:
        """Stop serving the connection, and break the cycles of references; returns what was read and not parsed."""
        held = self.reader.detach()
        del self.writer  # which holds this object; an exchange may still tell it what it has taken of a body
        return held

    def set_deadline(self) -> None:
        """Find out anew when to look at the connection again."""
        clock = self._context.clock
        if self._host.stage is not _OPEN:
            self.deadline = clock.now + LINGER
            return
        due = self.reader.due
        if self.current is not None:
            due = min(due, self.current.due)
        elif self.idle:
            due = min(due, self.keep_until)
        if self.writer.is_watched or (self._host.half_closed is not None and self.current is not None):
            due = min(due, clock.ticked + LOOK_AGAIN)
        self.deadline = due

    def look_soon(self) -> None:
        """Look at the connection again soon, since something waits for its client."""
        self.deadline = min(self.deadline, self._context.clock.now + LOOK_AGAIN)
