"""One HTTP/1.1 connection: its life from the first byte to the last, for the transport and for the worker.

A `Reader` makes exchanges of what comes in, a `Writer` sends their responses, and `Turns` has one follow the other.
Here it is decided when the connection ends, and acted on what is late. `state` describes the states.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from corehttp.ipc.parcel import Parcel
from corehttp.protocols import peer_socket
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver
from corehttp.protocols.entrance import ONLY, Entrance, Origin, announced
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.state import ConnectionStage, ReadState
from corehttp.protocols.http1.turns import Turns
from corehttp.protocols.http1.upgrade_answer import HTTP1UpgradeAnswer
from corehttp.protocols.leaving import leave_if_idle
from corehttp.protocols.outlet import HIGH_WATER, LINGER, has_left
from corehttp.protocols.peer import direct
from corehttp.protocols.tls_session import offers_of

logger = logging.getLogger("corehttp.error")

# Bound once: a name in the module costs less than an attribute of the class.
_OPEN, _LINGERING, _CLOSED = ConnectionStage
_BODY, _UPGRADED = ReadState.BODY, ReadState.UPGRADED


class HTTP1Connection(asyncio.Protocol):
    """A client's connection over a transport of asyncio; a `Connection` of the worker."""

    __slots__ = (
        *("_cause", "_context", "_entrance", "_origin", "_transport", "_turns"),
        *("data_received", "half_closed", "stage"),
    )

    # The reader's own method, to save a frame for all that comes in; uvloop looks it up once per connection.
    data_received: Callable[[bytes], None]  # type: ignore[assignment]  # a method of the base
    _transport: asyncio.Transport

    def __init__(
        self,
        context: WorkerContext,
        keep_until: float | None = None,
        entrance: Entrance = ONLY,
        *,
        settled: bool = False,
        origin: Origin | None = None,
    ) -> None:
        """`keep_until` is for a connection that another worker has passed on: seconds, monotonic.

        `entrance` is what the client has come through. `settled` says that the first request is to be served here,
        since another worker has passed it on for that. `origin` is what a PROXY header has told; None: there was none.
        """
        self._context = context
        self._entrance = entrance
        self._origin = origin
        self._cause = "client"  # why the connection is lost, as one of `counters.ABORTS`
        clock = context.clock
        until = clock.now + context.keep_alive
        if keep_until is not None:  # and no later, whatever the other worker says
            until = min(until, keep_until - clock.lost)
        self._turns = Turns(context, self, until, settled=settled)
        self.data_received = self._turns.reader.feed
        self.stage = _OPEN
        self.half_closed: peer_socket.Watch | None = None  # once the client may have closed its side

    def __repr__(self) -> str:
        if self.stage is _CLOSED:
            return "<HTTP1Connection: closed>"
        turns = self._turns
        reading = turns.reader.state.value
        return (
            f"<HTTP1Connection {turns.reader.heads.peer.name}: {self.stage.value}, reading {reading}, {turns.current}>"
        )

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve the client of a new connection, or of one that was passed on."""
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(HIGH_WATER)
        peername, sockname = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        peer = direct(peername, sockname, self._context.root_path, self._entrance.scheme)
        if self._origin is not None:
            peer = self._origin.of(peer)
        self._turns.writer.transport = transport
        context, entrance = self._context, self._entrance
        plain = entrance.scheme == "http" and not entrance.redirects
        self._turns.reader.start(transport, peer, context if plain else offers_of(context, entrance, transport))
        context.connection_begun(self)

    def eof_received(self) -> bool:
        """The client ended its side. What it has asked for is still answered: it may have closed only one half.

        Over TLS it is taken as gone: after its close_notify the transport writes nothing more.
        """
        turns = self._turns
        body = turns.reader.body
        if body is not None:
            if body.exchange is turns.current:
                return False
            turns.forget(body.exchange)  # the rest of it will never come
        if self.stage is not _OPEN or not turns.unanswered or self._entrance.scheme == "https":
            return False
        self.half_closed = peer_socket.Watch(self._transport)
        if self.half_closed.is_gone():
            return False
        turns.end_reading()
        turns.look_soon()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that its client is gone, and let go of everything."""
        stage, self.stage = self.stage, _CLOSED
        self.half_closed = None
        self._context.connection_ended(self)
        if stage is _OPEN:  # else `end` has done it
            self._turns.drop()
        self._turns.lose(self._cause)
        del self._turns, self.data_received

    def pause_writing(self) -> None:
        """Note that the transport holds enough: `send()` has to wait."""
        self._turns.writer.pause()

    def resume_writing(self) -> None:
        """Note that the transport takes more."""
        self._turns.resume()

    # What the worker calls.

    @property
    def deadline(self) -> float:
        """When to call `expire` next, in seconds by the worker's clock."""
        return self._turns.deadline

    @deadline.setter
    def deadline(self, due: float) -> None:
        self._turns.deadline = due

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        return self.stage is _OPEN and self._turns.idle

    @property
    def unanswered(self) -> list[Exchange]:
        """The requests that were read and have no whole response yet, in order."""
        return self._turns.unanswered

    @property
    def congested(self) -> bool:
        """Whether the client takes less than is written."""
        return self._turns.writer.congested

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""
        return peer_socket.descriptor(self._transport)

    def expire(self) -> None:
        """Act on what is late now that `deadline` has passed, and set the next `deadline`."""
        now = self._context.clock.ticked
        turns = self._turns
        reader, writer, current = turns.reader, turns.writer, turns.current
        if writer.is_stalled(now):
            peer = turns.reader.heads.peer if current is None else current.peer
            logger.warning("cut the connection of %s: it does not take what is sent to it", peer.name)
            self._cause = "timeout"
            peer_socket.reset_on_close(self._transport)
            self._transport.abort()
        elif self.stage is _LINGERING:
            if has_left(self._transport):
                self._transport.abort()
            else:
                writer.watch()
        elif reader.inflow is not None and reader.inflow.due <= now:
            what = "a body" if reader.state is _BODY else "the head of a request"
            turns.refuse(408, f"{what} came in too slowly", reader.held or b"")
            turns.answer_refusal()
        elif current is not None and current.due <= now:
            turns.time_out(current)
        elif self.half_closed is not None:
            self._look_for_client(self.half_closed)
        elif self.idle:
            reader.heads.forget()
            if turns.keep_until <= now and not self.congested:
                self.close()
        turns.set_deadline()

    def _look_for_client(self, watch: peer_socket.Watch) -> None:
        """Cut the connection if its client has left; else make it show whether it has."""
        if watch.is_gone():
            self._transport.abort()
        elif self._turns.current is not None:
            self._turns.writer.probe(watch)

    def leave(self, now: float, departure: Departure) -> None:
        """Pass the connection on if it is idle, or close it when it has been idle for long enough."""
        leave_if_idle(self, now, departure)

    def suspect(self) -> None:
        """Find out soon whether the client has left, if it has ended its side or reading is paused.

        It is probed as one that has closed its side, and at once; to one that is there that means nothing.
        """
        if self._turns.current is None:
            return
        if self.half_closed is None and self._turns.reader.paused:
            self.half_closed = peer_socket.Watch(self._transport)
            self._turns.set_deadline()
        if self.half_closed is not None:
            self._look_for_client(self.half_closed)

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give an idle connection to another worker; returns whether another worker has it now.

        Only one with nothing half read and nothing half written, for what is in our memory stays with us. What its
        client has sent meanwhile is in the kernel, and goes with it. No FIN is sent when we close our copy of the
        descriptor, as the other worker has one (close(2)).
        """
        if not self.idle or self._transport.get_write_buffer_size():
            return False
        return self._give(hand_over, self._turns.keep_until)

    def move(self, hand_over: HandOver, held: bytes) -> bool:
        """Give the connection to another worker with the bytes `held`, which were read of a request that is not begun.

        Answers whether another worker has it now. To be called while nothing is in flight, and all that was written is
        sent.
        """
        context = self._context
        return self._give(hand_over, context.clock.now + context.keep_alive, held)

    def _give(self, hand_over: HandOver, keep_until: float, held: bytes = b"") -> bool:
        """Give the connection away, and close our copy of its descriptor; answers whether another worker has it now.

        An idle connection is kept until `keep_until` (seconds, by the worker's clock).
        """
        transport = self._transport
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or sock is None or transport.get_extra_info("ssl_object") is not None:
            return False
        until = keep_until + self._context.clock.lost
        parcel = Parcel(sock.fileno(), until, self._entrance.endpoint, None, held)
        if not hand_over(announced(parcel, self._origin)):
            return False
        transport.abort()
        return True

    def close(self) -> None:
        """Close an idle connection, unless its client's next request has come: who has not been read is not late."""
        if self._turns.reader.paused or not peer_socket.has_unread(self._transport):
            self.end(linger=False)

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        self._transport.abort()

    # What its turns ask for.

    def end(self, *, linger: bool) -> None:
        """End the connection; what is written is still sent.

        To `linger` is to send a FIN, and to read on for a while: a client that still sends would be reset.
        """
        if self.stage is not _OPEN:
            return
        self.stage = _LINGERING
        turns, transport = self._turns, self._transport
        turns.drop()
        turns.deadline = self._context.clock.now + LINGER
        if turns.reader.inflow is not None:
            turns.reader.resume()
        if transport.get_write_buffer_size():
            turns.writer.watch()
        if linger and not transport.is_closing():
            peer_socket.end_our_side(transport)
        else:
            peer_socket.close_idle(transport)

    def switch(self) -> None:
        """Leave the transport to another protocol, with whatever has come in behind the request for it."""
        turns = self._turns
        assert turns.reader.upgrade is not None, "a request asks for another protocol"
        upgrade, *_ = turns.reader.upgrade
        refusal = upgrade.refusal()
        if refusal is not None:
            turns.refuse(*refusal)
            turns.answer_refusal()
            return
        held = turns.leave_transport()
        self.stage = _CLOSED
        self._context.connections.discard(self)
        del self._turns, self.data_received
        upgrade.start(self._transport, held, HTTP1UpgradeAnswer(self._context.clock))
