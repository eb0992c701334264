"""One request over each implementation of a response stream, as its client sees it: for the suite that all pass."""

import asyncio
from typing import Protocol

import h11

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import Connection, ResponseStream
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from tests.kit.fakes import TURNS, Client, make_context
from tests.kit.multiplexed import MultiplexedConnection, Received


class HandedOut:
    """An application that hands out its receive and send, and returns when it is told to."""

    receive: Receive
    send: Send

    def __init__(self) -> None:
        self.finish = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.receive, self.send = receive, send
        await self.finish.wait()


class Side(Protocol):
    """A client, and the server's side of the one request that it sends."""

    app: HandedOut
    context: WorkerContext

    @property
    def connection(self) -> Connection: ...

    async def request(
        self, *, length: int = 0, expects_continue: bool = False, takes_trailers: bool = False
    ) -> ResponseStream:
        """Send the head of a request whose body has `length` bytes, -1 if their number is not declared."""
        ...

    async def feed(self, piece: bytes, *, end: bool = False) -> None:
        """Send a piece of its body."""
        ...

    def may_send(self) -> bool:
        """Whether the server reads more of the body."""
        ...

    def take_nothing(self) -> None:
        """Take nothing of what the server sends from now on."""
        ...

    async def take(self) -> None:
        """Take all that the server has sent, and whatever it sends from now on."""
        ...

    async def leave(self) -> None:
        """Leave without the rest of the response."""
        ...

    def received(self) -> Received:
        """What has come of the response."""
        ...


async def turn() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def running(context: WorkerContext) -> Exchange:
    """The exchange whose application runs."""
    (request,) = context.running
    assert isinstance(request, Exchange)
    return request


class HTTP1Side:
    """A request over HTTP/1.1."""

    def __init__(self) -> None:
        self.app = HandedOut()
        self.context = make_context(self.app, HttptoolsParser)
        self.context.early_hints = True
        self._client = Client(self.context)
        self._chunked = False

    @property
    def connection(self) -> Connection:
        return self._client.connection

    async def request(
        self, *, length: int = 0, expects_continue: bool = False, takes_trailers: bool = False
    ) -> ResponseStream:
        self._chunked = length < 0
        head = b"POST / HTTP/1.1\r\nhost: a\r\n" if length else b"GET / HTTP/1.1\r\nhost: a\r\n"
        if length:
            head += b"transfer-encoding: chunked\r\n" if self._chunked else b"content-length: %d\r\n" % length
        if expects_continue:
            head += b"expect: 100-continue\r\n"
        if takes_trailers:
            head += b"te: trailers\r\n"
        await self._client.send(head + b"\r\n")
        return running(self.context).stream

    async def feed(self, piece: bytes, *, end: bool = False) -> None:
        if self._chunked:
            piece = (b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b"") + (b"0\r\n\r\n" if end else b"")
        await self._client.send(piece)

    def may_send(self) -> bool:
        return self._client.transport.is_reading()

    def take_nothing(self) -> None:
        self._client.transport.full = True

    async def take(self) -> None:
        self._client.connection.resume_writing()
        await self._client.wait()

    async def leave(self) -> None:
        await self._client.lose()

    def received(self) -> Received:
        answer = Received()
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        if self._client.received:  # h11 takes no bytes for the end of the connection
            client.receive_data(self._client.received)
        while (event := client.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
            if isinstance(event, h11.InformationalResponse) and event.status_code == 100:
                answer.continues += 1
            elif isinstance(event, h11.InformationalResponse):
                answer.hints += [value for name, value in event.headers if name == b"link"]
            elif isinstance(event, h11.Response):
                answer.status, answer.fields = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                answer.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                answer.whole, answer.trailers = True, list(event.headers)
        answer.cut = not answer.whole and self._client.closed
        return answer


class MultiplexedSide:
    """A request over one of the streams of a multiplexed protocol."""

    def __init__(self) -> None:
        self.app = HandedOut()
        self.context = make_context(self.app, HttptoolsParser)
        self.context.early_hints = True
        self._connection = MultiplexedConnection(self.context)

    @property
    def connection(self) -> Connection:
        return self._connection

    async def request(
        self, *, length: int = 0, expects_continue: bool = False, takes_trailers: bool = False
    ) -> ResponseStream:
        stream = self._connection.request(
            1, length=length, expects_continue=expects_continue, takes_trailers=takes_trailers
        )
        await turn()
        return stream

    async def feed(self, piece: bytes, *, end: bool = False) -> None:
        self._connection.streams[1].receive(piece, end=end)
        await turn()

    def may_send(self) -> bool:
        return self._connection.streams[1].credit > 0

    def take_nothing(self) -> None:
        self._connection.streams[1].window = 0

    async def take(self) -> None:
        self._connection.open_window(1, 1 << 30)
        await turn()

    async def leave(self) -> None:
        self._connection.streams[1].lose()
        await turn()

    def received(self) -> Received:
        return self._connection.received(1)
