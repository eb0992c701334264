"""The contracts between the parts of a worker's protocols.

An exchange writes to a `ResponseStream`. A worker looks after `Connection` objects, and after each `Application` that
runs for them. Contracts with those to which connections report are in `observers`, those between the parts of an
HTTP/1.1 connection in `http1.host`, and those between the parts of a WebSocket in `websocket.contracts`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from corehttp.asgi import ASGIApp, Headers, Scope, Unchecked
from corehttp.ipc.parcel import Parcel
from corehttp.protocols.peer import Peer

Fields = Iterable[tuple[bytes, bytes]]

# Gives an idle connection to another worker, and answers whether the other worker has taken it.
HandOver = Callable[[Parcel], bool]

# Recognizes a request for another protocol on its connection (RFC 9110, 7.8) by the request's scope, as built for HTTP,
# and its peer. Called for requests with an Upgrade field only. Answers None for a request that is to be served as any
# other, and raises PeerError for one that asks in a wrong way.
RecognizeUpgrade = Callable[[Scope, Peer], "ProtocolUpgrade | None"]


class RequestParser(Protocol):
    """Parses the heads of all requests of a worker, one whole head after the other, and each by itself."""

    def parse(self, head: bytes) -> tuple[Headers, bool]:
        """The fields of a whole head, in order, and whether a proxy's may be among them.

        Names are in lower case, values without white space around them. The request line is for the caller to read.
        Raises PeerError for a head that it refuses; what is wrong with it, `http1.head` tells.
        """
        ...

    def renew(self) -> None:
        """Forget the last head, which ends its connection. Without this call the next head may take longer."""


class Allowance(Protocol):
    """What the responses of one connection may still send before others get a turn.

    A sender subtracts what it has sent from `left`, and for each message `fairness.MESSAGE`; once `left` is below 0, it
    waits in `renew` before it sends more. Nobody else writes to `left`.
    """

    left: int  # bytes

    async def renew(self) -> None:
        """Wait until others have had a turn; `left` is positive then, also if the wait is cancelled."""


class ResponseStream(Protocol):
    """Where one exchange sends its response: a turn of an HTTP/1.1 connection, or one stream among several.

    All calls come from the event loop's thread. The exchange calls `respond` once, unless it raises; if that said
    `more`, then `write_body` and `send_file` until one of them does not say it, or `write_trailers` in the place of the
    last one. Once the response has ended, or the stream has called `Exchange.disconnect`, it calls only `allowance`
    and `consumed`. No method calls `receive` or `send` of the exchange, or runs the application.

    What is written is sent in the order of the calls. That a response was written whole does not mean that the client
    has it: until it has left for good, its connection keeps what is needed, and is not idle.
    """

    __slots__ = ()  # so that a class that inherits from it can have slots of its own

    @property
    def congested(self) -> bool:
        """Whether the client takes less than is written: asked after each piece that is not the last.

        While it is true the exchange does not return from `send()`, but waits in `writable`. The exchange never sets
        it. A stream may keep it as an attribute, since this is asked for every piece.
        """

    @property
    def endless(self) -> bool:
        """Whether the response that has begun has declared no length; asked between `respond` and the end."""

    def allowance(self) -> Allowance:
        """What the stream may send before others get a turn.

        It is shared by all streams of a connection whose responses are sent at the same time. The exchange asks once,
        at any time, and keeps it.
        """

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        """Send the head and the first piece of the body, which may be empty; all of the response unless `more`.

        Raises AppError for what cannot be sent. Then nothing of it was sent, and it may be called again.
        """

    def write_body(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body, which may be empty; the last one unless `more`.

        Raises AppError if the body becomes longer than the declared length, or ends before it. Then nothing of the
        piece was sent.
        """

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        """Send `count` bytes of the file with the descriptor `file` from `offset` on; the last piece unless `more`.

        It returns when the stream has taken all of them. A file without positions, such as a pipe, is sent from where
        it is. Raises as `write_body` does; ClientDisconnectedError if the client leaves; AppError if the file ends
        early, and any OSError of reading it. If it raises, or is cancelled, after a part was sent, the response was cut
        as by `abort`, and the exchange told by `Exchange.disconnect`.
        """

    def write_trailers(self, trailers: Fields) -> None:
        """End the response with trailer fields, or without them where its framing has no place for them.

        Raises AppError for a field that must not be a trailer. Then nothing was sent, and it may be called again.
        """

    def send_continue(self) -> None:
        """Tell a client that waits for it to send its request's body (100 Continue: RFC 9110, 10.1.1).

        Called before `respond` only, and at most once.
        """

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        """Send values of Link fields ahead of the response (RFC 8297); raises AppError for wrong ones.

        Nothing is sent where the response has begun, the operator does not want it, or the client cannot take it.
        """

    def consumed(self, size: int) -> None:
        """Note that `size` bytes of the request's body are not kept any more: as much again may be read.

        Each byte for which `Exchange.feed` answered True is reported once, when the application takes it or has ended;
        except those that are still kept when the stream calls `Exchange.disconnect`.
        """

    async def writable(self) -> None:
        """Wait until the client has taken enough of what was written, or has left."""

    def abort(self) -> None:
        """End the response where it is, so that the client sees that it is not whole.

        Only this response ends: HTTP/1.1 has to cut its connection for that, a multiplexed protocol has not.
        """


class ExchangeHost(Protocol):
    """Where exchanges find their application, and to what they report what becomes of it."""

    app: ASGIApp
    running: set["Request"]  # requests whose application has not returned; an exchange adds itself

    def app_returned(self, request: "Request") -> None:
        """Remove a request from `running`: its application has returned."""

    def app_failed(self, request: "ApplicationCall", fault: BaseException | str) -> None:
        """Log a fault of the application: an exception, or a sentence that says what it did wrong."""


class UpgradeAnswer(Protocol):
    """Renders the answer to an upgrade as bytes of the protocol in which it was asked for; sends nothing itself.

    There is one answer: `switch`, or `deny` and, while that said `more`, `deny_further`.
    """

    def switch(self, protocol: bytes, fields: Fields) -> bytes:
        """Return the whole answer that accepts, and names the new protocol (101 in HTTP/1.1).

        `fields` are sent as they are: the caller has checked them (`fields.check_field`).
        """

    def deny(self, status: int, headers: Fields, body: bytes, more: bool) -> bytes:
        """Return head and first piece of the body of a response that refuses, and closes the connection.

        Raises AppError for a wrong field, and for a body that is not as long as its declared length.
        """

    def deny_further(self, body: bytes, more: bool) -> bytes:
        """Return a further piece of the body of `deny`; raises AppError if it breaks the declared length."""


class ProtocolUpgrade(Protocol):
    """What becomes of a connection after a request for another protocol; opaque to the connection itself."""

    def refusal(self) -> tuple[int, str] | None:
        """Return status and reason with which to refuse the upgrade, now that its turn has come; None: it may start."""

    def start(self, transport: Unchecked, held: bytes, answer: UpgradeAnswer) -> None:
        """Take over the asyncio transport, which has read `held` behind the request's head, and answer the request.

        Nothing is paused, and nothing has been answered. From then on the transport calls the new protocol only.
        """


class Named(Protocol):
    """What a log line can name."""

    @property
    def name(self) -> str:
        """What the application was called for, such as method and path, as log lines show it."""


class ApplicationCall(Named, Protocol):
    """A call of the application, for a line of the log."""

    @property
    def scope(self) -> Scope:
        """What the application was called with; it may have put anything else there since."""


class Application(Named, Protocol):
    """One call of the application for one request or WebSocket, as the worker sees it."""

    started_at: float  # when its request was read, or its WebSocket opened (seconds, monotonic)

    @property
    def ended(self) -> bool:
        """Whether the application has returned."""

    @property
    def unawaited(self) -> bool:
        """Whether nobody waits for its end any more, as when its client has left."""

    def announce_leave(self) -> None:
        """Tell the application that the worker leaves, if what it does may never end by itself."""

    def cancel(self) -> None:
        """Cancel the application's task."""


class Request(Application, Protocol):
    """The application's call for one HTTP request."""

    place: int  # where the request stands in the ledger, while it runs


class Departure(Protocol):
    """What a connection asks of a worker that leaves, to decide whether it is time to go; `now` is monotonic."""

    hand_over: HandOver | None  # gives an idle connection to another worker; None if no other worker goes on

    def has_waited(self, connection: "Connection", now: float) -> bool:
        """Whether `connection` has been idle for so long that it may close; a request may have been under way to it.

        The wait begins with the first call for a connection, and anew whenever the connection has not been idle.
        """

    def is_turn_of(self, connection: "Connection", now: float) -> bool:
        """Whether it is the turn of `connection` to close, though its client is likely to come back at once.

        The first call for a connection gives it its turn. Turns are spread evenly over some time, so that clients do
        not come back all at once.
        """


class Connection(Protocol):
    """What a worker asks of every connection, whatever protocol it speaks."""

    deadline: float  # when to call `expire` next, in seconds by the worker's clock

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered, delivered or waited for, so that a close loses nothing.

        Bytes that only the transport still has do not count, since a transport sends them before it closes.
        """

    @property
    def unanswered(self) -> Sequence[Request]:
        """The requests that were read and whose response was not given to the transport whole, in order.

        An application may return long before its response can be delivered; a drain waits for both.
        """

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""

    def expire(self) -> None:
        """Act on what is late now that `deadline` has passed, and set the next `deadline`."""

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give the connection to another worker if it is idle; answers whether this worker is rid of it."""

    def close(self) -> None:
        """Close the connection; to be called only while it is idle."""

    def leave(self, now: float, departure: Departure) -> None:
        """End the connection as soon as that costs the client nothing; `now` is in seconds, monotonic.

        A worker that leaves calls this many times a second until the connection has left `WorkerContext.connections`.
        A connection that is in use finishes what it does. One that is idle passes itself on through
        `departure.hand_over`, or closes when it has waited long enough. One whose client has to be told, and will then
        connect again, tells it when it is its turn; a protocol that announces its end ahead of it, such as HTTP/2 with
        GOAWAY (RFC 9113, 6.8), does so at its turn as well, and closes when its last stream has ended.
        """

    def suspect(self) -> None:
        """Find out soon whether the client has left, if it has ended its side or reading is paused."""

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""


class WebSocket(Application, Connection, Protocol):
    """A WebSocket: a connection and the application's one call for it."""
