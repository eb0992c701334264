"""The first bytes of a connection over TLS: its handshake, and then the protocol that is spoken over it.

Before its first record has come whole (RFC 8446, 5.1) a connection holds nothing but a deadline, and can go to another
worker. A client that speaks HTTP in cleartext is told so.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, Protocol, cast

from corehttp.ipc.parcel import Parcel
from corehttp.moments import NEVER
from corehttp.protocols import peer_socket
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Departure, HandOver, Request
from corehttp.protocols.entrance import Entrance, Origin, announced
from corehttp.protocols.leaving import leave_if_idle
from corehttp.protocols.outlet import LINGER, has_left
from corehttp.protocols.peer import Peer, direct
from corehttp.protocols.tls_session import TlsSession, bind_latest

logger = logging.getLogger("corehttp.error")

SILENCE = 60.0  # seconds between two lines of the level info about handshakes that fail: anybody can cause them
HURRY = 2.0  # seconds that a handshake may still take when the worker leaves

_HANDSHAKE = 0x16  # the type of the first record (RFC 8446, 5.1)
_RECORD_HEAD = 5  # bytes of a record's type, version and length
_RECORD_LIMIT = 1 << 14  # bytes of the longest record without that
_TOLD = b"The plain HTTP request was sent to an HTTPS port\n"
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
    b"connection: close\r\n\r\n%b" % (len(_TOLD), _TOLD)
)


class CurrentContext(Protocol):
    """What connections over TLS are wrapped with; see `tls.contexts.Contexts`."""

    @property
    def current(self) -> ssl.SSLContext:
        """The context of the next handshake."""


class Handshakes:
    """What all handshakes of a worker have in common: contexts, time (seconds), and a log of those that fail."""

    def __init__(self, contexts: CurrentContext, context: WorkerContext, timeout: float) -> None:
        self.timeout = timeout
        self._contexts = contexts
        self._context = context
        self._silent_until = -NEVER

    def begin(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> Coroutine[Any, None, Any]:
        """Return what does the handshake of a connection, step by step, as `loop.start_tls` does it."""
        sslcontext = self._contexts.current
        sslcontext.sslobject_class = TlsSession
        return self._context.loop.start_tls(
            transport,
            protocol,
            sslcontext,
            server_side=True,
            ssl_handshake_timeout=self.timeout + 2 * HURRY,  # the connection's own deadline comes before
            ssl_shutdown_timeout=LINGER,
        )

    def count(self, outcome: str) -> None:
        """Count what became of a handshake, by one of `counters.OPENINGS`."""
        if self._context.tally is not None:
            self._context.tally.openings[outcome] += 1

    def failed(self, who: str, why: str) -> None:
        """Count a client that has not finished its handshake, and log it."""
        self.count("tls_failed")
        loud = (now := self._context.clock.now) >= self._silent_until
        if loud:
            self._silent_until = now + SILENCE
        text = "a TLS handshake of %s has failed: %s%s"
        logger.log(logging.INFO if loud else logging.DEBUG, text, who, why, " (said once a minute)" if loud else "")


class OpeningStage(Enum):
    """How far the opening of a connection over TLS has come."""

    AWAITED = "awaited"  # nothing of the client was read
    HELLO = "hello"  # a part of its first record was read
    SHAKING = "shaking"
    REFUSED = "refused"  # it was told that it speaks cleartext; what it sends is thrown away
    OVER = "over"  # it is lost, or another protocol has it


_AWAITED, _HELLO, _SHAKING, _REFUSED, _OVER = OpeningStage


class TlsOpening(asyncio.Protocol):
    """A connection before its handshake is over; it implements `contracts.Connection`."""

    __slots__ = (
        "_client_ended",
        "_context",
        "_entrance",
        "_handshakes",
        "_held",
        "_make",
        "_origin",
        "_starting",
        "_transport",
        "_who",
        "deadline",
        "settled",
        "stage",
    )

    unanswered: Sequence[Request] = ()  # the requests that wait for a response

    def __init__(
        self,
        context: WorkerContext,
        handshakes: Handshakes,
        entrance: Entrance,
        make: Callable[[], asyncio.Protocol],
        origin: Origin | None = None,
        *,
        settled: bool,
    ) -> None:
        """`make` makes the protocol of the connection, once the handshake is over.

        `origin` is what a PROXY header has told; None: there was none. `settled` says that the connection is to be
        served here, since another worker has passed it on for that.
        """
        self._context = context
        self._handshakes = handshakes
        self._entrance = entrance
        self._make = make
        self._origin = origin
        self._starting: Coroutine[Any, None, Any] | None = None  # what does the handshake, while it goes on
        self._held = b""  # what was read: of the first record in cleartext, then what came over TLS too early
        self._client_ended = False
        self._who = ""  # the client's name in the log, once the handshake has begun
        self.settled = settled
        self.stage = _AWAITED
        self.deadline = context.clock.now + handshakes.timeout

    def __repr__(self) -> str:
        return f"<TlsOpening: {self.stage.value}>"

    # What the transports call: that of the socket, and then that of TLS.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the client's first record, unless another worker is to have the client."""
        self._transport = cast(asyncio.Transport, transport)
        self._context.connection_begun(self)
        if (affinity := self._context.affinity) is None or self.settled:
            return
        # Only the client's address can decide, since nothing else is known before the handshake.
        slot = affinity.elsewhere({"client": self._peer.client})
        if slot is not None:
            self._give(lambda parcel: affinity.put(slot, parcel))

    def data_received(self, data: bytes) -> None:
        """Take in what has come, and begin the handshake when the first record is whole."""
        match self.stage:
            case OpeningStage.AWAITED | OpeningStage.HELLO:
                self.stage = _HELLO
                self._held += data
                self._look_at_record()
            case OpeningStage.SHAKING:
                self._held += data  # over TLS, before the connection's protocol is there
            case OpeningStage.REFUSED | OpeningStage.OVER:
                pass

    def eof_received(self) -> bool:
        """Note that the client has ended its side."""
        self._client_ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is lost."""
        if self.stage is not _OVER:
            self._end()

    # What the worker calls.

    @property
    def idle(self) -> bool:
        """Whether nothing of the client was read."""
        return self.stage is _AWAITED

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""
        return peer_socket.descriptor(self._transport)

    def expire(self) -> None:
        """Cut a client that has not finished in time."""
        if self.stage is not _REFUSED:
            self._handshakes.failed(self._who or self._peer.name, f"it took longer than {self._handshakes.timeout:g} s")
            self._end()  # before the cut, with which a handshake that has begun fails: it is counted once
        elif not has_left(self._transport):
            self.deadline = self._context.clock.now + LINGER
            return
        self.cut()

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give the connection to another worker if nothing of it was read; answers whether this worker is rid of it."""
        return self.idle and self._give(hand_over)

    def close(self) -> None:
        """Close the connection, unless its client has sent something."""
        if not peer_socket.has_unread(self._transport):
            self._transport.close()

    def leave(self, now: float, departure: Departure) -> None:
        """Pass the connection on or close it if nothing has come; else have its handshake end soon."""
        if not self.idle:
            self.deadline = min(self.deadline, self._context.clock.now + HURRY)
            return
        leave_if_idle(self, now, departure)

    def suspect(self) -> None:
        """Do nothing: the deadline is soon."""

    def cut(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    # The steps.

    def _look_at_record(self) -> None:
        """Begin the handshake if the first record is whole; refuse what is none."""
        held = self._held
        if held[0] != _HANDSHAKE:
            self._refuse()
            return
        if len(held) < _RECORD_HEAD:
            return
        size = int.from_bytes(held[3:_RECORD_HEAD])
        if not 0 < size <= _RECORD_LIMIT:
            fault = "too long" if size else "empty"
            self._handshakes.failed(self._peer.name, f"its first record is {fault}")
            self.cut()
        elif len(held) >= _RECORD_HEAD + size:
            self._shake()

    def _refuse(self) -> None:
        """Tell a client that speaks cleartext to use https, and end the connection."""
        self._handshakes.failed(self._peer.name, f"it begins with {self._held[:16]!r}")
        if not self._held[:1].isalpha():
            self.cut()
            return
        self.stage, self._held = _REFUSED, b""
        self._transport.write(_PLAIN)
        self.deadline = self._context.clock.now + LINGER
        peer_socket.end_our_side(self._transport)

    def _shake(self) -> None:
        """Begin the handshake."""
        self.stage = _SHAKING
        self._who = self._peer.name  # uvloop raises when it is asked for the addresses of a closed unix socket
        # Its steps are made here, not by a task: what was read already has to come before what the transport reads
        # next, and a task would begin only in the loop's next turn.
        self._starting = starting = self._handshakes.begin(self._transport, self)
        try:
            waiter = starting.send(None)
        except Exception as error:
            self._fail(error)
            return
        waiter.add_done_callback(self._shaken)
        self._context.loop.call_soon(self._feed)

    def _feed(self) -> None:
        """Give what was read as cleartext to TLS, which the event loop has set up in the call before this one."""
        bind_latest(self._transport)
        held, self._held = self._held, b""
        lower = cast(asyncio.BufferedProtocol, self._transport.get_protocol())
        while held and self.stage is _SHAKING and not self._transport.is_closing():
            buffer = lower.get_buffer(len(held))
            size = min(len(buffer), len(held))  # type: ignore[arg-type]  # it is a memoryview
            buffer[:size] = held[:size]  # type: ignore[index]
            lower.buffer_updated(size)
            held = held[size:]

    def _shaken(self, waiter: object) -> None:
        """Go on after the handshake, which has succeeded or failed."""
        starting, self._starting = self._starting, None
        assert starting is not None, "the handshake has begun"
        try:
            starting.send(None)
        except StopIteration as end:
            self._serve(end.value)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(error)
        else:
            self._fail(RuntimeError("the handshake goes on"))

    def _fail(self, error: BaseException) -> None:
        """End a connection whose handshake has failed."""
        if self.stage is not _OVER:
            why = getattr(error, "reason", None) or str(error) or "the client has left"
            self._handshakes.failed(self._who, str(why))
            self._end()
        self._transport.abort()
        # No `connection_lost` follows that breaks the cycles of the error's frames and of uvloop's transport.
        error.__traceback__ = error.__context__ = error.__cause__ = None
        del self._transport

    def _serve(self, transport: asyncio.Transport | None) -> None:
        """Give the connection over TLS its protocol, and that what has come. After a cut asyncio has no transport."""
        if self.stage is _OVER or transport is None or transport.is_closing():
            self._fail(ConnectionResetError("the client has left"))
            return
        self.stage = _OVER
        self._handshakes.count("tls_done")
        self._context.connections.discard(self)
        connection = self._make()
        transport.set_protocol(connection)
        connection.connection_made(transport)
        held, self._held = self._held, b""
        if held:
            connection.data_received(held)
        if self._client_ended:
            connection.eof_received()

    def _give(self, hand_over: HandOver) -> bool:
        """Give the connection, of which nothing was read, to another worker; answers whether that has it now."""
        transport, clock = self._transport, self._context.clock
        sock = transport.get_extra_info("socket")
        if transport.is_closing() or sock is None:
            return False
        until = clock.now + self._context.keep_alive + clock.lost
        if not hand_over(announced(Parcel(sock.fileno(), until, self._entrance.endpoint), self._origin)):
            return False
        self._end()
        transport.abort()
        return True

    def _end(self) -> None:
        """Note that the connection is over, or another worker's."""
        self.stage, self._held, self.deadline = _OVER, b"", NEVER
        self._context.connection_ended(self)

    @property
    def _peer(self) -> Peer:
        """The client, as the socket knows it, or a PROXY header."""
        transport, entrance = self._transport, self._entrance
        peername, sockname = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        peer = direct(peername, sockname, self._context.root_path, entrance.scheme)
        return peer if self._origin is None else self._origin.of(peer)
