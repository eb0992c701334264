"""A request sees nothing of another one: no context variable, no exception, no task, whatever made room for it."""

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

import corehttp
from corehttp.asgi import Receive, Scope, Send
from corehttp.moments import NEVER
from corehttp.protocols.admission import Admission
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.websocket.writer import Settings
from tests.kit.fakes import FakeTransport
from tests.kit.websocket_client import ACCEPT, TEXT, handshake, masked, websocket_context
from tests.protocols.test_properties import profile

marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="nobody")
BODY = b"x" * 100_000  # more than is kept before reading pauses
START = {"type": "http.response.start", "status": 200}


class Isolation:
    """An application that looks for traces of others whenever it runs, and leaves its own everywhere."""

    def __init__(self) -> None:
        self.traces: list[object] = []
        self.begun = 0
        self._waiting: list[asyncio.Future[None]] = []

    def release(self) -> None:
        """Let those go on that wait."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        name = f"{self.begun} {scope['path']}"
        if marker.get() != "nobody" or sys.exc_info()[1] is not None:
            self.traces.append((name, marker.get(), sys.exc_info()[1]))
        marker.set(name)
        task = asyncio.current_task()

        def check() -> None:
            if (marker.get(), asyncio.current_task()) != (name, task):
                self.traces.append((name, marker.get(), asyncio.current_task()))

        try:
            if scope["type"] == "websocket":
                await self._talk(scope, receive, send, check)
            else:
                await self._answer(scope["path"], receive, send, check)
        finally:
            check()

    async def _talk(self, scope: Scope, receive: Receive, send: Send, check: Callable[[], None]) -> None:
        await receive()
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            check()
            await send({"type": "websocket.send", "text": "answer"})
            check()

    async def _answer(self, path: str, receive: Receive, send: Send, check: Callable[[], None]) -> None:
        if path != "/unread":
            while (await receive()).get("more_body"):
                check()
                if path == "/slow":
                    await self._wait()
        if path in ("/slow", "/failing"):
            await self._wait()
            check()
        if path == "/failing":
            raise ValueError(f"a fault of {marker.get()}")
        length = [(b"content-length", b"2")]
        await send({**START, "headers": length})
        # The client has all of it before the last message, and asks again.
        await send({"type": "http.response.body", "body": b"ok", "more_body": True})
        check()
        if path == "/lingering":
            await self._wait()
        await send({"type": "http.response.body", "body": b""})
        check()
        await asyncio.sleep(0)
        check()

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter


class AsyncioTransport(FakeTransport):
    """Delivers in the context in which reading was begun or resumed, as a transport of asyncio does it."""

    def __init__(self) -> None:
        super().__init__()
        self._reads_in = contextvars.copy_context()
        self._writes_in = contextvars.copy_context()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.full:
            self._writes_in = contextvars.copy_context()
        super().write(data)

    def resume_reading(self) -> None:
        self._reads_in = contextvars.copy_context()
        super().resume_reading()

    def deliver(self, data: bytes) -> None:
        self._reads_in.copy().run(super().deliver, data)

    def drain(self) -> None:
        """The peer has taken all that was written."""
        self._writes_in.copy().run(self.get_protocol().resume_writing)


def request(path: str, *, body: bytes = b"") -> bytes:
    head = (
        b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" if body else b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    return (head % (path.encode(), len(body)) if body else head % path.encode()) + body


PATHS = st.sampled_from(["/", "/slow", "/failing", "/lingering", "/unread"])
REQUESTS = st.builds(request, PATHS, body=st.sampled_from([b"", b"", b"abc", BODY]))
PIPELINED = st.lists(REQUESTS, min_size=1, max_size=4).map(b"".join)


class Step(NamedTuple):
    """What happens next."""

    kind: str
    client: int
    data: bytes
    turns: int  # of the event loop that pass then


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["send"] * 6 + ["release"] * 3 + ["fill", "drain", "lose", "upgrade", "leave"]),
        st.integers(0, 2),
        PIPELINED,
        st.integers(0, 4),
    ),
    min_size=3,
    max_size=25,
)


class Peers:
    """Three clients of one worker; one that is lost comes again."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self.transports = [self._connect() for _ in range(3)]

    def _connect(self) -> AsyncioTransport:
        transport = AsyncioTransport()
        connection = HTTP1Connection(self._context)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return transport

    def perform(self, step: Step, app: Isolation) -> None:
        transport = self.transports[step.client]
        match step.kind:
            case "send" if transport.is_reading() or not transport.is_closing():
                transport.deliver(step.data)
            case "upgrade" if not transport.is_closing():
                transport.deliver(step.data + handshake() + masked(TEXT, b"a") * 3)
            case "release":
                app.release()
            case "fill":
                transport.full = True
            case "drain":
                self.drain(transport)
            case "leave":
                for websocket in tuple(self._context.websockets):
                    websocket.announce_leave()
            case "lose":
                transport.lose()
            case _:
                pass  # its client has left
        for index, each in enumerate(self.transports):
            if each.is_closing():
                with contextlib.suppress(AssertionError):  # it is lost already
                    each.lose()
                self.transports[index] = self._connect()

    def drain(self, transport: AsyncioTransport) -> None:
        if not transport.is_closing() and getattr(transport.get_protocol(), "congested", False):
            transport.drain()

    async def go_on(self, turns: int) -> None:
        for _ in range(turns):
            for transport in self.transports:
                transport.deliver_held()
            await asyncio.sleep(0)


@profile
@given(STEPS, st.integers(0, 2), st.booleans())
async def test_no_request_sees_a_trace_of_another(steps: list[Step], limit: int, cancels: bool) -> None:
    app = Isolation()
    context = websocket_context(app, HttptoolsParser, Settings(ping_interval=NEVER, max_queue=1))
    context.cancel_on_disconnect = cancels
    if limit:
        loop = asyncio.get_running_loop()
        context.admission = Admission(context.running, loop, limit=limit, queue=9, queue_timeout=60)
    peers = Peers(context)
    for step in steps:
        peers.perform(step, app)
        await peers.go_on(step.turns)
    async with asyncio.timeout(30):
        for transport in peers.transports:
            transport.full = False
            transport.lose()
        while context.running or context.websockets:
            app.release()
            await asyncio.sleep(0)
    assert app.traces == []


# The same over sockets, with the transports of both event loops.


class Talk(NamedTuple):
    """What one client does, one thing after the other, each in a connection of its own or not."""

    data: bytes
    responses: int
    upgrade: bool


def talk(paths: list[tuple[str, bytes]], upgrade: bool) -> Talk:
    data = b"".join(request(path, body=body) for path, body in paths)
    return Talk(data, len(paths), upgrade)


TALKS = st.lists(
    st.builds(
        talk,
        st.lists(st.tuples(PATHS, st.sampled_from([b"", b"abc", BODY, BODY * 5])), min_size=1, max_size=5),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


async def converse(port: int, talk: Talk) -> None:
    """Send all at once, and read what comes until the server has nothing more to say."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(talk.data + (handshake() + masked(TEXT, b"a") * 3 if talk.upgrade else b""))
    received = b""
    while received.count(b"\r\n\r\nok") + received.count(b"\r\n\r\nInternal") < talk.responses:
        piece = await reader.read(65536)
        if not piece:  # much of a request that was answered has not been read
            break
        received += piece
    writer.close()


@contextlib.asynccontextmanager
async def released(app: Isolation) -> AsyncIterator[None]:
    """Let whatever waits go on, again and again."""

    async def go_on() -> None:
        while True:
            app.release()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """What runs coroutines in a loop of its own, as a server does."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.mark.parametrize("limit", [0, 2])
def test_no_request_sees_a_trace_of_another_over_sockets(runner: asyncio.Runner, limit: int) -> None:
    async def play(talks: list[Talk]) -> None:
        app = Isolation()
        options = {"limit_concurrency": limit, "limit_queue": 99, "limit_queue_timeout": 60, "limit_connections": limit}
        # The context of `serve` is the worker's; what happens to it later is not.
        async with released(app), corehttp.serve(app, **options, lifespan="off", port=0) as server:
            marker.set("whoever calls serve")
            assert server.port is not None
            async with asyncio.timeout(60):
                await asyncio.gather(*(converse(server.port, talk) for talk in talks))
        assert app.traces == []
        assert app.begun >= len(talks)

    @settings(max_examples=15, deadline=None)
    @given(TALKS)
    def examples(talks: list[Talk]) -> None:
        runner.run(play(talks), context=contextvars.Context())

    examples()


def test_a_request_begins_with_the_variables_that_were_set_around_serve(runner: asyncio.Runner) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(marker.get())
        marker.set("the request before")
        await send({**START, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def play() -> None:
        marker.set("around serve")
        async with corehttp.serve(app, port=0, lifespan="off") as server:
            marker.set("later")
            assert server.port is not None
            for _ in range(2):
                await converse(server.port, talk([("/", b""), ("/", b"")], upgrade=False))

    runner.run(play())
    assert seen == ["around serve"] * 4
