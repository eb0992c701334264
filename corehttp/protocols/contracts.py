"""Every contract between the parts of a worker's protocols; what implements one is chosen elsewhere.

A parser calls a `RequestSink`. An exchange writes to a `ResponseStream`. A worker looks after `Connection` objects, and
after the applications that run for them. Connections report to an `AccessSink` and a `Ledger`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from corehttp.asgi import Scope, Unchecked
from corehttp.protocols.peer import Peer

Fields = Iterable[tuple[bytes, bytes]]

# One line of the access log: the client's address, the method, the target as it was sent, the HTTP version, the status,
# the bytes of the response's body that were sent, and the milliseconds from the request's head to the response's end.
AccessRecord = tuple[str, str, str, str, int, int, float]

# Gives an idle connection to another worker. It takes the descriptor of the connection's socket and the time until
# which the connection may stay idle (seconds, monotonic), and answers whether the other worker has taken it.
HandOver = Callable[[int, float], bool]

# Recognizes a request that asks for another protocol on its connection (RFC 9110, 7.8). It takes the request's scope,
# as built for HTTP, and its peer. It answers None for a request that is to be served as any other, and raises PeerError
# for one that asks in a wrong way. It is called for requests with an Upgrade field only.
RecognizeUpgrade = Callable[[Scope, Peer], "Upgrade | None"]


@dataclass(slots=True)  # not frozen: that makes one three times as dear
class Intent:
    """What a request's head asks of the connection."""

    persistent: bool
    plain: bool  # HTTP/1.1, persistent and not HEAD: nothing in it bears on how the response is framed
    length: int = 0  # of the body in bytes; -1 when chunked
    expects_continue: bool = False


class RequestSink(Protocol):
    """What a parser reports of a head's fields, in order; the request line is for the sink to read.

    The names are httptools', so that it can call a sink directly. A callback may raise `PeerError`, which stops the
    parser.
    """

    def on_header(self, name: bytes, value: bytes) -> None: ...

    def on_headers_complete(self) -> None: ...


class RequestParser(Protocol):
    """Turns the bytes of one whole head after the other into calls of a RequestSink.

    After a head that announces a chunked body, or for which `feed` raises, a new parser has to take over.
    `feed` may be the parser's own C function, which saves a frame per request.
    """

    def feed(self, data: bytes) -> None:
        """Parse a whole head; raises anything, which goes to `check`."""
        ...

    def check(self, error: Exception) -> None:
        """Raises `error`, which `feed` has raised, again unless it is about the head, or about what is to follow it."""
        ...

    def skip(self, data: bytes) -> None:
        """A piece of a body of declared length passes by."""
        ...


class ResponseStream(Protocol):
    """Where an exchange sends its response: one HTTP/1.1 connection's turn, or later one HTTP/2 stream."""

    __slots__ = ()  # so that who inherits from it can have slots of its own

    congested: bool  # the peer takes less than is written: wait for `writable()`

    @property
    def endless(self) -> bool:
        """Whether the response that is being written has declared no length."""
        ...

    def respond(self, status: int, headers: Fields, body: bytes, more: bool) -> None:
        """Send the head and the first piece of the body; raises `AppError` before a byte is written."""
        ...

    def write_body(self, body: bytes, more: bool) -> None:
        """Send a further piece of the body; raises `AppError` if it breaks the declared length."""
        ...

    async def send_file(self, file: int, offset: int, count: int, more: bool) -> None:
        """Send `count` bytes of a file as a further piece of the body; raises as `write_body` does, and OSError."""
        ...

    def write_trailers(self, trailers: Fields) -> None:
        """End the response with trailer fields, where its framing has a place for them; raises `AppError`."""
        ...

    def send_continue(self) -> None:
        """Answer `Expect: 100-continue` (RFC 9110, 10.1.1)."""
        ...

    def send_early_hints(self, links: Iterable[bytes]) -> None:
        """Send Link fields ahead of the response (RFC 8297), if it has not begun; raises `AppError`.

        They are held back where the operator does not want them, or the client cannot take them.
        """
        ...

    def consumed(self) -> None:
        """The application took what there was of the request's body: reading may go on."""
        ...

    async def writable(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        ...

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the response is not whole."""
        ...


class UpgradeAnswer(Protocol):
    """Renders the answer to an upgrade as bytes of the protocol in which it was asked for; sends nothing itself.

    There is one answer: `switch`, or `deny` and what follows it.
    """

    def switch(self, protocol: bytes, fields: Fields) -> bytes:
        """The whole answer that accepts, and names the new protocol (101 in HTTP/1.1).

        `fields` are sent as they are: the caller has checked them (`fields.check_field`).
        """
        ...

    def deny(self, status: int, headers: Fields, body: bytes, more: bool) -> bytes:
        """The head and the first piece of the body of a response that refuses, and closes the connection.

        Raises AppError for a wrong field, and for a body that is not as long as its declared length.
        """
        ...

    def deny_further(self, body: bytes, more: bool) -> bytes:
        """A further piece of that response's body; raises AppError if it breaks the declared length."""
        ...


class Upgrade(Protocol):
    """What becomes of a connection after a request for another protocol; opaque to the connection itself."""

    def refusal(self) -> tuple[int, str] | None:
        """The status and the reason with which it is refused, now that its turn has come; None if it may start."""
        ...

    def start(self, transport: Unchecked, held: bytes, answer: UpgradeAnswer) -> None:
        """Take over the asyncio transport, which has read `held` behind the request's head, and answer the request.

        Nothing is paused, and nothing has been answered. The connection that calls this is not told of anything after.
        """
        ...


class AccessSink(Protocol):
    """Where requests and WebSockets that have ended are noted for the access log."""

    records: list[AccessRecord]  # of requests that have ended, in order; who appends to it calls `arm` unless `armed`
    armed: bool  # whether the sink will look at `records` soon, without another call of `arm`

    def arm(self) -> None:
        """Tell the sink that there are new `records`."""
        ...

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        """Note that a WebSocket has ended with the close `code`, after so many `seconds`.

        `counts` are the messages received and sent, and the bytes received and sent.
        """
        ...


class Ledger(Protocol):
    """Where a worker notes what it does, in memory that other processes can read even after the worker has died."""

    connections: float  # how many connections are open
    taken_over: float  # how many connections other workers have passed on to this one
    websockets: float  # how many WebSockets have not ended

    @property
    def begin(self) -> Callable[[float, bytes, bytes], None]:
        """Note that a request begins to run now: the time (seconds, monotonic), its method and its path."""
        ...

    @property
    def pause(self) -> Callable[[], None]:
        """Note that the request of the last `begin` does not run any more: it has ended, or it waits."""
        ...

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        """Note a request that waits, since `now` (seconds, monotonic); answers its place in the ledger."""
        ...

    def leave(self, place: int) -> None:
        """Note that the request in this place has ended."""
        ...


class Application(Protocol):
    """One call of the application for one request or WebSocket, as the worker sees it."""

    ended: bool  # whether the application has returned

    @property
    def name(self) -> str:
        """What it was called for, such as method and path, as log lines show it."""
        ...

    @property
    def unawaited(self) -> bool:
        """Whether nobody waits for its end any more, as when its client has left."""
        ...

    def cancel(self) -> None:
        """Cancel the application's task."""
        ...


class Request(Application, Protocol):
    """The application's call for one HTTP request."""

    started_at: float  # when its head was read (seconds, monotonic)

    def tell(self) -> None:
        """Tell the application that the worker leaves, if its response may never end by itself."""
        ...


class Connection(Protocol):
    """What a worker asks of every connection, whatever protocol it speaks."""

    deadline: float  # when to call `expire` next, in seconds by the worker's clock

    @property
    def idle(self) -> bool:
        """Whether nothing is being read, answered or waited for."""
        ...

    @property
    def unanswered(self) -> Sequence[Request]:
        """The requests that were read and have no whole response yet, in order."""
        ...

    def fileno(self) -> int:
        """The descriptor of the connection's socket; -1 if the socket is closed."""
        ...

    def expire(self) -> None:
        """Act on what is late now that `deadline` has passed, and set the next `deadline`."""
        ...

    def pass_on(self, hand_over: HandOver) -> bool:
        """Give the connection to another worker if it is idle; answers whether this worker has it no more."""
        ...

    def close(self) -> None:
        """Close the connection, which is idle."""
        ...

    def suspect(self) -> None:
        """Find out soon whether the client has left, if it has ended its side or reading is paused."""
        ...

    def cut(self) -> None:
        """Cut the connection with whatever is in progress on it."""
        ...


class WebSocket(Application, Connection, Protocol):
    """A WebSocket: a connection and the application's one call for it."""

    opened_at: float  # when it was opened (seconds, monotonic)

    @property
    def stage(self) -> object:
        """How far the WebSocket has come; the values are the protocol's own."""
        ...

    def leave(self) -> None:
        """Close the WebSocket because the worker leaves."""
        ...
